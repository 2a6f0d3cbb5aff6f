"""The scene: a database, a Redis and workers on this machine, which can be stopped and harmed.

Called by the benchmark; what is started ends with the context. Refuses nothing.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmapp.config import ALL_ROLES, REPOSITORY, Settings
from mmapp.db.workers import WorkerInfo
from mmapp.errors import DatabaseNotReady
from mmapp.jobs import Jobs
from mmapp.stack import Stack
from mmapp.types import Role
from tests.servers import PostgresServer, RedisServer, fresh_postgresql, postgresql_server


@dataclass(frozen=True)
class Plan:
    """What is done to how much, all told by the command."""

    jobs: int = 300
    workers: int = 3
    #: Each worker does a part of each job: the first ingests, the second encodes, …
    roles_apart: bool = False
    database: str = "sqlite"
    seed: int = 0
    #: Faults stop after so many seconds.
    seconds: float = 240.0
    #: Mean time between two faults.
    pause_s: float = 5.0
    #: Jobs that have not ended so long after the last fault are lost.
    patience_s: float = 600.0
    lease_s: float = 20.0
    sweep_s: float = 5.0
    stall_s: float = 30.0
    #: Jobs that something is done to: see `load.Load.submit_special`.
    specials: tuple[str, ...] = ("raises", "hangs", "kills", "raises")
    #: At the end, when workers wait for jobs: jobs killed once, and jobs cancelled while they run.
    quiet_kills: int = 5
    quiet_cancels: int = 20
    checkpoint: Path = REPOSITORY / "checkpoints" / "nano"
    #: Where data and logs stay for a closer look; None: nowhere.
    keep: Path | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    plan: Plan
    stack: Stack
    jobs: Jobs
    redis: RedisServer
    #: None: SQLite, which is no server.
    postgresql: PostgresServer | None

    @property
    def settings(self) -> Settings:
        return self.stack.settings

    def workers(self) -> Sequence[WorkerInfo]:
        """Ready workers that live; none while the database is away."""
        try:
            return [worker for worker in self.jobs.workers() if worker.ready]
        except DatabaseNotReady:
            return []


@contextlib.contextmanager
def set_up(plan: Plan) -> Iterator[Scene]:
    with contextlib.ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        data_dir = plan.keep or folder / "data"
        server = exits.enter_context(postgresql_server()) if plan.database != "sqlite" else None
        redis = RedisServer(folder)
        redis.start()
        exits.callback(redis.kill)
        settings = Settings(
            data_dir=data_dir,
            database_url=fresh_postgresql(server.url, "faults") if server else "",
            redis_url=redis.url,
            checkpoint=plan.checkpoint,
            threads=1,
            lease_seconds=plan.lease_s,
            sweep_seconds=plan.sweep_s,
            stall_seconds=plan.stall_s,
            _env_file=None,  # type: ignore[call-arg]
        )
        roles = tuple(Role) if plan.roles_apart else (ALL_ROLES,)
        stack = exits.enter_context(Stack(settings, workers=plan.workers, roles=roles))
        jobs = exits.enter_context(Jobs.open(stack.settings))
        stack.wait_ready(300)
        yield Scene(plan, stack, jobs, redis, server)


def processes_of(folder: Path) -> list[int]:
    """Processes whose environment says that they work on this data folder, without this one."""
    mark = f"MMAPP_DATA_DIR={folder}\0".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes() + b"\0":
                    found.append(int(entry.name))
    return found


def blobs_of(folder: Path) -> set[str]:
    """Names of all files in the folder of blobs, half-written ones among them."""
    return {
        path.parent.name + path.name for path in (folder / "blobs").rglob("*") if not path.is_dir()
    }
