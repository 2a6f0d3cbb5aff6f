"""Reviews and calibration on the command line, on listings that a scripted engine has checked."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from mmapp import calibrations
from mmapp.cli.app import run
from mmapp.config import Settings
from mmapp.db import migrate
from mmapp.jobs import Jobs
from mmapp.types import Label, Listing, TaskName
from tests.jobs.scenes import checkpoint_folder, engine, photo_bytes


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    folder = checkpoint_folder(tmp_path / "fake")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMAPP_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MMAPP_CHECKPOINT", str(folder))
    (tmp_path / "data").mkdir()
    settings = Settings(data_dir=tmp_path / "data", checkpoint=folder, _env_file=None)
    migrate(settings.sqlalchemy_url)
    return settings


def check(settings: Settings, titles: list[str]) -> list[str]:
    """The jobs, done as a worker does them."""
    with Jobs.open(settings) as jobs:
        photo = jobs.add_document("a.png", photo_bytes("blue")).sha256
        ids = []
        for title in titles:
            job = jobs.submit(TaskName.CHECK_LISTING, Listing((photo,), title))
            seen = engine()
            stored = calibrations.read(settings.data_dir, seen.weights_sha256)
            seen.profile = calibrations.applied(seen.profile, stored)
            jobs.run(job.id, seen, "w")
            ids.append(job.id)
        return ids


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert run([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_verdict_is_reviewed_listed_and_exported(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    (job,) = check(settings, ["Blue shirt, million cracks"])
    assert run(["review", job, "--claim", "1", "--refuted", "--note", "=1", "--by", "Ann"]) == 0
    assert capsys.readouterr().out == "claim 1: REFUTED, says Ann\n"
    assert [row["job"] for row in told(capsys, "reviews", "next")] == [job]
    assert told(capsys, "review", job, "--accept", "--by", "李雷")["by"] == "李雷"
    assert told(capsys, "reviews", "next") == []
    whole, claim = told(capsys, "reviews", "list")
    assert (whole["claim"], whole["model"], claim["verdict"]) == (None, whole["verdict"], "REFUTED")
    assert run(["reviews", "export"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["claim"], row["note"], row["counts"]) for row in rows] == [
        ("", "", "true"),
        ("1", "'=1", "true"),
    ]
    assert run(["reviews", "export", "--as", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[1]) == claim
    assert run(["results"]) == 0
    assert "says 李雷" in " ".join(capsys.readouterr().out.split())
    assert told(capsys, "jobs", "show", job)["result"]["reviews"][1]["by"] == "Ann"


def test_one_thing_is_said_of_a_verdict(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert settings.data_dir.is_dir()
    assert run(["review", "nothing"]) == 2
    assert run(["review", "nothing", "--accept", "--unclear"]) == 2
    assert capsys.readouterr().err.count("Say one of --accept") == 2


def test_reviews_calibrate_what_is_checked_from_then_on(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["calibrate"]) == 2
    assert "10 more that people support" in capsys.readouterr().err
    titles = [
        f"{'million cracks' if number % 2 else 'Blue shirt'} {number}" for number in range(24)
    ]
    ids = check(settings, titles)
    with Jobs.open(settings) as jobs:
        for number, job in enumerate(ids):
            is_right = bool(number % 2) != (number in (0, 1, 6, 7))
            jobs.review(job, label=Label.SUPPORTED if is_right else Label.REFUTED, by="Ann")
        first = jobs.result(ids[0])
    assert first.record["calibration"] == {"id": None}
    assert told(capsys, "calibrate", "--dry-run")["id"] is None
    assert not (settings.data_dir / "calibrations").exists()
    found = told(capsys, "calibrate")
    assert found["figures"]["before"]["listings"]["count"] == 24
    (again,) = check(settings, titles[:1])
    with Jobs.open(settings) as jobs:
        result = jobs.result(again)
        assert result.record["job"] == again, "the stored result was made otherwise"
        assert result.record["calibration"] == {"id": found["id"], **found["constants"]}
        assert result.payload["rule"]["consistent"] == found["constants"]["consistent"]
        assert jobs.result(ids[0]) == first
    assert told(capsys, "calibrate", "--reset") == {"reset": True}
    (back,) = check(settings, titles[:1])
    with Jobs.open(settings) as jobs:
        assert jobs.result(back).record["job"] == ids[0], "the first result holds again"
