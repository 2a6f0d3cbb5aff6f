"""How many jobs may wait, of one user and of all. Called by `submitting`.

Counted inside the transaction that adds them. On PostgreSQL, several who submit at the same moment
do not see each other, and may pass a limit by what they add at once: it keeps a queue from growing
without end, and is no account of money. Jobs that follow another or are answered at once are not
counted, for nobody works for them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from mmapp.config import Settings
from mmapp.db.repository import Repository
from mmapp.errors import TooManyWaiting


@dataclass(frozen=True, slots=True)
class Room:
    """How many more jobs may wait, and what is said to the next one."""

    jobs: int
    refusal: TooManyWaiting


def room(repository: Repository, owner: str, settings: Settings) -> Room:
    """What the narrower of both limits leaves; below 0 when it is passed."""
    return min(
        _room(repository, owner, settings.max_waiting_per_user),
        _room(repository, None, settings.max_waiting),
        key=lambda left: left.jobs,
    )


def refuse_crowd(repository: Repository, owner: str, settings: Settings) -> None:
    """Raises `TooManyWaiting` when the jobs of this transaction pass a limit."""
    left = room(repository, owner, settings)
    if left.jobs < 0:
        raise left.refusal


def _room(repository: Repository, owner: str | None, limit: int) -> Room:
    whose = "" if owner is None else f" of {owner}"
    setting = "MMAPP_MAX_WAITING" if owner is None else "MMAPP_MAX_WAITING_PER_USER"
    refusal = TooManyWaiting(
        f"{limit:,} jobs{whose} wait already, which is the most ({setting}); send it again when"
        " some have ended, or cancel some"
    )
    if not limit:
        return Room(sys.maxsize, refusal)
    return Room(limit - repository.turns.waiting(owner, most=limit + 1), refusal)
