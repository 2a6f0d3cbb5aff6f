"""The verbs put together, the global options, and how a verb's end becomes an exit status.

Verbs return their exit status; what they raise becomes one line on stderr (`mmapp.cli.failures`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mmapp import __version__
from mmapp.cli import (
    backup,
    calibrate,
    doctor,
    documents,
    estimate,
    evaluate,
    failures,
    jobs,
    prune,
    results,
    review,
    roles,
    tasks,
)

app = typer.Typer(
    name="mmapp",
    help="Summaries that quote their proof, and product listings checked against their photos.",
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
roles.add_to(app)
app.command()(doctor.doctor)
tasks.add_to(app)
documents.add_to(app)
app.command()(estimate.estimate)
app.add_typer(jobs.app, name="jobs")
app.command()(results.results)
app.command()(results.export)
app.command()(review.review)
app.add_typer(review.app, name="reviews")
app.command()(calibrate.calibrate)
app.command()(evaluate.evaluate)
for keep in (backup.backup, backup.restore, prune.prune):
    app.command()(keep)


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of all state; default: MMAPP_DATA_DIR or the user's data folder"),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="Whose jobs these are, among users who take turns")
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit")] = False,
) -> None:
    if data_dir is not None:
        # The environment, so that processes started from here use the same folder.
        os.environ["MMAPP_DATA_DIR"] = str(data_dir.expanduser().resolve())
    if user is not None:
        os.environ["MMAPP_USER"] = user
    if version:
        sys.stdout.write(f"mmapp {__version__}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        sys.stdout.write(context.get_help() + "\n")
        raise typer.Exit(2)


def run(arguments: Sequence[str]) -> int:
    """Runs one command line; its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that knows no Chinese shows escapes instead of failing.
            stream.reconfigure(errors="backslashreplace")
    try:
        status = app(args=list(arguments), prog_name="mmapp", standalone_mode=False)
    except Exception as error:
        return failures.report(error)
    return status if isinstance(status, int) else 0
