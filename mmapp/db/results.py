"""Results: what succeeded jobs made, found by the jobs that asked for it.

Called by `Repository`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, select

from mmapp.db.tables import jobs, results
from mmapp.db.transaction import CHUNK, Transaction
from mmapp.types import Result


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
            for row in self._sql.execute(
                query.where(jobs.c.id.in_(job_ids[start : start + CHUNK]))
            ):
                found[row.asked] = (replace(_result(row), job_id=row.asked), row.headline)
        return found


def _result(row: Row[Any]) -> Result:
    return Result(
        job_id=row.job_id,
        task=row.task,
        schema_version=row.schema_version,
        payload=row.payload,
        record=row.record,
        created_at=row.created_at,
    )
