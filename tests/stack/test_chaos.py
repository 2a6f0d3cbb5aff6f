"""Whatever is killed, each job ends once: real Redis, real Celery workers, a real model."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from mmapp.jobs import Jobs
from mmapp.stack import Stack
from mmapp.types import Job, Message, Priority, Status
from tests.stack.conftest import (
    READY_S,
    Submit,
    count_results,
    in_the_middle,
    ready_workers,
    until,
)

#: Sentences of a job that runs for some seconds.
LONG = 300


def finished(jobs: Jobs, job: Job, timeout_s: float = 60.0) -> Job:
    until(lambda: jobs.get(job.id).status.is_final, timeout_s)
    return jobs.get(job.id)


def wait_for_both_workers(jobs: Jobs) -> None:
    until(lambda: len(ready_workers(jobs)) == 2, READY_S)


def test_a_job_runs_to_its_result(jobs: Jobs, submit: Submit) -> None:
    job = finished(jobs, submit("Hamburg"))
    assert (job.status, job.error) == (Status.SUCCEEDED, "")
    assert "Hamburg" in jobs.result(job.id).payload["summary"][0]["text"]


def test_a_killed_engine_process_hands_its_job_to_another_worker(
    jobs: Jobs, submit: Submit
) -> None:
    wait_for_both_workers(jobs)
    job = submit("Bremen", LONG)
    killed = in_the_middle(jobs, job.id)
    os.kill(killed.process.pid, signal.SIGKILL)
    taken_again_s = until(lambda: jobs.get(job.id).attempts == 2)
    assert taken_again_s < 10, f"{taken_again_s:.1f} s until another worker took the job"
    job = finished(jobs, job)
    assert (job.status, job.attempts) == (Status.SUCCEEDED, 2)
    assert jobs.result(job.id).record["worker"] != killed.name
    assert count_results(jobs, job.id) == 1


def test_a_killed_worker_with_its_parent_hands_its_job_to_another_worker(
    jobs: Jobs, submit: Submit
) -> None:
    wait_for_both_workers(jobs)
    job = submit("Lisbon", LONG)
    killed = in_the_middle(jobs, job.id)
    os.killpg(killed.parent_pid, signal.SIGKILL)
    taken_again_s = until(lambda: jobs.get(job.id).attempts == 2)
    assert taken_again_s < 10, f"{taken_again_s:.1f} s until another worker took the job"
    job = finished(jobs, job)
    assert (job.status, job.attempts) == (Status.SUCCEEDED, 2)
    assert jobs.result(job.id).record["worker"] != killed.name
    assert count_results(jobs, job.id) == 1


def test_jobs_survive_a_flushed_redis(jobs: Jobs, submit: Submit) -> None:
    waiting = [submit("Genoa", LONG), submit("Riga", LONG)]
    waiting += [submit(f"Oslo {number}") for number in range(5)]
    jobs._broker._connected_redis().flushall()
    for job in waiting:
        assert finished(jobs, job).status is Status.SUCCEEDED
        assert count_results(jobs, job.id) == 1


def test_jobs_survive_a_killed_redis(stack: Stack, jobs: Jobs, submit: Submit) -> None:
    long = submit("Porto", LONG)
    in_the_middle(jobs, long.id)
    redis = stack._supervisor._services[0]
    os.kill(redis.pids[-1], signal.SIGKILL)
    waiting = [long] + [submit(f"Malmö {number}") for number in range(3)]
    for job in waiting:
        assert finished(jobs, job).status is Status.SUCCEEDED
        assert count_results(jobs, job.id) == 1
    assert jobs.get(long.id).attempts == 1


def test_a_message_that_comes_three_times_runs_once(jobs: Jobs, submit: Submit) -> None:
    job = submit("Cádiz", LONG)
    jobs._broker.send([Message(job.id, Priority.INTERACTIVE, job.role)] * 2)
    done = finished(jobs, job)
    until(lambda: jobs._broker.depth() == 0)
    assert (done.status, done.attempts) == (Status.SUCCEEDED, 1)
    assert count_results(jobs, job.id) == 1


def test_cancel_stops_the_model_within_seconds(jobs: Jobs, submit: Submit) -> None:
    job = submit("Genua", 3 * LONG)
    in_the_middle(jobs, job.id)
    start = time.monotonic()
    jobs.cancel(job.id)
    assert finished(jobs, job).status is Status.CANCELLED
    assert time.monotonic() - start < 5
    assert finished(jobs, submit("Kiel")).status is Status.SUCCEEDED


def libraries(pid: int) -> str:
    """What a live process has mapped into its memory."""
    return Path(f"/proc/{pid}/maps").read_text()


def test_the_parents_of_workers_hold_no_torch(jobs: Jobs) -> None:
    for worker in ready_workers(jobs):
        assert "libtorch" not in libraries(worker.parent_pid)
        assert "libtorch" in libraries(worker.process.pid)
