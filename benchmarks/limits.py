"""What this machine can do at most on the threads that are set: how fast it reads memory, and how
fast torch multiplies large matrices. Called by `engine`, for the share of it that is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

READ_BYTES = 2**28  #: far more than any cache holds
MATRIX_SIDE = 1024
TURNS = 5


def read_rate() -> float:
    """Bytes per CPU second of a sum over float32 numbers."""
    numbers = torch.ones(READ_BYTES // 4)
    return READ_BYTES / _best_seconds(numbers.sum)


def matrix_rate(dtype: torch.dtype) -> float:
    """Floating-point operations per CPU second of a square product, in this type or in float32,
    which is faster on CPUs without units for the type."""
    return max(_matrix_rate(kind) for kind in {dtype, torch.float32})


def _matrix_rate(dtype: torch.dtype) -> float:
    a, b = (torch.randn(MATRIX_SIDE, MATRIX_SIDE).to(dtype) for _ in range(2))
    return float(2 * MATRIX_SIDE**3 / _best_seconds(lambda: a @ b))


def _best_seconds(run: Callable[[], object]) -> float:
    run()
    seconds = []
    for _ in range(TURNS):
        started = time.process_time()
        run()
        seconds.append(time.process_time() - started)
    return min(seconds)
