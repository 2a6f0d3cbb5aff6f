"""The thread in each worker's parent that looks for lost jobs; it needs no engine."""

from __future__ import annotations

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

    def _sweep_often(self) -> None:
        while True:
            try:
                swept = self._jobs.sweep()
            except Exception as error:
                # The database may be restarting; the next round tries again.
                log.warning("sweep failed", reason=" ".join(str(error).split()))
            else:
                if swept:
                    log.info("swept", jobs=swept)
            if self._stop.wait(self._period_s):
                return
