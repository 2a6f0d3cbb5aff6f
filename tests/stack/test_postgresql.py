"""The same promises on PostgreSQL, which may also restart while a job runs."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from mmapp.config import Settings
from mmapp.errors import DatabaseNotReady
from mmapp.jobs import Jobs
from mmapp.stack import Stack
from mmapp.types import Status, SummarizeParams, TaskName
from tests.servers import fresh_postgresql, postgresql_server
from tests.stack.conftest import READY_S, count_results, in_the_middle, ready_workers, story, until


def has_ended(jobs: Jobs, job_id: str) -> bool:
    try:
        return jobs.get(job_id).status.is_final
    except DatabaseNotReady:
        return False


def test_a_job_survives_a_restart_of_the_database_and_a_killed_worker(
    tmp_path: Path, checkpoint: Path
) -> None:
    with postgresql_server() as server:
        settings = Settings(
            data_dir=tmp_path / "data",
            checkpoint=checkpoint,
            database_url=fresh_postgresql(server.url, "stack"),
            threads=1,
            sweep_seconds=1.0,
            _env_file=None,
        )
        with Stack(settings) as stack, Jobs.open(stack.settings) as jobs:
            document = jobs.add_document("long.txt", story("Tallinn", 400).encode())
            job = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 1))
            stack.wait_ready(READY_S)
            first = in_the_middle(jobs, job.id)
            server.stop()
            server.start()
            assert in_the_middle(jobs, job.id).name == first.name
            os.kill(first.process.pid, signal.SIGKILL)
            until(lambda: has_ended(jobs, job.id), READY_S)
            done = jobs.get(job.id)
            assert (done.status, done.attempts, done.error) == (Status.SUCCEEDED, 2, "")
            assert count_results(jobs, job.id) == 1
            assert [worker.name for worker in ready_workers(jobs)] != [first.name]
