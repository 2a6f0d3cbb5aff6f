"""What some calls cost: seconds, the servers' CPU seconds, bytes of log, statements.

Reads /proc, so it works on Linux alone. Called by `measure`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import event

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of all calls together, except where the name says otherwise."""

    calls: int
    seconds: float
    #: CPU seconds of all processes of the database server.
    server_s: float
    #: Of the database's write-ahead log, whole pages after a checkpoint among them.
    wal_bytes: int
    #: That this process sent; 0 where others made the calls.
    statements: int

    @property
    def per_s(self) -> float:
        """Calls per second."""
        return self.calls / self.seconds

    @property
    def server_ms(self) -> float:
        """CPU milliseconds of the database server for one call."""
        return 1000 * self.server_s / self.calls

    @property
    def wal(self) -> float:
        """Bytes of write-ahead log for one call."""
        return self.wal_bytes / self.calls


class Gauge:
    """Watches one PostgreSQL server and what this process asks of it."""

    def __init__(self, engine: sqlalchemy.Engine, postmaster: int) -> None:
        self.engine = engine
        self._postmaster = postmaster

    def cost(self, calls: int, do: Callable[[], Any]) -> Cost:
        """What `do` costs, which makes so many calls."""
        wal, server_s = self._wal(), cpu_seconds(self._postmaster)
        with self._counted() as statements:
            began = time.perf_counter()
            do()
            seconds = time.perf_counter() - began
        return Cost(
            calls,
            seconds,
            cpu_seconds(self._postmaster) - server_s,
            self._wal() - wal,
            statements[0],
        )

    def repeat(self, calls: int, call: Callable[[int], Any]) -> Cost:
        """What `call` costs, called with 0, 1, … one after another."""

        def do() -> None:
            for number in range(calls):
                call(number)

        return self.cost(calls, do)

    @contextmanager
    def _counted(self) -> Iterator[list[int]]:
        count = [0]

        def increase(*_: Any) -> None:
            count[0] += 1

        event.listen(self.engine, "before_cursor_execute", increase)
        try:
            yield count
        finally:
            event.remove(self.engine, "before_cursor_execute", increase)

    def _wal(self) -> int:
        with self.engine.connect() as connection:
            position = "pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
            return int(connection.execute(sqlalchemy.text(f"SELECT {position}")).scalar_one())


def cpu_seconds(pid: int) -> float:
    """Of a process, of its children, and of those that have ended."""
    total = sum(_times(pid, 4))
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _parent(int(entry.name)) == pid:
            total += sum(_times(int(entry.name), 2))
    return total / TICKS


def _times(pid: int, count: int) -> list[int]:
    """User and system time; with 4 also those of children that were waited for, in ticks."""
    return [int(value) for value in _fields(pid)[11 : 11 + count]]


def _parent(pid: int) -> int:
    fields = _fields(pid)
    return int(fields[1]) if fields else 0


def _fields(pid: int) -> list[str]:
    """From the state on; empty when the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
