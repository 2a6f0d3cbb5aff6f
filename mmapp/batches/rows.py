"""Tables of work: CSV, JSONL, Excel or zip -> rows for `Jobs.submit_batch`.

A table for listings has columns for image and title, maybe for id and description, and every
further column is an attribute; `label` is kept and never checked. Several images are separated by
`|`, or stand in several columns. A table for documents has a column document. `columns` decides
which is which. Columns named like results (`verdict`, …) are those of an earlier run: they are
replaced.

Refused as a whole: what is no table or lacks a needed column. A row that can't be used is kept,
with its error, and the rest goes on. Called by `cli`, `web` and `workers.evaluation`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from mmapp.batches.columns import COLUMNS, RESULTS, Columns, remember
from mmapp.batches.sources import Source, normal, open_source
from mmapp.batches.tables import BETWEEN_IMAGES, Table, rows_of, survey
from mmapp.config import Settings
from mmapp.errors import BadInput
from mmapp.jobs import BatchRow
from mmapp.types import Document, Listing, SummarizeParams, TaskName

#: Meaning -> the columns that a person says have it.
Told = Mapping[str, Sequence[str]]


class Keeper(Protocol):
    """Who takes the files that rows name: `Jobs`, or one who only looks at them."""

    @property
    def settings(self) -> Settings: ...

    def add_document(self, name: str, data: bytes, /) -> Document: ...


def read_columns(
    path: Path,
    task: TaskName,
    settings: Settings,
    *,
    told: Told | None = None,
    files: Mapping[str, Path] | None = None,
) -> Columns:
    """What the columns of a table mean; raises `BadInput` when it is no table for `task`.

    What was `told` is remembered for tables to come.
    """
    with closing(open_source(path, settings, files)) as source:
        columns = survey(source, task, told or {}).columns
    remember(told or {}, task, settings.data_dir)
    return columns


def read_cells(path: Path, task: TaskName, settings: Settings) -> Iterator[BatchRow]:
    """The rows of a table as `read_batch` gives them, without the files that they name."""
    with closing(open_source(path, settings, None)) as source:
        yield from rows_of(source, survey(source, task, {}))


def read_batch(
    path: Path,
    task: TaskName,
    jobs: Keeper,
    *,
    told: Told | None = None,
    files: Mapping[str, Path] | None = None,
) -> Iterator[BatchRow]:
    """The rows of a table, read as they are asked for; photos and documents are added on the way.

    Raises `BadInput` at once when it is no table for `task`. With `files` (name -> where it was
    put), an upload's rows may name only those.
    """
    with closing(open_source(path, jobs.settings, files)) as source:
        table = survey(source, task, told or {})
    return _batch_rows(path, task, jobs, files, table)


def _batch_rows(
    path: Path, task: TaskName, jobs: Keeper, files: Mapping[str, Path] | None, table: Table
) -> Iterator[BatchRow]:
    with closing(open_source(path, jobs.settings, files)) as source:
        for row in rows_of(source, table):
            yield row if row.error else _with_params(row, task, jobs, source, table.columns)


def _with_params(
    row: BatchRow, task: TaskName, jobs: Keeper, source: Source, columns: Columns
) -> BatchRow:
    """The row with its files added, or with the reason why it can't be done."""
    read = _document if task is TaskName.SUMMARIZE else _listing
    try:
        return BatchRow(row.cells, read(row.cells, jobs, source, columns))
    except BadInput as error:
        return BatchRow(row.cells, error=str(error))


def _document(
    cells: Mapping[str, str], jobs: Keeper, source: Source, columns: Columns
) -> SummarizeParams:
    named = columns.cell("document", cells).strip()
    if not named:
        raise BadInput(f"The row names no document; fill in its {_column('document', columns)}")
    return SummarizeParams(_add(named, jobs, source))


def _listing(cells: Mapping[str, str], jobs: Keeper, source: Source, columns: Columns) -> Listing:
    title = columns.cell("title", cells)
    if not title.strip():
        raise BadInput(f"The listing has no title; fill in its {_column('title', columns)}")
    named = BETWEEN_IMAGES.join(columns.cells("image", cells)).split(BETWEEN_IMAGES)
    names = dict.fromkeys(name.strip() for name in named if name.strip())
    photos = [_add(name, jobs, source) for name in names]
    if not photos:
        raise BadInput(f"The listing has no photo; fill in its {_column('image', columns)}")
    description = columns.cell("description", cells)
    return Listing(tuple(photos), title, description, _attributes(cells, columns))


def _column(meaning: str, columns: Columns) -> str:
    return f"column {columns.by_meaning[meaning][0]}"


def _attributes(cells: Mapping[str, str], columns: Columns) -> dict[str, str]:
    """Every further column with something in it."""
    own = {*COLUMNS[TaskName.CHECK_LISTING], *RESULTS[TaskName.CHECK_LISTING]}
    return {
        name: value.strip()
        for name, value in cells.items()
        if not columns.has_meaning(name)
        and name.casefold() not in own
        and not _is_unnamed(name)
        and value.strip()
    }


def _is_unnamed(column: str) -> bool:
    word, _, number = column.partition(" ")
    return word == "column" and number.isdecimal()


def _add(named: str, jobs: Keeper, source: Source) -> str:
    name = posixpath.basename(normal(named)) or named
    return jobs.add_document(name, source.read(named)).sha256
