"""Random matrices in few bits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from model.quantized.layers import FLOAT8, Quantized
from model.quantized.layouts import pack_nibbles


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small only lose by sharing their work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def random_matrix(kind: str, rows: int, columns: int, group: int, *, zeros: bool) -> Quantized:
    scales = torch.rand(rows, columns // group) * 0.1 + 0.01
    if kind == "fp8":
        return Quantized(torch.randn(rows, columns).to(FLOAT8), scales)
    if kind == "8":
        values = torch.randint(-127, 128, (rows, columns), dtype=torch.int8)
        low, high = -9, 9
    else:
        values = pack_nibbles(torch.randint(0, 16, (rows, columns), dtype=torch.uint8))
        low, high = 0, 16
    offsets = torch.randint(low, high, scales.shape, dtype=torch.int16) if zeros else None
    return Quantized(values, scales, offsets)
