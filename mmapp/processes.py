"""Which machine this is and whether a process still lives, for leases and locks.

A process id alone means little: it is used again later, and in a container it names another
process than outside. So a process is (machine, pid, when it began). Called by `jobs`, `stack` and
`workers`.
"""

from __future__ import annotations

import functools
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@functools.cache
def machine() -> str:
    """This host, this boot, this process-id namespace: where a pid means the same process."""
    host = socket.gethostname()
    if not sys.platform.startswith("linux"):
        return host
    boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    namespace = (PROC / "self/ns/pid").readlink()
    return f"{host} {boot} {namespace}"


@dataclass(frozen=True, slots=True)
class Process:
    """One process of one machine, now or in the past."""

    machine: str
    pid: int
    began: str

    @classmethod
    def current(cls) -> Process:
        return cls(machine(), os.getpid(), began(os.getpid()))

    @property
    def is_dead(self) -> bool:
        """True only when that is sure: a process of another machine may live."""
        if self.machine != machine():
            return False
        if not exists(self.pid):
            return True
        return bool(self.began) and began(self.pid) != self.began

    @property
    def lives_here(self) -> bool:
        """True only when that is sure: it is this machine's, and runs."""
        return self.machine == machine() and not self.is_dead


def exists(pid: int) -> bool:
    """Whether `pid` runs; one that ended and was not waited for yet does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _stat(pid)[:1] != ["Z"]


def group_exists(group: int) -> bool:
    """Whether any process of the group runs; ended ones that init was slow to notice do not."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    if not PROC.is_dir():
        return True
    pids = (int(folder.name) for folder in PROC.iterdir() if folder.name.isdigit())
    return any(stat[2:3] == [str(group)] and stat[0] != "Z" for stat in map(_stat, pids))


def began(pid: int) -> str:
    """When `pid` began, in clock ticks since the boot; empty where the system does not tell."""
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty where there is none."""
    try:
        line = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return []
    # The name before them stands in brackets and may hold spaces and brackets itself.
    return line.rpartition(")")[2].split()
