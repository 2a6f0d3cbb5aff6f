"""The mischief: what is done to workers, Redis, the database and disks while jobs run.

Each fault is a function of the scene that returns when it is over; those that last (frozen workers,
full disks) run in threads, one of a kind at a time.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.faults.load import Special, noise_png, patiently
from benchmarks.faults.scene import Scene
from benchmarks.faults.witness import Witness
from mmapp.config import Settings
from mmapp.db.workers import WorkerInfo
from mmapp.errors import DatabaseNotReady, NotFound, NotPossible, StorageProblem
from mmapp.jobs import Jobs
from mmapp.processes import group_exists
from mmapp.types import Status

#: Seconds that a limit of the kernel stays on a worker.
LIMIT_S = 3.0

#: Seconds that Redis is away.
REDIS_AWAY_S = 2.0


class Mischief:
    """Does one fault after another, drawn in turns so that each comes about as often."""

    def __init__(self, scene: Scene, witness: Witness, chance: random.Random) -> None:
        self._scene = scene
        self._witness = witness
        self._chance = chance
        self._stop = threading.Event()
        self._lasting: dict[str, threading.Thread] = {}
        self.done: Counter[str] = Counter()
        #: Jobs that nobody cancels.
        self.spared: set[str] = set()
        #: Seconds from each cancellation to the job's end.
        self.cancels_s: list[float] = []
        self.faults: dict[str, Callable[[], bool]] = {
            "worker's child killed": self._kill_child,
            "worker killed": self._kill_worker,
            "worker's child frozen": self._freeze_child,
            "worker frozen and woken": self._freeze_worker,
            "Redis flushed": self._flush_redis,
            "Redis restarted": self._restart_redis,
            "worker's disk full": self._fill_disk,
            "worker's memory limited": self._limit_memory,
            "upload's disk full": self._fill_upload,
            "job cancelled": self._cancel,
        }
        if scene.postgresql is not None:
            self.faults["PostgreSQL restarted"] = self._restart_postgresql

    def go_on(self, seconds: float) -> None:
        """Faults at random moments, until the time is over."""
        deadline = time.monotonic() + seconds
        turns = self._turns()
        while time.monotonic() < deadline and not self._stop.is_set():
            name = next(turns)
            if self.faults[name]():
                self.done[name] += 1
                pause_s = self._chance.expovariate(1 / self._scene.plan.pause_s)
                self._stop.wait(min(pause_s, max(0.0, deadline - time.monotonic())))
            else:
                self._stop.wait(0.05)

    def stop(self) -> None:
        """Returns when what lasts is over."""
        self._stop.set()
        for thread in list(self._lasting.values()):
            thread.join()

    def kill_whoever_runs(self, special: Special) -> None:
        """Kills each worker that takes this job, until the job has ended."""
        self._last("poison", lambda: self._poison(special.job_id))

    def unhang(self, special: Special) -> None:
        """Gives a photo its bytes back when the first attempt at it was given up."""
        self._last("hang", lambda: self._give_back(special))

    def _turns(self) -> Iterator[str]:
        names = list(self.faults)
        while True:
            self._chance.shuffle(names)
            yield from names

    def _busy(self) -> WorkerInfo | None:
        """A worker that runs a job now."""
        busy = [worker for worker in self._scene.workers() if worker.job_id is not None]
        return self._chance.choice(busy) if busy else None

    def _harm(self, name: str, worker: WorkerInfo) -> None:
        if worker.job_id is not None:
            self._witness.note_harm(name, worker.job_id)

    def _kill_child(self) -> bool:
        return self._kill("child killed", lambda busy: _signal(busy.process.pid, signal.SIGKILL))

    def _kill_worker(self) -> bool:
        return self._kill("killed", lambda worker: _signal_group(worker, signal.SIGKILL))

    def _kill(self, name: str, kill: Callable[[WorkerInfo], None]) -> bool:
        worker = self._busy()
        if worker is None:
            return False
        self._harm(name, worker)
        kill(worker)
        return True

    def _freeze_child(self) -> bool:
        """The child stops; its parent has to notice and to kill it."""
        worker = self._busy()
        if worker is None:
            return False
        pid = worker.process.pid

        def freeze() -> None:
            self._harm("child frozen", worker)
            _signal(pid, signal.SIGSTOP)
            plan = self._scene.plan
            deadline = time.monotonic() + 2 * (plan.lease_s + plan.sweep_s) + 10
            while not worker.process.is_dead and time.monotonic() < deadline:
                time.sleep(0.1)
            _signal(pid, signal.SIGCONT)

        return self._last("frozen", freeze)

    def _freeze_worker(self) -> bool:
        """Parent and child stop, as when a machine is cut off, and wake up when it is too late."""
        worker = self._busy()
        if worker is None:
            return False

        def freeze() -> None:
            self._harm("frozen", worker)
            _signal_group(worker, signal.SIGSTOP)
            self._sleep(self._scene.plan.lease_s + self._scene.plan.sweep_s + 1)
            _signal_group(worker, signal.SIGCONT)

        return self._last("frozen", freeze)

    def _flush_redis(self) -> bool:
        with contextlib.suppress(Exception):
            self._scene.jobs._broker._connected_redis().flushall()
            return True
        return False

    def _restart_redis(self) -> bool:
        self._scene.redis.kill()
        self._sleep(REDIS_AWAY_S)
        self._scene.redis.start()
        return True

    def _restart_postgresql(self) -> bool:
        server = self._scene.postgresql
        assert server is not None
        server.stop()
        self._sleep(self._chance.uniform(0.5, 3.0))
        server.start()
        return True

    def _fill_disk(self) -> bool:
        """No file that the worker writes may grow: pictures, logs, and SQLite's own."""
        return self._limit("full", resource.RLIMIT_FSIZE, lambda _: 0)

    def _limit_memory(self) -> bool:
        """The worker gets no more memory than it has."""
        return self._limit("memory", resource.RLIMIT_AS, _memory_of)

    def _limit(self, kind: str, limit: int, of: Callable[[int], int]) -> bool:
        worker = self._busy()
        if worker is None:
            return False
        pid = worker.process.pid

        def keep_limited() -> None:
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                before, hard = resource.prlimit(pid, limit)
                resource.prlimit(pid, limit, (of(pid), hard))
                time.sleep(LIMIT_S)
                resource.prlimit(pid, limit, (before, hard))

        return self._last(kind, keep_limited)

    def _fill_upload(self) -> bool:
        """Somebody adds a photo when the disk has no room; the error has to be a known one."""
        spawn = multiprocessing.get_context("spawn")
        data = noise_png(self._chance, 96)
        process = spawn.Process(target=_upload_without_room, args=(self._scene.settings, data))
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError("an upload on a full disk met no known error")
        return True

    def _cancel(self) -> bool:
        running = [job_id for job_id in self._witness.running() if job_id not in self.spared]
        if not running:
            return False
        job_id = self._chance.choice(running)

        def cancel() -> None:
            jobs = self._scene.jobs
            with contextlib.suppress(NotPossible, DatabaseNotReady, NotFound):
                jobs.cancel(job_id)
                began = time.monotonic()
                job = patiently(lambda: list(jobs.watch([job_id], poll_s=0.02))[-1])
                if job.attempts:
                    self.cancels_s.append(time.monotonic() - began)

        return self._last(f"cancel {job_id}", cancel)

    def _poison(self, job_id: str) -> None:
        while not patiently(lambda: self._scene.jobs.get(job_id)).status.is_final:
            for worker in self._scene.workers():
                if worker.job_id == job_id:
                    _signal(worker.process.pid, signal.SIGKILL)
            time.sleep(0.02)

    def _give_back(self, special: Special) -> None:
        while not (job := patiently(lambda: self._scene.jobs.get(special.job_id))).status.is_final:
            if job.attempts and job.status is Status.QUEUED and special.blob is not None:
                return _replace(special.blob, special.data)
            time.sleep(0.1)
        return None

    def _last(self, kind: str, do: Callable[[], None]) -> bool:
        """Runs in a thread, unless one of the kind still does."""
        before = self._lasting.get(kind)
        if before is not None and before.is_alive():
            return False
        self._lasting[kind] = threading.Thread(target=do, name=kind)
        self._lasting[kind].start()
        return True

    def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _signal_group(worker: WorkerInfo, number: signal.Signals) -> None:
    """To the worker's parent and all that it started."""
    if group_exists(worker.parent_pid):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.parent_pid, number)


def _memory_of(pid: int) -> int:
    """Bytes of address space that the process has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _replace(blob: Path, data: bytes) -> None:
    fresh = blob.with_suffix(".fresh")
    fresh.write_bytes(data)
    fresh.replace(blob)


def _upload_without_room(settings: Settings, data: bytes) -> None:
    with Jobs.open(settings) as jobs:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with contextlib.suppress(StorageProblem, DatabaseNotReady):
            jobs.add_document("photo.png", data)
            raise AssertionError("there was room after all")
