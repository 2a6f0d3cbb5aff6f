"""Grouped-query attention: in chunks with RoPE (local layers), or to all before (global layers).

What a token may see is worked out once for all layers, as a `Sight`. Tokens that simply follow one
another need no mask: whole chunks are attended to as a batch, and long global rows in blocks.
Packed rows and branches use explicit masks. It refuses to cache tokens that do not follow what the
cache holds. Called by `transformer`.

Letters: B batch, T new tokens, S tokens seen (cached, then new), D model width, H query heads,
K key-value heads, W head width, R = W/2 pairs, C tokens per chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.cache import Cache, LayerCache
from model.config import TextConfig
from model.layers import rms_normalise
from model.rope import rotate, rotations

QUERY_BLOCK = 512  # queries that share one mask when much has been read before


@dataclass(frozen=True)
class Layout:
    """Where each token stands and what it may see. No token sees a later one of its row.

    Without segments and branches, positions count on from what the cache holds. Branches begin at
    the length of their trunk; what the cache holds belongs to the trunk.
    """

    positions_BT: Tensor  #: absolute, from 0, int64
    segments_BT: Tensor | None = None  #: packed rows: tokens see only their own segment
    branches_BT: Tensor | None = None  #: 0 is the trunk; branch n sees the trunk and itself

    @classmethod
    def consecutive(
        cls, start: int, length: int, batch: int = 1, device: torch.device | str | None = None
    ) -> Layout:
        """Tokens that follow on after `start` others."""
        return cls(torch.arange(start, start + length, device=device).expand(batch, -1))


@dataclass(frozen=True)
class Sight:
    """What the attention of every layer needs to know about the tokens, worked out once."""

    chunk: int  #: tokens
    rotation_BTR: Tensor
    temperature_BT: Tensor | None  #: factor on the queries of global layers; None is 1
    start: int  #: tokens read before
    keep: bool  #: whether the cache, if there is one, holds the new tokens from now on
    local_mask_B1TS: Tensor | None = None  #: None: tokens are consecutive
    global_mask_B1TS: Tensor | None = None


def look(config: TextConfig, layout: Layout, cache: Cache | None, keep: bool) -> Sight:
    positions_BT, chunk = layout.positions_BT, config.attention_chunk_size
    start = cache.length if cache is not None else 0
    rotation_BTR = rotations(config.rope, config.head_dim, positions_BT)
    temperature_BT = temperature(config, positions_BT) if config.attn_temperature_tuning else None
    if is_consecutive(layout, start):
        return Sight(chunk, rotation_BTR, temperature_BT, start, keep)
    if cache is not None and (keep or layout.segments_BT is not None):
        raise ValueError(
            f"a cache of {start} tokens is extended only by tokens at positions {start}, "
            f"{start + 1}, ...: use extend_cache=False for branches, and no cache for segments"
        )
    masks = explicit_masks(layout, start, chunk)
    return Sight(chunk, rotation_BTR, temperature_BT, start, keep, *masks)


def is_consecutive(layout: Layout, start: int) -> bool:
    positions_BT = layout.positions_BT
    if layout.segments_BT is not None or layout.branches_BT is not None:
        return False
    following_T = torch.arange(start, start + positions_BT.shape[1], device=positions_BT.device)
    return bool((positions_BT == following_T).all())


def temperature(config: TextConfig, positions_BT: Tensor) -> Tensor:
    """Queries far into the text are sharper: softmax flattens over many keys (arXiv 2501.19399)."""
    steps_BT = torch.floor((positions_BT.float() + 1) / config.floor_scale)
    return 1 + config.attn_scale * torch.log1p(steps_BT)


def explicit_masks(layout: Layout, start: int, chunk: int) -> tuple[Tensor, Tensor]:
    """Masks (B, 1, T, S) of local and of global layers: true where a token sees another."""
    positions_BT = layout.positions_BT
    length = positions_BT.shape[1]
    sees_BTT = torch.ones(length, length, dtype=torch.bool, device=positions_BT.device).tril()[None]
    if layout.segments_BT is not None:
        sees_BTT = sees_BTT & (layout.segments_BT[:, :, None] == layout.segments_BT[:, None, :])
    if layout.branches_BT is not None:
        own_BTT = layout.branches_BT[:, :, None] == layout.branches_BT[:, None, :]
        sees_BTT = sees_BTT & (own_BTT | (layout.branches_BT == 0)[:, None, :])
    chunk_BT = positions_BT // chunk
    local_BTT = sees_BTT & (chunk_BT[:, :, None] == chunk_BT[:, None, :])
    past_is_near_BT1 = (chunk_BT == start // chunk)[:, :, None]
    local_BTS = torch.cat([past_is_near_BT1.expand(-1, -1, start % chunk), local_BTT], dim=-1)
    past_BTS = sees_BTT.new_ones(()).expand(*positions_BT.shape, start)
    global_BTS = torch.cat([past_BTS, sees_BTT.expand(len(positions_BT), -1, -1)], dim=-1)
    return local_BTS[:, None], global_BTS[:, None]


class Heads(NamedTuple):
    """Queries, keys and values, head by head."""

    q_BHTW: Tensor
    k_BKSW: Tensor
    v_BKSW: Tensor

    def cut(self, *lengths: int) -> Iterator[Heads]:
        """Pieces of these lengths, one after another."""
        return map(Heads, *(torch.split(x, list(lengths), dim=2) for x in self))


class Attention(nn.Module):
    def __init__(self, config: TextConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.is_local = config.uses_rope(layer)
        wide = config.num_attention_heads * config.head_dim
        narrow = config.num_key_value_heads * config.head_dim
        self.query = nn.Linear(config.hidden_size, wide, bias=False)
        self.key = nn.Linear(config.hidden_size, narrow, bias=False)
        self.value = nn.Linear(config.hidden_size, narrow, bias=False)
        self.output = nn.Linear(wide, config.hidden_size, bias=False)

    def forward(self, x_BTD: Tensor, sight: Sight, cache: LayerCache | None) -> Tensor:
        q_BTHW, k_BTKW, v_BTKW = (
            torch.unflatten(project(x_BTD), -1, (-1, self.config.head_dim))
            for project in (self.query, self.key, self.value)
        )
        if self.is_local:
            q_BTHW, k_BTKW = self.place(q_BTHW, sight), self.place(k_BTKW, sight)
        elif sight.temperature_BT is not None:
            q_BTHW = (q_BTHW * sight.temperature_BT[..., None, None]).to(q_BTHW.dtype)
        heads = Heads(q_BTHW.transpose(1, 2), k_BTKW.transpose(1, 2), v_BTKW.transpose(1, 2))
        attend = attend_in_chunks if self.is_local else attend_to_all
        y_BHTW = attend(heads, sight, cache)
        out_BTD: Tensor = self.output(y_BHTW.transpose(1, 2).flatten(2))
        return out_BTD

    def place(self, x_BTHW: Tensor, sight: Sight) -> Tensor:
        """Rotate by position, then (Scout) normalise each head."""
        x_BTHW = rotate(x_BTHW, sight.rotation_BTR)
        if self.config.use_qk_norm:
            return rms_normalise(x_BTHW, self.config.rms_norm_eps)
        return x_BTHW


def attend_to_all(new: Heads, sight: Sight, cache: LayerCache | None) -> Tensor:
    heads = remember(new, cache, keep=sight.keep)
    if sight.global_mask_B1TS is not None:
        return dot_product(heads, sight.global_mask_B1TS)
    return attend_causally(heads)


def attend_in_chunks(new: Heads, sight: Sight, cache: LayerCache | None) -> Tensor:
    if sight.local_mask_B1TS is not None:
        return dot_product(remember(new, cache, keep=False), sight.local_mask_B1TS)
    length = new.q_BHTW.shape[2]
    head = min(length, -sight.start % sight.chunk)  # goes on with the chunk that the cache holds
    whole = (length - head) // sight.chunk * sight.chunk
    tail = length - head - whole
    finishing, chunks, beginning = new.cut(head, whole, tail)
    parts = []
    if head:
        parts.append(attend_causally(remember(finishing, cache, keep=sight.keep)))
    if whole:
        parts.append(attend_to_whole_chunks(chunks, sight.chunk))
    if tail:  # the cache, if it is extended, is empty by now
        kept = remember(beginning, cache, keep=True) if sight.keep else beginning
        parts.append(attend_causally(kept))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def remember(new: Heads, cache: LayerCache | None, *, keep: bool) -> Heads:
    """The new heads, with the keys and values of the cache before them."""
    if cache is None:
        return new
    return Heads(new.q_BHTW, *cache.extend(new.k_BKSW, new.v_BKSW, keep=keep))


def attend_to_whole_chunks(heads: Heads, chunk: int) -> Tensor:
    """Chunks do not see each other: a batch of them."""
    batch, count = len(heads.q_BHTW), heads.q_BHTW.shape[2] // chunk
    folded = Heads(
        *(torch.unflatten(x, 2, (count, chunk)).transpose(1, 2).flatten(0, 1) for x in heads)
    )
    y_BHTW = attend_causally(folded)
    return torch.unflatten(y_BHTW, 0, (batch, count)).transpose(1, 2).flatten(2, 3)


def attend_causally(heads: Heads) -> Tensor:
    """The queries are the last T of the S tokens; each sees its own token and all before."""
    length, seen = heads.q_BHTW.shape[2], heads.k_BKSW.shape[2]
    if length == 1:
        return dot_product(heads)
    if length == seen:
        return dot_product(heads, causal=True)
    parts = []
    end = seen - length
    for q_BHTW in torch.split(heads.q_BHTW, QUERY_BLOCK, dim=2):
        begin, end = end, end + q_BHTW.shape[2]
        block = Heads(q_BHTW, heads.k_BKSW[:, :, :end], heads.v_BKSW[:, :, :end])
        sees_TS = torch.ones(end - begin, end, dtype=torch.bool, device=q_BHTW.device).tril(begin)
        parts.append(dot_product(block, sees_TS))
    return torch.cat(parts, dim=2)


def dot_product(heads: Heads, mask: Tensor | None = None, *, causal: bool = False) -> Tensor:
    # enable_gqa: on CPU up to four times faster than repeating keys and values for each query head.
    return functional.scaled_dot_product_attention(
        *heads, attn_mask=mask, is_causal=causal, enable_gqa=True
    )
