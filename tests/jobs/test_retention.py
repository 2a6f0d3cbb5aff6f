"""What is old goes, what is needed stays, and a rehearsal touches nothing."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy

from mmapp.errors import NotFound
from mmapp.jobs import BatchRow, Jobs
from mmapp.storage import Folder
from mmapp.types import Document, Label, Listing, Status, SummarizeParams, TaskName
from tests.jobs.conftest import AddPhoto, AddText
from tests.jobs.scenes import TEXT, engine

AGE = timedelta(days=30)


def make_old(jobs: Jobs, *ids: str) -> None:
    """Moves these jobs, and all documents, batches and files, into the past."""
    past = datetime.now(UTC) - 2 * AGE
    with jobs._database._engine.begin() as connection:
        for name in ("documents", "batches"):
            connection.execute(sqlalchemy.text(f"UPDATE {name} SET created_at = :at"), {"at": past})
        for job_id in ids:
            connection.execute(
                sqlalchemy.text("UPDATE jobs SET finished_at = :at WHERE id = :id"),
                {"at": past, "id": job_id},
            )
    for path in jobs.settings.data_dir.rglob("*"):
        os.utime(path, (past.timestamp(), past.timestamp()))


def check(jobs: Jobs, photo: Document, title: str) -> str:
    """A listing that was checked."""
    job = jobs.submit(TaskName.CHECK_LISTING, Listing((photo.sha256,), title))
    jobs.run(job.id, engine(), "w")
    assert jobs.get(job.id).status is Status.SUCCEEDED
    return job.id


def test_old_jobs_go_with_all_that_only_they_needed(
    jobs: Jobs, add_text: AddText, add_photo: AddPhoto
) -> None:
    red, blue = add_photo("red"), add_photo("blue")
    old, new = check(jobs, red, "Red cup"), check(jobs, blue, "Blue cup")
    first = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(TEXT).sha256, 1))
    follower = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(TEXT).sha256, 1))
    jobs.run(first.id, engine(), "w")
    reading = jobs.settings.data_dir / "readings" / "one.prefix.safetensors"
    reading.parent.mkdir()
    reading.write_bytes(b"read")
    # `follower` ended today and shows what `first` made, so `first` has to stay.
    make_old(jobs, old, first.id)

    would = jobs.prune(AGE, dry_run=True)
    assert (would.jobs, would.documents, would.blobs, would.readings) == (1, 1, 1, 1)
    assert jobs.result(old)
    assert reading.exists()

    assert jobs.prune(AGE) == would
    for gone in (lambda: jobs.get(old), lambda: jobs.document(red.sha256)):
        with pytest.raises(NotFound):
            gone()
    assert not jobs._blobs.has(red.sha256)
    assert jobs.page_image(blue.sha256, 1)
    assert jobs.result(new)
    assert jobs.result(follower.id)
    assert not reading.exists()

    make_old(jobs, follower.id)
    assert jobs.prune(AGE).jobs == 2


def test_a_batch_goes_when_all_of_its_jobs_are_old(jobs: Jobs, add_photo: AddPhoto) -> None:
    listings = [Listing((add_photo("red").sha256,), title) for title in ("Red cup", "Red pan")]
    rows = [BatchRow({"id": str(row)}, listing) for row, listing in enumerate(listings)]
    batch = jobs.submit_batch("cups.csv", TaskName.CHECK_LISTING, [*rows, BatchRow({}, error="x")])
    first, second = (row.job.id for row in jobs.batch_rows(batch.id) if row.job)
    jobs.run(first, engine(), "w")
    make_old(jobs, first)
    assert jobs.prune(AGE).jobs == 0
    jobs.run(second, engine(), "w")
    make_old(jobs, first, second)
    pruned = jobs.prune(AGE)
    assert (pruned.batches, pruned.jobs, pruned.documents) == (1, 2, 1)
    assert jobs.batches() == []


def test_what_a_person_has_reviewed_stays(jobs: Jobs, add_photo: AddPhoto) -> None:
    done = check(jobs, add_photo("red"), "Red cup")
    jobs.review(done, label=Label.REFUTED, by="Ann")
    make_old(jobs, done)
    pruned = jobs.prune(AGE)
    assert (pruned.jobs, pruned.documents, pruned.blobs) == (0, 0, 0)
    assert jobs.result(done).reviews


def test_files_go_and_results_stay_and_what_waits_keeps_its_files(
    jobs: Jobs, add_photo: AddPhoto
) -> None:
    red, blue = add_photo("red"), add_photo("blue")
    done = check(jobs, red, "Red cup")
    waiting = jobs.submit(TaskName.CHECK_LISTING, Listing((blue.sha256,), "Blue cup"))
    make_old(jobs, done)
    pruned = jobs.prune(AGE, keep_results=True)
    assert (pruned.jobs, pruned.documents, pruned.blobs) == (0, 0, 1)
    assert jobs.result(done)
    with pytest.raises(NotFound, match="Add it again"):
        jobs.page_image(red.sha256, 1)
    jobs.run(waiting.id, engine(), "w")
    assert jobs.get(waiting.id).status is Status.SUCCEEDED


def test_bytes_that_were_stored_a_moment_ago_wait_for_their_row(jobs: Jobs) -> None:
    fresh = jobs._blobs.put(b"its row comes next")
    half: Path = Folder(jobs.settings.data_dir / "blobs").path(fresh).with_name(".new-half")
    half.write_bytes(b"killed")
    assert jobs.prune(AGE).blobs == 0
    make_old(jobs)
    assert jobs.prune(AGE).blobs == 2
    assert not half.exists()
