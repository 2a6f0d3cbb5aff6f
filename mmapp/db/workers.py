"""Workers: one row each, which tells whether it is ready and when it was last seen.

Called by `Repository`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, delete, func, insert, or_, select, update

from mmapp.db.tables import jobs, workers
from mmapp.db.transaction import Transaction
from mmapp.processes import Process
from mmapp.types import Role, Status


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

    @property
    def state(self) -> str:
        if self.error:
            return "failed"
        return "ready" if self.ready else "loading"


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
        query = (
            select(workers, func.min(jobs.c.id).label("job_id"))
            .select_from(
                workers.outerjoin(
                    jobs, and_(jobs.c.worker == workers.c.name, jobs.c.status == Status.RUNNING)
                )
            )
            .group_by(workers.c.name)
            .order_by(workers.c.started_at)
        )
        return [_worker(row) for row in self._sql.execute(query)]

    def forget(self, names: Sequence[str]) -> None:
        self._sql.execute(delete(workers).where(workers.c.name.in_(names)))


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
    )
