"""The keys and values of tokens already read: a plain value that is passed into the transformer.

A layer that sees everything grows without bound (doubling, so that appending is cheap); a layer
that attends in chunks never holds more than the current chunk, and is empty at each chunk border.
Made and cloned by `engine`, read and extended by `attention`. It refuses tokens for another batch
size. Not for training: it is written in place.

Letters: B batch, K key-value heads, T new tokens, S tokens held and new, W head width.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from model.config import TextConfig
from model.gaze import Gaze

FIRST_CAPACITY = 256  # tokens


class LayerCache:
    """Keys and values of one layer. `limit` is the chunk of a layer that attends in chunks."""

    def __init__(self, shape_BKW: tuple[int, int, int], limit: int | None, like: Tensor) -> None:
        batch, heads, width = shape_BKW
        self.limit = limit
        self.held = 0  #: tokens
        self._buffer_2BKSW = like.new_empty(2, batch, heads, 0, width)

    def extend(self, k_BKTW: Tensor, v_BKTW: Tensor, *, keep: bool) -> tuple[Tensor, Tensor]:
        """All keys and values with the new ones last. With `keep` the new ones are held from now on
        (unless they end the chunk); without, the next call writes over them."""
        end = self.held + k_BKTW.shape[2]
        if keep and self.limit is not None and end > self.limit:
            raise ValueError(f"{end} tokens do not fit in the cache of a chunk of {self.limit}")
        if not keep and self.limit is not None:  # at most a chunk is held: cheap to copy
            held_2BKSW = self._buffer_2BKSW[:, :, :, : self.held]
            new_2BKTW = torch.stack([k_BKTW, v_BKTW])
            keys_BKSW, values_BKSW = torch.cat([held_2BKSW, new_2BKTW], dim=3)
            return keys_BKSW, values_BKSW
        self._reserve(end, k_BKTW.shape[0])
        self._buffer_2BKSW[0, :, :, self.held : end] = k_BKTW
        self._buffer_2BKSW[1, :, :, self.held : end] = v_BKTW
        if keep:
            self.held = 0 if end == self.limit else end  # a new chunk does not see the one before
        keys_BKSW, values_BKSW = self._buffer_2BKSW[:, :, :, :end]
        return keys_BKSW, values_BKSW

    def clone(self) -> LayerCache:
        batch, heads, _, width = self._buffer_2BKSW.shape[1:]
        copy = LayerCache((batch, heads, width), self.limit, self._buffer_2BKSW)
        copy.held = self.held
        copy._buffer_2BKSW = self._buffer_2BKSW[:, :, :, : self.held].clone()
        return copy

    @property
    def nbytes(self) -> int:
        return self._buffer_2BKSW.nbytes

    def _reserve(self, tokens: int, batch: int) -> None:
        old = self._buffer_2BKSW
        if old.shape[1] != batch:
            raise ValueError(f"the cache is for a batch of {old.shape[1]}, the tokens for {batch}")
        capacity = old.shape[3]
        if tokens <= capacity:
            return
        grown = max(tokens, 2 * capacity, FIRST_CAPACITY)
        if self.limit is not None:
            grown = min(grown, self.limit)
        new = old.new_empty(*old.shape[:3], grown, old.shape[4])
        new[:, :, :, : self.held] = old[:, :, :, : self.held]
        self._buffer_2BKSW = new


class Cache:
    """One `LayerCache` for each layer, and the number of tokens read."""

    def __init__(
        self, config: TextConfig, batch: int, dtype: torch.dtype, device: torch.device | str
    ) -> None:
        shape = (batch, config.num_key_value_heads, config.head_dim)
        like = torch.empty(0, dtype=dtype, device=device)
        self.length = 0
        self.gaze = Gaze()  #: of the last token, where a layer holds images instead of tokens
        self._layers = [
            LayerCache(shape, config.chunk(layer), like)
            for layer in range(config.num_hidden_layers)
        ]

    def __iter__(self) -> Iterator[LayerCache]:
        return iter(self._layers)

    def clone(self) -> Cache:
        """A copy that can be extended while this one stays as it is."""
        copy = object.__new__(Cache)
        copy.length, copy.gaze = self.length, self.gaze
        copy._layers = [layer.clone() for layer in self._layers]
        return copy

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self._layers)
