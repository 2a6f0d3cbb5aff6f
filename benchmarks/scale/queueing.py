"""A queue with several servers and two lanes, simulated event by event, and in closed form.

A job of the first lane never waits for a waiting one of the second; nobody is interrupted. That is
the order of `mmapp.db.turns` without its turns among owners, which change who waits and not how
long all do. Called by `plan`; the tests hold the simulation against the closed forms.
"""

from __future__ import annotations

import heapq
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Arrival(NamedTuple):
    """A job: when it comes, in seconds, its lane (0 goes first), and its seconds of service."""

    at: float
    lane: int
    service_s: float


@dataclass
class Waits:
    """What was seen in one span of time."""

    #: Of the jobs that started in it, by lane, in seconds.
    waited_s: tuple[array[float], array[float]] = field(
        default_factory=lambda: (array("f"), array("f"))
    )
    #: Seconds of service that started in it, of all servers together.
    busy_s: float = 0.0
    #: Jobs that waited when it ended.
    left: int = 0

    def percentile(self, lane: int, share: float) -> float:
        """Of the waits in a lane; 0 when none started."""
        waited = sorted(self.waited_s[lane])
        return waited[min(int(share * len(waited)), len(waited) - 1)] if waited else 0.0


class Queue:
    """Servers with their queue; time goes on with each arrival."""

    def __init__(self, servers: int) -> None:
        self._servers = servers
        #: When each busy server will be free.
        self._free_at: list[float] = []
        self._lines: tuple[deque[Arrival], deque[Arrival]] = (deque(), deque())
        self.seen = Waits()

    def serve(self, arrivals: Iterable[Arrival]) -> None:
        """Arrivals in the order of time."""
        free_at = self._free_at
        for arrival in arrivals:
            self.go_on(arrival.at)
            if len(free_at) < self._servers:
                heapq.heappush(free_at, arrival.at + arrival.service_s)
                self._note(arrival, arrival.at)
            else:
                self._lines[arrival.lane].append(arrival)

    def go_on(self, until: float) -> None:
        """Ends and starts all that ends and starts before a moment."""
        free_at = self._free_at
        while free_at and free_at[0] <= until:
            line = self._lines[0] or self._lines[1]
            if not line:
                heapq.heappop(free_at)
                continue
            now, arrival = free_at[0], line.popleft()
            heapq.heapreplace(free_at, now + arrival.service_s)
            self._note(arrival, now)

    def turn_page(self) -> Waits:
        """What was seen since the last time; a new span begins."""
        seen, self.seen = self.seen, Waits()
        seen.left = sum(map(len, self._lines))
        return seen

    def _note(self, arrival: Arrival, now: float) -> None:
        self.seen.waited_s[arrival.lane].append(now - arrival.at)
        self.seen.busy_s += arrival.service_s


def erlang_c(servers: int, load: float) -> float:
    """The share of jobs that wait in M/M/c; `load` in erlangs, below `servers`.

    Erlang B by its recursion B(c) = aB(c-1) / (c + aB(c-1)), then C = cB / (c - a(1 - B))
    (Cooper, Introduction to Queueing Theory, 1981, sections 3.3 and 3.4).
    """
    if load >= servers:
        return 1.0
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = load * blocked / (number + load * blocked)
    return servers * blocked / (servers - load * (1 - blocked))


def mean_waits_s(servers: int, rates: Sequence[float], service_s: float) -> list[float]:
    """Mean waits by lane in M/M/c without interruption, one exponential service for all lanes.

    W(k) = C s / (c (1 - p(k-1)) (1 - p(k))), where p(k) is the use by lanes up to k (Cobham,
    Priority Assignment in Waiting Line Problems, 1954).
    """
    found, before = [], 0.0
    waits = erlang_c(servers, sum(rates) * service_s) * service_s / servers
    for rate in rates:
        used = before + rate * service_s / servers
        found.append(waits / ((1 - before) * (1 - used)))
        before = used
    return found
