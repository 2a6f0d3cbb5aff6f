"""Sweeping: jobs of lost workers are freed, and ids are sent that no worker was told of.

Every worker's parent sweeps. Each looks after the processes of its own machine, which nobody else
can see; what concerns all, one of them does at a time, because a thousand that look at every
waiting job and every lease are more work for the database than the jobs. Called by the verbs.
"""

from __future__ import annotations

from mmapp.db import Database
from mmapp.jobs.outbox import Outbox
from mmapp.jobs.recovery import Recovery

#: Of the period after which each comes again: none waits for a turn longer than that.
PAUSE_SHARE = 0.5


class Sweeping:
    """The sweeps of one process; `period_s`: how often it is asked for one by turns."""

    def __init__(
        self, database: Database, recovery: Recovery, outbox: Outbox, period_s: float
    ) -> None:
        self._database = database
        self._recovery = recovery
        self._outbox = outbox
        self._pause_s = PAUSE_SHARE * period_s

    def everything(self) -> int:
        """For all, whoever's turn it is; how many jobs were freed and ids sent."""
        return self._sweep(for_all=self._take_turn(0.0))

    def by_turns(self) -> int:
        """For this machine, and for all if nobody has done that lately."""
        return self._sweep(for_all=self._take_turn(self._pause_s))

    def _take_turn(self, pause_s: float) -> bool:
        with self._database.transaction() as repository:
            return repository.sweeps.take_turn(pause_s)

    def _sweep(self, *, for_all: bool) -> int:
        freed = self._recovery.free_dead()
        self._recovery.forget_dead()
        if for_all:
            freed += self._recovery.free_expired()
            self._recovery.forget_silent()
        sent = self._outbox.send_unsent() if freed or for_all else 0
        if for_all:
            sent += self._outbox.send_forgotten()
        if freed or sent:
            with self._database.transaction() as repository:
                repository.sweeps.count(freed, sent)
        return freed + sent
