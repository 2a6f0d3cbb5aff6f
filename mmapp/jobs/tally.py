"""What one worker has done since it started: counts that only rise, told with its heartbeats.

They live in the worker's own row, so that no two workers wait for each other to count, and whoever
asks any process for metrics is told of all workers. Whoever takes a lost worker off the list adds
its counts to those of the past (`recovery`), so that the sum over all never falls. Called by
`running`, `recovery` and `statistics`.
"""

from __future__ import annotations

import bisect
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from mmapp.db.attempts import NewResult
from mmapp.errors import MmappError
from mmapp.types import Priority, Status, TaskName

#: Upper ends of the buckets in which times are counted, in seconds; the last one has no end.
BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)

#: Counts by key, as rows that end with a number or with the counts of all buckets.
TABLES = ("jobs", "tokens", "seconds", "durations", "waited", "waits")

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
        #: How many took how long, by task and stage.
        self._durations: dict[tuple[str, str], list[int]] = {}
        #: By lane: seconds until jobs were first taken, and how many waited how long.
        self._waited: defaultdict[tuple[str], float] = defaultdict(float)
        self._waits: dict[tuple[str], list[int]] = {}

    def took(self, lane: Priority, waited_s: float, *, is_again: bool) -> None:
        """A job was taken, for the first time or after an attempt that did not end it."""
        with self._lock:
            if is_again:
                self._retries += 1
                return
            self._waited[lane,] += waited_s
            _count(self._waits.setdefault((lane,), _empty()), waited_s)

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
                _count(self._durations.setdefault((task, stage), _empty()), seconds)

    def as_json(self) -> Mapping[str, Any]:
        with self._lock:
            return {
                "retries": self._retries,
                "jobs": [[*key, count] for key, count in self._jobs.items()],
                "tokens": [[*key, count] for key, count in self._tokens.items()],
                "seconds": [[*key, total] for key, total in self._seconds.items()],
                "durations": [[*key, [*counts]] for key, counts in self._durations.items()],
                "waited": [[*key, total] for key, total in self._waited.items()],
                "waits": [[*key, [*counts]] for key, counts in self._waits.items()],
            }


def total(tallies: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The sum of what several have counted; what an earlier version did not count is 0."""
    retries = 0
    sums: dict[str, dict[tuple[str, ...], Any]] = {name: {} for name in TABLES}
    for tally in tallies:
        retries += tally.get("retries", 0)
        for name, rows in sums.items():
            for *key, value in tally.get(name, ()):
                rows[*key,] = _sum(rows[*key,], value) if (*key,) in rows else value
    tables = {name: [[*key, value] for key, value in rows.items()] for name, rows in sums.items()}
    return {"retries": retries, **tables}


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, list):
        return [a + b for a, b in zip(one, other, strict=True)]
    return one + other


def _empty() -> list[int]:
    return [0] * (len(BUCKETS_S) + 1)


def _count(counts: list[int], seconds: float) -> None:
    counts[bisect.bisect_left(BUCKETS_S, seconds)] += 1
