"""Attempts: the lease and the fence. Called by `Repository`.

A row that another process may have changed is never overwritten: each write names the state that
it expects, and its return value tells whether it found it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, ColumnElement, and_, case, insert, literal, or_, select, update

from mmapp.db.following import promote_follower
from mmapp.db.tables import jobs, results
from mmapp.db.transaction import Transaction, columns
from mmapp.types import Progress, Role, Status, TaskName


@dataclass(frozen=True, slots=True)
class Held:
    """A running job whose holder is in doubt, as `sweep` found it."""

    job_id: str
    attempt: int
    #: Attempts of this series, the present one included.
    used: int
    label: str
    worker: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class NewResult:
    """What a job made, ready to be stored."""

    task: TaskName
    schema_version: int
    #: With the hash of the weights that really ran.
    run_key: str
    payload: Mapping[str, Any]
    record: Mapping[str, Any]
    #: One line for lists.
    headline: str
    #: The payload's words in lower case, for search.
    words: str


class StoredAttempts:
    """Who may run a job, and how a run ends: every write of a run names its attempt."""

    def __init__(self, sql: Transaction) -> None:
        self._sql = sql

    def take(
        self,
        job_id: str,
        worker: str,
        lease_s: float,
        max_attempts: int,
        roles: Collection[Role] = tuple(Role),
    ) -> int | None:
        """Grants a lease and returns the attempt's number; None when there is nothing to take for
        a worker of these roles."""
        is_queued = jobs.c.status == Status.QUEUED
        taken = self._sql.execute(
            update(jobs)
            .where(
                jobs.c.id == job_id,
                jobs.c.follows.is_(None),
                jobs.c.role.in_(roles),
                jobs.c.cancel_requested.is_(False),
                jobs.c.attempt - jobs.c.series_start < max_attempts,
                or_(
                    is_queued,
                    and_(jobs.c.status == Status.RUNNING, jobs.c.lease_until < self._sql.moment()),
                ),
            )
            .values(
                status=Status.RUNNING,
                attempt=jobs.c.attempt + 1,
                worker=worker,
                lease_until=self._sql.moment(lease_s),
                started_at=self._sql.moment(),
                # What an earlier role told stays, and what a lost attempt told does not.
                progress=case((is_queued, jobs.c.progress), else_=literal({}, JSON)),
            )
            .returning(jobs.c.attempt)
        )
        attempt: int | None = taken.scalar()
        return attempt

    def renew(self, job_id: str, attempt: int, progress: Progress, lease_s: float) -> bool | None:
        """Stores progress and renews the lease; whether to cancel, or None: not ours any more."""
        renewed = self._sql.execute(
            update(jobs)
            .where(*_fence(job_id, attempt))
            .values(progress=columns(progress), lease_until=self._sql.moment(lease_s))
            .returning(jobs.c.cancel_requested)
        )
        cancel: bool | None = renewed.scalar()
        return cancel

    def renew_lease(self, job_id: str, attempt: int, lease_s: float) -> None:
        """Renews the lease of an attempt, if it still is the one."""
        self._sql.execute(
            update(jobs)
            .where(*_fence(job_id, attempt))
            .values(lease_until=self._sql.moment(lease_s))
        )

    def succeed(self, job_id: str, attempt: int, result: NewResult) -> bool:
        """Stores the result and ends the job and its followers; False: not ours any more."""
        ended = self._sql.execute(
            update(jobs)
            .where(*_fence(job_id, attempt))
            .values(status=Status.SUCCEEDED, result_of=job_id, finished_at=self._sql.moment())
        )
        if ended.rowcount == 0:
            return False
        self._sql.execute(
            insert(results).values(job_id=job_id, created_at=self._sql.moment(), **columns(result))
        )
        self._sql.execute(
            update(jobs)
            .where(jobs.c.follows == job_id)
            .values(
                status=Status.SUCCEEDED,
                follows=None,
                result_of=job_id,
                started_at=self._sql.moment(),
                finished_at=self._sql.moment(),
            )
        )
        return True

    def fail(self, job_id: str, attempt: int, error: str, code: str) -> bool:
        """Ends the job without a result; False: not ours any more."""
        ended = self._sql.execute(
            update(jobs)
            .where(*_fence(job_id, attempt))
            .values(
                status=Status.FAILED, error=error, error_code=code, finished_at=self._sql.moment()
            )
        )
        if ended.rowcount:
            promote_follower(self._sql, job_id)
        return ended.rowcount == 1

    def end_cancelled(self, job_id: str, attempt: int) -> bool:
        """Ends a running job that somebody cancelled; False: not ours any more."""
        ended = self._sql.execute(
            update(jobs)
            .where(*_fence(job_id, attempt))
            .values(status=Status.CANCELLED, finished_at=self._sql.moment())
        )
        if ended.rowcount:
            promote_follower(self._sql, job_id)
        return ended.rowcount == 1

    def put_back(
        self, job_id: str, attempt: int, *, forgiven: bool = False, after_s: float = 0.0
    ) -> bool:
        """Queues a running job again, to be sent after some seconds; False: not ours any more.

        One that somebody has cancelled meanwhile ends. `forgiven`: the attempt does not count.
        """
        values: dict[str, Any] = {"not_before": self._sql.moment(after_s), "progress": {}}
        if forgiven:
            values["series_start"] = jobs.c.series_start + 1
        return self._queue(job_id, attempt, values)

    def hand_over(self, job_id: str, attempt: int, role: Role, carried: Mapping[str, Any]) -> bool:
        """Queues a running job for the next role that it needs, to be sent now, with what this one
        leaves to it; False: not ours any more.

        One that somebody has cancelled meanwhile ends. The attempt does not count as a try.
        """
        return self._queue(
            job_id,
            attempt,
            {
                "role": role,
                "carried": carried,
                "handed_over": jobs.c.handed_over + 1,
                "series_start": jobs.c.series_start + 1,
                "not_before": None,
            },
        )

    def carried(self, job_id: str) -> Mapping[str, Any] | None:
        """What earlier roles left of this job."""
        query = select(jobs.c.carried).where(jobs.c.id == job_id)
        found: Mapping[str, Any] | None = self._sql.execute(query).scalar()
        return found

    def _queue(self, job_id: str, attempt: int, values: Mapping[str, Any]) -> bool:
        """Nobody's attempt any more; ended if somebody has cancelled it."""
        is_cancelled = jobs.c.cancel_requested
        back = self._sql.execute(
            update(jobs)
            .where(*_fence(job_id, attempt))
            .values(
                status=case((is_cancelled, Status.CANCELLED), else_=Status.QUEUED),
                finished_at=case((is_cancelled, self._sql.moment()), else_=jobs.c.finished_at),
                worker=None,
                lease_until=None,
                sent_at=None,
                **values,
            )
            .returning(jobs.c.cancel_requested)
        )
        ended: bool | None = back.scalar()
        if ended:
            promote_follower(self._sql, job_id)
        return ended is not None

    def expired(self) -> list[Held]:
        """Running jobs whose lease has run out."""
        return self._held_where(jobs.c.lease_until < self._sql.moment())

    def held_by(self, names: Sequence[str]) -> list[Held]:
        """Running jobs of these workers."""
        return self._held_where(jobs.c.worker.in_(names))

    def held(self, job_id: str) -> Held | None:
        """The job if it is running."""
        held = self._held_where(jobs.c.id == job_id)
        return held[0] if held else None

    def _held_where(self, condition: ColumnElement[bool]) -> list[Held]:
        rows = self._sql.execute(
            select(jobs).where(jobs.c.status == Status.RUNNING, condition).order_by(jobs.c.id)
        )
        return [
            Held(
                job_id=row.id,
                attempt=row.attempt,
                used=row.attempt - row.series_start,
                label=row.label,
                worker=row.worker or "",
                progress=Progress(**row.progress),
            )
            for row in rows
        ]


def _fence(job_id: str, attempt: int) -> tuple[ColumnElement[bool], ...]:
    """The fence: the job runs, and in this very attempt."""
    return jobs.c.id == job_id, jobs.c.attempt == attempt, jobs.c.status == Status.RUNNING
