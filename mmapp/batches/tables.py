"""Tables: CSV, JSONL or a workbook -> what their columns are, and rows of cells.

The kind of table is told by its content. Refused as a whole: what is no table, and one whose
columns are not enough for the task. A row whose form is wrong is kept, with its error. Memory does
not grow with the number of rows. Called by `rows`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal, TextIO

from mmapp.batches.columns import Columns, find_columns, guess_columns, is_enough
from mmapp.batches.sources import ZIP_SIGNATURES, Source
from mmapp.batches.workbooks import sheet_rows
from mmapp.documents.text import SAMPLE_BYTES, find_encoding
from mmapp.errors import BadInput
from mmapp.jobs import BatchRow
from mmapp.records import plain
from mmapp.types import TaskName

#: A longer line is not one of a table. Memory holds one.
LONGEST_LINE = 2_000_000

#: Columns of a workbook, and different keys in the objects of a JSONL file.
MOST_COLUMNS = 500

#: Separates several images in one cell.
BETWEEN_IMAGES = "|"


@dataclass(frozen=True, slots=True)
class Table:
    """What the first pass over a table found."""

    form: Literal["csv", "jsonl", "xlsx"]
    #: The names of all columns, in order.
    headers: tuple[str, ...]
    columns: Columns
    encoding: str = ""
    #: Between the cells of a CSV.
    delimiter: str = ","


def survey(source: Source, task: TaskName, told: Mapping[str, Sequence[str]]) -> Table:
    """Reads the table's form, so that nothing about it goes wrong half-way."""
    with source.open_table() as file:
        beginning = file.read(SAMPLE_BYTES)
    if not beginning.strip():
        raise _empty(source)
    data_dir = source.settings.data_dir
    if beginning.startswith(ZIP_SIGNATURES):
        headers = _sheet_headers(source)
        return Table("xlsx", headers, find_columns(source.name, headers, task, told, data_dir))
    encoding = _encoding(source, beginning)
    with _text(source, encoding) as text:
        first = text.readline(LONGEST_LINE).lstrip("\ufeff")
        while first and not first.strip():
            first = text.readline(LONGEST_LINE)
    if first.lstrip().startswith("{"):
        with _text(source, encoding) as text:
            headers = _json_columns(text)
        columns = find_columns(source.name, headers, task, told, data_dir)
        return Table("jsonl", headers, columns, encoding)
    delimiter, headers = _csv_headers(source, first, task)
    columns = find_columns(source.name, headers, task, told, data_dir)
    return Table("csv", headers, columns, encoding, delimiter)


def rows_of(source: Source, table: Table) -> Iterator[BatchRow]:
    """The cells of each row, or what is wrong with its form."""
    if table.form == "xlsx":
        with source.open_table() as file:
            yield from _sheet_rows(file, source, table)
        return
    with _text(source, table.encoding) as text:
        yield from _csv_rows(text, table) if table.form == "csv" else _json_rows(text, table)


# --- form ----------------------------------------------------------------------------------------


def _empty(source: Source) -> BadInput:
    return BadInput(f"{source.name} is empty; it needs a line of column names and a row")


def _sheet_headers(source: Source) -> tuple[str, ...]:
    with source.open_table() as file:
        rows = sheet_rows(file, source.name, MOST_COLUMNS, source.settings.max_bytes)
        first = next((row for row in rows if row), None)
    if first is None:
        raise _empty(source)
    return _named(first)


def _named(names: Sequence[str]) -> tuple[str, ...]:
    """Tables of data frames begin with a column of numbers that has no name."""
    stripped = (plain(name).strip() for name in names)
    return tuple(name or f"column {number}" for number, name in enumerate(stripped, 1))


def _encoding(source: Source, beginning: bytes) -> str:
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


def _text(source: Source, encoding: str) -> io.TextIOWrapper:
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


def _csv_headers(source: Source, header: str, task: TaskName) -> tuple[str, tuple[str, ...]]:
    """The separator that gives the columns needed (comma, semicolon or tab), and the columns."""
    found = []
    for delimiter in (",", ";", "\t"):
        headers = _named(next(csv.reader([header], delimiter=delimiter)))
        found.append((delimiter, headers))
        if is_enough(guess_columns(headers, task, source.settings.data_dir), task):
            return delimiter, headers
    # Names that tell nothing: the separator that gives the most of them.
    return max(found, key=lambda one: len(one[1]))


# --- rows ----------------------------------------------------------------------------------------


def _sheet_rows(file: IO[bytes], source: Source, table: Table) -> Iterator[BatchRow]:
    rows = sheet_rows(file, source.name, MOST_COLUMNS, source.settings.max_bytes)
    has_header = False
    number = 0
    try:
        for number, values in enumerate(rows, 1):
            if values and has_header:
                yield _row(values, table, f"Row {number:,}")
            has_header = has_header or bool(values)
    except BadInput as error:
        yield _bad_row(table, f"Nothing after row {number:,} was read: {error}")


def _csv_rows(text: TextIO, table: Table) -> Iterator[BatchRow]:
    """The cells of each row, or what is wrong with its form."""
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
        yield _row(values, table, f"Line {reader.line_num}")


def _row(values: list[str], table: Table, place: str) -> BatchRow:
    count = len(table.headers)
    error = ""
    if any(value.strip() for value in values[count:]):
        error = (
            f"{place} has {len(values)} cells for {count} columns; put quotation marks around"
            " cells with commas"
        )
    values = values[:count] + [""] * (count - len(values))
    return BatchRow(dict(zip(table.headers, map(plain, values), strict=True)), error=error)


def _json_rows(text: TextIO, table: Table) -> Iterator[BatchRow]:
    for number, line in enumerate(text, 1):
        if not line.strip().lstrip("\ufeff"):
            continue
        value = _json_object(line)
        if value is None:
            yield _bad_row(table, f"Line {number} is no JSON object; write one object in each line")
            continue
        cells = {plain(name): _cell(content) for name, content in value.items()}
        yield BatchRow({name: cells.get(name, "") for name in table.headers})


def _cell(value: Any) -> str:
    """A JSON value as it stands in a table."""
    if value is None:
        return ""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return plain(BETWEEN_IMAGES.join(value))
    return plain(json.dumps(value, ensure_ascii=False))


def _bad_row(table: Table, error: str) -> BatchRow:
    return BatchRow(dict.fromkeys(table.headers, ""), error=error)
