"""What dead workers and lost messages leave behind, with a real Redis."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from mmapp.db.tables import sweeps
from mmapp.jobs import Jobs, WorkerInfo
from mmapp.processes import Process, began, machine
from mmapp.types import Job, Progress, Status, SummarizeParams, TaskName
from tests.jobs.conftest import AddText
from tests.jobs.scenes import TEXT, engine
from tests.jobs.test_run import expire, taken
from tests.servers import RedisServer

GRACE_S = 0.3


@pytest.fixture
def job(queued_jobs: Jobs, add_text: AddText) -> Job:
    return queued_jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(TEXT).sha256, 1))


@pytest.fixture
def worker(queued_jobs: Jobs) -> Iterator[subprocess.Popen[bytes]]:
    """A live process that has greeted as the worker `w1`."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    queued_jobs.greet(info("w1", Process(machine(), process.pid, began(process.pid))))
    yield process
    process.kill()
    process.wait()
    process.stdin.close()


def info(name: str, process: Process, **more: object) -> WorkerInfo:
    now = datetime.now(UTC)
    told = WorkerInfo(
        name=name,
        checkpoint="fake",
        weights_sha256="",
        device="cpu",
        dtype="float32",
        ready=True,
        error="",
        started_at=now,
        last_seen=now,
        job_id=None,
        process=process,
        parent_pid=1,
    )
    return dataclasses.replace(told, **more)


def depth(jobs: Jobs) -> int:
    return jobs._broker.depth()


def test_a_dead_process_of_this_machine_is_known_at_once(
    queued_jobs: Jobs, job: Job, worker: subprocess.Popen[bytes]
) -> None:
    taken(queued_jobs, job.id)
    assert queued_jobs.sweep() == 0
    assert [info.job_id for info in queued_jobs.workers()] == [job.id]
    worker.kill()
    worker.wait()
    assert queued_jobs.sweep() == 2  # freed, and sent
    assert queued_jobs.get(job.id).status is Status.QUEUED
    assert queued_jobs.workers() == []


def test_a_redelivery_takes_over_from_a_dead_process_without_a_sweep(
    queued_jobs: Jobs, job: Job, worker: subprocess.Popen[bytes]
) -> None:
    taken(queued_jobs, job.id)
    worker.kill()
    worker.wait()
    assert taken(queued_jobs, job.id, "w2").number == 2


def test_a_process_of_another_machine_is_left_to_its_lease(queued_jobs: Jobs, job: Job) -> None:
    queued_jobs.greet(info("w1", Process("elsewhere", 999_999_999, "1")))
    attempt = taken(queued_jobs, job.id)
    assert queued_jobs.sweep() == 0
    expire(queued_jobs, attempt)
    assert queued_jobs.sweep() == 2


def test_a_reused_process_id_is_not_taken_for_the_worker() -> None:
    assert not Process.current().is_dead
    assert Process(machine(), os.getpid(), "1").is_dead


def test_a_job_that_kills_its_workers_fails_with_what_to_do(queued_jobs: Jobs, job: Job) -> None:
    for number in (1, 2, 3):
        attempt = taken(queued_jobs, job.id)
        assert attempt.number == number
        expire(queued_jobs, attempt)
        queued_jobs.sweep()
    failed = queued_jobs.get(job.id)
    assert failed.status is Status.FAILED
    assert "died 3 times while reading “report.txt”" in failed.error
    assert queued_jobs.retry(job.id).status is Status.QUEUED
    queued_jobs.run(job.id, engine(), "w1")
    assert queued_jobs.get(job.id).attempts == 4


def test_jobs_put_back_on_purpose_lose_no_attempt(
    queued_jobs: Jobs, job: Job, worker: subprocess.Popen[bytes]
) -> None:
    worker.kill()
    worker.wait()
    for _ in range(5):
        taken(queued_jobs, job.id)
        assert queued_jobs.put_back() == 1
    assert queued_jobs.get(job.id).status is Status.QUEUED


def test_a_cancelled_job_of_a_dead_worker_ends_cancelled(queued_jobs: Jobs, job: Job) -> None:
    attempt = taken(queued_jobs, job.id)
    queued_jobs.cancel(job.id)
    expire(queued_jobs, attempt)
    queued_jobs.sweep()
    assert queued_jobs.get(job.id).status is Status.CANCELLED


def test_a_message_is_sent_once_and_not_swept_while_it_waits(queued_jobs: Jobs, job: Job) -> None:
    time.sleep(GRACE_S)
    assert queued_jobs.sweep() == 0
    assert depth(queued_jobs) == 1
    assert queued_jobs.get(job.id).status is Status.QUEUED


def test_lost_messages_are_sent_again(queued_jobs: Jobs, job: Job) -> None:
    queued_jobs._broker._connected_redis().flushall()
    time.sleep(GRACE_S)
    assert queued_jobs.sweep() == 1
    assert depth(queued_jobs) == 1
    assert queued_jobs.sweep() == 0
    assert queued_jobs.get(job.id).status is Status.QUEUED


def test_what_could_not_be_sent_is_sent_when_redis_is_back(
    queued_jobs: Jobs, add_text: AddText, redis: RedisServer
) -> None:
    redis.kill()
    started = time.monotonic()
    for text in ("One. Two.", "Three. Four."):
        queued_jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(text).sha256, 1))
    assert time.monotonic() - started < 5
    assert queued_jobs.sweep() == 0
    redis.start()
    assert queued_jobs.sweep() == 2
    assert depth(queued_jobs) == 2


def test_progress_of_a_freed_job_starts_anew(queued_jobs: Jobs, job: Job) -> None:
    attempt = taken(queued_jobs, job.id)
    expire(queued_jobs, attempt)
    assert queued_jobs.get(job.id).progress.phase == "reading"
    queued_jobs.sweep()
    assert queued_jobs.get(job.id).progress == Progress()


def test_an_engine_error_is_kept_for_who_waits_until_a_worker_starts(queued_jobs: Jobs) -> None:
    dead = Process(machine(), os.getpid(), "1")
    queued_jobs.greet(info("w1", dead, ready=False, error="no weights"))
    queued_jobs.sweep()
    assert [worker.error for worker in queued_jobs.workers()] == ["no weights"]
    queued_jobs.greet(info("w2", Process.current()))
    assert [worker.name for worker in queued_jobs.workers()] == ["w2"]


def test_one_of_many_sweeps_for_all_and_each_for_its_own_machine(
    queued_jobs: Jobs, add_text: AddText, worker: subprocess.Popen[bytes]
) -> None:
    """An expired lease is found in a turn, a dead process of this machine without one."""
    slow = queued_jobs.settings.model_copy(update={"sweep_seconds": 600.0})
    with Jobs.open(slow) as first, Jobs.open(slow) as second:
        mine, elsewhere = (
            first.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(text).sha256, 1))
            for text in ("One. Two.", "Three. Four.")
        )
        assert first.sweep_by_turns() == 0
        taken(first, mine.id)
        expire(first, taken(first, elsewhere.id, "far"))
        assert [second.sweep_by_turns(), first.sweep_by_turns()] == [0, 0]
        worker.kill()
        worker.wait()
        assert second.sweep_by_turns() == 2  # freed, and sent
        assert first.get(mine.id).status is Status.QUEUED
        assert first.get(elsewhere.id).status is Status.RUNNING
        assert first.sweep() == 2
        assert first.get(elsewhere.id).status is Status.QUEUED


def test_a_turn_comes_again_after_half_a_period(queued_jobs: Jobs, job: Job) -> None:
    assert queued_jobs.sweep_by_turns() == 0
    expire(queued_jobs, taken(queued_jobs, job.id, "far"))
    began = time.monotonic()
    while not queued_jobs.sweep_by_turns():
        assert time.monotonic() - began < 5
    assert time.monotonic() - began > 0.3 * queued_jobs.settings.sweep_seconds


def test_of_those_who_sweep_at_once_one_gets_the_turn(queued_jobs: Jobs) -> None:
    def turn(_: int) -> bool:
        with queued_jobs._database.transaction() as repository:
            return repository.sweeps.take_turn(60.0)

    for year in (2026, 2999, 2026):  # long ago, or the clock was put back
        with ThreadPoolExecutor(8) as pool:
            turns = list(pool.map(turn, range(8)))
        assert sum(turns) == 1
        with queued_jobs._database._engine.begin() as connection:
            connection.execute(sweeps.update().values(swept_at=datetime(year, 1, 1, tzinfo=UTC)))
