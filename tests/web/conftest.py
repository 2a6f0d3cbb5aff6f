"""Real jobs on SQLite with the real reader of files; results by an engine that follows a rule."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from mmapp.config import Settings
from mmapp.jobs import Jobs
from mmapp.types import AskParams, Job, Listing, SummarizeParams, TaskName
from mmapp.web.frame import Site
from mmapp.web.words import Words
from tests.jobs.scenes import TEXT, checkpoint_folder, engine
from tests.servers import migrated_sqlite


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sqlite") / "template.sqlite3"


@pytest.fixture
def settings(template: Path, tmp_path: Path) -> Settings:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    return Settings(
        data_dir=data_dir,
        database_url=migrated_sqlite(template, data_dir / "mmapp.sqlite3"),
        checkpoint=checkpoint_folder(tmp_path / "fake"),
        max_upload_files=5,
        _env_file=None,
    )


@pytest.fixture
def jobs(settings: Settings) -> Iterator[Jobs]:
    with Jobs.open(settings) as opened:
        yield opened


@pytest.fixture
def site(settings: Settings, jobs: Jobs) -> Site:
    return Site(jobs, settings, Words("en"))


@pytest.fixture
def photo() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "navy").save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def summary(jobs: Jobs) -> Job:
    """A finished summary of a text."""
    document = jobs.add_document("bridge.txt", TEXT.encode())
    job = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 1), label="bridge.txt")
    jobs.run(job.id, engine(), "w1")
    return jobs.get(job.id)


@pytest.fixture
def answer(jobs: Jobs) -> Job:
    """A finished question about a text."""
    document = jobs.add_document("bridge.txt", TEXT.encode())
    job = jobs.submit(TaskName.ASK, AskParams(document.sha256, "What will it cost?"))
    jobs.run(job.id, engine(), "w1")
    return jobs.get(job.id)


@pytest.fixture
def verdict(jobs: Jobs, photo: bytes) -> Job:
    """A finished check of a listing."""
    document = jobs.add_document("shirt.png", photo)
    listing = Listing((document.sha256,), "Blue shirt", "It is cracked.", {"price": "a million"})
    job = jobs.submit(TaskName.CHECK_LISTING, listing)
    jobs.run(job.id, engine(), "w1")
    return jobs.get(job.id)
