"""A user's own tables in a data folder: `listings.csv`, and `documents.jsonl` plain or with `.xz`.

Their columns are those of `mmapp batch` and `mmapp evaluate`, so that one table serves all. A row
is held out (split 'val') when the hash of its id falls into the lowest tenth; a table of fewer than
ten rows is whole in both splits. Refuses, naming table and row: what is no table, two rows of one
id, and a photo that is not inside the folder. Called by `documents`, `listings` and `tuned`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import lzma
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

OWN = "own"  #: the source of what a user's own table holds
LISTINGS = "listings.csv"
DOCUMENTS = ("documents.jsonl", "documents.jsonl.xz")
HELD_OUT = 0.1  # of the rows of a table …
FEWEST_SPLIT = 10  # … that has at least so many
COLUMNS = ("id", "image", "title", "description", "label")
NEEDED = ("image", "title", "label")
BETWEEN_IMAGES = "|"
#: What the application reads too: Pillow would run a program for some others.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF")


class DataError(ValueError):
    """The data folder cannot be trained on; the message names the table and the row."""


@dataclass(frozen=True)
class Row:
    """One row of a table: `where` is what a person calls it."""

    id: str
    where: str
    cells: dict[str, Any]


def has_tables(data: Path) -> bool:
    """Whether the folder holds a table of its user's own."""
    return any((data / name).exists() for name in (LISTINGS, *DOCUMENTS))


def splits_in_words(data: Path) -> list[str]:
    """For each table what is trained on and what is held out."""
    tables = {LISTINGS: listing_rows(data), "documents": document_rows(data)}
    return [f"{name}: {_split_in_words(rows)}" for name, rows in tables.items() if rows]


def _split_in_words(rows: Sequence[Row]) -> str:
    if len(rows) < FEWEST_SPLIT:
        return f"{len(rows)} rows, fewer than {FEWEST_SPLIT}: all are trained on and measured"
    held = len(of_split(rows, "val"))
    return f"{len(rows) - held} rows are trained on, {held} held out"


def of_split(rows: Sequence[Row], split: str) -> list[Row]:
    """The rows of a split ('train' or 'val'), in the table's order."""
    if len(rows) < FEWEST_SPLIT:
        return list(rows)
    return [row for row in rows if is_held_out(row.id) == (split == "val")]


def is_held_out(id_: str) -> bool:
    """Depends on the id alone, so that a table can grow."""
    number = int.from_bytes(hashlib.sha256(id_.encode()).digest()[:8])
    return number < HELD_OUT * 2**64


def listing_rows(data: Path) -> list[Row]:
    """The rows of listings.csv, columns in lower case save those of attributes; none without it."""
    path = data / LISTINGS
    if not path.exists():
        return []
    lines = list(_csv_rows(path))
    header = [name.strip() for name in lines[0][1]] if lines else []
    columns = [name.casefold() if name.casefold() in COLUMNS else name for name in header]
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise DataError(f"{LISTINGS} has no column {missing[0]!r}; found are {columns}")
    rows = []
    for number, (line, values) in enumerate(lines[1:], 1):
        if any(value.strip() for value in values[len(columns) :]):
            raise DataError(
                f"Line {line} of {LISTINGS} has {len(values)} cells for {len(columns)} columns; "
                "put quotation marks around cells with commas"
            )
        cells = dict(zip(columns, [value.strip() for value in values], strict=False))
        id_ = cells.get("id") or str(number)
        rows.append(Row(id_, f"The row {id_} of {LISTINGS}", cells))
    return _with_own_ids(rows)


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number of each line that is not empty, and its cells."""
    text = _decoded(path)
    header = next((line for line in text.splitlines() if line.strip()), "")
    found = [mark for mark in ",;\t" if set(NEEDED) <= _names(header, mark)]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=found[0] if found else ",")
    try:
        for values in reader:
            if any(value.strip() for value in values):
                yield reader.line_num, values
    except csv.Error as error:
        raise DataError(f"Line {reader.line_num} of {path.name} is no CSV: {error}") from error


def _names(header: str, delimiter: str) -> set[str]:
    return {name.strip().casefold() for name in next(csv.reader([header], delimiter=delimiter), [])}


def _decoded(path: Path) -> str:
    """UTF-8, or what Chinese spreadsheets write."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return path.read_bytes().decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError(f"{path.name} is no text that can be read; save it as “CSV UTF-8”")


def pictures_of(data: Path, row: Row) -> list[Path]:
    """The photos that a listing's row names: files inside the folder that open as pictures."""
    named = [name.strip() for name in row.cells.get("image", "").split(BETWEEN_IMAGES)]
    paths = [_inside(data, name, row) for name in named if name]
    if not paths:
        raise DataError(f"{row.where} has no photo; fill in its column image")
    for path in paths:
        _check_picture(path, row)
    return paths


def _inside(data: Path, named: str, row: Row) -> Path:
    """The file, links followed; no row may name what is elsewhere on the machine."""
    path = (data / named.replace("\\", "/")).resolve()
    if not path.is_relative_to(data.resolve()):
        raise DataError(f"{row.where} names “{named}”, which is not inside {data}; copy it there")
    if not path.is_file():
        raise DataError(f"{row.where} names “{named}”, which is not in {data}; check the path")
    return path


def _check_picture(path: Path, row: Row) -> None:
    """Its header only: decoding all would take minutes."""
    try:
        Image.open(path, formats=FORMATS).close()
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{row.where} names {path.name}, which is no photo: {error}") from error


def document_rows(data: Path) -> list[Row]:
    """The rows of documents.jsonl or documents.jsonl.xz; none without them."""
    paths = [data / name for name in DOCUMENTS if (data / name).exists()]
    if len(paths) > 1:
        raise DataError(f"{data} has both {' and '.join(DOCUMENTS)}; keep one")
    return _with_own_ids([row for path in paths for row in _json_rows(path)])


def _json_rows(path: Path) -> Iterator[Row]:
    opened = lzma.open if path.suffix == ".xz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    cells = _object(line, f"Line {number:,} of {path.name}")
                    named = cells.get("id")
                    id_ = str(number if named in (None, "") else named)
                    yield Row(id_, f"The row {id_} of {path.name}", cells)
    except (lzma.LZMAError, UnicodeDecodeError, EOFError) as error:
        raise DataError(f"{path.name} can't be read: {error}; give JSONL in UTF-8") from error


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DataError(f"{where} is no JSON object; write one object in each line")
    return value


def text_of(row: Row, key: str) -> str:
    """A text that the row must have."""
    value = row.cells.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{row.where} has no text under “{key}”; give it one")
    return value


def texts_of(row: Row, key: str) -> tuple[str, ...]:
    """A text or a list of texts; none where the row has none."""
    value = row.cells.get(key)
    values = value if isinstance(value, list) else [value]
    if not all(one is None or isinstance(one, str) for one in values):
        raise DataError(f"{row.where} has neither a text nor a list of texts under “{key}”")
    return tuple(one for one in values if one and one.strip())


def _with_own_ids(rows: Iterable[Row]) -> list[Row]:
    """The rows, none of which shares its id with another."""
    found: dict[str, Row] = {}
    for row in rows:
        if row.id in found:
            raise DataError(f"{row.where} is there twice; give each row its own id")
        found[row.id] = row
    return list(found.values())
