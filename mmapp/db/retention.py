"""Retention: what is old and no longer needed is taken out of the database.

A job goes when it ended before a moment, no other job shows its result and nobody has said whether
it is right; a batch when all of its jobs ended before it; a document when no job is about it.
Called by `Repository`, in one transaction; what would leave a row that refers to nothing is refused
by the database's own constraints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, String, and_, cast, delete, select, update

from mmapp.db.tables import batch_rows, batches, documents, jobs, pages, results, reviews
from mmapp.db.transaction import CHUNK, Transaction
from mmapp.types import Status

#: A document in the parameters of a job, whatever the task calls it.
SHA256 = re.compile(r"\b[0-9a-f]{64}\b")

FINAL = [status for status in Status if status.is_final]


class StoredRetention:
    """Rows that are old, and their end."""

    def __init__(self, sql: Transaction) -> None:
        self._sql = sql

    def remove_batches(self, before: datetime) -> int:
        """Takes old batches apart: their jobs stay, as single ones; how many batches."""
        lasting = select(jobs.c.batch_id).where(jobs.c.batch_id.is_not(None), ~_ended(before))
        old = select(batches.c.id).where(
            batches.c.created_at < before, batches.c.id.not_in(lasting)
        )
        ids = list(self._sql.execute(old).scalars())
        for chunk in _chunks(ids):
            self._sql.execute(delete(batch_rows).where(batch_rows.c.batch_id.in_(chunk)))
            self._sql.execute(
                update(jobs).where(jobs.c.batch_id.in_(chunk)).values(batch_id=None, batch_row=None)
            )
            self._sql.execute(delete(batches).where(batches.c.id.in_(chunk)))
        return len(ids)

    def remove_jobs(self, before: datetime) -> int:
        """Removes old jobs outside of batches with their results; how many jobs."""
        removed = 0
        # First those that show the result of another, then the others, which nobody needs now.
        while ids := self._old_jobs(before):
            for chunk in _chunks(ids):
                self._sql.execute(delete(results).where(results.c.job_id.in_(chunk)))
                self._sql.execute(delete(jobs).where(jobs.c.id.in_(chunk)))
            removed += len(ids)
        return removed

    def _old_jobs(self, before: datetime) -> list[str]:
        shown = select(jobs.c.result_of).where(
            jobs.c.result_of.is_not(None), jobs.c.result_of != jobs.c.id
        )
        query = select(jobs.c.id).where(
            _ended(before),
            jobs.c.batch_id.is_(None),
            jobs.c.id.not_in(shown),
            jobs.c.id.not_in(select(reviews.c.job_id)),
        )
        return list(self._sql.execute(query).scalars())

    def remove_documents(self, before: datetime) -> int:
        """Removes documents that were added earlier and that no job is about; how many."""
        old = select(documents.c.sha256).where(documents.c.created_at < before)
        unused = sorted(set(self._sql.execute(old).scalars()) - self._documents_of(None))
        for chunk in _chunks(unused):
            self._sql.execute(delete(pages).where(pages.c.document_sha256.in_(chunk)))
            self._sql.execute(delete(documents).where(documents.c.sha256.in_(chunk)))
        return len(unused)

    def blobs(self, unless_ended_before: datetime | None = None) -> set[str]:
        """Blobs that rows refer to, or, with a moment, those of which work may still be done:
        their document is newer, or is that of a job that has not ended before it."""
        kept: ColumnElement[bool] = documents.c.sha256.is_not(None)
        if unless_ended_before is not None:
            kept = documents.c.created_at >= unless_ended_before
        wanted = set(self._sql.execute(select(documents.c.sha256).where(kept)).scalars())
        if unless_ended_before is not None:
            wanted |= self._documents_of(unless_ended_before)
        pictures = select(pages.c.document_sha256, pages.c.image_sha256).where(
            pages.c.image_sha256.is_not(None)
        )
        shown = {row.image_sha256 for row in self._sql.execute(pictures) if row[0] in wanted}
        return wanted | shown

    def _documents_of(self, unless_ended_before: datetime | None) -> set[str]:
        """Documents that jobs are about: all jobs, or those that have not ended before a moment."""
        query = select(cast(jobs.c.params, String))
        if unless_ended_before is not None:
            query = query.where(~_ended(unless_ended_before))
        rows = self._sql.execute(query.execution_options(yield_per=CHUNK)).scalars()
        return {sha256 for params in rows for sha256 in SHA256.findall(params)}


def _ended(before: datetime) -> ColumnElement[bool]:
    """Never NULL, so that it can be negated."""
    finished = and_(jobs.c.finished_at.is_not(None), jobs.c.finished_at < before)
    return and_(jobs.c.status.in_(FINAL), finished)


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))
