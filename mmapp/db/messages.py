"""Messages: which waiting jobs were given to the broker, and when. Called by `Repository`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from mmapp.db.tables import jobs
from mmapp.db.transaction import CHUNK, Transaction
from mmapp.types import Message, Priority, Role, Status


class StoredMessages:
    """Which waiting jobs the broker has been told about."""

    def __init__(self, sql: Transaction) -> None:
        self._sql = sql

    def has_unsent(self) -> bool:
        """Whether there are queued jobs whose id has to be given to the broker now."""
        query = select(jobs.c.id).where(_waiting(), self._is_due()).limit(1)
        return self._sql.execute(query).first() is not None

    def count_sent(self, age_s: float) -> dict[Role, int]:
        """Queued jobs whose id the broker should hold since `age_s` or longer, by what they need;
        roles that none needs are left out."""
        query = (
            select(jobs.c.role, func.count())
            .where(_waiting(), jobs.c.sent_at <= self._sql.moment(-age_s))
            .group_by(jobs.c.role)
        )
        return {role: int(count) for role, count in self._sql.execute(query)}

    def take_unsent(self, limit: int) -> list[Message]:
        """Takes over the sending of queued jobs that were never sent."""
        return self._mark_sent(self._is_due(), limit)

    def take_lost(self, role: Role, age_s: float, limit: int) -> list[Message]:
        """Takes over the sending of those that need this role and were sent `age_s` ago."""
        is_old = jobs.c.sent_at <= self._sql.moment(-age_s)
        return self._mark_sent(and_(jobs.c.role == role, is_old), limit)

    def _is_due(self) -> ColumnElement[bool]:
        """Never sent, and not set aside for a while."""
        return and_(
            jobs.c.sent_at.is_(None),
            or_(jobs.c.not_before.is_(None), jobs.c.not_before <= self._sql.moment()),
        )

    def _mark_sent(self, condition: ColumnElement[bool], limit: int) -> list[Message]:
        chosen = (
            select(jobs.c.id)
            .where(_waiting(), condition)
            .order_by((jobs.c.priority == Priority.INTERACTIVE).desc(), jobs.c.id)
            .limit(limit)
        )
        marked = self._sql.execute(
            update(jobs)
            .where(jobs.c.id.in_(chosen), _waiting(), condition)
            .values(sent_at=self._sql.moment())
            .returning(
                jobs.c.id, jobs.c.priority, jobs.c.role, jobs.c.attempt > jobs.c.series_start
            )
        )
        return sorted(Message(*row) for row in marked)

    def mark_unsent(self, job_ids: Sequence[str]) -> None:
        """The broker did not take them: the next sweep tries again."""
        for start in range(0, len(job_ids), CHUNK):
            self._sql.execute(
                update(jobs)
                .where(jobs.c.id.in_(job_ids[start : start + CHUNK]), _waiting())
                .values(sent_at=None)
            )


def _waiting() -> ColumnElement[bool]:
    """Jobs that some worker has to be told about."""
    return and_(jobs.c.status == Status.QUEUED, jobs.c.follows.is_(None))
