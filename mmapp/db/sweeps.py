"""Sweeps: whose turn it is to look after the jobs of all, and what has been counted in all.

Called by `Repository`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select, update

from mmapp.db.tables import sweeps
from mmapp.db.transaction import Transaction

#: The table's only row.
ROW = 1


@dataclass(frozen=True, slots=True)
class Swept:
    """What all sweeps have found since the database was made."""

    #: Turns that were taken.
    rounds: int = 0
    #: Jobs that were taken from lost workers.
    freed: int = 0
    #: Ids that were sent again, or late.
    sent: int = 0


class StoredSweeps:
    """The turns of those who sweep."""

    def __init__(self, sql: Transaction) -> None:
        self._sql = sql

    def take_turn(self, pause_s: float) -> bool:
        """True for one of all who ask within a pause.

        A last turn that lies ahead is none: the clock was put back.
        """
        is_over = or_(
            sweeps.c.swept_at <= self._sql.moment(-pause_s),
            sweeps.c.swept_at > self._sql.moment(pause_s),
        )
        taken = self._sql.execute(
            update(sweeps)
            .where(is_over)
            .values(swept_at=self._sql.moment(), rounds=sweeps.c.rounds + 1)
        )
        if taken.rowcount:
            return True
        now = self._sql.moment()
        first = {"id": ROW, "swept_at": now, "rounds": 1, "freed": 0, "sent": 0}
        return self._sql.insert_once(sweeps, first)

    def count(self, freed: int, sent: int) -> None:
        """Adds what a sweep has found."""
        self._sql.execute(
            update(sweeps).values(freed=sweeps.c.freed + freed, sent=sweeps.c.sent + sent)
        )

    def past(self, *, locked: bool = False) -> Mapping[str, Any]:
        """What workers had done that were taken off the list, as `remember` was told last.

        `locked`: until the transaction ends, so that nothing is lost of what two add to it.
        """
        query = select(sweeps.c.counters)
        return self._sql.execute(query.with_for_update() if locked else query).scalar() or {}

    def remember(self, counters: Mapping[str, Any]) -> None:
        self._sql.execute(update(sweeps).values(counters=counters))

    def total(self) -> Swept:
        row = self._sql.one(select(sweeps.c.rounds, sweeps.c.freed, sweeps.c.sent))
        return Swept() if row is None else Swept(*row)
