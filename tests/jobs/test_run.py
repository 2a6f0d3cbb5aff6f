"""Taking, running, being overtaken, being cancelled."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mmapp.config import Settings
from mmapp.errors import DatabaseNotReady, JobCancelled, LeaseLost, NotFound
from mmapp.jobs import Attempt, Jobs, progress
from mmapp.jobs.progress import Reporter
from mmapp.types import Job, Listing, Progress, Status, SummarizeParams, TaskName
from tests.jobs.conftest import AddPhoto, AddText
from tests.jobs.scenes import TEXT, engine
from tests.tasks.fakes import likes


@pytest.fixture
def job(jobs: Jobs, add_text: AddText) -> Job:
    return jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(TEXT).sha256, 1))


def expire(jobs: Jobs, attempt: Attempt) -> None:
    """Lets the lease run out now."""
    with jobs._database.transaction() as repository:
        repository.attempts.renew(attempt.job.id, attempt.number, Progress("reading"), -1.0)


def taken(jobs: Jobs, job_id: str, worker: str = "w1") -> Attempt:
    attempt = jobs.take(job_id, worker)
    assert attempt is not None
    return attempt


def test_a_job_runs_to_a_result_with_its_whole_record(jobs: Jobs, job: Job) -> None:
    jobs.run(job.id, engine(), "w1")
    done = jobs.get(job.id)
    assert (done.status, done.attempts, done.error) == (Status.SUCCEEDED, 1, "")
    assert done.created_at <= done.started_at <= done.finished_at
    result = jobs.result(job.id)
    assert result.payload["summary"][0]["text"] == "Engineers found cracks in two piers."
    assert not {"usage", "record", "job"} & set(result.payload)
    assert set(result.record) == {
        *("job", "documents", "checkpoint", "weights_sha256", "code", "schema_version"),
        *("prompt_sha256", "params", "seed", "dtype", "device", "durations_s", "tokens"),
        *("attempt", "worker", "calibration", "estimate"),
    }
    assert result.record["worker"] == "w1"
    assert result.record["durations_s"]["total"] >= 0


def test_a_listing_runs_on_its_photos(jobs: Jobs, add_photo: AddPhoto) -> None:
    listing = Listing((add_photo("red").sha256, add_photo("blue").sha256), "Red mug")
    job = jobs.submit(TaskName.CHECK_LISTING, listing)
    working = engine(likes("mug"))
    jobs.run(job.id, working, "w1")
    assert jobs.get(job.id).error == ""
    pictures = [part for part in working.prefixes[0].parts if not isinstance(part, str)]
    assert [picture.getpixel((0, 0)) for picture in pictures] == [(255, 0, 0), (0, 0, 255)]
    assert jobs.result(job.id).payload["claims"]


def test_a_duplicate_delivery_finds_nothing_to_take(jobs: Jobs, job: Job) -> None:
    taken(jobs, job.id)
    assert jobs.take(job.id, "w2") is None
    assert jobs.get(job.id).attempts == 1


def test_a_delivery_after_the_end_finds_nothing_to_take(jobs: Jobs, job: Job) -> None:
    jobs.run(job.id, engine(), "w1")
    working = engine()
    jobs.run(job.id, working, "w2")
    assert working.prefixes == []


def test_a_delivery_of_an_unknown_job_is_dropped(jobs: Jobs) -> None:
    jobs.run("nothing", engine(), "w1")


def test_of_takers_at_once_one_wins(jobs: Jobs, job: Job) -> None:
    barrier = threading.Barrier(6)

    def take(number: int) -> Attempt | None:
        barrier.wait()
        return jobs.take(job.id, f"w{number}")

    with ThreadPoolExecutor(6) as threads:
        attempts = list(threads.map(take, range(6)))
    assert sum(attempt is not None for attempt in attempts) == 1


def test_of_submitters_at_once_one_runs(jobs: Jobs, add_text: AddText) -> None:
    sha256 = add_text(TEXT).sha256
    barrier = threading.Barrier(6)

    def submit(_number: int) -> Job:
        barrier.wait()
        return jobs.submit(TaskName.SUMMARIZE, SummarizeParams(sha256, 4))

    with ThreadPoolExecutor(6) as threads:
        ids = [job.id for job in threads.map(submit, range(6))]
    attempts = [jobs.take(job_id, "w1") for job_id in ids]
    assert sum(attempt is not None for attempt in attempts) == 1


def test_an_expired_lease_lets_another_worker_take_over(jobs: Jobs, job: Job) -> None:
    first = taken(jobs, job.id)
    expire(jobs, first)
    second = taken(jobs, job.id, "w2")
    assert second.number == first.number + 1
    with pytest.raises(LeaseLost):
        jobs.renew(first, Progress("reading"))
    jobs.renew(second, Progress("reading"))


def test_a_worker_that_was_overtaken_stores_nothing(jobs: Jobs, job: Job) -> None:
    overtaken = False

    def rule(*_: object) -> float:
        nonlocal overtaken
        if not overtaken:
            overtaken = True
            expire(jobs, held(jobs, job))
            jobs.run(job.id, engine(), "w2")
        return 0.0

    jobs.run(job.id, engine(rule), "w1")
    assert overtaken
    assert jobs.result(job.id).record["worker"] == "w2"
    assert jobs.get(job.id).attempts == 2


def held(jobs: Jobs, job: Job) -> Attempt:
    """The attempt that runs now."""
    with jobs._database.snapshot() as repository:
        found = repository.attempts.held(job.id)
    return Attempt(job, found.attempt, found.worker, 0.0)


def test_a_heartbeat_keeps_the_lease_of_a_silent_task(jobs: Jobs, job: Job) -> None:
    beaten = False

    def rule(*_: object) -> float:
        nonlocal beaten
        if not beaten:
            beaten = True
            expire(jobs, held(jobs, job))
            jobs.beat("w1")
            assert jobs.take(job.id, "w2") is None
        return 0.0

    jobs.run(job.id, engine(rule), "w1")
    assert beaten
    assert jobs.get(job.id).status is Status.SUCCEEDED


def test_a_heartbeat_does_not_keep_what_its_worker_no_longer_runs(jobs: Jobs, job: Job) -> None:
    expire(jobs, taken(jobs, job.id))
    jobs.beat("w1")
    assert jobs.take(job.id, "w2") is not None


def test_cancel_stops_a_running_job_at_its_next_report(
    jobs: Jobs, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PERIOD_S", 0.0)
    asked = 0

    def rule(*_: object) -> float:
        nonlocal asked
        asked += 1
        assert jobs.cancel(job.id).cancel_requested
        return 0.0

    jobs.run(job.id, engine(rule), "w1")
    assert jobs.get(job.id).status is Status.CANCELLED
    assert asked == 1
    with pytest.raises(NotFound, match="was cancelled"):
        jobs.result(job.id)


def test_an_error_that_a_person_can_solve_is_shown_as_it_is(jobs: Jobs, job: Job) -> None:
    def rule(*_: object) -> float:
        raise NotFound("The photo is gone; add it again")

    jobs.run(job.id, engine(rule), "w1")
    failed = jobs.get(job.id)
    assert (failed.status, failed.error) == (Status.FAILED, "The photo is gone; add it again")


def test_a_defect_fails_the_job_at_once_and_names_itself(jobs: Jobs, job: Job) -> None:
    def rule(*_: object) -> float:
        raise ZeroDivisionError("two\nlines")

    jobs.run(job.id, engine(rule), "w1")
    failed = jobs.get(job.id)
    assert failed.status is Status.FAILED
    assert "ZeroDivisionError: two lines" in failed.error
    assert jobs.retry(job.id).status is Status.QUEUED
    jobs.run(job.id, engine(), "w1")
    assert jobs.get(job.id).attempts == 2


def test_a_job_that_takes_too_long_says_so(settings: Settings, jobs: Jobs, job: Job) -> None:
    hasty = settings.model_copy(update={"job_seconds": 0.0})
    with Jobs.open(hasty) as worker:
        worker.run(job.id, engine(), "w1")
    assert "longer than 0 s" in jobs.get(job.id).error


def test_progress_has_the_time_left_at_the_pace_of_its_phase(
    jobs: Jobs, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    attempt = taken(jobs, job.id)
    report = Reporter(lambda progress: jobs.renew(attempt, progress), limit_s=60.0)
    seen = []
    for seconds, done in [(0.0, 0), (2.0, 10), (2.2, 11), (10.0, 50), (20.0, 100)]:
        clock[0] = 100.0 + seconds
        report(Progress("reading", done, 100, "tokens"))
        seen.append(jobs.get(job.id).progress.eta_s)
    assert seen == [None, 18.0, 18.0, 10.0, 0.0]
    clock[0] += 1.0
    report(Progress("choosing", 5, 10, "sentences"))
    assert jobs.get(job.id).progress.eta_s is None


def test_progress_has_the_estimated_time_until_its_own_pace_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    seen: list[Progress] = []
    report = Reporter(seen.append, 60.0, 3.0, began=100.0)
    for seconds, done in [(0.0, 0), (0.8, 0), (2.0, 10), (2.6, 0), (5.0, 0)]:
        clock[0] = 100.0 + seconds
        report(Progress("reading" if done else "preparing", done, 100, "tokens"))
    assert [one.eta_s for one in seen] == [3.0, 2.2, 1.0, 0.4, None]


def test_a_database_that_is_gone_for_a_moment_costs_an_attempt_and_no_job(
    jobs: Jobs, job: Job
) -> None:
    def rule(*_: object) -> float:
        raise DatabaseNotReady("The database does not answer")

    jobs.run(job.id, engine(rule), "w1")
    assert jobs.get(job.id).status is Status.QUEUED
    jobs.run(job.id, engine(), "w1")
    assert (jobs.get(job.id).status, jobs.get(job.id).attempts) == (Status.SUCCEEDED, 2)


def test_a_database_that_stays_unusable_fails_the_job_after_its_attempts(
    jobs: Jobs, job: Job
) -> None:
    def rule(*_: object) -> float:
        raise DatabaseNotReady("The database does not answer")

    for _ in range(jobs.settings.max_attempts):
        assert jobs.get(job.id).status is Status.QUEUED
        jobs.run(job.id, engine(rule), "w1")
    ended = jobs.get(job.id)
    assert (ended.status, ended.error) == (Status.FAILED, "The database does not answer")


def test_watch_yields_changes_until_all_have_ended(jobs: Jobs, add_text: AddText) -> None:
    first = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(TEXT).sha256, 1))
    second = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text("One. Two.").sha256, 1))
    watched = jobs.watch([first.id, second.id], poll_s=0.01)
    assert [next(watched).status for _ in range(2)] == [Status.QUEUED] * 2
    jobs.run(first.id, engine(), "w1")
    assert (next(watched).id, jobs.get(first.id).status) == (first.id, Status.SUCCEEDED)
    jobs.cancel(second.id)
    assert [job.status for job in watched] == [Status.CANCELLED]


def test_watch_knows_what_is_not_there(jobs: Jobs) -> None:
    with pytest.raises(NotFound):
        next(jobs.watch(["nothing"]))


def test_cancel_is_raised_to_the_task(jobs: Jobs, job: Job) -> None:
    attempt = taken(jobs, job.id)
    jobs.cancel(job.id)
    with pytest.raises(JobCancelled):
        jobs.renew(attempt, Progress("reading"))
