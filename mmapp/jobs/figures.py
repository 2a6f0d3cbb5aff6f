"""Figures of the whole system: for metrics, and for the System page. Called by the verbs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from mmapp.db import Database
from mmapp.db.figures import Hour, Lane, Stored
from mmapp.db.workers import WorkerInfo
from mmapp.types import Status


@dataclass(frozen=True, slots=True)
class Figures:
    """The queue and the workers at one moment."""

    #: The database's clock, by which the workers' heartbeats are told.
    now: datetime
    lanes: Sequence[Lane]
    statuses: Mapping[Status, int]
    duplicates_last_hour: int
    workers: Sequence[WorkerInfo]


@dataclass(frozen=True, slots=True)
class System:
    """All that the System page shows."""

    figures: Figures
    hours: Sequence[Hour]
    stored: Stored
    #: Free on the disk of the data folder.
    free_bytes: int


def figures(database: Database, workers: Sequence[WorkerInfo]) -> Figures:
    with database.snapshot() as repository:
        return Figures(
            now=repository.now(),
            lanes=repository.figures.lanes(),
            statuses=repository.figures.statuses(),
            duplicates_last_hour=repository.figures.duplicates(timedelta(hours=1)),
            workers=workers,
        )


def system(database: Database, data_dir: Path, present: Figures, hours: int) -> System:
    with database.snapshot() as repository:
        return System(
            figures=present,
            hours=repository.figures.hours(hours),
            stored=repository.figures.stored(),
            free_bytes=shutil.disk_usage(data_dir).free,
        )
