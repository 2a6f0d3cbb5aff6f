"""The thread in each worker's parent that looks for lost jobs, hung children and a deaf parent."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

from celery.signals import task_received  # type: ignore[import-untyped]

from mmapp.config import Settings
from mmapp.errors import BrokerDown
from mmapp.jobs import Jobs
from mmapp.logs import get_logger

#: Sweeps in a row that find messages waiting, an idle child and nothing received.
DEAF_SWEEPS = 3

log = get_logger(__name__)


class Sweeper:
    """Sweeps at once and then every `settings.sweep_seconds`, until it is closed."""

    def __init__(self, settings: Settings) -> None:
        self._jobs = Jobs.open(settings)
        self._period_s = settings.sweep_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sweep_often, daemon=True)
        self._deaf_sweeps = 0
        self._heard = time.monotonic()

    def __enter__(self) -> Sweeper:
        task_received.connect(self._hear)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        task_received.disconnect(self._hear)
        self._stop.set()
        self._thread.join()
        self._jobs.close()

    def _sweep_often(self) -> None:
        while True:
            try:
                swept = self._jobs.sweep_by_turns()
                self._end_silent()
                self._end_deaf()
            except Exception as error:
                # The database may be restarting; the next round tries again.
                log.warning("sweep failed", reason=" ".join(str(error).split()))
            else:
                if swept:
                    log.info("swept", jobs=swept)
            if self._stop.wait(self._period_s):
                return

    def _end_silent(self) -> None:
        """Kills children that do not even beat; Celery starts others in their places."""
        for worker in self._jobs.silent_workers(os.getpid()):
            log.error("silent, killed", worker=worker.name, job_id=worker.job_id)
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.process.pid, signal.SIGKILL)

    def _end_deaf(self) -> None:
        """Ends this process when Celery no longer listens; whoever supervises it starts another.

        When Redis is away at the moment in which a message is acknowledged, Celery goes on as if it
        still held that one, and asks for no other, for ever (github.com/celery/celery/issues/8091).
        """
        if not self._is_deaf():
            self._deaf_sweeps = 0
            return
        self._deaf_sweeps += 1
        if self._deaf_sweeps >= DEAF_SWEEPS:
            log.error("deaf, ended", sweeps=self._deaf_sweeps)
            os._exit(1)

    def _is_deaf(self) -> bool:
        """Whether messages wait, no child works, and none was received since the last sweep."""
        if time.monotonic() - self._heard < self._period_s:
            return False
        children = self._jobs.children(os.getpid())
        is_idle = all(child.ready and child.job_id is None for child in children)
        try:
            return bool(children) and is_idle and self._jobs.waiting_messages() > 0
        except BrokerDown:
            return False

    def _hear(self, **_: object) -> None:
        self._heard = time.monotonic()
