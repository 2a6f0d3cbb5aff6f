"""The process that holds the engine: loads it once, runs one job at a time, shows that it lives.

A thread beats every few seconds, so that a job's lease outlives long steps of the model, and ends
the process when its parent is gone or its job hangs. Called by `workers.app`; torch is imported
here and only here.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import socket
import threading
from datetime import UTC, datetime

import torch

import model
from mmapp import calibrations
from mmapp.config import Settings
from mmapp.errors import CheckpointProblem, JobStalled
from mmapp.jobs import Jobs, WorkerInfo
from mmapp.logs import get_logger
from mmapp.processes import Process
from model import PrefixStore
from workers.capacity import Room
from workers.readings import MB, open_store
from workers.remote import RemoteEngine

#: Seconds between two signs of life.
BEAT_S = 2.0

log = get_logger(__name__)


class Child:
    """A loaded engine and the jobs that it runs."""

    def __init__(
        self,
        jobs: Jobs,
        info: WorkerInfo,
        engine: model.Engine | RemoteEngine,
        room: Room,
        readings: PrefixStore | None = None,
    ) -> None:
        self._jobs = jobs
        self._room = room
        self._info = info
        self._engine = engine
        self._readings = readings

    @classmethod
    def start(cls, settings: Settings) -> Child:
        """Loads the engine; whoever waits for it reads in the database how that goes."""
        jobs = Jobs.open(settings)
        info = _introduction(settings)
        jobs.greet(info)
        threading.Thread(target=_beat, args=(jobs, info.name), daemon=True).start()
        try:
            engine, room, readings = _load(settings)
            capacity = room.capacity()
        except Exception as error:
            line = " ".join(str(error).split()) or type(error).__name__
            jobs.greet(dataclasses.replace(info, error=line))
            raise
        info = dataclasses.replace(
            info,
            checkpoint=engine.name,
            weights_sha256=engine.weights_sha256,
            device=engine.device,
            dtype=engine.dtype,
            ready=True,
            capacity=capacity,
        )
        jobs.greet(info)
        log.info("ready", worker=info.name, checkpoint=engine.name, device=engine.device)
        return cls(jobs, info, engine, room, readings)

    def run(self, told_of: str) -> None:
        """Runs the job whose turn it is; a message only says that one waits."""
        self._calibrate()
        self._jobs.run_next(told_of, self._engine, self._info.name, self._room.admit)
        self._file_readings()

    def _calibrate(self) -> None:
        """Before each job: what people's reviews have fitted since counts from here on."""
        try:
            stored = calibrations.read(self._jobs.settings.data_dir, self._engine.weights_sha256)
        except CheckpointProblem as problem:
            log.warning("the calibration stays as it was", reason=str(problem))
            return
        self._engine.profile = calibrations.applied(self._engine.profile, stored)

    def _file_readings(self) -> None:
        """After each job, because workers are killed and not told to end."""
        if self._readings is None:
            return
        self._readings.flush()
        if self._readings.trouble:
            log.warning("readings are not kept on disk", reason=self._readings.trouble)


def _load(settings: Settings) -> tuple[model.Engine | RemoteEngine, Room, PrefixStore | None]:
    if settings.engine_url:
        remote = RemoteEngine.from_settings(settings)
        return remote, Room(settings, remote), None
    if settings.threads:
        torch.set_num_threads(settings.threads)
    engine = model.load(
        settings.checkpoint,
        dtype=settings.dtype,
        device=settings.device,
        feature_bytes=settings.photo_memory_mb * MB,
    )
    engine.prepare()
    # What memory is free is known when the weights are there.
    room = Room(settings, engine)
    store = open_store(settings, engine.device)
    engine.prefixes = store
    return engine, room, store


def _introduction(settings: Settings) -> WorkerInfo:
    """What is known before the engine is loaded."""
    process = Process.current()
    now = datetime.now(UTC)
    return WorkerInfo(
        # A restarted container has the name and process ids of its last life; the end differs.
        name=f"{socket.gethostname()}-{process.pid}-{secrets.token_hex(2)}",
        checkpoint=settings.engine_model if settings.engine_url else settings.checkpoint.name,
        weights_sha256="",
        device=settings.device,
        dtype=settings.dtype,
        ready=False,
        error="",
        started_at=now,
        last_seen=now,
        job_id=None,
        process=process,
        parent_pid=os.getppid(),
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
