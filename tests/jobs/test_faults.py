"""What may pass is tried again, what hangs is ended, and nobody is judged by who was away."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from mmapp.db.tables import jobs as stored
from mmapp.db.tables import workers
from mmapp.errors import DatabaseNotReady, JobStalled
from mmapp.jobs import Jobs, failures
from mmapp.processes import Process, machine
from mmapp.types import Job, Status, SummarizeParams, TaskName
from tests.jobs.conftest import AddText
from tests.jobs.scenes import TEXT, engine
from tests.jobs.test_run import expire, taken
from tests.jobs.test_sweep import depth, info

ELSEWHERE = Process("elsewhere", 999_999_999, "1")


@pytest.fixture
def job(jobs: Jobs, add_text: AddText) -> Job:
    return jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(TEXT).sha256, 1))


def failing(error: Exception) -> Callable[..., float]:
    def rule(*_: object) -> float:
        raise error

    return rule


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "more memory than its worker can get"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"), "more memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "more memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
    ],
)
def test_what_may_pass_is_tried_again_after_pauses_and_then_fails(
    jobs: Jobs, job: Job, error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "PAUSES_S", (0.05,))
    for number in range(1, jobs.settings.max_attempts + 1):
        jobs.run(job.id, engine(failing(error)), "w1")
        assert jobs.get(job.id).attempts == number
    failed = jobs.get(job.id)
    assert failed.status is Status.FAILED
    assert words in failed.error


def test_what_can_not_pass_fails_at_once(jobs: Jobs, job: Job) -> None:
    jobs.run(job.id, engine(failing(OSError("the picture is broken"))), "w1")
    assert (jobs.get(job.id).status, jobs.get(job.id).attempts) == (Status.FAILED, 1)


def test_a_job_that_is_set_aside_is_sent_when_its_pause_is_over(
    queued_jobs: Jobs, add_text: AddText, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "PAUSES_S", (0.6,))
    submitted = queued_jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(TEXT).sha256, 1))
    queued_jobs._broker._connected_redis().flushall()
    queued_jobs.run(submitted.id, engine(failing(MemoryError())), "w1")
    began = time.monotonic()
    assert queued_jobs.sweep() == 0
    while not queued_jobs.sweep():
        assert time.monotonic() - began < 5
        time.sleep(0.05)
    assert time.monotonic() - began > 0.4
    assert depth(queued_jobs) == 1


def test_a_run_that_hangs_is_given_back_and_its_process_told_to_end(jobs: Jobs, job: Job) -> None:
    hasty = jobs.settings.model_copy(update={"stall_seconds": 0.2})
    began, may_end = threading.Event(), threading.Event()

    def hanging(*_: object) -> float:
        began.set()
        may_end.wait(10)
        return 0.0

    with Jobs.open(hasty) as worker:
        thread = threading.Thread(target=worker.run, args=(job.id, engine(hanging), "w1"))
        thread.start()
        began.wait(10)
        worker.beat("w1")
        time.sleep(0.3)
        with pytest.raises(JobStalled, match=r"no progress for 0\.2 s"):
            worker.beat("w1")
        assert jobs.get(job.id).status is Status.QUEUED
        may_end.set()
        thread.join()
    assert jobs.get(job.id).status is Status.QUEUED
    jobs.run(job.id, engine(), "w2")
    assert jobs.result(job.id).record["worker"] == "w2"


def test_a_follower_that_is_cancelled_at_the_end_of_its_leader_leads_nobody(
    jobs: Jobs, add_text: AddText
) -> None:
    params = SummarizeParams(add_text(TEXT).sha256, 1)
    leader, first, second = (jobs.submit(TaskName.SUMMARIZE, params) for _ in range(3))
    attempt = taken(jobs, leader.id)

    def fail() -> None:
        with jobs._database.transaction() as repository:
            repository.attempts.fail(leader.id, attempt.number, "broken", "job_failed")

    thread = threading.Thread(target=fail)
    with jobs._database.transaction() as repository:
        assert repository.jobs.cancel(first.id)
        thread.start()
        time.sleep(0.3)
    thread.join()
    assert jobs.get(first.id).status is Status.CANCELLED
    assert jobs.get(second.id).status is Status.QUEUED
    assert jobs.take(second.id, "w2") is not None


def test_a_lost_message_delays_no_job_while_others_wait(
    queued_jobs: Jobs, add_text: AddText
) -> None:
    """A message only says that some job waits; that there is one too few shows at the end."""
    patient = queued_jobs.settings.model_copy(update={"sweep_seconds": 60.0})
    long_ago = datetime.now(UTC) - timedelta(minutes=5)
    with Jobs.open(patient) as sweeping:

        def submit(text: str) -> Job:
            params = SummarizeParams(add_text(text).sha256, 1)
            return sweeping.submit(TaskName.SUMMARIZE, params)

        first = submit("One. Two.")
        sweeping._broker._connected_redis().flushall()
        others = [submit(f"{number} ships sailed.") for number in range(3)]
        attempts = [sweeping.take_next(told_of.id, "w1") for told_of in others]
        taken_ids = [attempt.job.id for attempt in attempts if attempt is not None]
        assert taken_ids == [first.id, others[0].id, others[1].id]
        sweeping._broker._connected_redis().flushall()
        assert sweeping.sweep() == 0
        with sweeping._database._engine.begin() as connection:
            connection.execute(stored.update().values(sent_at=long_ago))
        assert sweeping.sweep() == 1
        assert depth(sweeping) == 1
        assert sweeping.sweep() == 0


def test_who_was_away_longer_than_a_lease_gives_others_time_to_beat(
    queued_jobs: Jobs, add_text: AddText, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = [1_000.0]
    monkeypatch.setattr(time, "time", lambda: wall[0])
    submitted = queued_jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(TEXT).sha256, 1))
    assert queued_jobs.sweep() == 0
    expire(queued_jobs, taken(queued_jobs, submitted.id))
    wall[0] += queued_jobs.settings.lease_seconds + 1
    assert queued_jobs.sweep() == 0
    wall[0] += 3.0
    assert queued_jobs.sweep() == 0
    wall[0] += 4.0
    assert queued_jobs.sweep() == 2


def test_children_that_live_and_do_not_beat_are_told_from_others(jobs: Jobs) -> None:
    here = Process.current()
    told = [
        info("silent", here, parent_pid=7),
        info("of another parent", here, parent_pid=8),
        info("still loading", here, parent_pid=7, ready=False),
        info("dead", Process(machine(), os.getpid(), "1"), parent_pid=7),
        info("elsewhere", ELSEWHERE, parent_pid=7),
        info("beating", here, parent_pid=7),
    ]
    for worker in told:
        jobs.greet(worker)
    assert jobs.silent_workers(7) == []
    long_ago = datetime.now(UTC) - timedelta(minutes=5)
    with jobs._database._engine.begin() as connection:
        connection.execute(workers.update().values(last_seen=long_ago))
    jobs.beat("beating")
    assert [worker.name for worker in jobs.silent_workers(7)] == ["silent"]


def test_a_worker_waits_for_a_database_that_restarts_and_takes_its_job_then(
    jobs: Jobs, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, asked = jobs._runner._take_or_free, 0

    def away_at_first(job_id: str, worker: str) -> object:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise DatabaseNotReady("The database does not answer")
        return really(job_id, worker)

    monkeypatch.setattr(jobs._runner, "_take_or_free", away_at_first)
    jobs.run(job.id, engine(), "w1")
    assert jobs.get(job.id).status is Status.SUCCEEDED


def test_of_twenty_who_ask_at_once_one_computes_for_all(
    jobs: Jobs, queued_jobs: Jobs, add_text: AddText
) -> None:
    params = SummarizeParams(add_text(TEXT).sha256, 4)
    barrier = threading.Barrier(20)

    def submit(number: int) -> str:
        """Some in this process's application, some in one of their own."""
        barrier.wait()
        if number % 2:
            return jobs.submit(TaskName.SUMMARIZE, params).id
        with Jobs.open(queued_jobs.settings) as own:
            return own.submit(TaskName.SUMMARIZE, params).id

    with ThreadPoolExecutor(20) as threads:
        ids = list(threads.map(submit, range(20)))
    worker = engine()
    for job_id in ids:
        jobs.run(job_id, worker, "w1")
    assert len(set(ids)) == 20
    assert len(worker.prefixes) == 1
    assert {jobs.get(job_id).status for job_id in ids} == {Status.SUCCEEDED}
    assert len({str(jobs.result(job_id).record) for job_id in ids}) == 1


def test_a_job_that_meets_what_may_pass_after_it_was_cancelled_ends(
    jobs: Jobs, add_text: AddText
) -> None:
    params = SummarizeParams(add_text(TEXT).sha256, 3)
    leader, follower = (jobs.submit(TaskName.SUMMARIZE, params) for _ in range(2))

    def rule(*_: object) -> float:
        jobs.cancel(leader.id)
        raise MemoryError

    jobs.run(leader.id, engine(rule), "w1")
    assert jobs.get(leader.id).status is Status.CANCELLED
    assert jobs.take(follower.id, "w2") is not None


def test_a_cancel_during_a_put_back_is_heeded(jobs: Jobs, job: Job) -> None:
    attempt = taken(jobs, job.id)
    thread = threading.Thread(target=jobs.cancel, args=(job.id,))
    with jobs._database.transaction() as repository:
        assert repository.attempts.put_back(job.id, attempt.number)
        thread.start()
        time.sleep(0.3)
    thread.join()
    assert jobs.get(job.id).status is Status.CANCELLED
