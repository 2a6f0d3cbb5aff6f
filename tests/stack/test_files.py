"""Files in an S3 store that web and workers share, and nothing else of a disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pymupdf
import pytest

from mmapp.jobs import Jobs
from mmapp.stack import Stack
from mmapp.types import Document, FiguresParams, Job, Status, TaskName
from tests.servers import S3Server, s3_server
from tests.stack.conftest import READY_S, count_results, until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, server: S3Server
) -> Iterator[Stack]:
    """A worker that gives up a silent store after a second, and tries a job many times."""
    folder = tmp_path_factory.mktemp("worker-host")
    settings = server.settings(
        "files",
        data_dir=folder,
        database_url=f"sqlite:///{folder / 'shared.sqlite3'}",
        checkpoint=checkpoint,
        threads=1,
        sweep_seconds=1.0,
        blobs_seconds=1.0,
        max_attempts=10,
    )
    with Stack(settings) as running:
        running.wait_ready(READY_S)
        yield running


@pytest.fixture
def web(stack: Stack, tmp_path: Path) -> Iterator[Jobs]:
    """Another machine: the same database, queue and store, and a data folder of its own."""
    with Jobs.open(stack.settings.model_copy(update={"data_dir": tmp_path / "web"})) as jobs:
        yield jobs


def add(jobs: Jobs, text: str) -> Document:
    pdf = pymupdf.open()
    pdf.new_page().insert_text((72, 72), text)
    return jobs.add_document("plan.pdf", pdf.tobytes())


def submit(jobs: Jobs, document: Document) -> Job:
    """A job for which a worker needs the bytes of the document."""
    return jobs.submit(TaskName.FIGURES, FiguresParams(document.sha256))


def ended(jobs: Jobs, job: Job) -> Job:
    until(lambda: jobs.get(job.id).status.is_final, READY_S)
    return jobs.get(job.id)


def test_what_one_machine_stores_the_others_read(web: Jobs, stack: Stack) -> None:
    document = add(web, "A plan of the harbour.")
    done = ended(web, submit(web, document))
    assert (done.status, done.error) == (Status.SUCCEEDED, "")
    drawn = web.page_image(document.sha256, 1)
    with Jobs.open(stack.settings) as worker:
        assert worker.page_image(document.sha256, 1) == drawn
    for settings in (web.settings, stack.settings):
        assert not (settings.data_dir / "blobs").exists()


def test_a_job_waits_for_a_store_that_is_killed_and_comes_back(web: Jobs, server: S3Server) -> None:
    document = add(web, "A plan of the station.")
    server.kill()
    try:
        job = submit(web, document)
        until(lambda: web.get(job.id).attempts > 1, READY_S)
    finally:
        server.start()
    done = ended(web, job)
    assert (done.status, done.error) == (Status.SUCCEEDED, "")
    assert count_results(web, job.id) == 1
