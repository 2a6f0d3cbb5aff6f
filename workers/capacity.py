"""What a worker's engine can hold: measured when it is loaded, and again before each job.

An engine reads no more at a time than memory holds: its context is cut to what fits, so that a
longer document is read in parts instead of ending its process. Before a job begins, its estimate is
held against what is free then; where that is less than at the start, the context is cut further for
this job, and where not even the smallest part fits, the attempt ends with `OutOfMemory`, which
another worker, or a later moment, may not meet. A model at a server has its memory elsewhere.

Called by `workers.models`.
"""

from __future__ import annotations

import time

import torch

import model
from mmapp.config import Settings
from mmapp.errors import OutOfMemory
from mmapp.types import Capacity, Job
from model.memory import USABLE, free_bytes
from workers.remote import RemoteEngine

MB = 10**6
#: Of the prompt by which reading is timed, and of one before it that wakes the engine up.
PROBE_TOKENS, WAKE_TOKENS = 256, 16
#: A context that memory cuts is a multiple of this share of the next smaller power of two, so that
#: about the same memory cuts documents in the same places.
STEPS = 8


class Room:
    """The memory that an engine may fill with what it reads."""

    def __init__(self, settings: Settings, engine: model.Engine | RemoteEngine) -> None:
        """Cuts the engine's context to what fits now."""
        self._told_bytes = settings.engine_memory_mb * MB
        self._engine = engine
        self._at_most = engine.context_length
        if isinstance(engine, model.Engine):
            self._at_most = context_that_fits(engine, self.bytes_now, self._at_most)
            engine.context_length = max(1, self._at_most)

    def capacity(self) -> Capacity:
        """As workers tell it when they are ready."""
        engine = self._engine
        if not isinstance(engine, model.Engine):
            return Capacity(engine.context_length)
        return Capacity(engine.context_length, self.bytes_now, tokens_per_second(engine))

    def admit(self, job: Job) -> None:
        """Makes the engine read as much at a time as fits now, for this job; raises `OutOfMemory`
        where not even its smallest part does."""
        engine, estimate = self._engine, job.estimate
        if not isinstance(engine, model.Engine):
            return
        engine.context_length = max(1, self._at_most)
        if estimate is None or estimate.reading_tokens is None or not estimate.least_tokens:
            return
        room = self.bytes_now
        if engine.cache_bytes(min(estimate.reading_tokens, self._at_most)) <= room:
            return
        fits = context_that_fits(engine, room, self._at_most)
        if fits < estimate.least_tokens:
            raise OutOfMemory(
                f"“{job.label}” needs {_mb(engine.cache_bytes(estimate.least_tokens))} MB for what"
                f" is read at once, and its worker has {_mb(room)} MB for that; give the worker"
                " more memory (MMAPP_ENGINE_MEMORY_MB, if that is set), or let less run beside it"
            )
        engine.context_length = fits

    @property
    def bytes_now(self) -> int:
        """For keys and values: as the settings say, else most of what is free."""
        if self._told_bytes:
            return self._told_bytes
        devices = [torch.device(name) for name in self._engine.device.split(",")]
        free = sum(free_bytes(device) + _unused_bytes(device) for device in devices)
        return int(USABLE * min(free, 2**62))


def context_that_fits(engine: model.Engine, room: int, most: int) -> int:
    """The most tokens, up to `most`, whose keys and values fit into so many bytes."""
    if engine.cache_bytes(most) <= room:
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if engine.cache_bytes(middle) <= room else (low, middle)
    step = max(1, (1 << low.bit_length() >> 1) // STEPS)
    return low // step * step


def tokens_per_second(engine: model.Engine) -> float | None:
    """In a short prompt, read once; None for a checkpoint whose context is shorter."""
    if engine.context_length < 2 * PROBE_TOKENS:
        return None
    engine.prefill([_words(engine, WAKE_TOKENS)])
    words = _words(engine, PROBE_TOKENS)
    started = time.perf_counter()
    prefix = engine.prefill([words])
    # A GPU has read it when something is asked of it.
    engine.score(prefix, [" 1"])
    return round(prefix.length / (time.perf_counter() - started), 1)


def _words(engine: model.Engine, tokens: int) -> str:
    """A text of about so many tokens."""
    return " 1" * max(1, tokens // max(1, engine.count_tokens(" 1")))


def _unused_bytes(device: torch.device) -> int:
    """What torch holds of a GPU and does not use."""
    if device.type != "cuda":
        return 0
    return torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _mb(size: int) -> str:
    return f"{size / MB:,.1f}"
