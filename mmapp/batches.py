"""Tables of work: CSV, JSONL or zip -> rows for `Jobs.submit_batch`; their results -> CSV.

A table for listings has the columns id, image, title, description, and every further column is an
attribute; `label` is kept and never checked. Several images are separated by `|`. A table for
documents has the columns id, document. Columns named like results (`verdict`, …) are those of an
earlier run: they are replaced. The kind of table is told by its content.

Refused as a whole: what is no table, lacks a needed column, or is a zip larger than the settings
allow. A row that can't be used is kept, with its error, and the rest goes on. A table on disk may
name any file; in a zip, and in an upload, only the files that came with it, and nothing is ever
unpacked to disk. Memory does not grow with the number of rows. Called by `cli`, `web` and `api`.
"""

from __future__ import annotations

import csv
import io
import json
import posixpath
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol, TextIO

from mmapp.config import Settings
from mmapp.documents.text import SAMPLE_BYTES, find_encoding
from mmapp.errors import BadInput
from mmapp.jobs import BatchRow, BatchRowResult
from mmapp.records import plain
from mmapp.types import Document, Listing, SummarizeParams, TaskName

#: Columns with a meaning, and which of them a table can't do without.
COLUMNS = {
    TaskName.CHECK_LISTING: ("id", "image", "title", "description", "label"),
    TaskName.SUMMARIZE: ("id", "document", "label"),
}
NEEDED = {TaskName.CHECK_LISTING: ("image", "title"), TaskName.SUMMARIZE: ("document",)}

#: What `write_results` puts after the columns of the input.
RESULTS = {
    TaskName.CHECK_LISTING: ("verdict", "score", "refuted", "claims", "error"),
    TaskName.SUMMARIZE: ("summary", "pages", "error"),
}

#: A longer line is not one of a table. Memory holds one.
LONGEST_LINE = 2_000_000

#: Different keys in the objects of a JSONL file.
MOST_COLUMNS = 500

#: Separates several images in one cell.
BETWEEN_IMAGES = "|"

#: A spreadsheet runs a cell that begins so (OWASP, "CSV Injection"), the wide forms in CJK locales.
RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

#: Beginnings of a zip, with entries and empty.
ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")

#: What reading a damaged or foreign entry raises.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError)


class Keeper(Protocol):
    """Who takes the files that rows name: `Jobs`, or one who only looks at them."""

    @property
    def settings(self) -> Settings: ...

    def add_document(self, name: str, data: bytes, /) -> Document: ...


def read_cells(path: Path, task: TaskName, settings: Settings) -> Iterator[BatchRow]:
    """The rows of a table as `read_batch` gives them, without the files that they name."""
    with closing(_open(path, settings, None)) as source:
        yield from _rows(source, _survey(source, task))


def read_batch(
    path: Path, task: TaskName, jobs: Keeper, *, files: Mapping[str, Path] | None = None
) -> Iterator[BatchRow]:
    """The rows of a table, read as they are asked for; photos and documents are added on the way.

    Raises `BadInput` at once when it is no table for `task`. With `files` (name -> where it was
    put), an upload's rows may name only those.
    """
    with closing(_open(path, jobs.settings, files)) as source:
        table = _survey(source, task)
    return _batch_rows(path, task, jobs, files, table)


def write_results(rows: Iterable[BatchRowResult], task: TaskName, out: TextIO) -> None:
    """One line of CSV for each row: its columns, then `RESULTS[task]`.

    `refuted` is the refuted claims' words, joined by "; "; `claims` and `summary` are JSON as in
    `--json`; `pages` is how many the document has. Cells that a spreadsheet would run begin with an
    apostrophe. `out` should be opened with `newline=""`.
    """
    writer = csv.writer(out, lineterminator="\n")
    columns: list[str] | None = None
    for row in rows:
        if columns is None:
            columns = [name for name in row.cells if name.casefold() not in RESULTS[task]]
            writer.writerow(map(harmless, [*columns, *RESULTS[task]]))
        cells = [row.cells.get(name, "") for name in columns]
        writer.writerow(map(harmless, [*cells, *_outcome(row, task)]))
    if columns is None:
        writer.writerow(RESULTS[task])


def harmless(cell: str) -> str:
    """The cell so that a spreadsheet shows it as text."""
    return f"'{cell}" if cell.startswith(RUN_BY_SPREADSHEETS) else cell


def _outcome(row: BatchRowResult, task: TaskName) -> list[str]:
    if row.result is None:
        return [*[""] * (len(RESULTS[task]) - 1), row.error]
    payload = row.result.payload
    if task is TaskName.SUMMARIZE:
        return [_as_json(payload["summary"]), str(payload["document"]["pages"]), row.error]
    refuted = [claim["text"] for claim in payload["claims"] if claim["label"] == "REFUTED"]
    score = f"{payload['score']:.4f}"
    return [payload["verdict"], score, "; ".join(refuted), _as_json(payload["claims"]), row.error]


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# --- where a table and its files are -------------------------------------------------------------


class _Source(Protocol):
    """A table and the files that its rows name."""

    #: What a person calls the table.
    name: str

    def open_table(self) -> IO[bytes]: ...

    def read(self, named: str) -> bytes: ...

    def close(self) -> None: ...


def _open(path: Path, settings: Settings, files: Mapping[str, Path] | None) -> _Source:
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) in ZIP_SIGNATURES
    except OSError as error:
        raise BadInput(f"{path} can't be opened: {error.strerror}. Check the path.") from error
    if is_zip:
        return _Archive(path, settings)
    return _Folder(path, settings) if files is None else _Upload(path, settings, files)


class _Folder:
    """A table on disk; a relative path counts from the table's folder."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.name = path.name
        self._path = path
        self._settings = settings

    def open_table(self) -> IO[bytes]:
        return self._path.open("rb")

    def read(self, named: str) -> bytes:
        path = self._path.parent / named
        if not path.exists() and "\\" in named:
            path = self._path.parent / named.replace("\\", "/")
        return _read_file(path, named, self._settings)

    def close(self) -> None:
        """Nothing is held."""


class _Upload:
    """A table that came together with files, each known by its name."""

    def __init__(self, path: Path, settings: Settings, files: Mapping[str, Path]) -> None:
        self.name = path.name
        self._path = path
        self._settings = settings
        self._files = {_normal(name): file for name, file in files.items()}

    def open_table(self) -> IO[bytes]:
        return self._path.open("rb")

    def read(self, named: str) -> bytes:
        name = _normal(named)
        # Browsers send a chosen file without its folder.
        file = self._files.get(name) or self._files.get(posixpath.basename(name))
        if file is None:
            raise BadInput(f"“{named}” did not come with the table; upload it too")
        return _read_file(file, named, self._settings)

    def close(self) -> None:
        """Nothing is held."""


class _Archive:
    """A table in a zip, with its files beside it; entries are read in memory, one at a time."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self._settings = settings
        try:
            self._zip = zipfile.ZipFile(path)
        except (*_ZIP_ERRORS, ValueError) as error:
            raise BadInput(f"{path.name} can't be opened as a zip: {error}. Pack it anew.") from (
                error
            )
        try:
            self._check_size(path.name)
            self._entries = dict(self._usable())
            self._table = self._find_table(path.name)
        except BaseException:
            self._zip.close()
            raise
        self.name = f"{path.name}/{self._table}"

    def open_table(self) -> IO[bytes]:
        return self._open(self._table, self._table)

    def read(self, named: str) -> bytes:
        folder = posixpath.dirname(self._table)
        if PurePosixPath(_normal(named)).is_absolute():
            raise BadInput(f"“{named}” is an absolute path; rows of a zip name files in the zip")
        name = posixpath.normpath(posixpath.join(folder, _normal(named)))
        if name not in self._entries:
            raise BadInput(f"“{named}” is not in the zip; put it beside the table, or fix the path")
        entry = self._entries[name]
        _check_bytes(named, entry.file_size, self._settings)
        with self._open(name, named) as file:
            try:
                return file.read()
            except _ZIP_ERRORS as error:
                raise BadInput(f"“{named}” is damaged in the zip: {error}. Pack it anew.") from (
                    error
                )

    def close(self) -> None:
        self._zip.close()

    def _open(self, name: str, named: str) -> IO[bytes]:
        try:
            return self._zip.open(self._entries[name])
        except _ZIP_ERRORS as error:
            raise BadInput(
                f"“{named}” can't be read from the zip: {error}. Pack it anew, without a password."
            ) from error

    def _check_size(self, name: str) -> None:
        """The sizes that a zip states bind: no entry gives more than it states."""
        entries = self._zip.infolist()
        most, limit = self._settings.max_batch_files, self._settings.max_batch_bytes
        if len(entries) > most:
            raise BadInput(
                f"{name} holds {len(entries):,} files; at most {most:,} are read. Split it, or"
                " raise MMAPP_MAX_BATCH_FILES."
            )
        total = sum(entry.file_size for entry in entries)
        if total > limit:
            raise BadInput(
                f"{name} unpacks to {total:,} bytes; at most {limit:,} are read. Split it, or"
                " raise MMAPP_MAX_BATCH_BYTES."
            )

    def _usable(self) -> Iterator[tuple[str, zipfile.ZipInfo]]:
        """Regular files inside the zip's own folder, by name; macOS' shadow files are none."""
        for entry in self._zip.infolist():
            name = posixpath.normpath(_normal(_entry_name(entry)))
            path = PurePosixPath(name)
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if entry.is_dir() or kind not in (0, stat.S_IFREG):
                continue
            if path.is_absolute() or ".." in path.parts:
                continue
            if path.parts[0] != "__MACOSX" and not path.name.startswith("._"):
                yield name, entry

    def _find_table(self, name: str) -> str:
        if "xl/workbook.xml" in self._entries:
            raise BadInput(f"{name} is an Excel workbook; save it as “CSV UTF-8” and give that")
        tables = [entry for entry in self._entries if _is_table(entry)]
        depth = min((entry.count("/") for entry in tables), default=0)
        tables = [entry for entry in tables if entry.count("/") == depth]
        if len(tables) != 1:
            found = ", ".join(sorted(tables)[:5]) or "none"
            raise BadInput(
                f"A batch zip holds one .csv or .jsonl and the files that it names; {name} has"
                f" {len(tables)} tables ({found})"
            )
        return tables[0]


def _is_table(name: str) -> bool:
    return PurePosixPath(name).suffix.casefold() in (".csv", ".jsonl")


def _entry_name(entry: zipfile.ZipInfo) -> str:
    """The name; packers that don't mark UTF-8 mean it all the same, or GB18030 on Chinese Windows.

    zipfile reads unmarked names as code page 437.
    """
    if entry.flag_bits & 0x800:
        return entry.filename
    try:
        written = entry.filename.encode("cp437")
    except UnicodeEncodeError:
        return entry.filename
    for encoding in ("utf-8", "gb18030"):
        try:
            return written.decode(encoding)
        except UnicodeDecodeError:
            continue
    return entry.filename


def _normal(name: str) -> str:
    """One spelling of a path: slashes, and composed characters (macOS decomposes them)."""
    name = unicodedata.normalize("NFC", name.strip().replace("\\", "/"))
    while name.startswith("./"):
        name = name[2:]
    return name


def _read_file(path: Path, named: str, settings: Settings) -> bytes:
    if "://" in named:
        raise BadInput(f"“{named}” is a web address; download it and name the file")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadInput(f"“{named}” is no file; name a file in this row")
        _check_bytes(named, status.st_size, settings)
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInput(f"“{named}” can't be read: {reason}. Check the path in this row.") from error


def _check_bytes(named: str, size: int, settings: Settings) -> None:
    if size > settings.max_bytes:
        raise BadInput(
            f"“{named}” has {size:,} bytes; at most {settings.max_bytes:,} are read. Make it"
            " smaller, or raise MMAPP_MAX_BYTES."
        )


# --- what a table looks like ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Table:
    """What the first pass over a table found."""

    encoding: str
    columns: tuple[str, ...]
    #: Between the cells of a CSV; None for JSONL.
    delimiter: str | None


def _survey(source: _Source, task: TaskName) -> _Table:
    """Reads the table once, so that nothing about its form goes wrong half-way."""
    with source.open_table() as file:
        beginning = file.read(SAMPLE_BYTES)
    if not beginning.strip():
        raise BadInput(f"{source.name} is empty; it needs a line of column names and a row")
    encoding = _encoding(source, beginning)
    with _text(source, encoding) as text:
        first = text.readline(LONGEST_LINE).lstrip("\ufeff")
        while first and not first.strip():
            first = text.readline(LONGEST_LINE)
    if first.lstrip().startswith("{"):
        with _text(source, encoding) as text:
            table = _Table(encoding, _json_columns(text), None)
    else:
        table = _csv_table(first, encoding, task)
    _check_columns(source.name, table.columns, task)
    return table


def _encoding(source: _Source, beginning: bytes) -> str:
    for encoding in (find_encoding(beginning), "gb18030"):
        if encoding is None:
            break
        try:
            with _text(source, encoding) as text:
                _check_lines(source.name, text)
        except UnicodeError:
            continue
        return encoding
    raise BadInput(f"{source.name} is no text that can be read; save it as “CSV UTF-8”")


def _text(source: _Source, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(source.open_table(), encoding=encoding, newline="")


def _check_lines(name: str, text: TextIO) -> None:
    number = 0
    while line := text.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise BadInput(
                f"Line {number:,} of {name} has more than {LONGEST_LINE:,} characters; a batch is a"
                " table with one line for each row"
            )


def _json_columns(text: TextIO) -> tuple[str, ...]:
    """The keys of all objects, in the order in which they are met."""
    columns: dict[str, None] = {}
    for line in text:
        value = _json_object(line)
        columns.update(dict.fromkeys(map(plain, value or ())))
        if len(columns) > MOST_COLUMNS:
            raise BadInput(
                f"The objects have more than {MOST_COLUMNS} different keys; a batch is a table"
            )
    return tuple(columns)


def _json_object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line.strip().lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _csv_table(header: str, encoding: str, task: TaskName) -> _Table:
    """The columns as the separator gives them that finds those needed: comma, semicolon or tab."""
    tables = []
    for delimiter in (",", ";", "\t"):
        names = [plain(name).strip() for name in next(csv.reader([header], delimiter=delimiter))]
        # Tables of data frames begin with a column of numbers that has no name.
        columns = tuple(name or f"column {number}" for number, name in enumerate(names, 1))
        tables.append(_Table(encoding, columns, delimiter))
    found = [table for table in tables if not _missing(table.columns, task)]
    return (found or tables)[0]


def _missing(columns: Iterable[str], task: TaskName) -> list[str]:
    names = {column.casefold() for column in columns}
    return [name for name in NEEDED[task] if name not in names]


def _check_columns(name: str, columns: tuple[str, ...], task: TaskName) -> None:
    if missing := _missing(columns, task):
        other = next(one for one in TaskName if one is not task)
        remedy = f"Its first line must name the columns {', '.join(COLUMNS[task][:-1])}"
        if not _missing(columns, other):
            remedy = f"It looks like a table for the task {other.value}; choose that task"
        found = ", ".join(columns)[:200]
        raise BadInput(
            f"{name} has no column {' and no column '.join(missing)} (found: {found}). {remedy}."
        )
    seen: set[str] = set()
    for column in columns:
        if column.casefold() in seen:
            raise BadInput(f"{name} has two columns named {column}; rename one")
        seen.add(column.casefold())


# --- its rows ------------------------------------------------------------------------------------


def _batch_rows(
    path: Path, task: TaskName, jobs: Keeper, files: Mapping[str, Path] | None, table: _Table
) -> Iterator[BatchRow]:
    with closing(_open(path, jobs.settings, files)) as source:
        for row in _rows(source, table):
            yield row if row.error else _with_params(row, task, jobs, source)


def _rows(source: _Source, table: _Table) -> Iterator[BatchRow]:
    with _text(source, table.encoding) as text:
        yield from _csv_rows(text, table) if table.delimiter else _json_rows(text, table)


def _csv_rows(text: TextIO, table: _Table) -> Iterator[BatchRow]:
    """The cells of each row, or what is wrong with its form."""
    assert table.delimiter is not None
    reader = csv.reader(text, delimiter=table.delimiter)
    has_header = False
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _bad_row(table, f"Line {reader.line_num} can't be read as CSV: {error}")
            continue
        if not any(value.strip().lstrip("\ufeff") for value in values):
            continue
        if not has_header:
            has_header = True
            continue
        yield _csv_row(values, table, reader.line_num)


def _csv_row(values: list[str], table: _Table, line: int) -> BatchRow:
    count = len(table.columns)
    error = ""
    if any(value.strip() for value in values[count:]):
        error = (
            f"Line {line} has {len(values)} cells for {count} columns; put quotation marks around"
            " cells with commas"
        )
    values = values[:count] + [""] * (count - len(values))
    return BatchRow(dict(zip(table.columns, map(plain, values), strict=True)), error=error)


def _json_rows(text: TextIO, table: _Table) -> Iterator[BatchRow]:
    for number, line in enumerate(text, 1):
        if not line.strip().lstrip("\ufeff"):
            continue
        value = _json_object(line)
        if value is None:
            yield _bad_row(table, f"Line {number} is no JSON object; write one object in each line")
            continue
        cells = {plain(name): _cell(content) for name, content in value.items()}
        yield BatchRow({name: cells.get(name, "") for name in table.columns})


def _cell(value: Any) -> str:
    """A JSON value as it stands in a table."""
    if value is None:
        return ""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return plain(BETWEEN_IMAGES.join(value))
    return plain(_as_json(value))


def _bad_row(table: _Table, error: str) -> BatchRow:
    return BatchRow(dict.fromkeys(table.columns, ""), error=error)


def _with_params(row: BatchRow, task: TaskName, jobs: Keeper, source: _Source) -> BatchRow:
    """The row with its files added, or with the reason why it can't be done."""
    try:
        if task is TaskName.SUMMARIZE:
            return BatchRow(row.cells, _document(row.cells, jobs, source))
        return BatchRow(row.cells, _listing(row.cells, jobs, source))
    except BadInput as error:
        return BatchRow(row.cells, error=str(error))


def _document(cells: Mapping[str, str], jobs: Keeper, source: _Source) -> SummarizeParams:
    named = _known(cells, TaskName.SUMMARIZE)["document"].strip()
    if not named:
        raise BadInput("The row names no document; fill in its column document")
    return SummarizeParams(_add(named, jobs, source))


def _listing(cells: Mapping[str, str], jobs: Keeper, source: _Source) -> Listing:
    known = _known(cells, TaskName.CHECK_LISTING)
    if not known["title"].strip():
        raise BadInput("The listing has no title; fill in its column title")
    named = [name.strip() for name in known["image"].split(BETWEEN_IMAGES)]
    photos = [_add(name, jobs, source) for name in named if name]
    if not photos:
        raise BadInput("The listing has no photo; fill in its column image")
    return Listing(tuple(photos), known["title"], known.get("description", ""), _attributes(cells))


def _known(cells: Mapping[str, str], task: TaskName) -> dict[str, str]:
    """The cells of columns with a meaning, by that meaning."""
    return {
        name.casefold(): value for name, value in cells.items() if name.casefold() in COLUMNS[task]
    }


def _attributes(cells: Mapping[str, str]) -> dict[str, str]:
    """Every further column with something in it."""
    task = TaskName.CHECK_LISTING
    own = {*COLUMNS[task], *RESULTS[task]}
    return {
        name: value.strip()
        for name, value in cells.items()
        if name.casefold() not in own and not _is_unnamed(name) and value.strip()
    }


def _is_unnamed(column: str) -> bool:
    word, _, number = column.partition(" ")
    return word == "column" and number.isdecimal()


def _add(named: str, jobs: Keeper, source: _Source) -> str:
    name = posixpath.basename(_normal(named)) or named
    return jobs.add_document(name, source.read(named)).sha256
