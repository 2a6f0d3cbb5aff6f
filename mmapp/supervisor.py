"""Keeps processes running: starts them, starts them again when they die, ends them all.

One thread starts every process, because Linux ends a guarded process with the thread that started
it (`mmapp.guard`). Called by `stack`. Ending is SIGKILL to the process group: the application holds
its promises when any process is killed, so nothing has to be waited for.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mmapp import guard
from mmapp.processes import group_exists

#: Seconds until a process that died is started again: doubled each time, up to the last.
FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 30.0

#: A process that lived so long had not failed to start.
LIVED_S = 30.0

#: Seconds between two looks at the processes.
LOOK_S = 0.1

#: Seconds that the system may need to take a killed process away.
KILL_S = 5.0


class Service:
    """A command that shall run, with its output in a log file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log_path: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        #: Every process that this service has had.
        self.pids: list[int] = []
        #: Ends in a row, each soon after its start.
        self.failures = 0
        self._command = [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), *command]
        self._log_path = log_path
        self._environment = dict(os.environ if environment is None else environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._start_at = 0.0

    def tend(self, tell: Callable[[str], None]) -> None:
        """Starts the process when it is time to; notices when it has ended."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._start_at:
                self._start(now)
            return
        status = self._process.poll()
        if status is None:
            return
        self.kill()
        self.wait()
        self.failures = self.failures + 1 if now - self._started < LIVED_S else 1
        pause_s = min(FIRST_PAUSE_S * 2 ** (self.failures - 1), LAST_PAUSE_S)
        self._start_at = now + pause_s
        tell(f"The {self.name} process ended ({_reason(status)}); again in {pause_s:g} s")

    def _start(self, now: float) -> None:
        with self._log_path.open("ab") as log_file:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                cwd=self._log_path.parent,
                env=self._environment,
                start_new_session=True,
            )
        self._started = now
        self.pids.append(self._process.pid)

    def kill(self) -> None:
        """Tells the process and all of its group to end."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Returns when all of the killed group is gone."""
        if self._process is None:
            return
        self._process.wait()
        deadline = time.monotonic() + KILL_S
        while group_exists(self._process.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        self._process = None


class Supervisor:
    """The thread that tends services."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._services: list[Service] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._tend, name="supervisor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, service: Service) -> None:
        with self._lock:
            self._services.append(service)
        self._wake.set()

    def end(self, services: Sequence[Service]) -> None:
        """Kills these services; they are not started again."""
        with self._lock:
            self._services = [service for service in self._services if service not in services]
            for service in services:
                service.kill()
            for service in services:
                service.wait()

    def stop(self) -> None:
        """Kills what is left, and ends the thread."""
        self.end(list(self._services))
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _tend(self) -> None:
        while not self._stopping:
            self._wake.clear()
            with self._lock:
                for service in self._services:
                    service.tend(self._tell)
            self._wake.wait(LOOK_S)


def _reason(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
