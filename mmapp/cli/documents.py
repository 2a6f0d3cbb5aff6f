"""`mmapp ask`, `extract`, `compare` and `figures`: what is asked of documents; submit, show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmapp.cli import failures
from mmapp.cli.outputs import result_json, write_json
from mmapp.cli.session import Desk, good_ones, open_desk
from mmapp.cli.tasks import JOB_FAILED, Json, Password, check_out, show_ended, whole
from mmapp.errors import BadInput
from mmapp.types import (
    AskParams,
    CompareParams,
    ExtractParams,
    FiguresParams,
    Job,
    Result,
    Status,
    TaskName,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What `extract --out` can write, by the end of the file's name.
TABLES = (".csv", ".xlsx", ".json")


def add_to(app: typer.Typer) -> None:
    app.command()(ask)
    app.command()(extract)
    app.command()(compare)
    app.command()(figures)


def ask(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="PDFs, images or texts", show_default=False),
    ],
    question: Annotated[
        str, typer.Argument(metavar="QUESTION", help="What to ask them", show_default=False)
    ],
    password: Password = None,
    as_json: Json = False,
) -> int:
    """Ask documents a question; the answer is quoted from its page, or it is not in there."""
    with open_desk() as desk:

        def submit(path: Path) -> Job:
            document = desk.add_file(path, password)
            desk.check_checkpoint()
            return desk.jobs.submit(TaskName.ASK, AskParams(document.sha256, question))

        if len(paths) == 1:
            return show_ended(desk, desk.wait([submit(paths[0]).id]), as_json)
        submitted, status = good_ones(paths, submit)
        ended = desk.wait([job.id for job in submitted])
        return max(status, _show_answers(desk, question, ended, as_json))


def _show_answers(desk: Desk, question: str, ended: Sequence[Job], as_json: bool) -> int:
    """The answers of several documents, and which of them is the likeliest."""
    from mmapp.display import answers_view, show
    from mmapp.records import likeliest

    answered: list[tuple[Job, Result]] = []
    for job in ended:
        if job.status is Status.SUCCEEDED:
            answered.append((job, desk.jobs.result(job.id)))
        else:
            failures.say(f"{job.label}: {job.error or f'the job was {job.status}'} (job {job.id})")
    results = [result for _, result in answered]
    best = likeliest(results)
    if as_json:
        write_json(
            {
                "question": " ".join(question.split()),
                "found": best is not None,
                "best": best.job_id if best else None,
                "documents": [result_json(result) for result in results],
            }
        )
    elif answered:
        show(answers_view(question, answered, best, desk.web_url))
    return 0 if len(answered) == len(ended) else JOB_FAILED


def extract(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A PDF, image or text", show_default=False)
    ],
    field: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A field to look for, in English or Chinese; any number of them. Default: parties,"
            " dates, amounts, terms",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File for the table: .csv, .xlsx or .json")
    ] = None,
    password: Password = None,
    as_json: Json = False,
) -> int:
    """Extract key information as a table, each value quoted from its page; empty if it has none."""
    if out is not None and out.suffix.casefold() not in TABLES:
        raise BadInput(f"--out {out} is none of {', '.join(TABLES)}; give a name that ends so")
    if out is not None:
        check_out(path, out, "--out")
    with open_desk() as desk:
        document = desk.add_file(path, password)
        desk.check_checkpoint()
        params = ExtractParams(document.sha256, tuple(field or ()))
        job = desk.jobs.submit(TaskName.EXTRACT, params)
        (ended,) = desk.wait([job.id])
        if out is not None and ended.status is Status.SUCCEEDED:
            _write_table(desk.jobs.result(ended.id), out)
            if not as_json:
                failures.say(f"table in {out}")
                return 0
        return show_ended(desk, [ended], as_json)


def _write_table(result: Result, out: Path) -> None:
    from mmapp.batches import fields_workbook, write_fields

    kind = out.suffix.casefold()
    if kind == ".xlsx":
        out.write_bytes(fields_workbook(result.payload))
        return
    with whole(out) as file:
        if kind == ".json":
            file.write(json.dumps(result_json(result), ensure_ascii=False, indent=2) + "\n")
        else:
            write_fields(result.payload, file)


def compare(
    old: Annotated[
        Path, typer.Argument(metavar="OLD", help="The earlier version", show_default=False)
    ],
    new: Annotated[
        Path, typer.Argument(metavar="NEW", help="The later version", show_default=False)
    ],
    password: Password = None,
    as_json: Json = False,
) -> int:
    """Compare two versions of a document: what was changed, added, removed or moved, by page."""
    with open_desk() as desk:
        before, after = desk.add_file(old, password), desk.add_file(new, password)
        params = CompareParams(before.sha256, after.sha256)
        job = desk.jobs.submit(TaskName.COMPARE, params, label=f"{old.name} → {new.name}")
        return show_ended(desk, desk.wait([job.id]), as_json)


def figures(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A PDF", show_default=False)],
    as_json: Json = False,
) -> int:
    """Check each picture of a document against its caption, or the text that refers to it."""
    with open_desk() as desk:
        document = desk.add_file(path)
        desk.check_checkpoint()
        job = desk.jobs.submit(TaskName.FIGURES, FiguresParams(document.sha256))
        return show_ended(desk, desk.wait([job.id]), as_json)
