"""Copying: the rows of every table out of one database and into another, for backup and restore.

A row leaves as plain JSON values by column name, so that what came from SQLite can go into
PostgreSQL and back. Heartbeats of workers and turns of sweepers are left out: they mean nothing
elsewhere. Called by
`Repository`; the migrations of both databases must be the same, which `jobs.backup` checks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, func, insert, or_, select

from mmapp.db.tables import UtcDateTime, documents, metadata, pages, sweeps, workers
from mmapp.db.transaction import CHUNK, Transaction

#: In an order in which a row comes after those that it refers to.
TABLES = {table.name: table for table in metadata.sorted_tables if table not in (workers, sweeps)}


class StoredTables:
    """Whole tables, without knowing what they mean."""

    def __init__(self, sql: Transaction) -> None:
        self._sql = sql

    @property
    def names(self) -> list[str]:
        """The tables that are copied, each after those that it refers to."""
        return list(TABLES)

    def count(self, name: str) -> int:
        return int(self._sql.execute(select(func.count()).select_from(TABLES[name])).scalar_one())

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """Every row as JSON values, one after another out of a cursor."""
        table = TABLES[name]
        query = select(table).order_by(*_leaders_first(table), *table.primary_key)
        for row in self._sql.execute(query.execution_options(yield_per=CHUNK)):
            yield {column: _plain(value) for column, value in row._mapping.items()}

    def add(self, name: str, rows: Iterable[Mapping[str, Any]]) -> int:
        """Inserts rows that `rows` gave; how many."""
        table, added = TABLES[name], 0
        moments = [c.name for c in table.columns if isinstance(c.type, UtcDateTime)]
        values = ({**row, **_moments(row, moments)} for row in rows)
        while chunk := list(itertools.islice(values, CHUNK)):
            self._sql.execute(insert(table), chunk)
            added += len(chunk)
        self._go_on_counting(table)
        return added

    def blobs(self) -> list[str]:
        """The sha256 of every blob that some row refers to, sorted."""
        pictures = select(pages.c.image_sha256).where(pages.c.image_sha256.is_not(None))
        query = select(documents.c.sha256).union(pictures)
        return sorted(self._sql.execute(query).scalars())

    def _go_on_counting(self, table: Table) -> None:
        """PostgreSQL numbers new rows by a counter of its own, which copied rows don't move."""
        numbered = table.autoincrement_column
        if not self._sql.is_postgresql or numbered is None:
            return
        counter = func.pg_get_serial_sequence(table.name, numbered.name)
        highest = select(func.max(numbered)).scalar_subquery()
        self._sql.execute(select(func.setval(counter, func.coalesce(highest, 1))))


def _leaders_first(table: Table) -> list[ColumnElement[bool]]:
    """Rows that refer to another row of their own table stand behind those that don't."""
    (key, *_) = table.primary_key
    inner = [c for c in table.columns for link in c.foreign_keys if link.column.table is table]
    refers = [and_(column.is_not(None), column != key) for column in inner]
    return [func.coalesce(or_(*refers), False)] if refers else []


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _moments(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, datetime]:
    return {name: datetime.fromisoformat(row[name]) for name in names if row[name] is not None}
