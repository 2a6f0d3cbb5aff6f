"""`mmapp evaluate`: how right a checkpoint is about data whose answers are known.

The work is done by a process of its own, `python -m workers.evaluation`, because this one never
holds a model; here are its bar and its table. Nothing goes through the queue or the database.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mmapp.cli import failures
from mmapp.cli.outputs import write_json
from mmapp.cli.session import read_settings
from mmapp.errors import BadInput, JobFailed

ROWS_FAILED = 3


class Data(StrEnum):
    """What the data is about."""

    LISTINGS = "listings"
    SUMMARIES = "summaries"
    ANSWERS = "answers"


def evaluate(
    kind: Annotated[Data, typer.Argument(help="What the data is about", show_default=False)],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            show_default=False,
            help="listings: the CSV of a batch with a column label (consistent, inconsistent);"
            " summaries: JSONL or JSONL.xz with id, text, summary;"
            " answers: the same with id, text, question, answer",
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for metrics.json, predictions.jsonl and report.html")
    ],
    sentences: Annotated[int, typer.Option(min=1, max=50, help="Sentences of each summary")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many inputs")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Checkpoint folder; default: MMAPP_CHECKPOINT")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the predictions that stand in the folder")
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate", help="listings: fit the checkpoint's score to these labels, and keep it"
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write metrics.json, and nothing else, to stdout")
    ] = False,
) -> int:
    """Measure a checkpoint on your own data: a table, metrics, predictions and a report."""
    if checkpoint is not None:
        # The environment, so that the process that loads it finds it there.
        os.environ["MMAPP_CHECKPOINT"] = str(checkpoint.expanduser().resolve())
    _check(data, out)
    command = [str(kind), str(data), f"--out={out}", f"--sentences={sentences}"]
    command += [f"--limit={limit}"] if limit else []
    command += ["--resume"] if resume else []
    command += ["--calibrate"] if calibrate else []
    from mmapp.display import bar

    with bar(f"Evaluating {data.name}") as show:
        ended = _run(command, show)
    if as_json:
        write_json(json.loads((out / "metrics.json").read_text(encoding="utf-8")))
    else:
        _show_table(ended["table"], ended["inputs"], out)
    if failed := ended["failed"]:
        failures.say(
            f"{failed:,} of {ended['inputs']:,} inputs failed; see {out}/predictions.jsonl"
        )
        return ROWS_FAILED
    return 0


def _check(data: Path, out: Path) -> None:
    """Before a model is loaded, not after."""
    from mmapp.checkpoints import identify

    if not data.is_file():
        raise BadInput(f"{data} is no file; give a table or JSONL with the right answers in it")
    if out.exists() and not out.is_dir():
        raise BadInput(f"--out {out} is no folder; give one, it need not exist")
    settings = read_settings()
    identify(settings.checkpoint, settings.data_dir)


def _run(arguments: list[str], show: Callable[[int, int], None]) -> dict[str, Any]:
    """The last words of the evaluation; raises what went wrong there."""
    last: dict[str, Any] = {}
    command = [sys.executable, "-m", "workers.evaluation", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                last = json.loads(line)
                if "done" in last:
                    show(last["done"], last["total"])
        except BaseException:
            process.terminate()
            raise
    if "error" in last:
        raise (BadInput if last["exit_code"] == BadInput.exit_code else JobFailed)(last["error"])
    if "table" not in last:
        raise JobFailed(
            f"The evaluation ended with status {process.returncode} before it was done; what was"
            " done is kept, go on with --resume"
        )
    return last


def _show_table(rows: list[list[str]], inputs: int, out: Path) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from mmapp.display import show

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"{inputs:,} inputs")
    table.add_column("", justify="right")
    for label, value in rows:
        table.add_row(Text(label), value)
    show(table)
    show(Text(f"Report: {out / 'report.html'}"))
