"""A companion: a process of ours that does for this one what might crash, hang or swallow memory.

It is told which socket leads back, has nothing of our environment, stands in no folder of ours, and
ends when the socket closes, so when this process dies. Called by `reader` and `ocr`, which say what
is spoken over the socket; refuses nothing.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class Companion:
    """The running process."""

    def __init__(
        self,
        module: str,
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        patience_s: float,
    ) -> None:
        """Runs `python -m module SOCKET ARGUMENTS…`. `patience_s`: how long it may take to end."""
        self.owner = os.getpid()
        self._patience_s = patience_s
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(theirs.fileno()), *map(str, arguments)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                env={
                    "PYTHONPATH": str(PACKAGE_ROOT),
                    "LC_ALL": "C.UTF-8",
                    "HOME": "/nonexistent",
                    **(environment or {}),
                },
                cwd="/",
                # Ctrl-C in a terminal is for the process that waits, which then stops this one.
                start_new_session=True,
            )

    def last_words(self) -> str:
        """The last line of what it wrote on stderr."""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        return next((line[:300] for line in reversed(lines) if line.strip()), "")

    def stop(self) -> None:
        """Let go of it; it is killed unless it ends by itself in time."""
        self._socket.close()
        self._said.close()
        if self.owner != os.getpid():
            return
        try:
            self._process.wait(self._patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
