"""Batches: their rows as given, and how far their jobs are. Called by `Repository`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, insert, select

from mmapp.db.following import shown, shown_status
from mmapp.db.tables import batch_rows, batches, jobs
from mmapp.db.transaction import Transaction, columns
from mmapp.types import Batch, Status, TaskName


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One row of a batch as it was given."""

    row: int
    cells: Mapping[str, str]
    job_id: str | None
    error: str


class StoredBatches:
    """Batches and their rows."""

    def __init__(self, sql: Transaction) -> None:
        self._sql = sql

    def add(self, batch_id: str, name: str, task: TaskName) -> None:
        self._sql.execute(
            insert(batches).values(id=batch_id, name=name, task=task, created_at=self._sql.moment())
        )

    def add_rows(self, batch_id: str, rows: Iterable[StoredRow]) -> None:
        values = [{"batch_id": batch_id, **columns(row)} for row in rows]
        if values:
            self._sql.execute(insert(batch_rows), values)

    def find(self, batch_id: str) -> Batch | None:
        row = self._sql.one(select(batches).where(batches.c.id == batch_id))
        return None if row is None else self._batch(row)

    def newest(self, limit: int) -> list[Batch]:
        """Newest first."""
        query = select(batches).order_by(batches.c.id.desc()).limit(limit)
        return [self._batch(row) for row in self._sql.execute(query).all()]

    def _batch(self, row: Row[Any]) -> Batch:
        counts = self._sql.execute(
            shown.with_only_columns(shown_status.label("status"), func.count().label("number"))
            .where(jobs.c.batch_id == row.id)
            .group_by(shown_status)
        )
        by_status = {Status(count.status): count.number for count in counts}
        total, rejected = self._sql.execute(
            select(func.count(), func.count().filter(batch_rows.c.job_id.is_(None))).where(
                batch_rows.c.batch_id == row.id
            )
        ).one()
        reused = self._sql.execute(
            select(func.count()).where(jobs.c.batch_id == row.id, jobs.c.result_of != jobs.c.id)
        ).scalar_one()
        return Batch(
            id=row.id,
            name=row.name,
            task=row.task,
            created_at=row.created_at,
            rows=total,
            counts={status: by_status.get(status, 0) for status in Status},
            rejected=rejected,
            reused=reused,
        )

    def rows(self, batch_id: str, after: int, limit: int) -> list[StoredRow]:
        """The rows behind row number `after`, in input order."""
        rows = self._sql.execute(
            select(batch_rows)
            .where(batch_rows.c.batch_id == batch_id, batch_rows.c.row > after)
            .order_by(batch_rows.c.row)
            .limit(limit)
        )
        return [StoredRow(row.row, row.cells, row.job_id, row.error) for row in rows]
