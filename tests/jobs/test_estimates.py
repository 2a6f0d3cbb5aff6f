"""Estimates of jobs, what they refuse, and what a waiting job is told, on both databases."""

from __future__ import annotations

import dataclasses
import random
from datetime import UTC, datetime

import pytest

from mmapp.config import REPOSITORY, Settings
from mmapp.db.turns import QueuedJob, RunningJob
from mmapp.errors import DoesNotFit, NoText
from mmapp.jobs import BatchRow, Jobs, WorkerInfo
from mmapp.jobs.outlook import Queue, play
from mmapp.jobs.rates import rates_of
from mmapp.processes import Process
from mmapp.types import (
    AskParams,
    Capacity,
    Estimate,
    Listing,
    Outlook,
    Priority,
    Progress,
    Status,
    SummarizeParams,
    TaskName,
)
from tests.jobs.conftest import AddPhoto, AddText
from tests.jobs.scenes import TEXT, engine
from tests.jobs.test_rates import WEIGHTS, record

CHINESE = "周一，易北河上的大桥关闭了。工程师在两个桥墩上发现了裂缝。维修将花费四百二十万欧元。"


@pytest.fixture(autouse=True)
def _nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers come and go faster here than elsewhere."""
    monkeypatch.setattr("mmapp.jobs.estimating.FRESH_S", 0.0)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With the shipped checkpoint, whose config and tokenizer are read."""
    return settings.model_copy(update={"checkpoint": REPOSITORY / "checkpoints" / "nano"})


def worker(jobs: Jobs, name: str, context: int, speed: float | None = None) -> None:
    """A ready worker with the weights of the settings' checkpoint."""
    from mmapp.checkpoints import identify

    weights = identify(jobs.settings.checkpoint, jobs.settings.data_dir).weights_sha256
    now, of = datetime.now(UTC), Process.current()
    info = WorkerInfo(
        name, "nano", weights, "cpu", "bfloat16", True, "", now, now, None, of, of.pid
    )
    jobs.greet(dataclasses.replace(info, capacity=Capacity(context, 10**9, speed)))


@pytest.mark.parametrize("text", [TEXT, CHINESE])
def test_a_job_is_stored_with_what_it_will_take(jobs: Jobs, add_text: AddText, text: str) -> None:
    worker(jobs, "w", 32_768, speed=100.0)
    document = add_text(text)
    job = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 1))
    stored = jobs.get(job.id).estimate
    assert stored == job.estimate == jobs.estimate(job.task, SummarizeParams(document.sha256, 1))
    assert stored is not None
    assert (stored.pages, stored.parts, stored.recognise) == (1, 1, 0)
    assert stored.tokens is not None
    assert stored.tokens > stored.reading_tokens >= stored.least_tokens > 0  # type: ignore[operator]
    assert stored.memory_bytes is not None
    assert stored.seconds == pytest.approx(stored.tokens / 100, rel=0.01)
    assert stored.seconds_from == "worker"


def test_a_long_document_is_estimated_from_a_part_of_it(jobs: Jobs, add_text: AddText) -> None:
    whole = "\n\n".join(f"{n}. The ship {n} carried {n * 3} tons of grain." for n in range(900))
    few = whole[: len(whole) // 8]
    long, short = (
        jobs.estimate(TaskName.SUMMARIZE, SummarizeParams(add_text(text).sha256))
        for text in (whole, few)
    )
    assert long.tokens == pytest.approx(8 * (short.tokens or 0), rel=0.1)


def test_what_no_worker_can_hold_is_refused_and_a_longer_document_is_read_in_parts(
    jobs: Jobs, add_text: AddText, add_photo: AddPhoto
) -> None:
    document = add_text("\n\n".join(f"{n}. {TEXT}" for n in range(60)))
    params = SummarizeParams(document.sha256, 1)
    assert jobs.estimate(TaskName.SUMMARIZE, params).parts == 1
    worker(jobs, "small", 600)
    parted = jobs.submit(TaskName.SUMMARIZE, params).estimate
    assert parted is not None
    assert (parted.context_tokens, (parted.parts or 0) > 4) == (600, True)
    photos = tuple(add_photo(colour).sha256 for colour in ("red", "green", "blue"))
    worker(jobs, "small", 60)
    listing = Listing(photos, "Red cup")
    with pytest.raises(DoesNotFit, match=r"at once, and no worker holds more than 60: give fewer"):
        jobs.submit(TaskName.CHECK_LISTING, listing)
    with pytest.raises(DoesNotFit, match="give a shorter question"):
        jobs.submit(TaskName.ASK, AskParams(document.sha256, "What cost so much? " * 20))
    assert len(jobs.list()) == 1
    batch = jobs.submit_batch("b", TaskName.CHECK_LISTING, [BatchRow({"id": "1"}, listing)])
    (row,) = jobs.batch_rows(batch.id)
    assert "no worker holds more than 60" in row.error


def test_a_stored_result_answers_whatever_the_workers_hold(jobs: Jobs, add_text: AddText) -> None:
    params = SummarizeParams(add_text(TEXT).sha256, 1)
    first = jobs.submit(TaskName.SUMMARIZE, params)
    same = dataclasses.replace(engine(), weights_sha256=_weights(jobs), profile=_profile(jobs))
    jobs.run(first.id, same, "w")
    worker(jobs, "small", 60)
    assert jobs.submit(TaskName.SUMMARIZE, params).status is Status.SUCCEEDED
    told = jobs.result(first.id).record["estimate"]
    assert told["tokens"] == jobs.get(first.id).estimate.tokens  # type: ignore[union-attr]


def _weights(jobs: Jobs) -> str:
    from mmapp.checkpoints import identify

    return identify(jobs.settings.checkpoint, jobs.settings.data_dir).weights_sha256


def _profile(jobs: Jobs) -> dict[str, object]:
    from mmapp.checkpoints import identify

    return dict(identify(jobs.settings.checkpoint, jobs.settings.data_dir).profile)


def test_what_is_no_input_is_refused_by_an_estimate_as_by_a_job(
    jobs: Jobs, add_text: AddText
) -> None:
    params = SummarizeParams(add_text("").sha256)
    with pytest.raises(NoText):
        jobs.estimate(TaskName.SUMMARIZE, params)


# --- the outlook ---------------------------------------------------------------------------------


def test_the_queue_is_foreseen_in_the_order_in_which_jobs_are_taken(
    jobs: Jobs, add_text: AddText
) -> None:
    chance = random.Random(5)
    for number in range(12):
        params = SummarizeParams(add_text(f"{number} ships sailed. Some sank.").sha256, 1)
        jobs.submit(
            TaskName.SUMMARIZE,
            params,
            priority=chance.choice(list(Priority)),
            owner=chance.choice(["anna", "bo", "陈"]),
        )
    worker(jobs, "w1", 32_768)
    waiting = jobs.list()
    foreseen = sorted(waiting, key=lambda job: jobs.outlook(job.id).ahead)  # type: ignore[union-attr]
    taken = []
    for _ in waiting:
        attempt = jobs.take_next("a message", "w1")
        assert attempt is not None
        taken.append(attempt.job.id)
        with jobs._database.transaction() as repository:
            assert repository.attempts.fail(attempt.job.id, 1, "ended", "job_failed")
    assert [job.id for job in foreseen] == taken
    assert jobs.outlook(taken[0]) is None


def test_a_follower_has_the_outlook_of_the_job_that_runs_for_it(
    jobs: Jobs, add_text: AddText
) -> None:
    for number in range(2):
        params = SummarizeParams(add_text(f"{number} ships sailed.").sha256, 1)
        leader = jobs.submit(TaskName.SUMMARIZE, params)
    follower = jobs.submit(TaskName.SUMMARIZE, params, owner="another")
    assert jobs.outlook(follower.id) == jobs.outlook(leader.id) == Outlook(1, None, None)


def estimate(work: int) -> Estimate:
    return Estimate(1, 1, 0, 0, work=work, unit="tokens")


def queued(name: str, owner: str, work: int) -> QueuedJob:
    return QueuedJob(name, TaskName.ASK, Priority.BATCH, owner, estimate(work))


def test_times_are_played_through_with_what_runs_on_all_workers() -> None:
    """A second for each hundred tokens; one worker is busy for 4 s more, as its job says itself."""
    runs = [(TaskName.ASK, record(n * 100, float(n))) for n in range(1, 6)]
    rates = rates_of(runs, frozenset({WEIGHTS}), frozenset(), None)
    running = RunningJob(
        TaskName.ASK, Priority.BATCH, "anna", estimate(9_000), "w1", Progress(eta_s=4.0), 1.0
    )
    waiting = {
        Priority.INTERACTIVE: {},
        Priority.BATCH: {
            "anna": [queued("a1", "anna", 200), queued("a2", "anna", 100)],
            "bo": [queued("b1", "bo", 300)],
        },
    }
    played = play(Queue(waiting, [running], ["w1", "w2"], rates))
    assert played == {
        "b1": Outlook(0, 0.0, 3.0),
        "a1": Outlook(1, 3.0, 5.0),
        "a2": Outlook(2, 4.0, 5.0),
    }
    unknown = dataclasses.replace(running, progress=Progress(), estimate=None)
    one = play(Queue(waiting, [unknown], ["w1"], rates))
    assert [told.starts_s for told in one.values()] == [None, None, None]
    assert [told.ahead for told in play(Queue(waiting, [], [], rates)).values()] == [0, 1, 2]
