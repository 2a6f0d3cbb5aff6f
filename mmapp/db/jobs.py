"""Jobs: insert, find, list, cancel. Called by `Repository`.

A job's run is in `attempts`; that jobs share one run is in `following`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, func, insert, or_, select, update

from mmapp.db.estimates import estimate_columns, estimate_of
from mmapp.db.following import promote_follower, same_work, shown, shown_status
from mmapp.db.tables import jobs, results
from mmapp.db.transaction import CHUNK, Transaction, columns
from mmapp.types import Estimate, Job, Priority, Progress, Role, Status, TaskName


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to insert; where it stands at first is decided by `StoredJobs.place`."""

    id: str
    task: TaskName
    priority: Priority
    label: str
    params: Mapping[str, Any]
    run_key: str | None
    owner: str
    #: All that it needs, in order.
    roles: tuple[Role, ...]
    batch_id: str | None = None
    batch_row: int | None = None
    estimate: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list of jobs is narrowed to; None and empty narrow nothing."""

    words: tuple[str, ...] = ()
    task: TaskName | None = None
    status: Status | None = None
    batch_id: str | None = None
    since: datetime | None = None
    before: datetime | None = None


class StoredJobs:
    """Jobs as they were given and as they stand."""

    def __init__(self, sql: Transaction) -> None:
        self._sql = sql

    def lock_run_key(self, run_key: str) -> None:
        """Makes submitters of the same work wait for each other until the transaction ends."""
        if self._sql.is_postgresql:
            number = int(run_key[:15], 16)
            self._sql.execute(select(func.pg_advisory_xact_lock(number)))

    def place(self, new: NewJob) -> bool:
        """Inserts a job where it belongs; True when its id has to be sent."""
        result_of, follows = same_work(self._sql, new.run_key, new.priority, but=new.id)
        status = Status.SUCCEEDED if result_of else Status.QUEUED
        now = self._sql.moment()
        self._sql.execute(
            insert(jobs).values(
                **columns(new) | _course(new.roles) | {"estimate": estimate_columns(new.estimate)},
                label_folded=new.label.casefold(),
                status=status,
                attempt=0,
                series_start=0,
                progress={},
                cancel_requested=False,
                error="",
                error_code="",
                created_at=now,
                queued_at=now,
                sent_at=None if result_of or follows else now,
                started_at=now if result_of else None,
                finished_at=now if result_of else None,
                result_of=result_of,
                follows=follows,
            )
        )
        return not (result_of or follows)

    def replace(
        self,
        job_id: str,
        run_key: str | None,
        roles: tuple[Role, ...],
        estimate: Estimate | None = None,
    ) -> bool | None:
        """Puts a failed or cancelled job back, as if submitted now; None when it is neither.

        True when its id has to be sent.
        """
        job = self.find(job_id)
        if job is None:
            return None
        result_of, follows = same_work(self._sql, run_key, job.priority, but=job_id)
        now = self._sql.moment()
        changed = self._sql.execute(
            update(jobs)
            .where(jobs.c.id == job_id, jobs.c.status.in_([Status.FAILED, Status.CANCELLED]))
            .values(
                status=Status.SUCCEEDED if result_of else Status.QUEUED,
                **_course(roles),
                carried=None,
                run_key=run_key,
                series_start=jobs.c.attempt,
                worker=None,
                lease_until=None,
                progress={},
                cancel_requested=False,
                error="",
                error_code="",
                queued_at=now,
                sent_at=None if result_of or follows else now,
                not_before=None,
                started_at=now if result_of else None,
                finished_at=now if result_of else None,
                result_of=result_of,
                follows=follows,
                estimate=estimate_columns(estimate),
            )
        )
        return None if changed.rowcount == 0 else not (result_of or follows)

    def find(self, job_id: str) -> Job | None:
        row = self._sql.one(shown.where(jobs.c.id == job_id))
        return None if row is None else _job(row)

    def find_many(self, job_ids: Sequence[str]) -> dict[str, Job]:
        found: dict[str, Job] = {}
        for start in range(0, len(job_ids), CHUNK):
            rows = self._sql.execute(shown.where(jobs.c.id.in_(job_ids[start : start + CHUNK])))
            found.update((row.id, _job(row)) for row in rows)
        return found

    def newest(self, filters: Filters, limit: int, offset: int) -> list[Job]:
        """Newest first."""
        query = _filtered(shown, filters)
        query = query.order_by(jobs.c.id.desc()).limit(limit).offset(offset)
        return [_job(row) for row in self._sql.execute(query)]

    def count(self, filters: Filters) -> int:
        query = _filtered(shown.with_only_columns(func.count()), filters)
        return int(self._sql.execute(query).scalar_one())

    def queued_s(self, job_id: str) -> float:
        """Seconds from the moment that the job was queued to the start of its present attempt."""
        row = self._sql.execute(
            select(jobs.c.queued_at, jobs.c.started_at).where(jobs.c.id == job_id)
        ).one()
        waited: timedelta = row.started_at - row.queued_at
        return waited.total_seconds()

    def cancel(self, job_id: str) -> bool:
        """Ends a queued job, or marks a running one; False when it is neither."""
        # Locked, so that it does not go from one to the other between the two questions.
        self._sql.execute(select(jobs.c.id).where(jobs.c.id == job_id).with_for_update())
        ended = self._sql.execute(
            update(jobs)
            .where(jobs.c.id == job_id, jobs.c.status == Status.QUEUED)
            .values(
                status=Status.CANCELLED,
                cancel_requested=True,
                follows=None,
                finished_at=self._sql.moment(),
            )
        )
        if ended.rowcount:
            promote_follower(self._sql, job_id)
            return True
        marked = self._sql.execute(
            update(jobs)
            .where(jobs.c.id == job_id, jobs.c.status == Status.RUNNING)
            .values(cancel_requested=True)
        )
        return marked.rowcount == 1

    def is_cancel_requested(self, job_id: str) -> bool:
        query = select(jobs.c.cancel_requested).where(jobs.c.id == job_id)
        return bool(self._sql.execute(query).scalar())


def _course(roles: tuple[Role, ...]) -> dict[str, Any]:
    """The columns of the roles that a job needs, before the first."""
    return {"role": roles[0], "roles": ",".join(roles)}


def _filtered(query: Select[Any], filters: Filters) -> Select[Any]:
    for word in filters.words:
        query = query.where(_mentions(word))
    if filters.task is not None:
        query = query.where(jobs.c.task == filters.task)
    if filters.status is not None:
        query = query.where(shown_status == filters.status)
    if filters.batch_id is not None:
        query = query.where(jobs.c.batch_id == filters.batch_id)
    if filters.since is not None:
        query = query.where(jobs.c.created_at >= filters.since)
    if filters.before is not None:
        query = query.where(jobs.c.created_at < filters.before)
    return query


def _mentions(word: str) -> ColumnElement[bool]:
    """The job's label or its result has the word, also as a part: Chinese has no spaces."""
    folded = word.casefold()
    in_result = (
        select(results.c.job_id)
        .where(
            results.c.job_id == jobs.c.result_of, results.c.words.contains(folded, autoescape=True)
        )
        .correlate(jobs)
    )
    return or_(jobs.c.label_folded.contains(folded, autoescape=True), in_result.exists())


def _job(row: Row[Any]) -> Job:
    follows = row.follows is not None
    return Job(
        id=row.id,
        task=row.task,
        status=Status(row.shown_status),
        priority=row.priority,
        owner=row.owner,
        label=row.label,
        params=row.params,
        attempts=row.leader_tries if follows else row.attempt - row.handed_over,
        progress=Progress(**(row.leader_progress if follows else row.progress)),
        created_at=row.created_at,
        role=row.leader_role if follows else row.role,
        roles=tuple(Role(name) for name in row.roles.split(",")),
        started_at=row.leader_started_at if follows else row.started_at,
        finished_at=row.finished_at,
        error=row.error,
        batch_id=row.batch_id,
        batch_row=row.batch_row,
        cancel_requested=row.cancel_requested,
        estimate=estimate_of(row.estimate),
    )
