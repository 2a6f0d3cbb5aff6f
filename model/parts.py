"""Attention in parts: to the keys of one page at a time, and the parts put together.

Softmax over many keys is a mean of softmaxes over some of them, each weighted with the sum of its
exponentials (Milakov and Gimelshein 2018, arXiv 1805.02867). So nothing is ever gathered from the
pages of a cache, and memory does not grow with what was read. For inference alone: no gradients.
Called by `attention` and `cross_attention`; refuses nothing.

Letters: B batch, T new tokens, S tokens seen, H query heads, K key-value heads, G = H/K query heads
for each of them, W head width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.pages import Segment
from model.products import is_slow


class Part(NamedTuple):
    """Attention to some of the keys."""

    y_BHTW: Tensor
    weight_BHT: Tensor  #: log of the sum of the exponentials of the scores, float32

    def of(self, sees_BT: Tensor) -> Part:
        """Nothing for the queries that do not see these keys."""
        unseen_B1T = ~sees_BT[:, None]
        return self._replace(weight_BHT=self.weight_BHT.masked_fill(unseen_B1T, -torch.inf))


def attend_to_held(q_BHTW: Tensor, segments: Sequence[Segment]) -> Tensor:
    """All of the segments, of which there is one at least, are seen by all queries."""
    is_widened = is_slow(q_BHTW) and q_BHTW.shape[2] == 1  # measured: a fifth of the time
    near_BHTW = q_BHTW.float() if is_widened else q_BHTW
    return merge(attend_to_segment(near_BHTW, segment) for segment in segments).to(q_BHTW.dtype)


def attend_to_segment(q_BHTW: Tensor, segment: Segment) -> Part:
    """All of the segment is seen by all queries. Those that share a key-value head are read as
    tokens of one head, so that keys and values are read once for them: 2 to 8 times faster."""
    k_BKSW, v_BKSW = segment.read(q_BHTW.dtype)
    heads, groups = k_BKSW.shape[1], q_BHTW.shape[1] // k_BKSW.shape[1]
    q_BKNW = torch.unflatten(q_BHTW, 1, (heads, groups)).flatten(2, 3)
    y_BKNW, weight_BKN = attend(q_BKNW, k_BKSW, v_BKSW)
    return Part(
        torch.unflatten(y_BKNW, 2, (groups, -1)).flatten(1, 2),
        torch.unflatten(weight_BKN, 2, (groups, -1)).flatten(1, 2),
    )


def attend_among(q_BHTW: Tensor, k_BKTW: Tensor, v_BKTW: Tensor, mask_B1TT: Tensor | None) -> Part:
    """New tokens to each other, as the mask says; without one, to those before."""
    return attend(q_BHTW, k_BKTW, v_BKTW, mask_B1TT, causal=mask_B1TT is None)


def merge(parts: Iterable[Part]) -> Tensor:
    """Attention to the keys of all parts together, one after another: no two stay in memory. Each
    query has seen something in the first."""
    rest = iter(parts)
    y_BHTW, weight_BHT = next(rest)
    dtype = y_BHTW.dtype
    for part in rest:
        share_BHT = torch.sigmoid(part.weight_BHT - weight_BHT)
        y_BHTW = torch.lerp(y_BHTW.float(), part.y_BHTW.float(), share_BHT[..., None])
        weight_BHT = torch.logaddexp(weight_BHT, part.weight_BHT)
    return y_BHTW.to(dtype)


def attend(
    q_BHTW: Tensor,
    k_BKSW: Tensor,
    v_BKSW: Tensor,
    mask_B1TS: Tensor | None = None,
    *,
    causal: bool = False,
) -> Part:
    """`scaled_dot_product_attention` with the weight that it keeps to itself."""
    if q_BHTW.device.type != "cpu":
        return plain_attend(q_BHTW, k_BKSW, v_BKSW, mask_B1TS, causal=causal)
    bias_B1TS = None if mask_B1TS is None else as_bias(mask_B1TS, q_BHTW.dtype)
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return Part(*kernel(q_BHTW, k_BKSW, v_BKSW, 0.0, causal, attn_mask=bias_B1TS))


def plain_attend(
    q_BHTW: Tensor,
    k_BKSW: Tensor,
    v_BKSW: Tensor,
    mask_B1TS: Tensor | None = None,
    *,
    causal: bool = False,
) -> Part:
    """The same by its definition, for any device."""
    groups = q_BHTW.shape[1] // k_BKSW.shape[1]
    k_BHSW, v_BHSW = (x.repeat_interleave(groups, dim=1) for x in (k_BKSW, v_BKSW))
    scores_BHTS = (q_BHTW @ k_BHSW.mT).float() / math.sqrt(q_BHTW.shape[-1])
    if causal:
        mask_B1TS = torch.ones_like(scores_BHTS[:1, :1], dtype=torch.bool).tril()
    if mask_B1TS is not None:
        scores_BHTS += as_bias(mask_B1TS, scores_BHTS.dtype)
    y_BHTW = scores_BHTS.softmax(dim=-1).to(v_BHSW.dtype) @ v_BHSW
    return Part(y_BHTW, scores_BHTS.logsumexp(dim=-1))


def as_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to scores so that only those count that the mask lets through."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, -torch.inf)
