"""`mmapp prune`: removes what is older than somebody wants to keep."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from mmapp.cli.outputs import write_json
from mmapp.cli.session import open_jobs, read_settings
from mmapp.cli.tasks import Json
from mmapp.errors import BadInput

UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def prune(
    older_than: Annotated[
        str, typer.Option(help="Age: 36h, 90d or 8w", show_default=False, metavar="AGE")
    ],
    keep_results: Annotated[
        bool, typer.Option("--keep-results", help="Remove files only; jobs and results stay")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and remove nothing")
    ] = False,
    as_json: Json = False,
) -> int:
    """Remove jobs that ended long ago, their results, and files that nothing needs."""
    from mmapp.display import show, working

    age = _age(older_than)
    with open_jobs(read_settings()) as jobs, working("Looking for what is old"):
        pruned = jobs.prune(age, keep_results=keep_results, dry_run=dry_run)
    if as_json:
        write_json({**asdict(pruned), "dry_run": dry_run})
        return 0
    verb = "Would remove" if dry_run else "Removed"
    show(
        f"{verb} {pruned.jobs:,} jobs, {pruned.batches:,} batches, {pruned.documents:,} documents,"
        f" {pruned.blobs:,} files and {pruned.readings:,} readings ({pruned.bytes / 1e6:,.1f} MB)"
    )
    return 0


def _age(text: str) -> timedelta:
    parts = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", text.strip().lower())
    if parts is None:
        raise BadInput(f"{text!r} is no age; write 36h, 90d or 8w")
    return timedelta(**{UNITS[parts[2]]: int(parts[1])})
