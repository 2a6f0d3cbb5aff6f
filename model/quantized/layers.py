"""Weights in few bits, and products with them: the linear layers and experts of quantized models.

A row of a weight is cut into groups of the same length that share a scale: weight = (value - zero)
* scale. Values are int8, float8 (e4m3) or two 4-bit numbers in a byte, the first in the low half;
without zeros, 4-bit values are counted from 8 and the others from 0. Activations are kept as they
are, but for the compiled product of 8-bit weights, which takes 16 bits of each. Many rows of them
are multiplied with blocks of weights that are turned back to floats one after another; few rows, as
in decoding, by a compiled product, ours or torch's packed one. Called by `stored` (loading) and
`rounding` (making); it takes the place of `nn.Linear` and `moe.Experts`.

Letters: _x any leading dimensions, N rows of activations, I inputs, O outputs, J bytes of a row of
values, G groups of a row, D model width, F inner width of an expert, E experts, M token-expert
pairs sorted by expert, m those of one expert.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model import kernels
from model.products import is_slow

FLOAT8 = torch.float8_e4m3fn
BLOCK_WEIGHTS = 2**22  #: turned back to floats at once
FEW_ROWS = 16  #: torch's packed product is made for so many rows of activations
PACKED_COLUMNS = 64  #: a multiple of what it reads at once, and it does not look for the end
CENTRE = 8  #: the 4-bit value that means 0 where no zeros are stored


class Quantized(NamedTuple):
    """One matrix (O, I) in few bits, or a stack of them with E in front of each shape."""

    values_OJ: Tensor  #: int8 or float8, J = I; uint8: two 4-bit values, J = I / 2
    scales_OG: Tensor  #: float
    zeros_OG: Tensor | None = None  #: the value that means 0
    order_I: Tensor | None = None  #: where each column was, if columns were sorted by their group

    @property
    def bits(self) -> int:
        return 4 if self.values_OJ.dtype == torch.uint8 else 8

    @property
    def shape(self) -> tuple[int, int]:
        """O and I."""
        rows, width = self.values_OJ.shape[-2:]
        return rows, width * 8 // self.bits

    @property
    def group(self) -> int:
        """Columns that share a scale."""
        return self.shape[1] // self.scales_OG.shape[-1]

    def by_row(self, change: Callable[[Tensor], Tensor]) -> Quantized:
        """With another choice or order of rows."""
        zeros_OG = None if self.zeros_OG is None else change(self.zeros_OG)
        return Quantized(change(self.values_OJ), change(self.scales_OG), zeros_OG, self.order_I)

    def rows(self, first: int, last: int) -> Quantized:
        return self.by_row(lambda x: x[first:last])


def dequantize(weight: Quantized, dtype: torch.dtype) -> Tensor:
    """The weights (O, I) as floats, columns where the model has them."""
    weights_OI = in_stored_order(weight, dtype)
    return weights_OI if weight.order_I is None else weights_OI[:, weight.order_I.argsort()]


def product(x_xI: Tensor, weight: Quantized) -> Tensor:
    """What `functional.linear` gives for the weights as floats: (_x, O)."""
    x_xI = x_xI if weight.order_I is None else x_xI[..., weight.order_I]
    if is_compiled(x_xI, weight):
        return kernels.linear(x_xI, weight.values_OJ, weight.scales_OG, weight.zeros_OG)
    x_NI = x_xI.reshape(-1, x_xI.shape[-1])
    multiply = packed_product if is_packed(x_NI, weight) else product_by_blocks
    return multiply(x_NI, weight).reshape(*x_xI.shape[:-1], -1)


def is_compiled(x_xI: Tensor, weight: Quantized) -> bool:
    """Whether a kernel of ours serves: few rows, and zeros only with 4 bits."""
    return (
        (weight.zeros_OG is None or weight.bits == 4)
        and weight.scales_OG.dtype in kernels.COMPUTED
        and weight.scales_OG.is_contiguous()
        and kernels.serve(x_xI, weight.values_OJ)
    )


def is_packed(x_NI: Tensor, weight: Quantized) -> bool:
    """Whether torch's packed product serves: on a CPU, few rows, 8 bits, a scale for each row."""
    return (
        x_NI.device.type == "cpu"
        and 0 < len(x_NI) <= FEW_ROWS
        and x_NI.dtype in (torch.bfloat16, torch.float32)
        and weight.values_OJ.dtype == torch.int8
        and weight.scales_OG.shape[-1] == 1
        and weight.zeros_OG is None
        and x_NI.shape[1] % PACKED_COLUMNS == 0
    )


def packed_product(x_NI: Tensor, weight: Quantized) -> Tensor:
    """In bfloat16 whatever x is: the product in float32 is not vectorised, and the weights have
    less than eight bits of precision themselves."""
    scales_O = weight.scales_OG[:, 0].to(torch.bfloat16)
    x16_NI = x_NI.to(torch.bfloat16).contiguous()
    return torch._weight_int8pack_mm(x16_NI, weight.values_OJ, scales_O).to(x_NI.dtype)


def product_by_blocks(x_NI: Tensor, weight: Quantized) -> Tensor:
    """Block by block of rows, so that few weights are floats at a time."""
    rows, columns = weight.shape
    step = max(1, BLOCK_WEIGHTS // columns)
    fast_NI = x_NI.float() if is_slow(x_NI) else x_NI
    blocks = (weight.rows(first, first + step) for first in range(0, rows, step))
    parts = [functional.linear(fast_NI, in_stored_order(block, fast_NI.dtype)) for block in blocks]
    return (parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)).to(x_NI.dtype)


def in_stored_order(weight: Quantized, dtype: torch.dtype) -> Tensor:
    """The weights (O, I) as floats, columns in the order in which they are stored."""
    values_OI = numbers(weight.values_OJ, dtype)
    if weight.zeros_OG is None and weight.bits == 4:
        values_OI = values_OI - CENTRE
    grouped_OGg = torch.unflatten(values_OI, 1, (weight.scales_OG.shape[1], -1))
    if weight.zeros_OG is not None:
        grouped_OGg = grouped_OGg - weight.zeros_OG[..., None].to(dtype)
    return (grouped_OGg * weight.scales_OG[..., None].to(dtype)).flatten(1)


def numbers(values_OJ: Tensor, dtype: torch.dtype) -> Tensor:
    """Values (O, I) as floats, exactly."""
    if values_OJ.dtype == torch.uint8:
        return torch.stack([values_OJ & 15, values_OJ >> 4], dim=-1).flatten(-2).to(dtype)
    if values_OJ.dtype == FLOAT8 and values_OJ.device.type == "cpu":
        return float8_as_bfloat16(values_OJ).to(dtype)
    return values_OJ.to(dtype)


def float8_as_bfloat16(values_OI: Tensor) -> Tensor:
    """Exact for all but the two codes of NaN, and a quarter of the time of torch's conversion on a
    CPU: sign, exponent and fraction are moved to their places in a bfloat16, and the exponent, now
    counted from 127 in place of 7, is put right by a product."""
    codes_OI = values_OI.view(torch.int8).to(torch.int16)  # the sign is in the highest bit again
    moved_OI = (codes_OI & -(2**15)) | ((codes_OI & 0x7F) << 4)
    return moved_OI.view(torch.bfloat16) * 2.0 ** (127 - 7)


class QuantizedWeight(nn.Module):
    """Holds a matrix or a stack of them, so that it moves and is named with the model."""

    values: Tensor
    scales: Tensor
    zeros: Tensor | None
    order: Tensor | None

    def __init__(self, weight: Quantized) -> None:
        super().__init__()
        names = ("values", "scales", "zeros", "order")
        for name, tensor in zip(names, weight, strict=True):
            self.register_buffer(name, tensor)

    @property
    def all(self) -> Quantized:
        return Quantized(self.values, self.scales, self.zeros, self.order)

    def matrix(self, index: int) -> Quantized:
        """One of a stack."""
        return self.all.by_row(lambda x: x[index])


class QuantizedLinear(QuantizedWeight):
    """In the place of an `nn.Linear` without bias."""

    def forward(self, x_xI: Tensor) -> Tensor:
        return product(x_xI, self.all)


class QuantizedExperts(nn.Module):
    """In the place of `moe.Experts`. Weights are output-major: `gate_up` (E, 2F, D), gate first;
    `down` (E, D, F)."""

    def __init__(self, gate_up: Quantized, down: Quantized) -> None:
        super().__init__()
        self.gate_up = QuantizedWeight(gate_up)
        self.down = QuantizedWeight(down)

    def forward(self, x_MD: Tensor, tokens_E: list[int]) -> Tensor:
        """`tokens_E` says how many rows of x, which are sorted by expert, belong to each expert."""
        groups = enumerate(torch.split(x_MD, tokens_E))
        return torch.cat([self.expert(number, x_mD) for number, x_mD in groups if len(x_mD)])

    def expert(self, number: int, x_mD: Tensor) -> Tensor:
        gate_mF, up_mF = product(x_mD, self.gate_up.matrix(number)).chunk(2, dim=-1)
        return product(functional.silu(gate_mF) * up_mF, self.down.matrix(number))


def stack(matrices: list[Quantized]) -> Quantized:
    """Matrices of one kind as one, E in front of each shape."""
    values, scales, zeros, _ = zip(*matrices, strict=True)
    return Quantized(
        torch.stack(values), torch.stack(scales), None if zeros[0] is None else torch.stack(zeros)
    )


def replace(parent: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` in the place of the part of that name."""
    where, _, last = name.rpartition(".")
    setattr(parent.get_submodule(where), last, module)
