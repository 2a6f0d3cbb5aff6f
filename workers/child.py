"""The process that does the work: loads what its roles need, runs one job at a time, shows that it
lives.

A worker of the role ingest alone loads no model and no torch. A thread beats every few seconds, so
that a job's lease outlives long steps of the model, and ends the process when its parent is gone or
its job hangs. Called by `workers.app`.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import socket
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mmapp import calibrations
from mmapp.config import Settings
from mmapp.errors import CheckpointProblem, JobStalled
from mmapp.jobs import Jobs, WorkerInfo
from mmapp.logs import get_logger
from mmapp.processes import Process

if TYPE_CHECKING:
    from model import PrefixStore
    from workers.capacity import Room
    from workers.models import Loaded

#: Seconds between two signs of life.
BEAT_S = 2.0

log = get_logger(__name__)


class Child:
    """A worker's process, with what it works with."""

    def __init__(
        self,
        jobs: Jobs,
        info: WorkerInfo,
        loaded: Loaded | None,
        room: Room | None = None,
        readings: PrefixStore | None = None,
    ) -> None:
        """`loaded`: None where the roles ask no model."""
        self._jobs = jobs
        self._room = room
        self._info = info
        self._loaded = loaded
        self._readings = readings

    @classmethod
    def start(cls, settings: Settings) -> Child:
        """Loads what the roles need; whoever waits for it reads in the database how that goes."""
        jobs = Jobs.open(settings)
        info = _introduction(settings)
        jobs.greet(info)
        threading.Thread(target=_beat, args=(jobs, info.name), daemon=True).start()
        loaded, room, readings = None, None, None
        if settings.asks_model:
            try:
                loaded, room, readings = _load(settings)
                capacity = None if room is None else room.capacity()
            except Exception as error:
                line = " ".join(str(error).split()) or type(error).__name__
                jobs.greet(dataclasses.replace(info, error=line))
                raise
            info = dataclasses.replace(
                info,
                checkpoint=loaded.name,
                weights_sha256=loaded.weights_sha256,
                device=loaded.device,
                dtype=loaded.dtype,
                capacity=capacity,
            )
        jobs.greet(dataclasses.replace(info, ready=True))
        log.info("ready", worker=info.name, roles=settings.roles, checkpoint=info.checkpoint)
        return cls(jobs, info, loaded, room, readings)

    def run(self, told_of: str) -> None:
        """Runs the job whose turn it is; a message only says that one waits."""
        if self._loaded is not None:
            self._calibrate(self._loaded)
        admit = None if self._room is None else self._room.admit
        self._jobs.run_next(told_of, self._loaded, self._info.name, admit)
        self._file_readings()

    def _calibrate(self, loaded: Loaded) -> None:
        """Before each job: what people's reviews have fitted since counts from here on."""
        try:
            stored = calibrations.read(self._jobs.settings.data_dir, loaded.weights_sha256)
        except CheckpointProblem as problem:
            log.warning("the calibration stays as it was", reason=str(problem))
            return
        loaded.profile = calibrations.applied(loaded.profile, stored)

    def _file_readings(self) -> None:
        """After each job, because workers are killed and not told to end."""
        if self._readings is None:
            return
        self._readings.flush()
        if self._readings.trouble:
            log.warning("readings are not kept on disk", reason=self._readings.trouble)


def _load(settings: Settings) -> tuple[Loaded, Room | None, PrefixStore | None]:
    # Imported here, so that workers of the role ingest alone never load torch.
    from workers import models

    return models.load(settings)


def _introduction(settings: Settings) -> WorkerInfo:
    """What is known before anything is loaded."""
    process = Process.current()
    now = datetime.now(UTC)
    return WorkerInfo(
        # A restarted container has the name and process ids of its last life; the end differs.
        name=f"{socket.gethostname()}-{process.pid}-{secrets.token_hex(2)}",
        checkpoint=(settings.engine_model if settings.engine_url else settings.checkpoint.name)
        if settings.asks_model
        else "",
        weights_sha256="",
        device=settings.device if settings.asks_model else "cpu",
        dtype=settings.dtype if settings.asks_model else "",
        ready=False,
        error="",
        started_at=now,
        last_seen=now,
        job_id=None,
        process=process,
        parent_pid=os.getppid(),
        roles=settings.worker_roles,
    )


def _beat(jobs: Jobs, name: str) -> None:
    parent = os.getppid()
    pause = threading.Event()
    while not pause.wait(BEAT_S):
        if os.getppid() != parent:
            # Nobody would tell this process to stop any more; its job is taken over.
            os._exit(1)
        try:
            jobs.beat(name)
        except JobStalled as error:
            log.error("stalled", worker=name, reason=str(error))
            os._exit(1)
        except Exception as error:
            log.warning("no heartbeat", worker=name, reason=str(error))
