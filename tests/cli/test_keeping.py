"""`mmapp backup`, `restore` and `prune` as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmapp.cli.app import run
from mmapp.config import Settings
from mmapp.db import migrate
from mmapp.jobs import Jobs


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with one document."""
    folder = tmp_path / "data"
    monkeypatch.setenv("MMAPP_DATA_DIR", str(folder))
    settings = Settings(data_dir=folder, _env_file=None)
    migrate(settings.sqlalchemy_url)
    with Jobs.open(settings) as jobs:
        jobs.add_document("a.txt", b"The only sentence.")
    return folder


@pytest.mark.usefixtures("data_dir")
def test_a_backup_is_written_and_restored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "all.zip"
    assert run(["backup", str(file), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert (written["rows"]["documents"], written["blobs"], written["missing"]) == (1, 1, [])
    assert run(["backup", str(file)]) != 0
    assert "give another name" in capsys.readouterr().err

    monkeypatch.setenv("MMAPP_DATA_DIR", str(tmp_path / "other"))
    assert run(["restore", str(tmp_path / "none.zip")]) == 2
    assert run(["restore", str(file)]) == 0
    assert "2 rows and 1 files restored" in capsys.readouterr().out
    blobs = [path.read_bytes() for path in (tmp_path / "other" / "blobs").glob("*/*")]
    assert blobs == [b"The only sentence."]


def test_a_stored_file_that_is_gone_is_told_with_its_own_exit_status(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (blob,) = (data_dir / "blobs").glob("*/*")
    blob.write_bytes(b"other bytes")
    assert run(["backup", str(tmp_path / "all.zip")]) == 1
    assert "1 stored files are missing or damaged" in capsys.readouterr().err


@pytest.mark.usefixtures("data_dir")
def test_prune_says_what_goes_and_refuses_what_is_no_age(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["prune", "--older-than", "90d", "--dry-run"]) == 0
    assert "Would remove 0 jobs, 0 batches, 0 documents" in capsys.readouterr().out
    assert run(["prune", "--older-than", "1h", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["jobs"] == 0
    for age in ("soon", "0d", "-1d", "1"):
        assert run(["prune", "--older-than", age]) == 2
    assert "write 36h, 90d or 8w" in capsys.readouterr().err
