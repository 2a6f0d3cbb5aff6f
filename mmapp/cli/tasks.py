"""`mmapp summarize`, `check`, `propose` and `batch`: submit, wait, show."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from mmapp.cli import failures
from mmapp.cli.outputs import BatchChoice, TaskChoice, result_json, write_json
from mmapp.cli.session import Desk, good_ones, open_desk
from mmapp.errors import BadInput
from mmapp.types import (
    Batch,
    Job,
    Listing,
    Result,
    Status,
    SummarizeParams,
    TaskName,
)

if TYPE_CHECKING:
    from mmapp.jobs import BatchRow, Jobs

JOB_FAILED = 1
ROWS_FAILED = 3

Password = Annotated[str | None, typer.Option(help="Opens encrypted PDFs; it is not stored")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, and nothing else, to stdout")]


Threshold = Annotated[
    float | None,
    typer.Option(
        help="P(agree) that a verdict needs, 0.5 to below 1; default: the setting, else the"
        " checkpoint's"
    ),
]


class Mode(StrEnum):
    GROUNDED = "grounded"
    ABSTRACTIVE = "abstractive"


class Unsupported(StrEnum):
    MARK = "mark"
    DROP = "drop"


def add_to(app: typer.Typer) -> None:
    app.command()(summarize)
    app.command()(check)
    app.command()(propose)
    app.command()(batch)


def task_name(choice: TaskChoice | BatchChoice) -> TaskName:
    return TaskName.CHECK_LISTING if choice.value == "check" else TaskName(choice.value)


def summarize(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="PDFs, images or texts", show_default=False),
    ],
    sentences: Annotated[int, typer.Option(min=1, max=50, help="Sentences of each summary")] = 3,
    share: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT",
            help="Instead: a share of the document's sentences, as 5%, up to 500 of them",
            show_default=False,
        ),
    ] = None,
    sections: Annotated[
        bool, typer.Option("--sections", help="Summarize each section as well, as long")
    ] = False,
    mode: Annotated[
        Mode,
        typer.Option(
            help="grounded: quoted from the document; abstractive: written freely, then checked"
        ),
    ] = Mode.GROUNDED,
    unsupported: Annotated[
        Unsupported,
        typer.Option(help="What becomes of written sentences that their quotes do not prove"),
    ] = Unsupported.MARK,
    password: Password = None,
    as_json: Json = False,
) -> int:
    """Summarize documents in sentences that each quote their page."""
    wanted = SummarizeParams(
        "",
        sentences,
        share=None if share is None else parse_share(share),
        sections=sections,
        mode=mode.value,
        unsupported=unsupported.value,
    )
    with open_desk() as desk:

        def submit(path: Path) -> Job:
            document = desk.add_file(path, password)
            desk.check_checkpoint()
            params = dataclasses.replace(wanted, document=document.sha256)
            return desk.jobs.submit(TaskName.SUMMARIZE, params, label=path.name)

        if len(paths) == 1:
            submitted, status = [submit(paths[0])], 0
        else:
            submitted, status = good_ones(paths, submit)
        ended = desk.wait([job.id for job in submitted])
        return max(status, show_ended(desk, ended, as_json, is_list=len(paths) > 1))


def parse_share(given: str) -> float:
    """`5%`, from 0 to 1."""
    number, sign, rest = given.strip().partition("%")
    try:
        percent = float(number)
    except ValueError:
        percent = math.nan
    if not sign or rest or math.isnan(percent):
        raise BadInput(f"--share {given} is no share; write for example --share 5%")
    return percent / 100


def check(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="The photos", show_default=False)
    ],
    title: Annotated[str, typer.Option(help="What the listing calls the product")],
    description: Annotated[str, typer.Option(help="The listing's text")] = "",
    attr: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="An attribute, like colour=red; any number of them"
        ),
    ] = None,
    threshold: Threshold = None,
    propose: Annotated[
        bool,
        typer.Option("--propose", help="Propose words too, and what to correct in refuted ones"),
    ] = False,
    as_json: Json = False,
) -> int:
    """Check the claims of a product listing against its photos."""
    attributes = parse_attributes(attr or ())
    listing = Listing((), title, description, attributes, threshold, propose)
    return _check_photos(images, listing, as_json)


def propose(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="The photos", show_default=False)
    ],
    as_json: Json = False,
) -> int:
    """Propose a title, a description and attributes for photos, chosen among known names."""
    return _check_photos(images, Listing((), "", propose=True), as_json)


def _check_photos(images: Sequence[Path], words: Listing, as_json: bool) -> int:
    """The photos with the words of a listing, checked."""
    with open_desk() as desk:
        added, status = good_ones(images, desk.add_file)
        if status:
            return status
        desk.check_checkpoint()
        listing = replace(words, photos=tuple(document.sha256 for document in added))
        job = desk.jobs.submit(TaskName.CHECK_LISTING, listing)
        return show_ended(desk, desk.wait([job.id]), as_json)


def parse_attributes(given: Sequence[str]) -> Mapping[str, str]:
    """`name=value`, each name once."""
    attributes: dict[str, str] = {}
    for text in given:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not (sign and name and value):
            raise BadInput(f"--attr {text} is not NAME=VALUE; write for example --attr colour=red")
        if name in attributes:
            raise BadInput(f"--attr {name} is given twice; give one value")
        attributes[name] = value
    return attributes


def show_ended(desk: Desk, ended: Sequence[Job], as_json: bool, *, is_list: bool = False) -> int:
    """Results to stdout, failures to stderr; the exit status."""
    results: list[tuple[Job, Result]] = []
    for job in ended:
        if job.status is Status.SUCCEEDED:
            results.append((job, desk.jobs.result(job.id)))
        else:
            failures.say(f"{job.label}: {job.error or f'the job was {job.status}'} (job {job.id})")
    if as_json:
        values = [result_json(result) for _, result in results]
        if is_list:
            write_json(values)
        elif values:
            write_json(values[0])
    else:
        from mmapp.display import result_view, show

        for job, result in results:
            show(result_view(job, result, desk.web_url))
    return 0 if len(results) == len(ended) else JOB_FAILED


def batch(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="CSV, JSONL, XLSX, or a zip of one with its files"),
    ],
    task: Annotated[BatchChoice, typer.Option(help="What to do with each row")] = BatchChoice.CHECK,
    mapped: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="MEANING=COLUMN,...",
            help="Which columns are id, image, title, description, label, document or ignored;"
            " it is remembered",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="CSV file for the results; default: stdout")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="HTML file for a report on a batch of listings")
    ] = None,
    threshold: Threshold = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Submit, print the batch's id, and leave")
    ] = False,
    as_json: Json = False,
) -> int:
    """Do one task for each row of a table; the results come as CSV, in input order."""
    from mmapp.batches import parse_map

    name = task_name(task)
    check_out(file, out, "--out")
    _check_report(file, report, name, no_wait)
    told = parse_map(mapped or (), name)
    with open_desk() as desk:
        desk.check_checkpoint()
        _tell_columns(desk, file, name, told)
        if no_wait:
            return _leave(desk, _submit_batch(desk, file, name, told, threshold), as_json)
        ended = _do_batch(desk, file, name, told, threshold)
        if out is not None:
            write_batch(desk, ended.id, name, out)
        if report is not None:
            write_batch_report(desk.jobs, ended, report)
        if as_json:
            write_json(batch_json(desk, ended, None if out is None else str(out)))
        elif out is None:
            write_rows(desk.jobs, ended.id, name, sys.stdout)
        return tell_batch(ended, out)


def check_out(file: Path, out: Path | None, option: str) -> None:
    """Before hours of work, not after."""
    if not file.is_file():
        raise BadInput(f"{file} is no file; give one that exists")
    if out is None:
        return
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise BadInput(f"{option} {out} can't be written: give a file in a folder that exists")
    if out.exists() and out.samefile(file):
        raise BadInput(f"{option} {out} is the input; give another file")


def _check_report(file: Path, report: Path | None, task: TaskName, no_wait: bool) -> None:
    check_out(file, report, "--report")
    if report is None:
        return
    if task is not TaskName.CHECK_LISTING:
        raise BadInput("--report is about listings; leave it out, or take --task check")
    if no_wait:
        raise BadInput(
            "--report has to wait for the rows; take `mmapp results --batch ID --report FILE` when"
            " they are done"
        )


def _tell_columns(
    desk: Desk, file: Path, task: TaskName, told: Mapping[str, Sequence[str]]
) -> None:
    """Raises when the file is no table, and says which columns were only guessed."""
    from mmapp.batches import read_columns

    columns = read_columns(file, task, desk.settings, told=told)
    if columns.guessed:
        failures.say(f"columns: {columns.in_words()}; if one is wrong, say which with --map")


def _do_batch(
    desk: Desk,
    file: Path,
    task: TaskName,
    told: Mapping[str, Sequence[str]],
    threshold: float | None,
) -> Batch:
    """The first rows are worked on while the last are read."""
    from mmapp.display import follow_batch

    began = datetime.now(UTC)
    with desk.served(lambda: _left_open(desk, file.name, began)):
        return follow_batch(desk.jobs, _submit_batch(desk, file, task, told, threshold).id)


def _left_open(desk: Desk, name: str, began: datetime) -> list[str]:
    """Jobs of the batch that was being submitted; its id is known only at its end."""
    ours = [
        batch
        for batch in desk.jobs.batches(limit=5)
        if batch.name == name and batch.created_at >= began
    ]
    return [job_id for batch in ours for job_id in open_jobs_of(desk, batch.id)]


def _submit_batch(
    desk: Desk,
    file: Path,
    task: TaskName,
    told: Mapping[str, Sequence[str]],
    threshold: float | None,
) -> Batch:
    from mmapp.batches import read_batch
    from mmapp.display import counting

    # Here and not in `rows`: a file that is no table is refused before there is a batch for it.
    table = read_batch(file, task, desk.jobs, told=told)
    with counting(f"Reading {file.name}") as tell:

        def rows() -> Iterator[BatchRow]:
            for number, row in enumerate(table, 1):
                tell(number)
                if isinstance(row.params, Listing):
                    row = replace(row, params=replace(row.params, threshold=threshold))
                yield row

        return desk.jobs.submit_batch(file.name, task, rows())


def wait_for_batch(desk: Desk, batch_id: str) -> Batch:
    """Every row has ended; interrupted, what our own stack had to do is cancelled."""
    from mmapp.display import follow_batch

    if not open_jobs_of(desk, batch_id):
        return desk.jobs.batch(batch_id)
    with desk.served(lambda: open_jobs_of(desk, batch_id)):
        return follow_batch(desk.jobs, batch_id)


def open_jobs_of(desk: Desk, batch_id: str) -> list[str]:
    """The jobs of a batch that have not ended."""
    most = desk.jobs.batch(batch_id).rows
    found: list[str] = []
    for status in (Status.QUEUED, Status.RUNNING):
        jobs = desk.jobs.list(status=status, batch_id=batch_id, limit=max(most, 1))
        found += [job.id for job in jobs]
    return found


def write_batch(desk: Desk, batch_id: str, task: TaskName, out: Path) -> None:
    with whole(out) as file:
        write_rows(desk.jobs, batch_id, task, file)


def write_batch_report(jobs: Jobs, batch: Batch, out: Path) -> None:
    """The report of a batch of listings, with a bar while its photos are compared."""
    from mmapp.batches.report import batch_report
    from mmapp.display import bar

    with bar("Comparing photos") as show:
        page = batch_report(batch, jobs, show)
    with whole(out) as file:
        file.write(page)
    failures.say(f"report in {out}")


@contextlib.contextmanager
def whole(out: Path) -> Iterator[TextIO]:
    """The whole file or none: a reader never finds half of it."""
    fresh = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with fresh.open("w", encoding="utf-8", newline="") as file:
            yield file
        fresh.replace(out)
    finally:
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()


def write_rows(jobs: Jobs, batch_id: str, task: TaskName, out: TextIO) -> None:
    from mmapp.batches import write_results

    rows, is_reviewed = jobs.batch_rows(batch_id), jobs.is_reviewed(batch_id)
    write_results(rows, task, out, is_reviewed=is_reviewed)
    out.flush()


def batch_json(desk: Desk, ended: Batch, out: str | None) -> dict[str, Any]:
    """A batch, with its rows unless they went to a file."""
    value: dict[str, Any] = {
        "batch": ended.id,
        "name": ended.name,
        "task": ended.task,
        "rows": ended.rows,
        "rejected": ended.rejected,
        "reused": ended.reused,
        "counts": {str(status): count for status, count in ended.counts.items()},
        "out": out,
    }
    if out is None:
        value["results"] = [
            {
                "row": row.row,
                "cells": dict(row.cells),
                "error": row.error,
                "result": None if row.result is None else result_json(row.result),
            }
            for row in desk.jobs.batch_rows(ended.id)
        ]
    return value


def tell_batch(ended: Batch, out: Path | None = None) -> int:
    """How many rows failed; the exit status."""
    succeeded = ended.counts.get(Status.SUCCEEDED, 0)
    failed = ended.rows - succeeded
    where = f" in {out}" if out is not None else ""
    if failed:
        failures.say(
            f"{failed:,} of {ended.rows:,} rows failed; see the error column{where}"
            f" (batch {ended.id})"
        )
        return ROWS_FAILED
    if out is not None:
        reused = f", {ended.reused:,} of them from earlier" if ended.reused else ""
        failures.say(f"{succeeded:,} rows done{reused}{where} (batch {ended.id})")
    return 0


def _leave(desk: Desk, submitted: Batch, as_json: bool) -> int:
    if as_json:
        write_json({**batch_json(desk, submitted, ""), "out": None})
    else:
        sys.stdout.write(f"{submitted.id}\n")
    when = "Its rows are being worked on" if desk.is_served else "Its rows wait for `mmapp up`"
    failures.say(
        f"{when}; get the results with `mmapp results --batch {submitted.id} --export csv`, or wait"
        f" with `mmapp jobs wait {submitted.id}`"
    )
    return ROWS_FAILED if submitted.rejected else 0
