"""Every error is one line on stderr that says what to do, with the status of the contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mmapp.checkpoints import PROFILE
from mmapp.cli.app import run
from tests.cli.conftest import Mmapp
from tests.jobs.scenes import checkpoint_folder

HEAVY = ("gradio", "torch", "pymupdf", "celery", "sqlalchemy", "fastapi", "alembic", "PIL")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["summarize", "gone.pdf"], "gone.pdf does not exist; check the path"),
        (["summarize", "."], "is a folder"),
        (["summarize", "FILES/broken.docx"], "PDF, PNG, JPEG, WebP, TIFF, GIF"),
        (["summarize", "FILES/empty.pdf"], "0 bytes"),
        (["summarize", "FILES/cut.pdf"], "cut.pdf"),
        (["summarize", "FILES/locked.pdf"], "--password"),
        (["summarize", "FILES/locked.pdf", "--password", "wrong"], "does not open"),
        (["summarize", "FILES/red.png"], "no page has words to read"),
        (["ask", "gone.pdf", "Why?"], "gone.pdf does not exist; check the path"),
        (["ask", "FILES/zh.txt", " "], "question is empty"),
        (["check", "FILES/zh.txt", "--title", "Cup"], "not a photo"),
        (["check", "FILES/red.png", "--title", " "], "no title"),
        (["batch", "FILES/zh.txt"], "no column image"),
        (["batch", "gone.csv"], "gone.csv is no file"),
        (["batch", "FILES/listings.csv", "--out", "no/where.csv"], "folder that exists"),
        (["batch", "FILES/listings.csv", "--out", "FILES/listings.csv"], "is the input"),
        (["jobs", "show", "nothing"], "no job or batch nothing"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    mmapp: Mmapp, files: Path, arguments: list[str], said: str
) -> None:
    ended = mmapp(*(text.replace("FILES", str(files)) for text in arguments))
    assert said in ended.error
    assert ended.status == 2
    assert ended.out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["summarize"], "Missing argument 'PATH...'; see `mmapp summarize --help`"),
        (["ask", "x.pdf"], "Missing argument 'PATH...'; see `mmapp ask --help`"),
        (["batch", "x.csv", "--task", "ask"], "--task"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["summarize", "x.pdf", "--sentences", "0"], "--sentences"),
        (["summarize", "x.pdf", "--share", "five"], "write for example --share 5%"),
        (["summarize", "x.pdf", "--share", "5"], "write for example --share 5%"),
        (["check", "x.png"], "Missing option '--title'"),
        (["check", "x.png", "--title", "Cup", "--attr", "red"], "--attr red is not NAME=VALUE"),
        (["check", "x.png", "--title", "t", "--attr", "a=1", "--attr", "a=2"], "given twice"),
        (["results", "--since", "yesterday"], "--since"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    status = run(arguments)
    out, err = capsys.readouterr()
    assert said in err
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_a_wrong_setting_is_named_by_its_variable(mmapp: Mmapp) -> None:
    ended = mmapp("jobs", "list", MMAPP_PORT="many")
    assert "MMAPP_PORT=many can't be used" in ended.error
    assert ended.status == 2


def test_a_missing_checkpoint_is_said_before_anything_is_submitted(
    mmapp: Mmapp, files: Path, tmp_path: Path
) -> None:
    settings = {"MMAPP_DATA_DIR": str(tmp_path / "data"), "MMAPP_CHECKPOINT": str(tmp_path)}
    ended = mmapp("summarize", files / "zh.txt", **settings)
    assert "is no checkpoint" in ended.error
    assert ended.status == 1
    assert mmapp("jobs", "list", "--json", **settings).json == []


def test_a_checkpoint_that_was_not_trained_for_questions_is_said_before_anything_starts(
    mmapp: Mmapp, files: Path, tmp_path: Path
) -> None:
    checkpoint = checkpoint_folder(tmp_path / "mute")
    (checkpoint / PROFILE).write_text('{"calibration": {"summarize": {}}}')
    settings = {"MMAPP_DATA_DIR": str(tmp_path / "data"), "MMAPP_CHECKPOINT": str(checkpoint)}
    ended = mmapp("ask", files / "zh.txt", "Why?", **settings)
    assert "the checkpoint mute was not trained to answer questions" in ended.error
    assert (ended.status, ended.out) == (2, "")
    assert mmapp("jobs", "list", "--json", **settings).json == []


def test_a_data_folder_that_cannot_be_made_is_named(mmapp: Mmapp, files: Path) -> None:
    ended = mmapp("--data-dir", files / "zh.txt", "jobs", "list")
    assert "zh.txt" in ended.error
    assert ended.status == 2


def test_doctor_says_what_to_do_about_what_is_missing(mmapp: Mmapp, tmp_path: Path) -> None:
    settings = {"MMAPP_CHECKPOINT": str(tmp_path), "MMAPP_REDIS_URL": "redis://127.0.0.1:1/0"}
    ended = mmapp("doctor", "--json", **settings)
    remedies = {check["name"]: check["remedy"] for check in ended.json if not check["ok"]}
    assert ended.status == 1
    assert "MMAPP_CHECKPOINT" in remedies["checkpoint"]
    assert "MMAPP_REDIS_URL" in remedies["Redis"]


def test_a_fresh_data_folder_is_an_empty_list_with_a_hint(mmapp: Mmapp, tmp_path: Path) -> None:
    for verb in (["jobs", "list"], ["results"]):
        ended = mmapp("--data-dir", tmp_path / "new", *verb)
        assert ended.status == 0
        assert "mmapp summarize FILE" in ended.error
        json_run = mmapp("--data-dir", tmp_path / "new", *verb, "--json")
        assert json_run.json == []


def test_help_needs_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['mmapp', '--help']; from mmapp.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert "summarize" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "HEAVY []"


def test_every_option_has_a_line_of_help() -> None:
    import typer.main

    from mmapp.cli.app import app

    waiting = [(typer.main.get_command(app), "mmapp")]
    while waiting:
        command, name = waiting.pop()
        assert command.help or command.callback is None, f"{name} has no help"
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"
        parts = getattr(command, "commands", {})
        waiting += [(part, f"{name} {part.name}") for part in parts.values()]
