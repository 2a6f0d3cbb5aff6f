"""The queue of the plan agrees with the closed forms, and the short measuring runs."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.scale.__main__ import main
from benchmarks.scale.day import _services, level
from benchmarks.scale.plan import Assumptions, Part
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


def test_the_short_run_measures_plans_and_simulates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scale.json"
    assert main(["--quick", "--out", str(out), "--plots", str(tmp_path)]) == 0
    report = capsys.readouterr().out
    figures = json.loads(out.read_text())
    measured = figures["measured"]
    assert {name.split(",")[0] for name in measured["calls"]} == {
        *("submit", "take", "progress", "heartbeat", "end", "sweep", "sweep for all")
    }
    for cost in [*measured["calls"].values(), *measured["takes"].values()]:
        assert cost["calls"] > 0
        assert cost["seconds"] > 0
    assert measured["calls"]["end, 500 waiting"]["wal_bytes"] > 0
    assert all(size > 0 for size in measured["stored"]["bytes_per_row"].values())
    assert all(value > 0 for value in measured["broker"].values())
    assert sum(hour["jobs"] for hour in figures["day"]) > 1_000
    assert report.count("| take, 500 waiting |") == 1
    for plot in ("scale-parts.svg", "scale-waits.svg"):
        assert "polyline" in (tmp_path / plot).read_text()
    assert main(["--quick", "--measured", str(out)]) == 0
    assert capsys.readouterr().out == report


def test_a_part_is_full_where_its_use_is_one() -> None:
    part = Part("database", per_job=0.25, always=2.0, most=32.0)
    assert part.full_at() == 120.0
    assert part.use(part.full_at()) == pytest.approx(1.0)
    assert Part("idle", 0.0, 1.0, 2.0).full_at() == math.inf


def test_what_is_assumed_makes_the_mean_service() -> None:
    assumed = Assumptions()
    random = np.random.default_rng(0)
    services = _services(assumed, 400_000, random)
    assert services.mean() == pytest.approx(assumed.service_s, rel=0.02)
    assert np.mean([level(assumed, hour * 3600.0) for hour in range(24)]) == pytest.approx(1.0)
    assert level(assumed, 13.5 * 3600) == pytest.approx(assumed.peak)
