"""The queue of the plan agrees with the closed forms, and the short measuring runs."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.scale.queueing import Arrival, Queue, erlang_c, mean_waits_s


def poisson(rates: tuple[float, ...], service_s: float, jobs: int, seed: int) -> Iterator[Arrival]:
    """Arrivals at random in two lanes, each with an exponential service."""
    random = np.random.default_rng(seed)
    moments = np.cumsum(random.exponential(1 / sum(rates), jobs)).tolist()
    lanes = (random.random(jobs) * sum(rates) >= rates[0]).astype(int).tolist()
    services = random.exponential(service_s, jobs).tolist()
    return itertools.starmap(Arrival, zip(moments, lanes, services, strict=True))


@pytest.mark.parametrize(("servers", "used"), [(1, 0.5), (10, 0.8), (30, 0.85)])
def test_waits_are_those_of_erlang(servers: int, used: float) -> None:
    service_s, rate = 2.0, servers * used / 2.0
    queue = Queue(servers)
    queue.serve(poisson((rate, 0.0), service_s, 300_000, seed=3))
    waited_s = queue.seen.waited_s[0]
    (expected_s,) = mean_waits_s(servers, [rate], service_s)
    assert statistics.fmean(waited_s) == pytest.approx(expected_s, rel=0.06)
    share = sum(wait > 0 for wait in waited_s) / len(waited_s)
    assert share == pytest.approx(erlang_c(servers, rate * service_s), rel=0.05)


def test_the_first_lane_waits_as_cobham_says_and_the_second_longer() -> None:
    servers, service_s, rates = 20, 1.0, (6.0, 12.0)
    queue = Queue(servers)
    queue.serve(poisson(rates, service_s, 400_000, seed=4))
    means_s = [statistics.fmean(waited_s) for waited_s in queue.seen.waited_s]
    assert means_s == pytest.approx(mean_waits_s(servers, rates, service_s), rel=0.06)
    assert means_s[1] > 5 * means_s[0]
