"""Results: what succeeded jobs made, with their reviews, found by the jobs that asked for it.

Called by `Repository`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, select

from mmapp.db.reviews import REVIEWED, reviews_of
from mmapp.db.tables import jobs, results
from mmapp.db.transaction import CHUNK, Transaction
from mmapp.types import Result, Review, TaskName


class StoredResults:
    """What succeeded jobs made."""

    def __init__(self, sql: Transaction) -> None:
        self._sql = sql

    def find(self, job_id: str) -> Result | None:
        return self.by_job([job_id]).get(job_id, (None, ""))[0]

    def by_job(self, job_ids: Sequence[str]) -> dict[str, tuple[Result, str]]:
        """Results and headlines by the job that was asked for, which another may have run for."""
        query = select(jobs.c.id.label("asked"), results).join(
            results, results.c.job_id == jobs.c.result_of
        )
        found: dict[str, tuple[Result, str]] = {}
        for start in range(0, len(job_ids), CHUNK):
            some = query.where(jobs.c.id.in_(job_ids[start : start + CHUNK]))
            rows = self._sql.execute(some).all()
            reviews = reviews_of(self._sql, {row.job_id for row in rows if row.task in REVIEWED})
            for row in rows:
                result = replace(_result(row, reviews.get(row.job_id, ())), job_id=row.asked)
                found[row.asked] = (result, row.headline)
        return found

    def records(self, most: int) -> list[tuple[TaskName, dict[str, Any]]]:
        """Task and record of the results of the newest jobs."""
        query = select(results.c.task, results.c.record).order_by(results.c.job_id.desc())
        return [(row.task, row.record) for row in self._sql.execute(query.limit(most))]


def _result(row: Row[Any], reviews: Sequence[Review]) -> Result:
    return Result(
        job_id=row.job_id,
        task=row.task,
        schema_version=row.schema_version,
        payload=row.payload,
        record=row.record,
        created_at=row.created_at,
        reviews=tuple(reviews),
    )
