"""Statistics: how long the queue is, what ended lately, what is stored. Called by `Repository`.

Nothing here reads a payload. What is asked often (`lanes`, `statuses`, `duplicates`) is answered
from indexes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, cast, extract, func, select

from mmapp.db.tables import documents, jobs, results
from mmapp.db.transaction import Transaction
from mmapp.types import Priority, Role, Status

HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Lane:
    """The queue of one priority."""

    priority: Priority
    waiting: int
    #: How long the job that waits longest has waited; 0: none waits.
    oldest_s: float


@dataclass(frozen=True, slots=True)
class RoleQueue:
    """What waits for workers of one role."""

    role: Role
    waiting: int
    #: How long ago the job that was queued first was queued; 0: none waits.
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Hour:
    """Jobs that ended in the hour that began then."""

    began: datetime
    succeeded: int
    failed: int


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database holds."""

    documents: int
    pages: int
    document_bytes: int
    results: int


class StoredStatistics:
    """Counts over whole tables."""

    def __init__(self, sql: Transaction) -> None:
        self._sql = sql

    def lanes(self) -> list[Lane]:
        """Every lane, also one in which nobody waits."""
        query = (
            select(jobs.c.priority, func.count().label("waiting"), func.min(jobs.c.queued_at))
            .where(jobs.c.status == Status.QUEUED)
            .group_by(jobs.c.priority)
        )
        now, found = self._sql.now(), {row[0]: row for row in self._sql.execute(query)}
        lanes = []
        for priority in Priority:
            _, waiting, since = found.get(priority, (priority, 0, now))
            lanes.append(Lane(priority, waiting, max(0.0, (now - since).total_seconds())))
        return lanes

    def roles(self) -> list[RoleQueue]:
        """Every role, also one for which no job waits."""
        query = (
            select(jobs.c.role, func.count(), func.min(jobs.c.queued_at))
            .where(jobs.c.status == Status.QUEUED, jobs.c.follows.is_(None))
            .group_by(jobs.c.role)
        )
        now, found = self._sql.now(), {row[0]: row for row in self._sql.execute(query)}
        queues = []
        for role in Role:
            _, waiting, since = found.get(role, (role, 0, now))
            queues.append(RoleQueue(role, waiting, max(0.0, (now - since).total_seconds())))
        return queues

    def statuses(self) -> dict[Status, int]:
        query = select(jobs.c.status, func.count()).group_by(jobs.c.status)
        found = {row[0]: row[1] for row in self._sql.execute(query)}
        return {status: found.get(status, 0) for status in Status}

    def duplicates(self, within: timedelta) -> int:
        """Jobs submitted lately that show what another made."""
        query = select(func.count()).where(
            jobs.c.created_at >= self._sql.now() - within, jobs.c.result_of != jobs.c.id
        )
        return int(self._sql.execute(query).scalar_one())

    def hours(self, count: int) -> list[Hour]:
        """The last hours, the present one at the end, also those in which nothing ended."""
        present = int(self._sql.now().timestamp()) // HOUR_S
        first = present - count + 1
        hour = cast(extract("epoch", jobs.c.finished_at), BigInteger) // HOUR_S
        query = (
            select(hour, jobs.c.status, func.count())
            .where(jobs.c.finished_at >= _hour(first))
            .group_by(hour, jobs.c.status)
        )
        found: Mapping[tuple[int, Status], int] = {
            (int(row[0]), row[1]): row[2] for row in self._sql.execute(query)
        }
        return [
            Hour(
                _hour(number),
                found.get((number, Status.SUCCEEDED), 0),
                found.get((number, Status.FAILED), 0),
            )
            for number in range(first, present + 1)
        ]

    def stored(self) -> Stored:
        total = select(
            func.count(),
            func.coalesce(func.sum(documents.c.page_count), 0),
            func.coalesce(func.sum(documents.c.size_bytes), 0),
        ).select_from(documents)
        number, pages, size = self._sql.execute(total).one()
        made = self._sql.execute(select(func.count()).select_from(results)).scalar_one()
        return Stored(number, int(pages), int(size), made)


def _hour(number: int) -> datetime:
    return datetime.fromtimestamp(number * HOUR_S, UTC)
