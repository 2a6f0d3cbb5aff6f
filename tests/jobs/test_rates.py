"""How long work takes, from what was measured: lines, strange runs, and what is not known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmapp.jobs.rates import FEWEST_RUNS, Run, fit, rates_of, run_of
from mmapp.types import Estimate, TaskName

ASK, SUMMARIZE = TaskName.ASK, TaskName.SUMMARIZE
WEIGHTS = "w" * 64
Points = st.lists(
    st.tuples(st.floats(1, 1e6), st.floats(0.01, 1e4)), min_size=FEWEST_RUNS, max_size=20
)


def record(work: int, seconds: float, **more: Any) -> dict[str, Any]:
    return {
        "weights_sha256": WEIGHTS,
        "device": "cpu",
        "tokens": {"read": work, "remembered": 0, "scored": 0},
        "durations_s": {"total": seconds},
        "estimate": {"unit": "tokens", "work": work},
        **more,
    }


def known(*records: dict[str, Any], task: TaskName = ASK, speed: float | None = None) -> Any:
    told = [(task, one) for one in records]
    return rates_of(told, frozenset({WEIGHTS}), frozenset({"cpu"}), speed)


def of(work: int, **more: Any) -> Estimate:
    return Estimate(1, 1, 0, more.pop("recognise", 0), work=work, unit=more.pop("unit", "tokens"))


def test_a_quarter_of_strange_runs_does_not_move_the_line() -> None:
    points = [(float(work), 0.5 + 0.001 * work) for work in range(100, 4_000, 300)]
    strange = [(500.0, 90.0), (2_000.0, 0.01), (3_000.0, 400.0)]
    line = fit([*points, *strange])
    assert line.base_s == pytest.approx(0.5, abs=0.1)
    assert line.slope_s == pytest.approx(0.001, rel=0.1)


@given(Points)
def test_more_work_never_takes_less_time_and_none_takes_less_than_nothing(
    points: list[tuple[float, float]],
) -> None:
    line = fit(points)
    told = [line.at(work) for work in (0, 1, 1e3, 1e7)]
    assert told == sorted(told)
    assert told[0] >= 0


def test_one_length_of_work_says_how_long_that_length_takes() -> None:
    assert fit([(100.0, 2.0), (100.0, 2.2), (100.0, 2.1)]).at(100) == pytest.approx(2.1)


def test_a_machine_that_has_become_slower_is_told_so_after_some_jobs() -> None:
    before = [record(n * 100, n * 0.2) for n in range(1, 21)]
    since = [record(n * 100, n * 0.6) for n in (5, 9, 13)]
    newest_first = [*since, *before]
    assert known(*newest_first).time_of(ASK, of(1_000)).seconds == pytest.approx(6.0, rel=0.15)


def test_a_task_with_few_results_is_reckoned_by_all_and_none_by_the_worker() -> None:
    many = [record(n * 100, n * 0.2) for n in range(1, 8)]
    assert known(*many).time_of(SUMMARIZE, of(1_000)) == (pytest.approx(2.0), "results")
    assert known(*many[:2], speed=500.0).time_of(ASK, of(1_000)) == (2.0, "worker")
    assert known().time_of(ASK, of(1_000)) is None


def test_characters_are_reckoned_by_results_of_the_same_task_alone() -> None:
    runs = [record(n, n / 10, estimate={"unit": "characters", "work": n}) for n in (10, 20, 30)]
    rates = known(*runs, task=TaskName.COMPARE, speed=1.0)
    assert rates.time_of(TaskName.COMPARE, of(40, unit="characters")) == (4.0, "results")
    assert rates.time_of(ASK, of(40, unit="characters")) is None


def test_recognition_is_added_by_the_page_and_not_known_before_the_first() -> None:
    runs = [record(n, n / 10) for n in (10, 20, 30)]
    assert known(*runs).time_of(ASK, of(10, recognise=2)) is None
    read = record(40, 16.0, recognised=3, durations_s={"total": 16.0, "recognising": 12.0})
    found = known(*runs, read).time_of(ASK, of(10, recognise=2))
    assert found == (pytest.approx(1 + 2 * 4.0), "results")


def test_other_weights_other_devices_and_remembered_readings_say_nothing() -> None:
    foreign = record(10, 99.0, weights_sha256="other")
    elsewhere = record(10, 99.0, device="cuda:0")
    remembered = record(10, 99.0, tokens={"read": 10, "remembered": 9, "scored": 1})
    for one in (foreign, elsewhere, remembered, {}, {"durations_s": {"total": 1.0}}):
        assert known(one, one, one).lines == {}
    own = record(10, 99.0)
    assert set(known(own, own, own).lines) == {(ASK, "tokens"), (None, "tokens")}
    assert run_of(ASK, remembered) is None


def test_what_was_thought_to_be_remembered_and_was_read_counts_as_read() -> None:
    read = record(20, 3.0, estimate={"unit": "tokens", "work": 20, "remembered": 80})
    found = run_of(ASK, read)
    assert found is not None
    assert found.work == 100


def test_a_record_of_an_older_version_tells_the_tokens_that_it_took() -> None:
    older = record(0, 3.0, tokens={"read": 100, "remembered": 5, "scored": 20})
    del older["estimate"]
    assert run_of(ASK, older) == Run(ASK, WEIGHTS, "cpu", "tokens", 115, 3.0)
