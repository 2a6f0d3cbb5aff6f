"""Three real workers, each of one role, on a real Redis: they make what one worker makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pymupdf

from mmapp.config import Settings
from mmapp.db import migrate
from mmapp.jobs import Jobs
from mmapp.types import (
    CompareParams,
    FiguresParams,
    Job,
    Listing,
    Params,
    Role,
    Status,
    SummarizeParams,
    TaskName,
)
from tests.servers import RedisServer
from tests.stack.conftest import READY_S, ready_workers, story, until
from workers.child import Child

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT / "samples" / "photos"


def settings_of(folder: Path, redis_url: str = "") -> Settings:
    """Nano, as it is shipped. Figures would be read for words that are none of this test's."""
    folder.mkdir()
    settings = Settings(
        data_dir=folder,
        redis_url=redis_url,
        threads=1,
        ocr="off",
        sweep_seconds=1.0,
        _env_file=None,
    )
    migrate(settings.sqlalchemy_url)
    return settings


@contextmanager
def worker(settings: Settings, role: Role) -> Iterator[subprocess.Popen[bytes]]:
    """`mmapp worker --role ROLE`, as people start it."""
    environment = {
        **os.environ,
        "MMAPP_DATA_DIR": str(settings.data_dir),
        "MMAPP_REDIS_URL": settings.redis_url,
        "MMAPP_THREADS": "1",
        "MMAPP_OCR": "off",
        "MMAPP_SWEEP_SECONDS": "1",
    }
    log_path = settings.data_dir / f"{role}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mmapp.cli", "worker", "--role", role],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def catalogue() -> bytes:
    with pymupdf.open() as made:
        page = made.new_page(width=600, height=800)
        page.insert_image((150, 100, 450, 400), filename=PHOTOS / "banana.jpg")
        page.insert_text((150, 425), "Figure 1: A yellow banana.")
        return bytes(made.tobytes())


def submitted(jobs: Jobs, figures_pdf: bytes) -> list[Job]:
    """A job for each way through the roles."""
    photo = jobs.add_document("banana.jpg", (PHOTOS / "banana.jpg").read_bytes()).sha256
    old, new = (
        jobs.add_document(f"{n}.txt", story(n, 9).encode()).sha256 for n in ("Turku", "Oslo")
    )
    figures = jobs.add_document("catalogue.pdf", figures_pdf).sha256
    work: list[tuple[TaskName, Params]] = [
        (TaskName.CHECK_LISTING, Listing((photo,), "Yellow banana", "黄色的香蕉。")),
        (TaskName.FIGURES, FiguresParams(figures)),
        (TaskName.COMPARE, CompareParams(old, new)),
        (TaskName.SUMMARIZE, SummarizeParams(old, 2)),
    ]
    return [jobs.submit(task, params) for task, params in work]


def payloads(jobs: Jobs, done: list[Job]) -> list[str]:
    assert [jobs.get(job.id).error for job in done] == [""] * len(done)
    return [json.dumps(dict(jobs.result(job.id).payload), sort_keys=True) for job in done]


def loads_torch(parent_pid: int, jobs: Jobs) -> bool:
    """Whether the child of this worker has torch in its memory."""
    (child,) = [one for one in jobs.workers() if one.parent_pid == parent_pid]
    return "libtorch" in Path(f"/proc/{child.process.pid}/maps").read_text()


def test_three_workers_make_what_one_worker_makes(tmp_path: Path, redis: RedisServer) -> None:
    figures_pdf = catalogue()  # no two are alike
    alone = settings_of(tmp_path / "alone")
    with Jobs.open(alone) as jobs:
        whole = submitted(jobs, figures_pdf)
        child = Child.start(alone)
        for job in whole:
            child.run(job.id)
        expected = payloads(jobs, whole)

    settings = settings_of(tmp_path / "apart", redis.url)
    with Jobs.open(settings) as jobs, ExitStack() as workers:
        parts = submitted(jobs, figures_pdf)
        assert {job.role for job in parts} == {*Role}
        ingest, encode = (
            workers.enter_context(worker(settings, role)) for role in (Role.INGEST, Role.ENCODE)
        )
        until(lambda: len(ready_workers(jobs)) == 2, READY_S)
        assert not loads_torch(ingest.pid, jobs)
        assert loads_torch(encode.pid, jobs)
        until(lambda: all(jobs.get(one.id).role is Role.GENERATE for one in parts[:2]), READY_S)
        # All that is left waits for a role that nobody has.
        assert jobs.get(parts[2].id).status is Status.SUCCEEDED
        (left,) = jobs.statistics().unserved
        assert (left.role, left.waiting) == (Role.GENERATE, 3)
        kept = sorted((settings.data_dir / "features").iterdir())
        workers.enter_context(worker(settings, Role.GENERATE))
        until(lambda: all(jobs.get(one.id).status.is_final for one in parts), READY_S)
        assert payloads(jobs, parts) == expected
        assert [jobs.get(one.id).attempts for one in parts] == [1] * len(parts)
        assert sorted((settings.data_dir / "features").iterdir()) == kept
