"""Progress of a run: stored now and then with the time left, and where a run is told to stop."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mmapp.errors import JobFailed
from mmapp.types import Progress

#: Seconds between two writes of a job's progress.
PERIOD_S = 0.5


@dataclass(slots=True)
class Reporter:
    """What a task calls between two steps of its engine; raises what has to stop it.

    `store` writes the progress of the attempt, and raises when it was cancelled or overtaken.
    """

    store: Callable[[Progress], None]
    #: Seconds that the attempt may take.
    limit_s: float
    #: Seconds that it was estimated to take; told until its own pace is known.
    expected_s: float | None = None
    began: float = field(default_factory=time.monotonic)
    written: float = float("-inf")
    phase: str = ""
    phase_began: float = 0.0
    phase_from: float = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self.began > self.limit_s:
            raise JobFailed(
                f"The job took longer than {self.limit_s:.0f} s; give it fewer pages, or raise"
                " MMAPP_JOB_SECONDS"
            )
        left_s = self._seconds_left(progress, now)
        if now - self.written >= PERIOD_S:
            self.written = now
            self.store(dataclasses.replace(progress, eta_s=left_s))

    def _seconds_left(self, progress: Progress, now: float) -> float | None:
        """Of the job, or of this phase where no more is known; in the first second as estimated."""
        if progress.work is None:
            phase, at, end = progress.phase, float(progress.done), float(progress.total)
        else:
            phase, at, end = "", progress.work, 1.0
        if phase != self.phase or not self.phase_began:
            self.phase, self.phase_began, self.phase_from = phase, now, at
        done, elapsed = at - self.phase_from, now - self.phase_began
        if done <= 0 or elapsed < 1.0:
            expected_s = None if self.expected_s is None else self.expected_s - (now - self.began)
            return None if expected_s is None or expected_s <= 0 else round(expected_s, 1)
        return round(elapsed / done * max(0.0, end - at), 1)
