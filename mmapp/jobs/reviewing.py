"""Reviewing: a person accepts or overrides a verdict, and what should be looked at next.

Called by the verbs. Refuses what has no verdict, a claim that is not there, and a review without a
name. The result itself is never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmapp import records, reviews
from mmapp.db import Database
from mmapp.db.reviews import REVIEWED
from mmapp.errors import BadInput, NotFound, NotPossible
from mmapp.jobs.found import found
from mmapp.jobs.listed import ResultRow, result_row
from mmapp.types import Job, Label, Result, Review

#: Longest name of a person and longest note, in characters.
MOST_NAME, MOST_NOTE = 100, 2000


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """One review with the job and the result that it is about."""

    review: Review
    job: Job
    result: Result

    @property
    def counts(self) -> bool:
        """No later one of the same verdict."""
        return reviews.counting(self.result.reviews)[self.review.claim] == self.review


class Reviewing:
    """Keeps what people say of verdicts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def review(
        self, job_id: str, claim: int | None, label: Label | None, note: str, by: str
    ) -> Review:
        """`label` None: as the model says."""
        note, by = records.plain(note).strip(), " ".join(records.plain(by).split())
        _check(note, by)
        with self._database.transaction() as repository:
            job = found(repository.jobs.find(job_id), "job", job_id)
            result = repository.results.find(job_id)
            if result is None:
                raise NotFound(f"Job {job_id} is {job.status} and has no verdict to review")
            _check_claim(result, claim)
            said = reviews.model_label(result.payload, claim) if label is None else label
            return repository.reviews.add(job_id, claim, said, note, by)

    def newest(self, limit: int, offset: int) -> list[ReviewRow]:
        """Newest first."""
        with self._database.snapshot() as repository:
            newest = repository.reviews.newest(limit, offset)
            job_ids = [review.job_id for review in newest]
            jobs = repository.jobs.find_many(job_ids)
            results = repository.results.by_job(job_ids)
        return [ReviewRow(one, jobs[one.job_id], results[one.job_id][0]) for one in newest]

    def has_any(self, batch_id: str) -> bool:
        """Whether a result of the batch was reviewed."""
        with self._database.snapshot() as repository:
            return repository.reviews.has_any(batch_id)

    def next(self, batch_id: str | None, limit: int) -> Sequence[ResultRow]:
        """Listings that nobody reviewed as a whole, the least certain first."""
        with self._database.snapshot() as repository:
            if batch_id is not None:
                found(repository.batches.find(batch_id), "batch", batch_id)
            job_ids = repository.reviews.next(batch_id, limit)
            jobs = repository.jobs.find_many(job_ids)
            results = repository.results.by_job(job_ids)
        rows = [result_row(jobs[job_id], results) for job_id in job_ids]
        return [row for row in rows if reviews.can_be_reviewed(row.result)]


def _check(note: str, by: str) -> None:
    if not by:
        raise BadInput("A review has a name: say who reviews")
    if len(by) > MOST_NAME or len(note) > MOST_NOTE:
        raise BadInput(
            f"The name of a review has at most {MOST_NAME} characters, its note {MOST_NOTE:,};"
            " shorten them"
        )


def _check_claim(result: Result, claim: int | None) -> None:
    if result.task not in REVIEWED:
        raise NotPossible(f"Job {result.job_id} is no check of a listing: it has no verdict")
    count = len(result.payload["claims"])
    if not count:
        raise NotPossible(f"Job {result.job_id} has no claims, and so no verdict to review")
    if claim is not None and not 1 <= claim <= count:
        raise BadInput(f"Job {result.job_id} has the claims 1 to {count}; {claim} is none of them")
