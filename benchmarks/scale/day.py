"""A day of jobs: how many come when, how long each takes, and how long each waits.

Persons' jobs come one by one, batches all rows at once; both more at noon than at night. Called by
the command.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.scale.plan import DAY_S, Assumptions
from benchmarks.scale.queueing import Arrival, Queue

HOURS, HOUR_S = 24, 3_600.0
DAY = range(HOURS)
#: The busiest hour.
NOON = 13
#: Spans of time in which the rate is taken for constant.
STEPS_PER_HOUR = 12


@dataclass(frozen=True, slots=True)
class Hour:
    """What was seen in one hour of the day."""

    hour: int
    #: That started in it, having waited for so many seconds.
    jobs: int
    #: The share of the workers' time.
    used: float
    interactive_p50_s: float
    interactive_p95_s: float
    batch_p50_s: float
    batch_p95_s: float
    #: Jobs that waited at its end.
    left: int


def simulate(
    assumed: Assumptions, seed: int, show: Callable[[int, int], None], hours: range = DAY
) -> list[Hour]:
    """Hour by hour, with no job left from before the first."""
    random = np.random.default_rng(seed)
    queue = Queue(assumed.workers)
    seen = []
    for number in hours:
        queue.serve(_hour(assumed, number, random))
        queue.go_on((number + 1) * HOUR_S)
        waits = queue.turn_page()
        seen.append(
            Hour(
                hour=number,
                jobs=sum(map(len, waits.waited_s)),
                used=waits.busy_s / (assumed.workers * HOUR_S),
                interactive_p50_s=waits.percentile(0, 0.5),
                interactive_p95_s=waits.percentile(0, 0.95),
                batch_p50_s=waits.percentile(1, 0.5),
                batch_p95_s=waits.percentile(1, 0.95),
                left=waits.left,
            )
        )
        show(len(seen), len(hours))
    return seen


def level(assumed: Assumptions, at_s: float) -> float:
    """The rate of a moment, as a share of the day's mean: a cosine with its top at noon."""
    turn = 2 * math.pi * (at_s / DAY_S - (NOON + 0.5) / HOURS)
    return 1 + (assumed.peak - 1) * math.cos(turn)


def _hour(assumed: Assumptions, number: int, random: np.random.Generator) -> Iterator[Arrival]:
    length_s = HOUR_S / STEPS_PER_HOUR
    for step in range(STEPS_PER_HOUR):
        begin_s = number * HOUR_S + step * length_s
        jobs = assumed.rate * length_s * level(assumed, begin_s + length_s / 2)
        people = _moments(random, jobs * assumed.interactive, begin_s, length_s)
        batches = _moments(
            random, jobs * (1 - assumed.interactive) / assumed.batch_rows, begin_s, length_s
        )
        moments = np.concatenate([people, np.repeat(batches, assumed.batch_rows)])
        lanes = np.repeat([0, 1], [len(people), len(moments) - len(people)])
        order = np.argsort(moments, kind="stable")
        services = _services(assumed, len(moments), random)
        columns = moments[order].tolist(), lanes[order].tolist(), services.tolist()
        yield from itertools.starmap(Arrival, zip(*columns, strict=True))


def _moments(
    random: np.random.Generator, mean: float, begin_s: float, length_s: float
) -> NDArray[np.float64]:
    """Moments of a Poisson process, in any order."""
    return begin_s + length_s * random.random(random.poisson(mean))


def _services(assumed: Assumptions, count: int, random: np.random.Generator) -> NDArray[np.float64]:
    pages = random.lognormal(math.log(assumed.median_pages), assumed.sigma, count)
    pages = np.clip(np.round(pages), 1, assumed.most_pages)
    return np.asarray(assumed.overhead_s + pages * assumed.page_s)
