"""The witness: reads the tables again and again, and notes what must never be seen.

It asks the database and none of the code under test. Called by the benchmark, in a thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy
from sqlalchemy.exc import DBAPIError

from mmapp.db import connectable
from mmapp.db.tables import documents, jobs, pages, results
from mmapp.types import Status

#: Seconds between two looks.
LOOK_S = 0.1


@dataclass(slots=True)
class Seen:
    """A job as it was last seen."""

    status: Status
    attempt: int
    worker: str
    error: str
    error_code: str
    #: How far each phase of this attempt was, from 0 to 1.
    phases: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Harm:
    """A running job whose worker was harmed, and seconds until it was noticed and taken again."""

    fault: str
    job_id: str
    attempt: int
    at: float
    #: Until it was queued again; what follows is the wait for a free worker.
    noticed_s: float | None = None
    #: Until it ran again, or ended.
    taken_s: float | None = None


class Witness:
    """Seen jobs, and what was wrong with them."""

    def __init__(self, url: str) -> None:
        self._engine = connectable(url)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._results: dict[str, str] = {}
        self.seen: dict[str, Seen] = {}
        self.harms: list[Harm] = []
        #: One line for each thing that must never be.
        self.twice: list[str] = []
        self.backwards: list[str] = []
        self.revived: list[str] = []

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._engine.dispose()

    def note_harm(self, fault: str, job_id: str) -> None:
        """From now on it is measured how long the job's next attempt takes to begin."""
        with self._lock:
            found = self.seen.get(job_id)
            if found is not None and found.status is Status.RUNNING:
                self.harms.append(Harm(fault, job_id, found.attempt, time.monotonic()))

    def open_jobs(self) -> list[str]:
        with self._lock:
            return [job_id for job_id, job in self.seen.items() if not job.status.is_final]

    def running(self) -> list[str]:
        with self._lock:
            return [job_id for job_id, job in self.seen.items() if job.status is Status.RUNNING]

    def known_blobs(self) -> set[str]:
        """Names of all files that some row needs."""
        with self._engine.connect() as connection:
            found = set(connection.execute(sqlalchemy.select(documents.c.sha256)).scalars())
            found |= set(connection.execute(sqlalchemy.select(pages.c.image_sha256)).scalars())
        return {name for name in found if name}

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_S):
            with contextlib.suppress(DBAPIError):
                self.look()

    def look(self) -> None:
        """Reads all jobs and results once; raises SQLAlchemy's errors."""
        with self._engine.connect() as connection:
            found = connection.execute(sqlalchemy.select(jobs)).all()
            made = connection.execute(
                sqlalchemy.select(results.c.job_id, results.c.created_at, results.c.record)
            ).all()
        with self._lock:
            for row in found:
                self._see(dict(row._mapping))
            for job_id, created_at, record in made:
                self._see_result(job_id, f"{created_at} {_digest(record)}")
            for harm in self.harms:
                self._see_recovery(harm)

    def _see(self, row: Mapping[str, Any]) -> None:
        job_id, status = row["id"], Status(row["status"])
        before = self.seen.get(job_id)
        now = Seen(status, row["attempt"], row["worker"] or "", row["error"], row["error_code"])
        if before is not None and before.attempt == now.attempt:
            now.phases = before.phases
        self.seen[job_id] = now
        if before is not None and before.status.is_final and before.status is not status:
            self.revived.append(f"{job_id}: {before.status} became {status}")
        if before is not None and now.attempt < before.attempt:
            self.backwards.append(f"{job_id}: attempt {before.attempt} became {now.attempt}")
        if status is Status.RUNNING:
            self._see_progress(job_id, now, row["progress"])

    def _see_progress(self, job_id: str, job: Seen, progress: Mapping[str, Any]) -> None:
        phase, total = progress.get("phase", ""), progress.get("total", 0)
        share = progress["done"] / total if total else 0.0
        if share < job.phases.get(phase, 0.0):
            self.backwards.append(f"{job_id}: {phase} from {job.phases[phase]:.2f} to {share:.2f}")
        job.phases = job.phases | {phase: share}

    def _see_result(self, job_id: str, made: str) -> None:
        if self._results.setdefault(job_id, made) != made:
            self.twice.append(job_id)
            self._results[job_id] = made

    def _see_recovery(self, harm: Harm) -> None:
        job, elapsed_s = self.seen[harm.job_id], time.monotonic() - harm.at
        is_over = job.attempt > harm.attempt or job.status.is_final
        if harm.noticed_s is None and (is_over or job.status is Status.QUEUED):
            harm.noticed_s = elapsed_s
        if harm.taken_s is None and is_over:
            harm.taken_s = elapsed_s


def _digest(record: object) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
