"""Products of few rows of activations with weights, compiled: the results of the plain ones.

Where few tokens are read at a time, as in decoding, torch's products leave most of the rate at
which weights can be read unused, but for float32: on AVX2 in bfloat16 by a half for one row and by
twelve thirteenths for eight. These functions serve on CPUs, without gradients, once `prepare` has
found numba (`pip install .[fast]`). A large product is cut among as many threads as torch may use.
Called by `products`, `moe` and `quantized.layers`, which ask `serve` first, and prepared by
`decoding`; `compiled` has the loops.

Letters: N rows of activations, _x any leading dimensions, D inputs, F outputs, J bytes of a row of
4-bit numbers, G groups of a row that share a scale.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

FEW_ROWS = 8  #: from about here on torch's products are as fast
THREAD_WEIGHTS = 2**20  #: for fewer another thread is not worth waking: it takes some 50 us

#: How `compiled` calls what tensors hold.
STORED = {
    torch.float32: "float32",
    torch.bfloat16: "bfloat16",
    torch.int8: "int8",
    torch.float8_e4m3fn: "float8",
    torch.uint8: "nibbles",
}
COMPUTED = (torch.float32, torch.bfloat16)  #: types of activations


@cache
def prepare() -> ModuleType | None:
    """Loads `compiled`, if numba is there: 0.8 s of CPU time, which those who decode get back."""
    return import_module("model.compiled") if find_spec("numba") is not None else None


def is_prepared() -> bool:
    return prepare.cache_info().currsize > 0 and prepare() is not None


def serve(x_xD: Tensor, *weights: Tensor) -> bool:
    """Whether these are few rows, and weights, of kinds that the functions here take."""
    return (
        is_prepared()
        and 0 < x_xD.numel() <= FEW_ROWS * x_xD.shape[-1]
        and x_xD.dtype in COMPUTED
        and not torch.is_grad_enabled()
        and all(map(are_served, weights))
    )


def are_served(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype in STORED and weight.is_contiguous()


def linear(x_xD: Tensor, weight_FD: Tensor, scales_FG: Tensor | None = None) -> Tensor:
    """x W^T in the type of x, for floats or, with a scale for each group of a row, 8-bit numbers."""
    x_ND, (outputs, inputs) = floats(x_xD), weight_FD.shape
    y_NF = x_ND.new_empty(len(x_ND), outputs)
    scales_FG = x_ND.new_empty(outputs, 0) if scales_FG is None else scales_FG
    run = compiled("linear", weight_FD.dtype, scales_FG.dtype)
    numbers = (len(x_ND), inputs, outputs, scales_FG.shape[1])
    in_parts(run, [weight_FD, scales_FG, x_ND, y_NF], numbers, outputs)
    return y_NF.to(x_xD.dtype).view(*x_xD.shape[:-1], outputs)


def linear_nibbles(
    x_xD: Tensor, weight_FJ: Tensor, scales_FG: Tensor, zeros_FG: Tensor | None
) -> Tensor:
    """The same for two 4-bit numbers in each byte, J = D / 2; without zeros, 8 means 0."""
    x_ND, (outputs, groups) = floats(x_xD), scales_FG.shape
    y_NF = x_ND.new_empty(len(x_ND), outputs)
    zeros = scales_FG if zeros_FG is None else zeros_FG.to(torch.int16)
    run = compiled("linear_nibbles", weight_FJ.dtype, scales_FG.dtype)
    numbers = (len(x_ND), x_ND.shape[1], outputs, groups, zeros_FG is not None)
    in_parts(run, [weight_FJ, scales_FG, zeros, x_ND, y_NF], numbers, outputs)
    return y_NF.to(x_xD.dtype).view(*x_xD.shape[:-1], outputs)


def times(x_xD: Tensor, weight_DF: Tensor) -> Tensor:
    """x W for input-major weights, in the type of x."""
    x_ND, (inputs, outputs) = floats(x_xD), weight_DF.shape
    y_NF = x_ND.new_empty(len(x_ND), outputs)
    numbers = (len(x_ND), inputs, outputs)
    in_parts(compiled("times", weight_DF.dtype), [weight_DF, x_ND, y_NF], numbers, outputs)
    return y_NF.to(x_xD.dtype).view(*x_xD.shape[:-1], outputs)


def floats(x_xD: Tensor) -> Tensor:
    """Rows (N, D), float32, one after another in memory."""
    return x_xD.reshape(-1, x_xD.shape[-1]).float().contiguous()


@cache
def compiled(name: str, *dtypes: torch.dtype) -> Callable[..., None]:
    """The function of that name for weights, and what else it is made for, of these types."""
    module = prepare()
    assert module is not None
    function: Callable[..., None] = module.kernel(name, *(STORED[dtype] for dtype in dtypes))
    return function


def in_parts(
    run: Callable[..., None], tensors: list[Tensor], numbers: tuple[Any, ...], outputs: int
) -> None:
    """Calls it for all outputs, in as many threads as are worth it; the first tensor is the
    weights."""
    arguments = [tensor.data_ptr() for tensor in tensors] + list(numbers)
    threads = min(torch.get_num_threads(), tensors[0].numel() // THREAD_WEIGHTS)
    if threads < 2:
        run(*arguments, 0, outputs)
        return
    ends = [outputs * part // threads for part in range(threads + 1)]
    others = [
        _threads(os.getpid()).submit(run, *arguments, *ends[part : part + 2])
        for part in range(1, threads)
    ]
    run(*arguments, 0, ends[1])
    for other in others:
        other.result()


@cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Of this process: threads do not survive a fork."""
    return ThreadPoolExecutor(os.cpu_count(), f"kernels-{process}")
