"""`mmapp results` and `export`: every past result, searched, filtered and exported; one to keep."""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections.abc import Iterator
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from mmapp import reviews
from mmapp.cli import failures
from mmapp.cli.outputs import TaskChoice, job_json, result_json, write_json
from mmapp.cli.session import open_jobs, read_settings
from mmapp.cli.tasks import Json, task_name, write_batch_report, write_rows
from mmapp.errors import BadInput
from mmapp.types import Status

if TYPE_CHECKING:
    from mmapp.jobs import Jobs, ResultRow

#: Rows of the table when no limit is given; an export then has all.
TABLE_ROWS = 50

#: Rows that are read from the database at once.
CHUNK = 200

COLUMNS = ("job", "task", "status", "label", "created_at", "finished_at", "headline", "error")


class Export(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


class Form(StrEnum):
    MARKDOWN = "markdown"
    JSON = "json"
    PDF = "pdf"


def results(
    query: Annotated[
        str, typer.Argument(help="Words found in the name or the text of a result")
    ] = "",
    task: Annotated[TaskChoice | None, typer.Option(help="Only results of this task")] = None,
    status: Annotated[Status | None, typer.Option(help="Only jobs in this status")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Submitted on this day or later"),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Submitted on this day or earlier"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Most results; default: 50, or all with --export")
    ] = None,
    batch: Annotated[
        str | None, typer.Option(help="The rows of the batch with this id, as CSV or as a report")
    ] = None,
    export: Annotated[Export | None, typer.Option(help="Write all columns to stdout")] = None,
    report: Annotated[
        Path | None, typer.Option(help="HTML file for a report on a batch of listings")
    ] = None,
    as_json: Json = False,
) -> int:
    """Search all past results, newest first."""
    with open_jobs(read_settings()) as jobs:
        if batch is not None:
            return _export_batch(jobs, batch, export, report)
        if report is not None:
            raise BadInput("--report is about one batch; add --batch ID")
        filters: dict[str, Any] = {
            "task": None if task is None else task_name(task),
            "status": status,
            "since": _day(since),
            "until": _day(until),
        }
        rows = _rows(jobs, query, filters)
        if export is not None:
            _export(itertools.islice(rows, limit), export, sys.stdout)
            return 0
        found = list(itertools.islice(rows, limit or TABLE_ROWS))
        if as_json:
            write_json([_row_json(row) for row in found])
        elif found:
            from mmapp.display import result_table, show

            show(result_table(found))
            total = jobs.count_results(query, **filters)
            if total > len(found):
                failures.say(f"{len(found):,} of {total:,} results; more with --limit")
        else:
            failures.say("no results; search other words, or make one: `mmapp summarize FILE`")
    return 0


def export(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Id of a job that has a result")],
    form: Annotated[
        Form, typer.Option("--as", help="pdf: the document with its proofs highlighted")
    ] = Form.MARKDOWN,
    out: Annotated[Path | None, typer.Option(help="File to write; default: stdout")] = None,
) -> int:
    """Export a result as Markdown, as JSON, or as its PDF with the proofs marked."""
    with open_jobs(read_settings()) as jobs:
        data = _exported(jobs, job, form)
    if out is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return 0
    try:
        out.write_bytes(data)
    except OSError as problem:
        reason = problem.strerror or problem
        raise BadInput(f"--out {out} can't be written ({reason}); give another file") from None
    return 0


def _exported(jobs: Jobs, job_id: str, form: Form) -> bytes:
    from mmapp import exports
    from mmapp.display import working

    if form is Form.PDF:
        with working("Marking the proofs"):
            return jobs.annotated(job_id)
    result = jobs.result(job_id)
    if form is Form.MARKDOWN:
        return exports.markdown(jobs.get(job_id), result).encode()
    return (json.dumps(result_json(result), ensure_ascii=False, indent=2) + "\n").encode()


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


def _rows(jobs: Jobs, query: str, filters: dict[str, Any]) -> Iterator[ResultRow]:
    for offset in itertools.count(0, CHUNK):
        chunk = jobs.results(query, **filters, limit=CHUNK, offset=offset)
        yield from chunk
        if len(chunk) < CHUNK:
            return


def _row_json(row: ResultRow) -> dict[str, Any]:
    made = None if row.result is None else result_json(row.result)
    return {**job_json(row.job), "headline": row.headline, "result": made}


def _export(rows: Iterator[ResultRow], export: Export, out: TextIO) -> None:
    if export is Export.JSONL:
        for row in rows:
            out.write(json.dumps(_row_json(row), ensure_ascii=False, default=str) + "\n")
        return
    from mmapp.batches import harmless

    table = csv.writer(out, lineterminator="\n")
    table.writerow([*COLUMNS, "result", *reviews.COLUMNS])
    for row in rows:
        value = _row_json(row)
        made = value["result"]
        result = "" if made is None else json.dumps(made, ensure_ascii=False, default=str)
        said = reviews.cells(row.result)
        cells = ["" if value[name] is None else str(value[name]) for name in COLUMNS]
        table.writerow([harmless(cell) for cell in [*cells, result, *said]])


def _export_batch(jobs: Jobs, batch_id: str, export: Export | None, report: Path | None) -> int:
    if export is not Export.CSV and (report is None or export is not None):
        raise BadInput("--batch gives CSV or a report; add --export csv or --report FILE")
    batch = jobs.batch(batch_id)
    if report is not None:
        write_batch_report(jobs, batch, report)
    if export is not None:
        write_rows(jobs, batch_id, batch.task, sys.stdout)
    return 0
