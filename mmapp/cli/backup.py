"""`mmapp backup` and `mmapp restore`: database and files as one file, and back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmapp.cli import failures
from mmapp.cli.outputs import write_json
from mmapp.cli.session import open_jobs, read_settings
from mmapp.cli.tasks import Json
from mmapp.errors import BadInput

if TYPE_CHECKING:
    from mmapp.jobs.backup import Backup

File = Annotated[Path, typer.Argument(help="The backup, a zip file", show_default=False)]


def backup(file: File, as_json: Json = False) -> int:
    """Write database and files into one file, while everything runs; 1 when some are missing."""
    from mmapp.display import bar

    with open_jobs(read_settings()) as jobs, bar("Copying files") as report:
        written = jobs.backup(file, report)
    _tell(written, "written to", file, as_json)
    if written.missing:
        failures.say(
            f"{len(written.missing)} stored files are missing or damaged and are not in the backup"
            f" ({written.missing[0][:12]}…); add their documents again"
        )
    return 1 if written.missing else 0


def restore(file: File, as_json: Json = False) -> int:
    """Fill an empty database and data folder from a backup; SQLite or PostgreSQL alike."""
    from mmapp.db import migrate
    from mmapp.display import bar

    settings = read_settings()
    if not file.is_file():
        raise BadInput(f"{file} does not exist; check the path")
    migrate(settings.sqlalchemy_url)
    with open_jobs(settings) as jobs, bar("Copying files") as report:
        restored = jobs.restore(file, report)
    _tell(restored, "restored from", file, as_json)
    return 0


def _tell(backup: Backup, what: str, file: Path, as_json: bool) -> None:
    if as_json:
        write_json(asdict(backup))
        return
    from mmapp.display import show

    rows = sum(backup.rows.values())
    show(f"{rows:,} rows and {backup.blobs:,} files {what} {file}")
