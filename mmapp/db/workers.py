"""Workers: one row each, which tells whether it is ready and when it was last seen.

Called by `Repository`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    true,
    update,
)

from mmapp.db.tables import jobs, workers
from mmapp.db.transaction import Transaction, columns
from mmapp.processes import Process, machine
from mmapp.types import Capacity, Role, Status


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker's heartbeat."""

    name: str
    checkpoint: str
    weights_sha256: str
    device: str
    dtype: str
    #: Its engine is loaded.
    ready: bool
    #: Why the engine could not be loaded; empty otherwise.
    error: str
    started_at: datetime
    last_seen: datetime
    job_id: str | None
    process: Process
    parent_pid: int
    roles: tuple[Role, ...] = tuple(Role)
    #: What it has done since it started, as `jobs.tally` tells it.
    counters: Mapping[str, Any] = field(default_factory=dict)
    #: None until its engine is loaded.
    capacity: Capacity | None = None

    @property
    def state(self) -> str:
        if self.error:
            return "failed"
        return "ready" if self.ready else "loading"

    @property
    def has_all_roles(self) -> bool:
        return self.roles == tuple(Role)


class StoredWorkers:
    """Workers and their heartbeats."""

    def __init__(self, sql: Transaction) -> None:
        self._sql = sql

    def greet(self, worker: WorkerInfo) -> None:
        """Stores what a worker says about itself, in place of what it said before."""
        said_before = workers.c.name == worker.name
        if worker.ready:
            # What kept such workers of this machine from starting is settled.
            failed = and_(
                workers.c.machine == worker.process.machine,
                workers.c.roles == ",".join(worker.roles),
                workers.c.error != "",
            )
            said_before = or_(said_before, failed)
        self._sql.execute(delete(workers).where(said_before))
        self._sql.execute(
            insert(workers).values(
                name=worker.name,
                machine=worker.process.machine,
                pid=worker.process.pid,
                pid_began=worker.process.began,
                parent_pid=worker.parent_pid,
                roles=",".join(worker.roles),
                checkpoint=worker.checkpoint,
                weights_sha256=worker.weights_sha256,
                device=worker.device,
                dtype=worker.dtype,
                ready=worker.ready,
                error=worker.error,
                started_at=worker.started_at,
                last_seen=self._sql.moment(),
                capacity=None if worker.capacity is None else columns(worker.capacity),
            )
        )

    def beat(self, name: str, counters: Mapping[str, Any]) -> None:
        """A worker lives, and has done so much."""
        self._sql.execute(
            update(workers)
            .where(workers.c.name == name)
            .values(last_seen=self._sql.moment(), counters=counters)
        )

    def all(self) -> list[WorkerInfo]:
        return self._told(true())

    def here(self) -> list[WorkerInfo]:
        """Those of this machine, of which alone this process can tell whether they live."""
        return self._told(workers.c.machine == machine())

    def find(self, name: str) -> WorkerInfo | None:
        return next(iter(self._told(workers.c.name == name)), None)

    def _told(self, which: ColumnElement[bool]) -> list[WorkerInfo]:
        query = (
            select(workers, func.min(jobs.c.id).label("job_id"))
            .select_from(
                workers.outerjoin(
                    jobs, and_(jobs.c.worker == workers.c.name, jobs.c.status == Status.RUNNING)
                )
            )
            .where(which)
            .group_by(workers.c.name)
            .order_by(workers.c.started_at)
        )
        return [_worker(row) for row in self._sql.execute(query)]

    def counters(self) -> list[Mapping[str, Any]]:
        """What each worker on the list has done, also those that have ended since."""
        told = self._sql.execute(select(workers.c.counters)).scalars()
        return [counters for counters in told if counters]

    def forget(self, names: Sequence[str]) -> list[Mapping[str, Any]]:
        """Takes them off the list, except those that hold a job: what they had done.

        Whoever frees the job of a dead worker has to find the worker first.
        """
        held = exists().where(jobs.c.worker == workers.c.name, jobs.c.status == Status.RUNNING)
        return self._remove(and_(workers.c.name.in_(names), ~held))

    def forget_silent(self, for_s: float) -> list[Mapping[str, Any]]:
        """The same with those, of any machine, that were silent for longer."""
        return self._remove(workers.c.last_seen < self._sql.moment(-for_s))

    def _remove(self, which: ColumnElement[bool]) -> list[Mapping[str, Any]]:
        removed = self._sql.execute(delete(workers).where(which).returning(workers.c.counters))
        return [counters for counters in removed.scalars() if counters]


def _worker(row: Row[Any]) -> WorkerInfo:
    return WorkerInfo(
        name=row.name,
        checkpoint=row.checkpoint,
        weights_sha256=row.weights_sha256,
        device=row.device,
        dtype=row.dtype,
        ready=row.ready,
        error=row.error,
        started_at=row.started_at,
        last_seen=row.last_seen,
        job_id=row.job_id,
        process=Process(row.machine, row.pid, row.pid_began),
        parent_pid=row.parent_pid,
        roles=tuple(Role(name) for name in row.roles.split(",")),
        counters=row.counters or {},
        capacity=Capacity(**row.capacity) if row.capacity else None,
    )
