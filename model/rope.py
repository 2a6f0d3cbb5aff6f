"""Rotary position embedding: pairs of a head turn with the position, as complex numbers in float32.

Pairs are neighbours, (x0, x1), (x2, x3), ... LLaMA 1 to 3 on Hugging Face pair the two halves of a
head instead: `checkpoint` translates, so that there is one layout here. Called by `attention` and
`vision`.

Letters: B batch, T tokens, H heads, W head width, R = W/2 pairs, P patches and the class token.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from model.config import RopeConfig, VisionConfig


def frequencies(rope: RopeConfig, width: int, device: torch.device) -> Tensor:
    """Radians per position of each pair of a head of `width`, fastest first."""
    exponents_R = torch.arange(0, width, 2, dtype=torch.float32, device=device) / width
    frequency_R = 1.0 / rope.rope_theta**exponents_R
    if rope.rope_type == "linear":  # positions are squeezed together (arXiv 2306.15595)
        return frequency_R / rope.factor
    return scale_llama3(frequency_R, rope) if rope.rope_type == "llama3" else frequency_R


def scale_llama3(frequency_R: Tensor, rope: RopeConfig) -> Tensor:
    """Slow down by `factor` the pairs that turn less than `low_freq_factor` times in the original
    context, leave those that turn more than `high_freq_factor` times, blend between (Llama 3.1)."""
    turns_R = rope.original_max_position_embeddings * frequency_R / (2 * math.pi)
    low, high = rope.low_freq_factor, rope.high_freq_factor
    if low == high:  # as published for Scout: nothing between
        kept_R = (turns_R > low).float()
    else:
        kept_R = ((turns_R - low) / (high - low)).clamp(0, 1)
    return frequency_R * (kept_R + (1 - kept_R) / rope.factor)


def rotations(rope: RopeConfig, width: int, positions_BT: Tensor) -> Tensor:
    """Unit complex numbers (B, T, R) by which the pairs at these positions are turned."""
    angle_BTR = positions_BT[..., None].float() * frequencies(rope, width, positions_BT.device)
    return torch.polar(torch.ones_like(angle_BTR), angle_BTR)


def grid_rotations(vision: VisionConfig, device: torch.device) -> Tensor:
    """Rotations (P, R) of a tile's patches, row by row: the first half of the pairs turns with
    x + 1, the second with y + 1. The class token, last, does not turn."""
    side = torch.arange(1, vision.patches_per_side + 1, device=device)
    xy_2P = torch.stack(torch.meshgrid(side, side, indexing="xy")).flatten(1)
    half_2PR = rotations(vision.rope, vision.head_dim // 2, xy_2P)
    patches_PR = torch.cat(half_2PR.unbind(), dim=-1)
    return torch.cat([patches_PR, torch.ones_like(patches_PR[:1])])


def rotate(x_BTHW: Tensor, rotation_BTR: Tensor) -> Tensor:
    pairs_BTHR = torch.view_as_complex(torch.unflatten(x_BTHW.float(), -1, (-1, 2)))
    turned_BTHR = pairs_BTHR * rotation_BTR[..., None, :]
    return torch.view_as_real(turned_BTHR).flatten(-2).to(x_BTHW.dtype)
