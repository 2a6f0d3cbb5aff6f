"""`mmapp evaluate` as people run it: its own process for the model, no queue and no database."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Mmapp

TEXT = "The harbour of Emden had twelve cranes in 1914. Grain and coal were what they moved."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    rows = [{"id": name, "text": f"{TEXT} {name}", "summary": TEXT} for name in ("a", "港")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_table_and_three_files_come_of_it(mmapp: Mmapp, data: Path, tmp_path: Path) -> None:
    run = mmapp("evaluate", "summaries", data, "--out", tmp_path / "new" / "out")
    assert (run.status, run.error) == (0, "Evaluating data.jsonl")
    assert "ROUGE-1 F" in run.out
    assert "2 inputs" in run.out
    names = {path.name for path in (tmp_path / "new" / "out").iterdir()}
    assert {"metrics.json", "predictions.jsonl", "report.html"} <= names


def test_json_is_the_metrics_and_failed_inputs_give_status_three(
    mmapp: Mmapp, files: Path, tmp_path: Path
) -> None:
    table = files / "labelled.csv"
    table.write_text("id,image,title,label\n1,red.png,Cup,consistent\n2,gone.png,Cup,consistent\n")
    out = tmp_path / "out"
    run = mmapp("evaluate", "listings", table, "--out", out, "--json")
    assert run.status == 3
    assert run.json == json.loads((out / "metrics.json").read_text())
    assert run.json["run"]["failed"] == 1
    assert "1 of 2 inputs failed" in run.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (("summaries", "gone.jsonl", "--out", "out"), 2, "gone.jsonl is no file"),
        (("summaries", "data.jsonl", "--out", "data.jsonl"), 2, "is no folder"),
        (("summaries", "data.jsonl"), 2, "--out"),
        (("summaries", "data.jsonl", "--out", "out", "--checkpoint", "."), 1, "no checkpoint"),
    ],
)
@pytest.mark.usefixtures("data")
def test_what_can_not_be_done_is_one_line(
    mmapp: Mmapp, arguments: tuple[str, ...], status: int, problem: str
) -> None:
    run = mmapp("evaluate", *arguments)
    assert run.status == status
    assert problem in run.error


def test_bad_data_is_one_line_beside_the_progress(mmapp: Mmapp, data: Path) -> None:
    run = mmapp("evaluate", "answers", data, "--out", "out")
    assert run.status == 2
    assert run.err.splitlines() == [
        "Evaluating data.jsonl",
        "mmapp: The row a has no text under “question”; give it one",
    ]


def test_an_interrupted_evaluation_keeps_what_was_done(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    path = tmp_path / "many.jsonl"
    row = json.dumps({"text": TEXT, "summary": TEXT}) + "\n"
    path.write_text(row * 5_000)
    process = start("evaluate", "summaries", path, "--out", "out")
    predictions = tmp_path / "out" / "predictions.jsonl"
    try:
        deadline = time.monotonic() + 60
        while not (predictions.exists() and predictions.stat().st_size):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert json.loads(predictions.read_text(encoding="utf-8").splitlines()[0])["id"] == 1
    assert "Traceback" not in err
