"""Statistics of the whole system: for metrics, and for the System page. Called by the verbs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mmapp.db import Database
from mmapp.db.statistics import Hour, Lane, RoleQueue, Stored
from mmapp.db.sweeps import Swept
from mmapp.db.workers import WorkerInfo
from mmapp.jobs import tally
from mmapp.types import Role, Status

#: A worker that was silent for longer is not counted on.
SILENT_S = 30.0


@dataclass(frozen=True, slots=True)
class Statistics:
    """The queue and the workers at one moment."""

    #: The database's clock, by which the workers' heartbeats are told.
    now: datetime
    lanes: Sequence[Lane]
    statuses: Mapping[Status, int]
    duplicates_last_hour: int
    workers: Sequence[WorkerInfo]
    roles: Sequence[RoleQueue]
    swept: Swept
    #: What all workers have counted that ever were (`tally`).
    counted: Mapping[str, Any]

    @property
    def had(self) -> set[Role]:
        """The roles that some worker has that is ready, or will be."""
        return {
            role
            for worker in self.workers
            if not worker.error and (self.now - worker.last_seen).total_seconds() <= SILENT_S
            for role in worker.roles
        }

    @property
    def unserved(self) -> list[RoleQueue]:
        """The roles for which jobs wait, and which no worker has."""
        return [queue for queue in self.roles if queue.waiting and queue.role not in self.had]


@dataclass(frozen=True, slots=True)
class System:
    """All that the System page shows."""

    statistics: Statistics
    hours: Sequence[Hour]
    stored: Stored
    #: Free on the disk of the data folder.
    free_bytes: int


def statistics(database: Database, workers: Sequence[WorkerInfo]) -> Statistics:
    # A worker that is taken off the list meanwhile must not be counted twice, or not at all.
    with database.snapshot(frozen=True) as repository:
        counters = repository.workers.counters()
        return Statistics(
            now=repository.now(),
            lanes=repository.statistics.lanes(),
            statuses=repository.statistics.statuses(),
            duplicates_last_hour=repository.statistics.duplicates(timedelta(hours=1)),
            workers=workers,
            roles=repository.statistics.roles(),
            swept=repository.sweeps.total(),
            counted=tally.total([repository.sweeps.past(), *counters]),
        )


def system(database: Database, data_dir: Path, present: Statistics, hours: int) -> System:
    with database.snapshot() as repository:
        return System(
            statistics=present,
            hours=repository.statistics.hours(hours),
            stored=repository.statistics.stored(),
            free_bytes=shutil.disk_usage(data_dir).free,
        )
