"""Grouped-query attention: in chunks with RoPE (local layers), or to everything before (global layers).

What a token may see is worked out once for all layers, as a `Sight`. Tokens that simply follow one
another need no mask: whole chunks are attended to as a batch, and long global rows in blocks. Packed
rows and branches use explicit masks. Called by `transformer`.

Letters: B batch, T new tokens, S tokens seen (cached, then new), D model width, H query heads,
K key-value heads, W head width, R = W/2 pairs, C tokens per chunk.
"""

from __future__ import annotations

from dataclasses import dataclass

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

    Without segments and branches, positions count on from what the cache holds. Branches begin at the
    length of their trunk; what the cache holds belongs to the trunk.
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

    rotation_BTR: Tensor
    temperature_BT: Tensor | None  #: factor on the queries of global layers; None is 1
    start: int  #: tokens read before
    keep: bool  #: whether the cache, if there is one, holds the new tokens from now on
    local_mask_B1TS: Tensor | None = None  #: None: tokens are consecutive
    global_mask_B1TS: Tensor | None = None


def look(config: TextConfig, layout: Layout, cache: Cache | None, keep: bool) -> Sight:
    positions_BT = layout.positions_BT
    start = cache.length if cache is not None else 0
    rotation_BTR = rotations(config.rope, config.head_dim, positions_BT)
    temperature_BT = temperature(config, positions_BT) if config.attn_temperature_tuning else None
    if is_consecutive(layout, start):
        return Sight(rotation_BTR, temperature_BT, start, keep)
    if cache is not None and (keep or layout.segments_BT is not None):
        raise ValueError(
            f"a cache of {start} tokens is extended only by tokens at positions {start}, {start + 1}, ...: "
            "use extend_cache=False for branches, and no cache for packed segments"
        )
    masks = explicit_masks(layout, start, config.attention_chunk_size)
    return Sight(rotation_BTR, temperature_BT, start, keep, *masks)


def is_consecutive(layout: Layout, start: int) -> bool:
    positions_BT = layout.positions_BT
    if layout.segments_BT is not None or layout.branches_BT is not None:
        return False
    following_T = torch.arange(start, start + positions_BT.shape[1], device=positions_BT.device)
    return bool((positions_BT == following_T).all())


def temperature(config: TextConfig, positions_BT: Tensor) -> Tensor:
    """Queries far into the text are sharpened, as softmax flattens over many keys (arXiv 2501.19399)."""
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
        q_BTHW = self.query(x_BTD).unflatten(-1, (-1, self.config.head_dim))
        k_BTKW = self.key(x_BTD).unflatten(-1, (-1, self.config.head_dim))
        v_BTKW = self.value(x_BTD).unflatten(-1, (-1, self.config.head_dim))
        if self.is_local:
            q_BTHW, k_BTKW = self.place(q_BTHW, sight), self.place(k_BTKW, sight)
        elif sight.temperature_BT is not None:
            q_BTHW = (q_BTHW * sight.temperature_BT[..., None, None]).to(q_BTHW.dtype)
        attend = attend_in_chunks if self.is_local else attend_to_all
        chunk = self.config.attention_chunk_size
        q, k, v = (heads.transpose(1, 2) for heads in (q_BTHW, k_BTKW, v_BTKW))
        y_BHTW = attend(q, k, v, sight, cache, chunk)
        out_BTD: Tensor = self.output(y_BHTW.transpose(1, 2).flatten(2))
        return out_BTD

    def place(self, x_BTHW: Tensor, sight: Sight) -> Tensor:
        """Rotate by position, then (Scout) normalise each head."""
        x_BTHW = rotate(x_BTHW, sight.rotation_BTR)
        return rms_normalise(x_BTHW, self.config.rms_norm_eps) if self.config.use_qk_norm else x_BTHW


def attend_to_all(
    q_BHTW: Tensor, k_BKTW: Tensor, v_BKTW: Tensor, sight: Sight, cache: LayerCache | None, chunk: int
) -> Tensor:
    k_BKSW, v_BKSW = k_BKTW, v_BKTW
    if cache is not None:
        k_BKSW, v_BKSW = cache.extend(k_BKTW, v_BKTW, keep=sight.keep)
    if sight.global_mask_B1TS is not None:
        return dot_product(q_BHTW, k_BKSW, v_BKSW, sight.global_mask_B1TS)
    return attend_causally(q_BHTW, k_BKSW, v_BKSW)


def attend_in_chunks(
    q_BHTW: Tensor, k_BKTW: Tensor, v_BKTW: Tensor, sight: Sight, cache: LayerCache | None, chunk: int
) -> Tensor:
    if sight.local_mask_B1TS is not None:
        if cache is not None:
            k_BKTW, v_BKTW = cache.extend(k_BKTW, v_BKTW, keep=False)
        return dot_product(q_BHTW, k_BKTW, v_BKTW, sight.local_mask_B1TS)
    length = q_BHTW.shape[2]
    head = min(length, -sight.start % chunk)  # what fills up the chunk that the cache has begun
    whole = (length - head) // chunk * chunk
    q, k, v = (x.split([head, whole, length - head - whole], dim=2) for x in (q_BHTW, k_BKTW, v_BKTW))
    parts = [finish_chunk(q[0], k[0], v[0], sight, cache, chunk)] if head else []
    if whole:
        parts.append(attend_whole_chunks(q[1], k[1], v[1], chunk))
    if head + whole < length:
        parts.append(begin_chunk(q[2], k[2], v[2], sight, cache))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def finish_chunk(
    q_BHTW: Tensor, k_BKTW: Tensor, v_BKTW: Tensor, sight: Sight, cache: LayerCache | None, chunk: int
) -> Tensor:
    """Go on with the chunk that the cache holds; empty the cache if that reaches the chunk's end."""
    assert cache is not None  # tokens that follow others have a cache
    y_BHTW = attend_causally(q_BHTW, *cache.extend(k_BKTW, v_BKTW, keep=sight.keep))
    if cache.held == chunk:
        cache.forget()
    return y_BHTW


def attend_whole_chunks(q_BHTW: Tensor, k_BKTW: Tensor, v_BKTW: Tensor, chunk: int) -> Tensor:
    """Chunks do not see each other: a batch of them."""
    batch = len(q_BHTW)
    q, k, v = (
        x.unflatten(2, (-1, chunk)).transpose(1, 2).flatten(0, 1) for x in (q_BHTW, k_BKTW, v_BKTW)
    )
    return attend_causally(q, k, v).unflatten(0, (batch, -1)).transpose(1, 2).flatten(2, 3)


def begin_chunk(
    q_BHTW: Tensor, k_BKTW: Tensor, v_BKTW: Tensor, sight: Sight, cache: LayerCache | None
) -> Tensor:
    if cache is not None and sight.keep:
        cache.forget()
        cache.extend(k_BKTW, v_BKTW, keep=True)
    return attend_causally(q_BHTW, k_BKTW, v_BKTW)


def attend_causally(q_BHTW: Tensor, k_BKSW: Tensor, v_BKSW: Tensor) -> Tensor:
    """The queries are those of the last T of the S tokens; each sees its own token and all before."""
    length, seen = q_BHTW.shape[2], k_BKSW.shape[2]
    if length == 1:
        return dot_product(q_BHTW, k_BKSW, v_BKSW)
    if length == seen:
        return dot_product(q_BHTW, k_BKSW, v_BKSW, causal=True)
    blocks = []
    for q_BHtW in q_BHTW.split(QUERY_BLOCK, dim=2):
        begin = seen - length + sum(block.shape[2] for block in blocks)
        end = begin + q_BHtW.shape[2]
        mask_tS = torch.ones(end - begin, end, dtype=torch.bool, device=q_BHTW.device).tril(begin)
        blocks.append(dot_product(q_BHtW, k_BKSW[:, :, :end], v_BKSW[:, :, :end], mask_tS))
    return torch.cat(blocks, dim=2)


def dot_product(
    q_BHTW: Tensor, k_BKSW: Tensor, v_BKSW: Tensor, mask: Tensor | None = None, *, causal: bool = False
) -> Tensor:
    # enable_gqa: on CPU up to four times faster than repeating keys and values for each query head.
    return functional.scaled_dot_product_attention(
        q_BHTW, k_BKSW, v_BKSW, attn_mask=mask, is_causal=causal, enable_gqa=True
    )
