"""A backup holds everything, goes into the other database too, and is whole or refused."""

from __future__ import annotations

import zipfile
from datetime import timedelta
from pathlib import Path

import pytest

from mmapp.config import Settings
from mmapp.errors import BadInput, NotPossible
from mmapp.jobs import BatchRow, Jobs, retention
from mmapp.types import Label, Listing, Status, SummarizeParams, TaskName
from tests.jobs.conftest import AddPhoto, AddText
from tests.jobs.scenes import TEXT, engine
from tests.servers import empty_tables, migrated_sqlite, s3_server


def silent(_done: int, _total: int) -> None:
    """Nobody looks."""


@pytest.fixture
def filled(jobs: Jobs, add_text: AddText, add_photo: AddPhoto) -> str:
    """One job that ran, one that shows its result, one of a batch that waits; the second."""
    document = add_text(TEXT, "报告.txt")
    first = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 1))
    follower = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 1))
    jobs.run(first.id, engine(), "w")
    listing = Listing((add_photo("red").sha256,), "Red cup")
    rows = [BatchRow({"id": "1"}, listing), BatchRow({"id": "2"}, error="no photo")]
    checked = jobs.submit(TaskName.CHECK_LISTING, Listing((add_photo("blue").sha256,), "Blue cup"))
    jobs.run(checked.id, engine(), "w")
    jobs.review(checked.id, label=Label.SUPPORTED, by="李雷")
    jobs.submit_batch("cups.csv", TaskName.CHECK_LISTING, rows)
    return follower.id


@pytest.fixture
def other(jobs: Jobs, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """An empty database of the other kind, and an empty folder."""
    if jobs.settings.database_url.startswith("sqlite"):
        url = str(request.getfixturevalue("migrated_postgresql"))
        empty_tables(url)
    else:
        template = request.getfixturevalue("sqlite_template")
        url = migrated_sqlite(template, tmp_path / "other.sqlite3")
    update = {"database_url": url, "data_dir": tmp_path / "other"}
    return jobs.settings.model_copy(update=update)


def test_what_one_database_held_the_other_holds_after_a_restore(
    jobs: Jobs, filled: str, other: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "all.zip"
    written = jobs.backup(file, silent)
    # The text was put in without its bytes: that is told, and the rest is there.
    assert (written.blobs, len(written.missing)) == (2, 1)
    assert file.stat().st_mode & 0o077 == 0
    with Jobs.open(other) as restored:
        assert restored.restore(file, silent) == written
        assert restored.list() == jobs.list()
        assert restored.result(filled) == jobs.result(filled)
        assert restored.batches() == jobs.batches()
        (reviewed,) = (row.review for row in restored.reviews())
        (batch,) = restored.batches()
        assert list(restored.batch_rows(batch.id)) == list(jobs.batch_rows(batch.id))
        (waiting,) = restored.list(status=Status.QUEUED)
        photo = waiting.params["photos"][0]
        assert restored.page_image(photo, 1) == jobs.page_image(photo, 1)
        restored.run(waiting.id, engine(), "w")
        # Rows that the database numbers go on where the copied ones end.
        restored.review(waiting.id, label=Label.REFUTED, by="Ann")
        assert [row.review.job_id for row in restored.reviews()] == [waiting.id, reviewed.job_id]
        assert restored.get(waiting.id).status is Status.SUCCEEDED
        with pytest.raises(NotPossible, match="into an empty one"):
            restored.restore(file, silent)


def test_a_backup_moves_files_into_a_bucket_where_they_are_pruned_like_others(
    jobs: Jobs, filled: str, other: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, again = tmp_path / "all.zip", tmp_path / "again.zip"
    jobs.backup(file, silent)
    with s3_server(tmp_path / "s3") as server:
        fields = ("blobs_url", "blobs_endpoint", "blobs_key_id", "blobs_secret")
        store = server.settings("moved")
        there = other.model_copy(update={name: getattr(store, name) for name in fields})
        with Jobs.open(there) as moved:
            written = moved.restore(file, silent)
            moved.backup(again, silent)
            (waiting,) = moved.list(status=Status.QUEUED)
            moved.run(waiting.id, engine(), "w")
            assert moved.get(waiting.id).status is Status.SUCCEEDED
            assert moved.result(filled) == jobs.result(filled)
            orphan = moved._blobs.put(b"no row knows it")
            monkeypatch.setattr(retention, "GRACE_S", -60.0)
            assert moved.prune(timedelta(days=30)).blobs == 1
            assert not moved._blobs.has(orphan)
        assert len([path for path in server.files("moved").rglob("*") if path.is_file()]) == 2
    with zipfile.ZipFile(again) as archive:
        assert sum(name.startswith("blobs/") for name in archive.namelist()) == written.blobs
    assert not (other.data_dir / "blobs").exists()


def test_no_file_is_written_over_and_no_half_of_one_stays(jobs: Jobs, tmp_path: Path) -> None:
    file = tmp_path / "mine.zip"
    file.write_text("mine")
    with pytest.raises(NotPossible, match="another name"):
        jobs.backup(file, silent)
    assert file.read_text() == "mine"


@pytest.mark.usefixtures("filled")
def test_a_damaged_backup_is_refused_and_nothing_of_it_stays(
    jobs: Jobs, other: Settings, tmp_path: Path
) -> None:
    whole, cut, altered = (tmp_path / name for name in ("whole", "cut", "altered"))
    jobs.backup(whole, silent)
    cut.write_bytes(whole.read_bytes()[:-50])
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(altered, "w") as target:
        for name in source.namelist():
            is_blob = name.startswith("blobs/")
            target.writestr(name, b"another photo" if is_blob else source.read(name))
    with Jobs.open(other) as restored:
        for file, reason in ((cut, "no whole backup"), (altered, "is damaged")):
            with pytest.raises(BadInput, match=reason):
                restored.restore(file, silent)
        assert restored.list() == []
        assert not list(other.data_dir.rglob("blobs/*/*"))
