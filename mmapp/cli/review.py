"""`mmapp review` and `reviews list|next|export`: what people say of verdicts, beside the model."""

from __future__ import annotations

import csv
import getpass
import itertools
import json
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmapp import reviews
from mmapp.cli import failures
from mmapp.cli.outputs import job_json, write_json
from mmapp.cli.session import open_jobs, read_settings
from mmapp.cli.tasks import Json
from mmapp.errors import BadInput
from mmapp.types import Label

if TYPE_CHECKING:
    from mmapp.jobs import Jobs, ReviewRow

#: Rows that are read from the database at once.
CHUNK = 200

app = typer.Typer(help="List, export and choose what people say of verdicts.")

#: The columns of an export.
COLUMNS = (
    *("id", "at", "by", "job", "listing", "claim", "words"),
    *("model", "probability", "verdict", "note", "counts"),
)


class Form(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


def review(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Id of a checked listing's job")],
    claim: Annotated[
        int | None, typer.Option(min=1, help="Number of the claim; default: the whole listing")
    ] = None,
    accept: Annotated[bool, typer.Option("--accept", help="The model's verdict is right")] = False,
    supported: Annotated[
        bool, typer.Option("--supported", help="The photos show it; of a listing: they agree")
    ] = False,
    refuted: Annotated[
        bool, typer.Option("--refuted", help="The photos show otherwise; of a listing: they don't")
    ] = False,
    unclear: Annotated[
        bool, typer.Option("--unclear", help="The photos don't show whether it is so")
    ] = False,
    note: Annotated[str, typer.Option(help="Why")] = "",
    by: Annotated[str, typer.Option(help="Who says so; default: your name on this machine")] = "",
    as_json: Json = False,
) -> int:
    """Accept or override a verdict; the model's stands beside it."""
    label = _label(accept=accept, supported=supported, refuted=refuted, unclear=unclear)
    with open_jobs(read_settings()) as jobs:
        said = jobs.review(job, claim=claim, label=label, note=note, by=by or getpass.getuser())
    if as_json:
        write_json({"job": job, **reviews.as_json(said)})
    else:
        about = f"claim {claim}" if claim else "the listing"
        sys.stdout.write(f"{about}: {reviews.verdict(said)}, says {said.by}\n")
    return 0


def _label(*, accept: bool, supported: bool, refuted: bool, unclear: bool) -> Label | None:
    """The one that was chosen; None for the model's own."""
    if accept + supported + refuted + unclear != 1:
        raise BadInput("Say one of --accept, --supported, --refuted and --unclear")
    if accept:
        return None
    if unclear:
        return Label.NOT_ENOUGH_INFO
    return Label.SUPPORTED if supported else Label.REFUTED


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="Most reviews that are shown")] = 50,
    as_json: Json = False,
) -> int:
    """List reviews, newest first, beside what the model says."""
    with open_jobs(read_settings()) as jobs:
        rows = jobs.reviews(limit)
    if as_json:
        write_json([_as_json(row) for row in rows])
    elif rows:
        from mmapp.display import review_table, show

        show(review_table(rows))
    else:
        failures.say("no reviews; make one with `mmapp review JOB --accept`")
    return 0


@app.command("next")
def next_(
    batch: Annotated[
        str | None, typer.Option(help="Only listings of the batch with this id")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most listings that are shown")] = 10,
    as_json: Json = False,
) -> int:
    """List what to review next: the least certain verdicts first."""
    with open_jobs(read_settings()) as jobs:
        rows = jobs.to_review(batch, limit)
    if as_json:
        write_json([{**job_json(row.job), "headline": row.headline} for row in rows])
    elif rows:
        from mmapp.display import result_table, show

        show(result_table(rows))
    else:
        failures.say("every checked listing has been reviewed, or none was checked yet")
    return 0


@app.command()
def export(
    form: Annotated[Form, typer.Option("--as", help="csv: for spreadsheets; jsonl")] = Form.CSV,
) -> int:
    """Write every review to stdout, newest first, with what the model said."""
    with open_jobs(read_settings()) as jobs:
        rows = map(_as_json, every_review(jobs))
        if form is Form.JSONL:
            for row in rows:
                sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
            return 0
        from mmapp.batches import harmless

        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow(COLUMNS)
        for row in rows:
            table.writerow([harmless(_cell(row[name])) for name in COLUMNS])
    return 0


def every_review(jobs: Jobs) -> Iterator[ReviewRow]:
    """Newest first."""
    for offset in itertools.count(0, CHUNK):
        rows = jobs.reviews(CHUNK, offset)
        yield from rows
        if len(rows) < CHUNK:
            return


def _cell(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _as_json(row: ReviewRow) -> dict[str, Any]:
    review, payload = row.review, row.result.payload
    label = reviews.model_label(payload, review.claim)
    return {
        "id": review.id,
        "job": review.job_id,
        "listing": row.job.label,
        "words": reviews.words(payload, review.claim),
        "model": reviews.VERDICTS[label] if review.claim is None else label.value,
        "probability": reviews.model_probability(payload, review.claim),
        **reviews.as_json(review),
        "counts": row.counts,
    }
