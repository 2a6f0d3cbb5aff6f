"""A real stack: Redis, two Celery workers with a tiny checkpoint, SQLite."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmapp.config import Settings
from mmapp.jobs import Jobs, WorkerInfo
from mmapp.stack import Stack
from mmapp.types import Job, Status, SummarizeParams, TaskName
from tests.checkpoints import tiny_checkpoint

READY_S = 120.0

Submit = Callable[..., Job]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Iterator[Stack]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"),
        checkpoint=checkpoint,
        threads=1,
        sweep_seconds=1.0,
        _env_file=None,
    )
    with Stack(settings, workers=2, announce=True) as running:
        running.wait_ready(READY_S)
        yield running


@pytest.fixture
def jobs(stack: Stack) -> Iterator[Jobs]:
    with Jobs.open(stack.settings) as opened:
        yield opened


@pytest.fixture
def submit(jobs: Jobs) -> Submit:
    """Submits the summary of a text that no other test has."""

    def submit_text(name: str, sentences: int = 3) -> Job:
        document = jobs.add_document(f"{name}.txt", story(name, sentences).encode())
        return jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 1))

    return submit_text


def story(name: str, sentences: int) -> str:
    return " ".join(f"In {name}, {i} ships sailed to port {i * 7}." for i in range(sentences))


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> float:
    """Waits for something to become true; how long that took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < timeout_s, "waited in vain"
        time.sleep(0.02)
    return time.monotonic() - start


def ready_workers(jobs: Jobs) -> list[WorkerInfo]:
    return [worker for worker in jobs.workers() if worker.ready]


def in_the_middle(jobs: Jobs, job_id: str) -> WorkerInfo:
    """Waits until the job has done some of its work; its worker."""
    until(lambda: jobs.get(job_id).progress.done > 0 and jobs.get(job_id).progress.total > 1)
    assert jobs.get(job_id).status is Status.RUNNING
    (worker,) = [worker for worker in jobs.workers() if worker.job_id == job_id]
    return worker


def count_results(jobs: Jobs, job_id: str) -> int:
    """Rows of the results table, counted without the code under test."""
    import sqlalchemy

    with jobs._database._engine.connect() as connection:
        query = sqlalchemy.text("SELECT count(*) FROM results WHERE job_id = :id")
        return int(connection.execute(query, {"id": job_id}).scalar_one())
