"""Several processes that take jobs at the same time, as workers do. Called by `measure`."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from typing import TYPE_CHECKING

from mmapp.config import Settings
from mmapp.jobs import Jobs

if TYPE_CHECKING:
    from multiprocessing import Queue

#: Seconds that all may need to start.
START_S = 120.0


class Takers:
    """Processes that are connected and wait for `run`; they end with it."""

    def __init__(self, settings: Settings, count: int, takes: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._barrier = context.Barrier(count + 1)
        self._spans: Queue[tuple[float, float, int]] = context.Queue()
        share = takes // count
        self._processes = [
            context.Process(target=_take, args=(settings, share, self._barrier, self._spans))
            for _ in range(count)
        ]
        for process in self._processes:
            process.start()

    def run(self) -> tuple[float, int]:
        """Seconds from the first take to the last, and how many there were."""
        self._barrier.wait(START_S)
        spans = [self._spans.get(timeout=600) for _ in self._processes]
        for process in self._processes:
            process.join()
        began, ended, taken = zip(*spans, strict=True)
        return max(ended) - min(began), sum(taken)


def _take(
    settings: Settings,
    takes: int,
    barrier: Barrier,
    spans: Queue[tuple[float, float, int]],
) -> None:
    with Jobs.open(settings) as jobs:
        name = multiprocessing.current_process().name
        barrier.wait(START_S)
        began = time.monotonic()
        taken = sum(jobs.take_next("", name) is not None for _ in range(takes))
        spans.put((began, time.monotonic(), taken))
