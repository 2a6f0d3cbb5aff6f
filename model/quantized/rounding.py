"""Weights rounded to few bits.

Whole numbers of 8 bits and 8-bit floats have a scale for each row, or for each group of it; of 4
bits, a scale and a zero for each group. The range of a group of 4 bits is narrowed where that makes
the error smaller: the few largest weights are cut so that the many others are told apart. Scales
are rounded first, to the dtype in which they are stored, and the weights by the rounded scales.
Called by `calibrated`. Refuses groups that do not divide a row.

Letters: O outputs, I inputs, G groups of a row, g columns of a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.quantized.layers import FLOAT8, Quantized
from model.quantized.layouts import pack_nibbles

NARROWED = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)  #: of a group's range, tried for 4 bits
TINY = 1e-8  #: the least scale: a group of zeros is divided by it


class RoundingError(ValueError):
    """The weights cannot be rounded so; the message says what can."""


@dataclass(frozen=True)
class Precision:
    """What weights are rounded to."""

    kind: str  #: "8", "4" or "fp8"
    group: int | None = None  #: columns that share a scale; None: the whole row

    def __post_init__(self) -> None:
        if self.kind not in ("8", "4", "fp8"):
            raise RoundingError(f"{self.kind!r} bits are not known: use 8, 4 or fp8")
        if self.kind == "fp8" and self.group is not None:
            raise RoundingError("fp8 has one scale for each row: leave --group out")
        if self.group is not None and self.group < 2:
            raise RoundingError(f"a group of {self.group} weights is too small: use 32 to 128")


def round_matrix(
    weight_OI: Tensor,
    precision: Precision,
    scale_dtype: torch.dtype,
    importance_I: Tensor | None = None,
    *,
    narrowed: Sequence[float] = NARROWED,
) -> Quantized:
    """`importance_I` is the mean square of each input, by which errors count; `narrowed` are the
    parts of a group's range that are tried for 4 bits."""
    columns = weight_OI.shape[1]
    group = precision.group or columns
    if columns % group:
        raise RoundingError(
            f"rows of {columns} weights have no groups of {group}: choose a --group that divides it"
        )
    weight_OGg = torch.unflatten(weight_OI.float(), 1, (-1, group))
    if precision.kind == "fp8":
        return _round_floats(weight_OGg, scale_dtype)
    if precision.kind == "8":
        return _round_bytes(weight_OGg, scale_dtype)
    importance_Gg = torch.ones(columns) if importance_I is None else importance_I.float()
    return _round_nibbles(weight_OGg, scale_dtype, importance_Gg.view(-1, group), narrowed)


def _round_bytes(weight_OGg: Tensor, scale_dtype: torch.dtype) -> Quantized:
    scales_OG = (weight_OGg.abs().amax(-1) / 127).clamp(min=TINY).to(scale_dtype)
    values_OGg = (weight_OGg / scales_OG[..., None].float()).round().clamp(-127, 127)
    return Quantized(values_OGg.flatten(1).to(torch.int8), scales_OG)


def _round_floats(weight_OGg: Tensor, scale_dtype: torch.dtype) -> Quantized:
    largest = torch.finfo(FLOAT8).max
    scales_OG = (weight_OGg.abs().amax(-1) / largest).clamp(min=TINY).to(scale_dtype)
    values_OGg = (weight_OGg / scales_OG[..., None].float()).clamp(-largest, largest)
    return Quantized(values_OGg.flatten(1).to(FLOAT8), scales_OG)


def _round_nibbles(
    weight_OGg: Tensor,
    scale_dtype: torch.dtype,
    importance_Gg: Tensor,
    narrowed: Sequence[float],
) -> Quantized:
    least_OG = weight_OGg.amin(-1).clamp(max=0)
    most_OG = weight_OGg.amax(-1).clamp(min=0)
    part_OG, least_error_OG = torch.ones_like(most_OG), torch.full_like(most_OG, torch.inf)
    for part in narrowed if len(narrowed) > 1 else ():
        tried = _nibbles(weight_OGg, least_OG * part, most_OG * part, scale_dtype)
        error_OG = _error(weight_OGg, *tried, importance_Gg)
        part_OG = torch.where(error_OG < least_error_OG, part, part_OG)
        least_error_OG = torch.minimum(error_OG, least_error_OG)
    values_OGg, scales_OG, zeros_OG = _nibbles(
        weight_OGg, least_OG * part_OG, most_OG * part_OG, scale_dtype
    )
    packed_OJ = pack_nibbles(values_OGg.flatten(1).to(torch.uint8))
    return Quantized(packed_OJ, scales_OG, zeros_OG.to(torch.int16))


def _nibbles(
    weight_OGg: Tensor, least_OG: Tensor, most_OG: Tensor, scale_dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Values, scales and zeros for this range; the numbers are whole, but still floats."""
    scales_OG = ((most_OG - least_OG) / 15).clamp(min=TINY).to(scale_dtype)
    scales32_OG = scales_OG.float()
    zeros_OG = (-least_OG / scales32_OG).round().clamp(0, 15)
    values_OGg = (weight_OGg / scales32_OG[..., None]).round() + zeros_OG[..., None]
    return values_OGg.clamp(0, 15), scales_OG, zeros_OG


def _error(
    weight_OGg: Tensor,
    values_OGg: Tensor,
    scales_OG: Tensor,
    zeros_OG: Tensor,
    importance_Gg: Tensor,
) -> Tensor:
    """Of each group: its squared differences, each by the importance of its column."""
    rounded_OGg = (values_OGg - zeros_OG[..., None]) * scales_OG[..., None].float()
    return ((rounded_OGg - weight_OGg).square() * importance_Gg).sum(-1)
