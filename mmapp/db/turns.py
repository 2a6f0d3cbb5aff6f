"""Turns: whose job is next, and how many wait. Called by `Repository`.

Jobs of persons go before those of batches. Within each of the two lanes the owners take turns, and
each owner's jobs keep the order in which they were queued: a job whose worker was lost, or that was
handed over to its next role, has its old place. So nobody waits for another's ten thousand rows.
Workers that do not have all roles have one line for each of theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import CTE, ColumnElement, and_, func, or_, select

from mmapp.db.tables import jobs
from mmapp.db.transaction import Transaction
from mmapp.types import Priority, Role, Status

#: The lanes, in the order in which they are served.
LANES = (Priority.INTERACTIVE, Priority.BATCH)


class Line(NamedTuple):
    """Jobs that wait in one lane."""

    lane: Priority
    #: What they need next; None: whatever it is.
    role: Role | None


class StoredTurns:
    """The order of what waits; nothing else decides it."""

    def __init__(self, sql: Transaction) -> None:
        self._sql = sql

    def next(self, roles: Collection[Role]) -> str | None:
        """The job to take now for a worker of these roles; None when none waits. On PostgreSQL its
        row is locked."""
        for lane in LANES:
            for line in _lines(lane, roles):
                for owner in self._owners(line):
                    job_id = self._first(line, owner)
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

    def _owners(self, line: Line) -> Sequence[str]:
        """Who has jobs in a line: first who has the fewest running, then who had the last turn
        longest ago."""
        names = _names(line)
        running = select(func.count()).where(
            *_of(line, Status.RUNNING), jobs.c.owner == names.c.owner
        )
        last_turn = select(func.max(jobs.c.started_at)).where(
            jobs.c.owner == names.c.owner, jobs.c.priority == line.lane
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

    def _first(self, line: Line, owner: str) -> str | None:
        """The owner's job that was queued first; others who choose meanwhile pass it over."""
        query = (
            select(jobs.c.id)
            .where(*_of(line, Status.QUEUED), jobs.c.owner == owner, self._is_ready())
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


def _lines(lane: Priority, roles: Collection[Role]) -> list[Line]:
    """What is nearest to its end goes first; whoever has all roles has one line."""
    if {*Role} <= {*roles}:
        return [Line(lane, None)]
    return [Line(lane, role) for role in reversed(Role) if role in roles]


def _names(line: Line) -> CTE:
    """Owners of a line's queued jobs, each once, and None at the end.

    One probe of the index for each owner, whatever their jobs: a plain DISTINCT reads every one.
    """
    waiting = _of(line, Status.QUEUED)
    names = select(func.min(jobs.c.owner).label("owner")).where(*waiting).cte(recursive=True)
    behind = select(func.min(jobs.c.owner)).where(*waiting, jobs.c.owner > names.c.owner)
    probe = select(behind.correlate(names).scalar_subquery()).where(names.c.owner.is_not(None))
    return names.union_all(probe)


def _of(line: Line, status: Status) -> tuple[ColumnElement[bool], ...]:
    of_lane = (jobs.c.status == status, jobs.c.priority == line.lane)
    return of_lane if line.role is None else (*of_lane, jobs.c.role == line.role)
