"""What one worker has done since it started: counts that only rise, told with its heartbeats.

They live in the worker's own row, so that no two workers wait for each other to count, and whoever
asks any process for metrics is told of all workers. Called by `running`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from mmapp.db.attempts import NewResult
from mmapp.errors import MmappError
from mmapp.types import Status, TaskName

#: What a job has met, in `Tally`, of which another worker does the rest.
HANDED_OVER = "handed_over"


class Tally:
    """Counts of one process; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._retries = 0
        #: By task and outcome: succeeded, handed over, or the code of the error.
        self._jobs: Counter[tuple[str, str]] = Counter()
        #: By task and kind: read, remembered, scored, …
        self._tokens: Counter[tuple[str, str]] = Counter()
        #: By task and stage; "queued" and "total" stand among the stages of the task itself.
        self._seconds: Counter[tuple[str, str]] = Counter()

    def retried(self) -> None:
        """A job was taken that had been taken before."""
        with self._lock:
            self._retries += 1

    def handed_over(self, task: TaskName) -> None:
        """A role of a job was done, and others are left."""
        with self._lock:
            self._jobs[task, HANDED_OVER] += 1

    def ended(self, task: TaskName, outcome: NewResult | MmappError) -> None:
        with self._lock:
            if isinstance(outcome, MmappError):
                self._jobs[task, outcome.code] += 1
                return
            self._jobs[task, Status.SUCCEEDED] += 1
            for kind, count in outcome.record["tokens"].items():
                self._tokens[task, kind] += count
            for stage, seconds in outcome.record["durations_s"].items():
                self._seconds[task, stage] += seconds

    def as_json(self) -> Mapping[str, Any]:
        with self._lock:
            return {
                "retries": self._retries,
                "jobs": [[*key, count] for key, count in self._jobs.items()],
                "tokens": [[*key, count] for key, count in self._tokens.items()],
                "seconds": [[*key, total] for key, total in self._seconds.items()],
            }
