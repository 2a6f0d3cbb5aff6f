"""`python guard.py PID COMMAND…`: becomes the command, which ends when process PID does.

PID is the process that starts this one. Linux keeps the promise through `exec`, even when PID is
killed; elsewhere the command is only ended in order. Started by `stack` by its path, so it imports
the standard library alone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

#: From <linux/prctl.h>.
PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
