"""Quiet: one fault at a time, with workers that wait for jobs, so that nothing else is measured.

Called by the benchmark when all other jobs have ended.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from benchmarks.faults.load import Load
from benchmarks.faults.scene import Scene
from mmapp.types import Job

#: Seconds that anything here may take.
PATIENCE_S = 180.0

#: Sentences of a job that runs for seconds.
LONG = 300


class Quiet:
    """Kills and cancels, each timed."""

    def __init__(self, scene: Scene, load: Load) -> None:
        self._scene = scene
        self._load = load

    def kill(self) -> float:
        """Seconds from the death of a job's process to the start of the job's next attempt."""
        self._until(lambda: len(self._scene.workers()) == self._scene.plan.workers)
        job = self._in_the_middle()
        holder = next(worker for worker in self._scene.workers() if worker.job_id == job.id)
        began = time.monotonic()
        os.kill(holder.process.pid, signal.SIGKILL)
        self._until(lambda: self._scene.jobs.get(job.id).attempts > job.attempts)
        taken_s = time.monotonic() - began
        self._cancel(job.id)
        return taken_s

    def cancel(self) -> float:
        """Seconds from the cancellation of a running job to its end."""
        return self._cancel(self._in_the_middle().id)

    def _cancel(self, job_id: str) -> float:
        began = time.monotonic()
        self._scene.jobs.cancel(job_id)
        self._until(lambda: self._scene.jobs.get(job_id).status.is_final)
        return time.monotonic() - began

    def _in_the_middle(self) -> Job:
        """A job that has done some of its work."""
        job_id = self._load.submit_long(LONG)
        self._until(lambda: self._scene.jobs.get(job_id).progress.done > 0)
        return self._scene.jobs.get(job_id)

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited for {PATIENCE_S:.0f} s in vain; see worker.log")
            time.sleep(0.01)
