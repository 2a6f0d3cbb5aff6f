"""Grouped-query attention: in chunks (local layers) or to all before (global layers), with RoPE or
without. In Llama 4 the local layers are those with RoPE; in LLaMA 1 to 3 all layers are global.

What a token may see is worked out once for all layers, as a `Sight`. Tokens that simply follow one
another need no mask: whole chunks are attended to as a batch, and what was read before page by page
(`parts`). Packed rows and branches use explicit masks among themselves; branches in blocks, as in
training, need only narrow ones. It refuses to cache tokens that do not follow what the cache holds,
and blocks with a cache. Called by `transformer`.

Letters: B batch, T new tokens, S tokens that may be seen, D model width, H query heads, K key-value
heads, W head width, R = W/2 pairs, C tokens per chunk. Without blocks, S are the new tokens. With
blocks, masks are of N blocks of all rows, each of G tokens, that see S: the trunk, then the
block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.cache import Cache, LayerCache
from model.config import TextConfig
from model.layers import rms_normalise
from model.pages import Segment
from model.parts import attend_among, attend_to_held, attend_to_segment, merge
from model.products import Linear
from model.rope import rotate, rotations


class Blocks(NamedTuple):
    """Each row is a trunk and blocks of whole branches: no branch stands in two blocks.

    A block therefore sees the trunk and itself, and much less is computed only to be masked. Trunks
    begin at position 0; a shorter one is filled up with tokens of a branch that no block asks for.
    """

    trunk: int  #: tokens, the same in all rows
    size: int  #: tokens of each block; from the trunk on, a row is blocks


@dataclass(frozen=True)
class Layout:
    """Where each token stands and what it may see. No token sees a later one of its row.

    Without segments and branches, positions count on from what the cache holds. Branches begin at
    the length of their trunk; what the cache holds belongs to the trunk.
    """

    positions_BT: Tensor  #: absolute, from 0, int64
    segments_BT: Tensor | None = None  #: packed rows: tokens see only their own segment
    branches_BT: Tensor | None = None  #: 0 is the trunk; branch n sees the trunk and itself
    blocks: Blocks | None = None  #: how the branches are laid out, if they are in blocks

    @classmethod
    def consecutive(
        cls, start: int, length: int, batch: int = 1, device: torch.device | str | None = None
    ) -> Layout:
        """Tokens that follow on after `start` others."""
        return cls(torch.arange(start, start + length, device=device).expand(batch, -1))


@dataclass(frozen=True)
class Sight:
    """What the attention of every layer needs to know about the tokens, worked out once."""

    chunk: int | None  #: tokens; None: no layer is local
    rotation_BTR: Tensor
    temperature_BT: Tensor | None  #: factor on the queries of global layers; None is 1
    start: int  #: tokens read before
    keep: bool  #: whether the cache, if there is one, holds the new tokens from now on
    local_mask_B1TS: Tensor | None = None  #: None: tokens are consecutive; with blocks, N1GS
    global_mask_B1TS: Tensor | None = None
    near_BT: Tensor | None = None  #: with masks: whether a token sees what local layers have cached
    blocks: Blocks | None = None


@dataclass(frozen=True)
class Sights:
    """Sequences side by side in one row: each sees its own cache and itself."""

    each: tuple[Sight, ...]
    lengths: tuple[int, ...]  #: tokens of each
    rotation_BTR: Tensor  #: of all
    temperature_BT: Tensor | None

    @classmethod
    def side_by_side(cls, each: Sequence[Sight]) -> Sights:
        rotation_BTR = torch.cat([sight.rotation_BTR for sight in each], dim=1)
        temperatures = [sight.temperature_BT for sight in each if sight.temperature_BT is not None]
        temperature_BT = torch.cat(temperatures, dim=1) if temperatures else None
        lengths = tuple(sight.rotation_BTR.shape[1] for sight in each)
        return cls(tuple(each), lengths, rotation_BTR, temperature_BT)


#: The cache of a layer, one for each sequence side by side, or none.
LayerCaches = LayerCache | Sequence[LayerCache] | None


def look(config: TextConfig, layout: Layout, cache: Cache | None, keep: bool) -> Sight:
    positions_BT, chunk = layout.positions_BT, config.attention_chunk_size
    start = cache.length if cache is not None else 0
    rotation_BTR = rotations(config.rope, config.head_dim, positions_BT)
    temperature_BT = temperature(config, positions_BT) if config.attn_temperature_tuning else None
    if is_consecutive(layout, start):
        return Sight(chunk, rotation_BTR, temperature_BT, start, keep)
    if layout.blocks is not None and (cache is not None or layout.segments_BT is not None):
        raise ValueError("rows in blocks hold one whole trunk: read them without cache or segments")
    if cache is not None and (keep or layout.segments_BT is not None):
        raise ValueError(
            f"a cache of {start} tokens is extended only by tokens at positions {start}, "
            f"{start + 1}, ...: use extend_cache=False for branches, and no cache for segments"
        )
    near_BT = positions_BT // chunk == start // chunk if chunk is not None else None
    if layout.blocks is None:
        masks = explicit_masks(layout, chunk)
    else:
        masks = explicit_masks(after_trunks(layout, layout.blocks), chunk, layout.blocks.trunk)
    return Sight(chunk, rotation_BTR, temperature_BT, start, keep, *masks, near_BT, layout.blocks)


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


def after_trunks(layout: Layout, blocks: Blocks) -> Layout:
    """A row for each block: its trunk, then the block."""
    if layout.branches_BT is None:
        raise ValueError("blocks hold branches: say which token belongs to which branch")
    positions_NS = after_trunk(layout.positions_BT, blocks, dim=1)
    return Layout(positions_NS, branches_BT=after_trunk(layout.branches_BT, blocks, dim=1))


def explicit_masks(
    layout: Layout, chunk: int | None, first: int = 0
) -> tuple[Tensor | None, Tensor]:
    """Masks (B, 1, T, S) of local (if there are any) and of global layers: true where a token sees
    another new one. With `first`, only what the tokens from there on see."""
    positions_BT = layout.positions_BT
    length = positions_BT.shape[1]
    order_TT = torch.ones(length - first, length, dtype=torch.bool, device=positions_BT.device)
    sees_BTT = order_TT.tril(first)[None]
    if layout.segments_BT is not None:
        sees_BTT = sees_BTT & same(layout.segments_BT, first)
    if layout.branches_BT is not None:
        trunk_B1T = (layout.branches_BT == 0)[:, None, :]
        sees_BTT = sees_BTT & (same(layout.branches_BT, first) | trunk_B1T)
    global_BTT = sees_BTT.expand(len(positions_BT), -1, -1)
    if chunk is None:
        return None, global_BTT[:, None]
    local_BTT = global_BTT & same(positions_BT // chunk, first)
    return local_BTT[:, None], global_BTT[:, None]


def same(number_BT: Tensor, first: int) -> Tensor:
    """Where the tokens from `first` on have the same number as another token."""
    return number_BT[:, first:, None] == number_BT[:, None, :]


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
        self.uses_rope = config.uses_rope(layer)
        self.is_local = config.chunk(layer) is not None
        wide = config.num_attention_heads * config.head_dim
        narrow = config.num_key_value_heads * config.head_dim
        self.query = Linear(config.hidden_size, wide)
        self.key = Linear(config.hidden_size, narrow)
        self.value = Linear(config.hidden_size, narrow)
        self.output = Linear(wide, config.hidden_size)

    def forward(self, x_BTD: Tensor, sight: Sight | Sights, cache: LayerCaches) -> Tensor:
        q_BTHW, k_BTKW, v_BTKW = (
            torch.unflatten(project(x_BTD), -1, (-1, self.config.head_dim))
            for project in (self.query, self.key, self.value)
        )
        if self.uses_rope:  # queries and keys at once: fewer, larger steps
            qk_BTHW = self.place(torch.cat([q_BTHW, k_BTKW], dim=2), sight)
            q_BTHW, k_BTKW = torch.split(qk_BTHW, [q_BTHW.shape[2], k_BTKW.shape[2]], dim=2)
        elif sight.temperature_BT is not None:
            q_BTHW = (q_BTHW * sight.temperature_BT[..., None, None]).to(q_BTHW.dtype)
        heads = Heads(q_BTHW.transpose(1, 2), k_BTKW.transpose(1, 2), v_BTKW.transpose(1, 2))
        y_BHTW = self.attend(heads, sight, cache)
        out_BTD: Tensor = self.output(y_BHTW.transpose(1, 2).flatten(2))
        return out_BTD

    def place(self, x_BTHW: Tensor, sight: Sight | Sights) -> Tensor:
        """Rotate by position, then (Scout) normalise each head."""
        x_BTHW = rotate(x_BTHW, sight.rotation_BTR)
        if self.config.use_qk_norm:
            return rms_normalise(x_BTHW, self.config.rms_norm_eps)
        return x_BTHW

    def attend(self, new: Heads, sight: Sight | Sights, cache: LayerCaches) -> Tensor:
        if isinstance(sight, Sights):
            assert isinstance(cache, Sequence)
            rows = zip(new.cut(*sight.lengths), sight.each, cache, strict=True)
            return torch.cat([self.attend(*row) for row in rows], dim=2)
        assert not isinstance(cache, Sequence)
        attend = attend_in_chunks if self.is_local else attend_to_all
        mask_B1TS = sight.local_mask_B1TS if self.is_local else sight.global_mask_B1TS
        if mask_B1TS is None:
            return attend(new, sight, cache)
        if sight.blocks is None:
            near_BT = sight.near_BT if self.is_local else None
            return attend_beyond(cache.segments() if cache else [], new, mask_B1TS, near_BT)
        trunk, _ = new.cut(sight.blocks.trunk, new.q_BHTW.shape[2] - sight.blocks.trunk)
        parts = [attend(trunk, sight, None), attend_in_blocks(new, sight.blocks, mask_B1TS)]
        return torch.cat(parts, dim=2)


def attend_to_all(new: Heads, sight: Sight, cache: LayerCache | None) -> Tensor:
    return attend_onwards(new, cache, keep=sight.keep)


def attend_in_blocks(heads: Heads, blocks: Blocks, mask_N1GS: Tensor) -> Tensor:
    """The tokens after the trunk alone, a batch of blocks: each sees the trunk and itself."""
    q_NHGW = fold(heads.q_BHTW[:, :, blocks.trunk :], blocks.size)
    k_NKSW, v_NKSW = (after_trunk(x, blocks, dim=2) for x in (heads.k_BKSW, heads.v_BKSW))
    return unfold(dot_product(Heads(q_NHGW, k_NKSW, v_NKSW), mask_N1GS), len(heads.q_BHTW))


def after_trunk(x: Tensor, blocks: Blocks, dim: int) -> Tensor:
    """The tokens, along `dim`, of each block after those of its trunk: all blocks as one batch."""
    trunk, rest = torch.split(x, [blocks.trunk, x.shape[dim] - blocks.trunk], dim)
    each = torch.unflatten(rest, dim, (-1, blocks.size)).movedim(dim, 1)
    trunks = trunk[:, None].expand(-1, each.shape[1], *trunk.shape[1:])
    return torch.cat([trunks, each], dim + 1).flatten(0, 1)


def attend_in_chunks(new: Heads, sight: Sight, cache: LayerCache | None) -> Tensor:
    length, chunk = new.q_BHTW.shape[2], sight.chunk
    if chunk is None:
        raise ValueError("a local layer needs the length of its chunks (attention_chunk_size)")
    head = min(length, -sight.start % chunk)  # goes on with the chunk that the cache holds
    whole = (length - head) // chunk * chunk
    tail = length - head - whole
    finishing, chunks, beginning = new.cut(head, whole, tail)
    parts = []
    if head:
        parts.append(attend_onwards(finishing, cache, keep=sight.keep))
    if whole:
        parts.append(attend_to_whole_chunks(chunks, chunk))
    if tail:  # the cache, if it is extended, is empty by now
        parts.append(attend_onwards(beginning, cache if sight.keep else None, keep=sight.keep))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def attend_onwards(new: Heads, cache: LayerCache | None, *, keep: bool) -> Tensor:
    """The new tokens come after all that the cache holds, and see it and those before them."""
    if cache is None:
        return dot_product(new, causal=True)
    q_BHTW, k_BKSW, v_BKSW = new
    if keep and q_BHTW.shape[2] == 1:  # sees all that is held once it is held itself
        return attend_to_held(q_BHTW, cache.extend(k_BKSW, v_BKSW))
    y_BHTW = attend_beyond(cache.segments(), new)
    if keep:
        cache.extend(k_BKSW, v_BKSW)
    return y_BHTW


def attend_beyond(
    past: Sequence[Segment],
    new: Heads,
    mask_B1TS: Tensor | None = None,
    near_BT: Tensor | None = None,
) -> Tensor:
    """New tokens see each other as the mask says (without one: those before them), and all of the
    past; with `near_BT`, some of them see nothing of it."""
    if not past:
        return dot_product(new, mask_B1TS, causal=mask_B1TS is None)
    among = attend_among(*new, mask_B1TS)
    before = (attend_to_segment(new.q_BHTW, one) for one in past)
    if near_BT is not None:
        before = (part.of(near_BT) for part in before)
    return merge(chain([among], before))


def attend_to_whole_chunks(heads: Heads, chunk: int) -> Tensor:
    """Chunks do not see each other: a batch of them."""
    folded = Heads(*(fold(x, chunk) for x in heads))
    return unfold(dot_product(folded, causal=True), len(heads.q_BHTW))


def fold(x_BHTW: Tensor, size: int) -> Tensor:
    """Pieces of `size` tokens as one batch."""
    return torch.unflatten(x_BHTW, 2, (-1, size)).transpose(1, 2).flatten(0, 1)


def unfold(x_NHTW: Tensor, batch: int) -> Tensor:
    """Pieces one after another in their rows again."""
    return torch.unflatten(x_NHTW, 0, (batch, -1)).transpose(1, 2).flatten(2, 3)


def dot_product(heads: Heads, mask: Tensor | None = None, *, causal: bool = False) -> Tensor:
    # enable_gqa: on CPU up to four times faster than repeating keys and values for each query head.
    return functional.scaled_dot_product_attention(
        *heads, attn_mask=mask, is_causal=causal, enable_gqa=True
    )
