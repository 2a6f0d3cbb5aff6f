"""Rates: how long work takes here, from what this deployment has measured.

A result's record tells how much work was estimated for its job and how many seconds it took. Of the
last results of a task a line is fitted, seconds = base + work * slope, by the weighted median of
the slopes between all pairs (Theil 1950, Sen 1968; weighted by the pairs' distance, Jaeckel 1972),
which a quarter of strange runs does not move; the last few tell by how much the machine is faster
or slower now. Too few results of a task: those of all tasks that count tokens. None at all: what a
worker read in a second when it was loaded, which knows nothing of the rest of a job and is told as
such. Nothing measured: no seconds; no constant is made up.

Pure. Called by `estimating` and `outlook`; refuses nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import median
from typing import Any, Literal, NamedTuple

from mmapp.types import Estimate, TaskName, WorkUnit

#: Results of a task that a line is fitted to, the newest; and the fewest of them.
MOST_RUNS = 40
FEWEST_RUNS = 3
#: The last of them, which tell the present pace.
LAST_RUNS = 5
#: A run that remembered more than this share of what it should have read says nothing of reading.
MOST_REMEMBERED = 0.1


class Time(NamedTuple):
    """Seconds, and what they are from."""

    seconds: float
    source: Literal["results", "worker"]


@dataclass(frozen=True, slots=True)
class Run:
    """What one result tells."""

    task: TaskName
    weights_sha256: str
    device: str
    unit: WorkUnit
    work: float
    #: Without the recognition of words in pictures.
    seconds: float


@dataclass(frozen=True, slots=True)
class Line:
    """Seconds by work."""

    base_s: float
    slope_s: float

    def at(self, work: float) -> float:
        return self.base_s + self.slope_s * work


@dataclass(frozen=True, slots=True)
class Rates:
    """What is known of the machines that would do the work."""

    #: By task and unit; the task None: of all tasks.
    lines: Mapping[tuple[TaskName | None, WorkUnit], Line] = field(default_factory=dict)
    #: Median seconds of a page whose pictures' words were recognised; None: none was.
    page_s: float | None = None
    #: Of the fastest worker; None: none told.
    tokens_per_s: float | None = None

    def time_of(self, task: TaskName, estimate: Estimate) -> Time | None:
        """None where something of it was never measured."""
        if estimate.recognise and self.page_s is None:
            return None
        found = self._worked(task, estimate.unit, estimate.work)
        if found is None:
            return None
        recognising = estimate.recognise * (self.page_s or 0.0)
        return Time(round(found.seconds + recognising, 3), found.source)

    def _worked(self, task: TaskName, unit: WorkUnit, work: int) -> Time | None:
        line = self.lines.get((task, unit)) or self.lines.get((None, unit))
        if line is not None:
            return Time(line.at(work), "results")
        if unit == "tokens" and self.tokens_per_s:
            return Time(work / self.tokens_per_s, "worker")
        return None


def rates_of(
    records: Sequence[tuple[TaskName, Mapping[str, Any]]],
    weights: frozenset[str],
    devices: frozenset[str],
    tokens_per_s: float | None,
) -> Rates:
    """From records, the newest first: of these weights, on these devices (none named: on any)."""
    found = (run_of(task, record) for task, record in records)
    runs = [run for run in found if run is not None and _is_of(run, weights, devices)]
    pages = [
        record["durations_s"]["recognising"] / record["recognised"]
        for _, record in records
        if record.get("recognised") and "recognising" in record.get("durations_s", {})
    ]
    return Rates(_lines(runs), median(pages) if pages else None, tokens_per_s)


def _is_of(run: Run, weights: frozenset[str], devices: frozenset[str]) -> bool:
    """Whether it says something of these machines; what asks no model runs alike on all."""
    is_there = not devices or run.device in devices
    return not run.weights_sha256 or (run.weights_sha256 in weights and is_there)


def _lines(runs: Sequence[Run]) -> dict[tuple[TaskName | None, WorkUnit], Line]:
    """Of each task with enough runs; of all tasks in tokens alone, which mean the same in each."""
    by_kind: dict[tuple[TaskName | None, WorkUnit], list[Run]] = defaultdict(list)
    for run in runs:
        by_kind[run.task, run.unit].append(run)
        if run.unit == "tokens":
            by_kind[None, run.unit].append(run)
    return {
        kind: _at_present_pace(some[:MOST_RUNS])
        for kind, some in by_kind.items()
        if len(some) >= FEWEST_RUNS
    }


def run_of(task: TaskName, record: Mapping[str, Any]) -> Run | None:
    """None of a record that does not tell how long reading takes."""
    tokens, durations = record.get("tokens", {}), record.get("durations_s", {})
    remembered = tokens.get("remembered", 0)
    if "total" not in durations or remembered > MOST_REMEMBERED * tokens.get("read", 0):
        return None
    weights, device = record.get("weights_sha256"), record.get("device", "")
    if weights is None:
        return None
    estimate = record.get("estimate")
    if estimate is None:
        # Of an older version: what was done is all that is known.
        estimate = {"unit": "tokens", "work": sum(tokens.values()) - 2 * remembered}
    seconds = durations["total"] - durations.get("recognising", 0.0)
    unit, work = estimate["unit"], estimate["work"]
    if unit == "tokens":
        # What was thought to be remembered was read all the same.
        work += estimate.get("remembered", 0)
    if work <= 0:
        return None
    return Run(task, weights, device, unit, work, seconds)


def _at_present_pace(runs: Sequence[Run]) -> Line:
    """The line through runs, the newest first, moved by as much as the last of them differ from
    it: a machine that others share is faster or slower than it was."""
    line = fit([(run.work, run.seconds) for run in runs])
    paces = [run.seconds / told for run in runs[:LAST_RUNS] if (told := line.at(run.work)) > 0]
    pace = median(paces or [1.0])
    return Line(line.base_s * pace, line.slope_s * pace)


def fit(points: Sequence[tuple[float, float]]) -> Line:
    """The line through points of (work, seconds); it never falls, and never starts below 0."""
    slopes = [
        ((y1 - y0) / (x1 - x0), abs(x1 - x0))
        for (x0, y0), (x1, y1) in combinations(points, 2)
        if x0 != x1
    ]
    slope = _weighted_median(slopes)
    base = median(y - slope * x for x, y in points)
    if slope > 0 and base >= 0:
        return Line(base, slope)
    if slope <= 0:
        return Line(median(y for _, y in points), 0.0)
    return Line(0.0, median(y / x for x, y in points if x))


def _weighted_median(values: Sequence[tuple[float, float]]) -> float:
    """Of (value, weight); 0 of none."""
    half = sum(weight for _, weight in values) / 2
    for value, weight in sorted(values):
        half -= weight
        if half <= 0:
            return value
    return 0.0
