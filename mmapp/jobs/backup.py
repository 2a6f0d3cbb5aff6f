"""Backup: one zip file with the rows of the database and the blobs that they refer to.

The rows are of one moment, whatever is written meanwhile; a blob never changes, so those of that
moment can be copied afterwards, while jobs run. The file knows nothing of the kind of database:
what SQLite held can be restored into PostgreSQL. Called by the verbs; refuses to write over a file,
to restore into a database that holds something, and a backup of another migration.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmapp import __version__
from mmapp.db import HEAD, Database
from mmapp.db.repository import Repository
from mmapp.errors import BadInput, DamagedFile, NotFound, NotPossible
from mmapp.storage import SHA256, Blobs

#: Told what is done and the whole, in blobs.
Report = Callable[[int, int], None]

MANIFEST = "manifest.json"
#: Raised when files of before can't be read any more.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds."""

    format: int
    #: The version that wrote it.
    version: str
    migration: str
    created_at: str
    #: Rows by table.
    rows: Mapping[str, int]
    blobs: int
    #: Blobs that rows refer to and that were not there, or not what their name says.
    missing: tuple[str, ...]


def write_backup(database: Database, blobs: Blobs, path: Path, report: Report) -> Backup:
    """Writes a new file, whole or not at all, that only its owner may read."""
    if path.exists():
        raise NotPossible(f"{path} is there already; give another name, or remove it")
    with _new_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with database.snapshot(frozen=True) as repository:
            rows = {
                name: _write_rows(archive, repository, name) for name in repository.tables.names
            }
            wanted = repository.tables.blobs()
        missing = []
        for number, sha256 in enumerate(wanted):
            report(number, len(wanted))
            if not _write_blob(archive, blobs, sha256):
                missing.append(sha256)
        report(len(wanted), len(wanted))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        present = len(wanted) - len(missing)
        backup = Backup(FORMAT, __version__, HEAD, now, rows, present, tuple(missing))
        archive.writestr(MANIFEST, json.dumps(asdict(backup), indent=2))
    return backup


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place when all went well."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.absolute().parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_rows(archive: zipfile.ZipFile, repository: Repository, name: str) -> int:
    entry = zipfile.ZipInfo(_entry_of_table(name), datetime.now().timetuple()[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    count = 0
    with archive.open(entry, "w", force_zip64=True) as file:
        for row in repository.tables.rows(name):
            file.write(json.dumps(row, separators=(",", ":")).encode() + b"\n")
            count += 1
    return count


def _write_blob(archive: zipfile.ZipFile, blobs: Blobs, sha256: str) -> bool:
    """Files of people are compressed already, so they are stored as they are."""
    try:
        data = blobs.get(sha256)
    except (NotFound, DamagedFile):
        return False
    archive.writestr(f"blobs/{sha256}", data)
    return True


def read_backup(database: Database, blobs: Blobs, path: Path, report: Report) -> Backup:
    """Fills an empty database and the blobs; killed half-way, it can be run again."""
    try:
        with zipfile.ZipFile(path) as archive:
            backup = _manifest(archive, path)
            with database.snapshot() as repository:
                _refuse_unless_empty(database, repository)
            # Blobs first: without rows they are nothing, and rows need them.
            _read_blobs(archive, blobs, report)
            with database.transaction() as repository:
                _refuse_unless_empty(database, repository)
                for name in repository.tables.names:
                    _read_rows(archive, repository, name, backup)
    except (zipfile.BadZipFile, KeyError) as error:
        raise BadInput(f"{path} is no whole backup ({error}); use another one") from error
    return backup


def _manifest(archive: zipfile.ZipFile, path: Path) -> Backup:
    stored: dict[str, Any] = json.loads(archive.read(MANIFEST))
    if stored["format"] != FORMAT or stored["migration"] != HEAD:
        raise BadInput(
            f"{path} was written by mmapp {stored['version']} at migration {stored['migration']},"
            f" and this version needs {HEAD}; restore it with that version, then run `mmapp"
            " migrate` with this one"
        )
    return Backup(**{**stored, "missing": tuple(stored["missing"])})


def _refuse_unless_empty(database: Database, repository: Repository) -> None:
    for name in repository.tables.names:
        if repository.tables.count(name):
            raise NotPossible(
                f"The database {database.name} holds {name} already; restore into an empty one"
                " (another MMAPP_DATA_DIR or MMAPP_DATABASE_URL)"
            )


def _read_blobs(archive: zipfile.ZipFile, blobs: Blobs, report: Report) -> None:
    names = [name for name in archive.namelist() if name.startswith("blobs/")]
    for number, name in enumerate(names):
        report(number, len(names))
        sha256 = name.removeprefix("blobs/")
        data = archive.read(name)
        if not SHA256.fullmatch(sha256) or hashlib.sha256(data).hexdigest() != sha256:
            raise BadInput(f"The backup's file {name[:80]!r} is damaged; use another backup")
        blobs.put(data)
    report(len(names), len(names))


def _read_rows(archive: zipfile.ZipFile, repository: Repository, name: str, backup: Backup) -> None:
    with archive.open(_entry_of_table(name)) as file:
        added = repository.tables.add(name, (json.loads(line) for line in file))
    if added != backup.rows[name]:
        raise BadInput(
            f"The backup has {added} rows of {name} and should have {backup.rows[name]};"
            " use another backup"
        )


def _entry_of_table(name: str) -> str:
    return f"tables/{name}.jsonl"
