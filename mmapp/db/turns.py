"""Turns: whose job is next, and how many wait. Called by `Repository`.

Jobs of persons go before those of batches. Within each of the two lanes the owners take turns, and
each owner's jobs keep the order in which they were queued: a job whose worker was lost, or that was
handed over to its next role, has its old place. So nobody waits for another's ten thousand rows.
Workers that do not have all roles have a queue in each lane for each of theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import CTE, ColumnElement, and_, func, or_, select

from mmapp.db.estimates import estimate_of
from mmapp.db.tables import jobs
from mmapp.db.transaction import Transaction
from mmapp.types import Estimate, Priority, Progress, Role, Status, TaskName

#: The lanes, in the order in which they are served.
LANES = (Priority.INTERACTIVE, Priority.BATCH)


class Queue(NamedTuple):
    """Jobs that wait in one lane."""

    lane: Priority
    #: What they need next; None: whatever it is.
    role: Role | None = None


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job that waits for its turn."""

    id: str
    task: TaskName
    priority: Priority
    owner: str
    estimate: Estimate | None


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that somebody works at."""

    task: TaskName
    priority: Priority
    owner: str
    estimate: Estimate | None
    worker: str
    progress: Progress
    #: How long its attempt has run.
    since_s: float


class StoredTurns:
    """The order of what waits; nothing else decides it."""

    def __init__(self, sql: Transaction) -> None:
        self._sql = sql

    def next(self, roles: Collection[Role]) -> str | None:
        """The job to take now for a worker of these roles; None when none waits. On PostgreSQL its
        row is locked."""
        for lane in LANES:
            for queue in _queues(lane, roles):
                for owner in self._owners(queue):
                    job_id = self._first(queue, owner)
                    if job_id is not None:
                        return job_id
        return None

    def waiting(self, owner: str | None, most: int) -> int:
        """Jobs of an owner, or of all, that wait to be run themselves; counted up to `most`."""
        named = () if owner is None else (jobs.c.owner == owner,)
        counted = select(jobs.c.id).where(
            jobs.c.status == Status.QUEUED,
            jobs.c.priority.in_(LANES),
            jobs.c.follows.is_(None),
            *named,
        )
        query = select(func.count()).select_from(counted.limit(most).subquery())
        return int(self._sql.execute(query).scalar_one())

    def line(self, lane: Priority, owner: str, most: int) -> list[QueuedJob]:
        """The first of an owner's jobs that wait to be run themselves, in the order of turns."""
        query = (
            select(jobs.c.id, jobs.c.task, jobs.c.estimate)
            .where(
                *_of(Queue(lane), Status.QUEUED),
                jobs.c.owner == owner,
                jobs.c.follows.is_(None),
                jobs.c.cancel_requested.is_(False),
            )
            .order_by(jobs.c.queued_at, jobs.c.id)
            .limit(most)
        )
        return [
            QueuedJob(row.id, row.task, lane, owner, estimate_of(row.estimate))
            for row in self._sql.execute(query)
        ]

    def before(self, job_id: str) -> tuple[str, int]:
        """The job that a waiting job is run by, itself or the one that it follows, and how many of
        its owner's wait before that."""
        own = select(func.coalesce(jobs.c.follows, jobs.c.id)).where(jobs.c.id == job_id)
        leader = self._sql.execute(own).scalar_one()
        row = self._sql.execute(select(jobs).where(jobs.c.id == leader)).one()
        earlier = select(func.count()).where(
            *_of(Queue(row.priority), Status.QUEUED),
            jobs.c.owner == row.owner,
            jobs.c.follows.is_(None),
            or_(
                jobs.c.queued_at < row.queued_at,
                and_(jobs.c.queued_at == row.queued_at, jobs.c.id < row.id),
            ),
        )
        return leader, int(self._sql.execute(earlier).scalar_one())

    def running(self) -> list[RunningJob]:
        """What is worked at now."""
        query = select(jobs).where(jobs.c.status == Status.RUNNING)
        now = self._sql.now()
        return [
            RunningJob(
                row.task,
                row.priority,
                row.owner,
                estimate_of(row.estimate),
                row.worker or "",
                Progress(**row.progress),
                (now - row.started_at).total_seconds(),
            )
            for row in self._sql.execute(query)
        ]

    def owners(self, lane: Priority) -> Sequence[str]:
        """Who has jobs in a lane, whoever has the next turn first."""
        return self._owners(Queue(lane))

    def _owners(self, queue: Queue) -> Sequence[str]:
        """Who has jobs in a queue: first who has the fewest running, then who had the last turn
        longest ago."""
        names = _names(queue)
        running = select(func.count()).where(
            *_of(queue, Status.RUNNING), jobs.c.owner == names.c.owner
        )
        last_turn = select(func.max(jobs.c.started_at)).where(
            jobs.c.owner == names.c.owner, jobs.c.priority == queue.lane
        )
        query = (
            select(names.c.owner)
            .where(names.c.owner.is_not(None))
            .order_by(
                running.correlate(names).scalar_subquery(),
                last_turn.correlate(names).scalar_subquery().asc().nulls_first(),
                names.c.owner,
            )
        )
        return self._sql.execute(query).scalars().all()

    def _first(self, queue: Queue, owner: str) -> str | None:
        """The owner's job that was queued first; others who choose meanwhile pass it over."""
        query = (
            select(jobs.c.id)
            .where(*_of(queue, Status.QUEUED), jobs.c.owner == owner, self._is_ready())
            .order_by(jobs.c.queued_at, jobs.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        job_id: str | None = self._sql.execute(query).scalar()
        return job_id

    def _is_ready(self) -> ColumnElement[bool]:
        """It runs itself, nobody has cancelled it, and it is not set aside for a while."""
        return and_(
            jobs.c.follows.is_(None),
            jobs.c.cancel_requested.is_(False),
            or_(jobs.c.not_before.is_(None), jobs.c.not_before <= self._sql.moment()),
        )


def _queues(lane: Priority, roles: Collection[Role]) -> list[Queue]:
    """What is nearest to its end goes first; whoever has all roles has one queue."""
    if {*Role} <= {*roles}:
        return [Queue(lane)]
    return [Queue(lane, role) for role in reversed(Role) if role in roles]


def _names(queue: Queue) -> CTE:
    """Owners of a queue's jobs, each once, and None at the end.

    One probe of the index for each owner, whatever their jobs: a plain DISTINCT reads every one.
    """
    waiting = _of(queue, Status.QUEUED)
    names = select(func.min(jobs.c.owner).label("owner")).where(*waiting).cte(recursive=True)
    behind = select(func.min(jobs.c.owner)).where(*waiting, jobs.c.owner > names.c.owner)
    probe = select(behind.correlate(names).scalar_subquery()).where(names.c.owner.is_not(None))
    return names.union_all(probe)


def _of(queue: Queue, status: Status) -> tuple[ColumnElement[bool], ...]:
    of_lane = (jobs.c.status == status, jobs.c.priority == queue.lane)
    return of_lane if queue.role is None else (*of_lane, jobs.c.role == queue.role)
