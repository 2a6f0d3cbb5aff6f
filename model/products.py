"""Products of tokens with weights, in the way that this machine computes fastest.

CPUs without bfloat16 units multiply bfloat16 matrices several times slower than float32 ones, and
where the weights are input-major, as experts are, a hundred times. There, `kernels` multiplies
them; without a compiler, weights are widened to float32 in slices of a bounded size just before
they are used; sums are float32 in either way. Training, GPUs and CPUs with such units take the
plain product. Called by `layers`, `moe`, `attention`, `transformer` and `vision`, and by
`quantized.layers`, which asks what is slow.

Letters: D inputs, F outputs, m rows, _x any leading dimensions.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from model import kernels

#: Weights widened at once: 8 MiB of float32, which stays in the last cache of most machines.
SLICE_WEIGHTS = 2**21

#: Rows from which on widening pays where weights are output-major (measured on AVX2: 4 rows took
#: 0.8 ms widened and 1.1 ms plain, one row 0.5 and 0.3).
WIDE_ROWS = 3


@cache
def computes_bfloat16() -> bool:
    """Whether this CPU has units for bfloat16."""
    abilities = torch.cpu.get_capabilities()
    return bool(abilities.get("amx_bf16") or abilities.get("avx512_bf16"))


def is_slow(x: Tensor) -> bool:
    """Whether float32 is faster than the type of `x` in which it would be computed."""
    return (
        x.dtype == torch.bfloat16
        and x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not computes_bfloat16()
    )


class Linear(nn.Linear):
    """`nn.Linear` without bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x_xD: Tensor) -> Tensor:
        return linear(x_xD, self.weight)


class BiasedLinear(nn.Linear):
    """`nn.Linear`, or without bias the same as `Linear`."""

    def forward(self, x_xD: Tensor) -> Tensor:
        if not is_slow(x_xD):
            return super().forward(x_xD)
        y_xF = linear(x_xD, self.weight)
        return y_xF if self.bias is None else y_xF + self.bias


def linear(x_xD: Tensor, weight_FD: Tensor) -> Tensor:
    """x W^T, as `functional.linear`, in the type of x."""
    if kernels.serve(x_xD, weight_FD):
        return kernels.linear(x_xD, weight_FD)
    if is_slow(x_xD) and x_xD.numel() >= WIDE_ROWS * x_xD.shape[-1]:
        return widened(x_xD.float(), weight_FD.t()).to(x_xD.dtype)
    return functional.linear(x_xD, weight_FD)


def widened(x32_xD: Tensor, weight_DF: Tensor) -> Tensor:
    """x W in float32, from weights of another type that are widened slice by slice."""
    columns = max(1, SLICE_WEIGHTS // len(weight_DF))
    slices = torch.split(weight_DF, columns, dim=1)
    if len(slices) == 1:
        return x32_xD @ weight_DF.float()
    return torch.cat([x32_xD @ slice_DF.float() for slice_DF in slices], dim=-1)
