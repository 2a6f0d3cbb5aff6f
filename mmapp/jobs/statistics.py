"""Statistics of the whole system: for metrics, and for the System page. Called by the verbs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mmapp.db import Database
from mmapp.db.statistics import Hour, Lane, Stored
from mmapp.db.sweeps import Swept
from mmapp.db.workers import WorkerInfo
from mmapp.jobs import tally
from mmapp.types import Status


@dataclass(frozen=True, slots=True)
class Statistics:
    """The queue and the workers at one moment."""

    #: The database's clock, by which the workers' heartbeats are told.
    now: datetime
    lanes: Sequence[Lane]
    statuses: Mapping[Status, int]
    duplicates_last_hour: int
    workers: Sequence[WorkerInfo]
    swept: Swept
    #: What all workers have counted that ever were (`tally`).
    counted: Mapping[str, Any]


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
