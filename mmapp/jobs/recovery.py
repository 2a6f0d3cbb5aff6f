"""Recovery: jobs whose worker is gone are queued again, or fail after their last attempt.

A worker is gone when its process on this machine has ended, or when its lease has run out. Whoever
was away longer than a lease (the machine slept, the database did not answer) can't tell, because
the others may have been away too: it gives them time to show that they live. Called by the sweeper,
by whoever stops workers on purpose, and by a worker that is told of a held job.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from mmapp.config import Settings
from mmapp.db import Database
from mmapp.db.attempts import Held
from mmapp.db.repository import Repository
from mmapp.db.workers import WorkerInfo
from mmapp.jobs import tally
from mmapp.logs import get_logger

#: Seconds that others get to show that they live, after this process was away: some heartbeats.
SETTLE_S = 6.0

#: A worker of another machine that was silent for so long is taken off the list.
FORGET_WORKER_S = 86_400.0

log = get_logger(__name__)


class Recovery:
    """Frees what lost workers left."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._max_attempts = settings.max_attempts
        self._lease_s = settings.lease_seconds
        #: When this process last saw the leases, and until when it does not judge them.
        self._looked: float | None = None
        self._judges_from = 0.0

    def free_lost(self, *, forgiven: bool = False) -> int:
        """Frees all jobs of lost workers; how many. `forgiven`: their attempts do not count."""
        return self.free_dead(forgiven=forgiven) + self.free_expired(forgiven=forgiven)

    def free_dead(self, *, forgiven: bool = False) -> int:
        """Frees the jobs of processes that have ended on this machine; how many."""
        with self._database.snapshot() as repository:
            dead = [info.name for info in repository.workers.here() if info.process.is_dead]
            held = repository.attempts.held_by(dead) if dead else []
        self._look()
        return sum(self._free(lost, forgiven=forgiven) for lost in held)

    def free_expired(self, *, forgiven: bool = False) -> int:
        """Frees all jobs whose lease has run out, wherever they ran; how many."""
        with self._database.snapshot() as repository:
            held = repository.attempts.expired()
        self._look()
        if not self._may_judge:
            return 0
        return sum(self._free(lost, forgiven=forgiven) for lost in held)

    def free_if_holder_died(self, job_id: str) -> bool:
        """Frees one job, if the process that runs it has ended; whether it did."""
        with self._database.snapshot() as repository:
            held = repository.attempts.held(job_id)
            if held is None:
                return False
            holder = repository.workers.find(held.worker)
        if holder is None or not holder.process.is_dead:
            return False
        return self._free(held, forgiven=False)

    def forget_dead(self) -> None:
        """Takes workers of this machine off the list that have ended and left no error to read."""
        with self._database.snapshot() as repository:
            here = repository.workers.here()
        gone = [worker.name for worker in here if worker.process.is_dead and not worker.error]
        if gone:
            with self._database.transaction() as repository:
                _remember(repository, repository.workers.forget(gone))

    def forget_silent(self) -> None:
        """Takes workers of any machine off the list that were silent for long."""
        with self._database.transaction() as repository:
            _remember(repository, repository.workers.forget_silent(FORGET_WORKER_S))

    def silent_workers(self, parent_pid: int) -> Sequence[WorkerInfo]:
        """Ready workers of this parent that live, and have not shown it for longer than a lease."""
        with self._database.snapshot() as repository:
            infos, now = repository.workers.here(), repository.now()
        self._look()
        if not self._may_judge:
            return []
        return [
            info
            for info in infos
            if info.parent_pid == parent_pid
            and info.ready
            and info.process.lives_here
            and (now - info.last_seen).total_seconds() > self._lease_s
        ]

    def _look(self) -> None:
        """Notes that this process saw the database; by the wall clock, which goes on while the
        machine sleeps."""
        now = time.time()
        if self._looked is not None and now - self._looked > self._lease_s:
            self._judges_from = now + SETTLE_S
        self._looked = now

    @property
    def _may_judge(self) -> bool:
        """Whether this process saw the database without a long break."""
        return time.time() >= self._judges_from

    def _free(self, lost: Held, *, forgiven: bool) -> bool:
        with self._database.transaction() as repository:
            attempts, job_id, number = repository.attempts, lost.job_id, lost.attempt
            if repository.jobs.is_cancel_requested(job_id):
                freed = attempts.end_cancelled(job_id, number)
            elif lost.used >= self._max_attempts and not forgiven:
                freed = attempts.fail(job_id, number, _worker_died(lost), "worker_lost")
            else:
                freed = attempts.put_back(job_id, number, forgiven=forgiven)
        if freed:
            log.warning("worker lost", job_id=job_id, worker=lost.worker, attempt=number)
        return freed


def _remember(repository: Repository, gone: Sequence[Mapping[str, Any]]) -> None:
    """What workers have counted stays, though they are no longer on the list."""
    if gone:
        repository.sweeps.remember(tally.total([repository.sweeps.past(locked=True), *gone]))


def _worker_died(lost: Held) -> str:
    doing = lost.progress.phase or "starting on"
    times = "once" if lost.used == 1 else f"{lost.used} times"
    return (
        f"The worker died {times} while {doing} “{lost.label}”; it may need more memory than"
        f" there is. See worker.log, then run `mmapp jobs retry {lost.job_id}`"
    )
