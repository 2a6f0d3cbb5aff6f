"""Reviews: what people said of verdicts. Called by `Repository`.

They belong to the result and not to the job that asked for it, so that a listing which was checked
once and asked for twice is reviewed once. Rows are added and never changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row, func, insert, select

from mmapp.db.tables import jobs, results, reviews
from mmapp.db.transaction import CHUNK, Transaction
from mmapp.types import Label, Review, TaskName

#: Tasks whose results are verdicts.
REVIEWED = (TaskName.CHECK_LISTING,)


class StoredReviews:
    """What people said of verdicts."""

    def __init__(self, sql: Transaction) -> None:
        self._sql = sql

    def add(self, job_id: str, claim: int | None, label: Label, note: str, by: str) -> Review:
        """A review of the result that the job shows, which has to be there."""
        made_by = select(jobs.c.result_of).where(jobs.c.id == job_id).scalar_subquery()
        values = {"job_id": made_by, "claim": claim, "label": label, "note": note, "by": by}
        added = self._sql.execute(
            insert(reviews).values(**values, created_at=self._sql.moment()).returning(reviews)
        )
        return _review(added.one())

    def newest(self, limit: int, offset: int) -> list[Review]:
        """Newest first."""
        query = select(reviews).order_by(reviews.c.id.desc()).limit(limit).offset(offset)
        return [_review(row) for row in self._sql.execute(query)]

    def has_any(self, batch_id: str) -> bool:
        """Whether a result of the batch was reviewed."""
        query = (
            select(reviews.c.id)
            .join(jobs, jobs.c.result_of == reviews.c.job_id)
            .where(jobs.c.batch_id == batch_id)
            .limit(1)
        )
        return self._sql.one(query) is not None

    def next(self, batch_id: str | None, limit: int) -> list[str]:
        """Jobs whose listing nobody reviewed as a whole, the least certain result first."""
        doubt = func.abs(results.c.payload["score"].as_float() - 0.5)
        reviewed = (
            select(reviews.c.id)
            .where(reviews.c.job_id == results.c.job_id, reviews.c.claim.is_(None))
            .correlate(results)
        )
        job = func.min(jobs.c.id)
        query = (
            select(job)
            .join(results, results.c.job_id == jobs.c.result_of)
            .where(results.c.task.in_(REVIEWED), ~reviewed.exists())
            .group_by(results.c.job_id)
            .order_by(func.min(doubt), job)
            .limit(limit)
        )
        if batch_id is not None:
            query = query.where(jobs.c.batch_id == batch_id)
        return list(self._sql.execute(query).scalars())


def reviews_of(sql: Transaction, job_ids: Iterable[str]) -> dict[str, Sequence[Review]]:
    """The reviews of results by the jobs that made them, the oldest first."""
    wanted = list(job_ids)
    found: dict[str, list[Review]] = {}
    for start in range(0, len(wanted), CHUNK):
        some = reviews.c.job_id.in_(wanted[start : start + CHUNK])
        for row in sql.execute(select(reviews).where(some).order_by(reviews.c.id)):
            found.setdefault(row.job_id, []).append(_review(row))
    return {**found}


def _review(row: Row[Any]) -> Review:
    return Review(
        id=row.id,
        job_id=row.job_id,
        claim=row.claim,
        label=row.label,
        note=row.note,
        by=row.by,
        created_at=row.created_at,
    )
