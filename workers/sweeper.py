"""The thread in each worker's parent that looks for lost jobs and for children that hang."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

from mmapp.config import Settings
from mmapp.jobs import Jobs
from mmapp.logs import get_logger

log = get_logger(__name__)


class Sweeper:
    """Sweeps at once and then every `settings.sweep_seconds`, until it is closed."""

    def __init__(self, settings: Settings) -> None:
        self._jobs = Jobs.open(settings)
        self._period_s = settings.sweep_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sweep_often, daemon=True)

    def __enter__(self) -> Sweeper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._jobs.close()

    def _end_silent(self) -> None:
        """Kills children that do not even beat; Celery starts others in their places."""
        for worker in self._jobs.silent_workers(os.getpid()):
            log.error("silent, killed", worker=worker.name, job_id=worker.job_id)
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.process.pid, signal.SIGKILL)

    def _sweep_often(self) -> None:
        while True:
            try:
                swept = self._jobs.sweep()
                self._end_silent()
            except Exception as error:
                # The database may be restarting; the next round tries again.
                log.warning("sweep failed", reason=" ".join(str(error).split()))
            else:
                if swept:
                    log.info("swept", jobs=swept)
            if self._stop.wait(self._period_s):
                return
