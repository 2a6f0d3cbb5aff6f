"""The keys and values of tokens already read: a plain value that is passed into the transformer.

A layer that sees everything grows without bound, a page at a time, and nothing that is held is ever
copied as a whole; a layer that attends in chunks never holds more than the current chunk, and is
empty at each chunk border. A clone shares all pages: it costs nothing until it goes on otherwise,
and then a copy of the last page. Made and cloned by `engine` and `prefixes`, read and extended by
`attention`. It refuses tokens for another batch size. Not for training: it is written in place.

Letters: B batch, K key-value heads, T new tokens, W head width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from model.config import TextConfig
from model.gaze import Gaze
from model.pages import Page, PageShape, Segment, head_bytes

#: Enough that what attention does for each page weighs little; few enough to be copied in passing.
PAGE_TOKENS = 4096
LEAST_ROOM = 256  # tokens: a last page is made with room for so many more,
ROOM_SHARE = 32  # or for this fraction of all that was read if that is more: 3 % of what is held


class LayerCache:
    """Keys and values of one layer. `limit` is the chunk of a layer that attends in chunks."""

    def __init__(self, shape: PageShape, limit: int | None) -> None:
        self.shape = shape
        self.limit = limit
        self.held = 0  #: tokens
        self.read = 0  #: tokens that it ever held, those of earlier chunks too
        self.pages: list[Page] = []  #: all but the last hold `PAGE_TOKENS`

    @classmethod
    def of(
        cls, shape: PageShape, limit: int | None, pages: Sequence[Page], held: int, read: int
    ) -> LayerCache:
        """A cache that holds the first `held` tokens of these pages."""
        cache = cls(shape, limit)
        cache.pages, cache.held, cache.read = list(pages), held, read
        return cache

    def segments(self, first: int = 0, end: int | None = None) -> list[Segment]:
        """What is held of the tokens from `first` up to `end`, in order."""
        last = self.held if end is None else end
        return [
            Segment(page, max(first - begin, 0), min(last - begin, PAGE_TOKENS))
            for page, begin in zip(self.pages, range(0, self.held, PAGE_TOKENS), strict=True)
            if first < begin + PAGE_TOKENS and begin < last
        ]

    def extend(self, k_BKTW: Tensor, v_BKTW: Tensor) -> list[Segment]:
        """Holds new tokens from now on, unless they end the chunk: the next one does not see it.
        Returns all that was held until then, the new ones last."""
        new = self._require_fit(k_BKTW)
        done = 0
        while done < new:
            page = self._last_page(new - done)
            end = min(new, done + page.capacity - page.filled)
            page.write(k_BKTW[:, :, done:end], v_BKTW[:, :, done:end])
            self.held += end - done
            done = end
        self.read += new
        return self._until_now()

    @property
    def room(self) -> int:
        """Tokens that can be claimed at once: up to the end of a page, or of the chunk."""
        page = PAGE_TOKENS - self.held % PAGE_TOKENS
        return page if self.limit is None else min(page, self.limit - self.held)

    def claim(self, new: int) -> list[Segment]:
        """As `extend` by tokens whose keys and values the caller writes himself: they are the last
        of the last segment. There must be `room` for them."""
        page = self._last_page(new)
        if page.filled + new > page.capacity:
            page = self.pages[-1] = page.copy(page.filled, self._capacity(page.filled + new))
        page.filled += new
        self.held += new
        self.read += new
        return self._until_now()

    def clone(self) -> LayerCache:
        return self.of(self.shape, self.limit, self.pages, self.held, self.read)

    def move(self, device: torch.device) -> None:
        """Holds everything on this device from now on; clones stay where they are."""
        if self.shape.device != device:
            self.shape = self.shape._replace(device=device)
            self.pages = [page.to(device) for page in self.pages]

    @property
    def nbytes(self) -> int:
        """Of all its pages, whether they are shared or not."""
        return sum(page.nbytes for page in self.pages)

    def _until_now(self) -> list[Segment]:
        """All that is held; nothing of it is held any longer where it ends the chunk."""
        segments = self.segments()
        if self.held == self.limit:
            self.pages, self.held = [], 0
        return segments

    def _require_fit(self, k_BKTW: Tensor) -> int:
        batch, _, new, _ = k_BKTW.shape
        if batch != self.shape.batch:
            raise ValueError(
                f"the cache is for a batch of {self.shape.batch}, the tokens for {batch}"
            )
        if self.limit is not None and self.held + new > self.limit:
            raise ValueError(
                f"{self.held + new} tokens do not fit in the cache of a chunk of {self.limit}"
            )
        return new

    def _last_page(self, more: int) -> Page:
        """A page to write on, with room for at least one token of so many more."""
        used = self.held % PAGE_TOKENS
        if used == 0:
            self.pages.append(Page.empty(self.shape, self._capacity(more)))
        elif not self._can_go_on(self.pages[-1], used):
            self.pages[-1] = self.pages[-1].copy(used, self._capacity(used + more))
        return self.pages[-1]

    def _can_go_on(self, page: Page, used: int) -> bool:
        """Not where another cache has gone on already, nor where the page is full."""
        return page.filled == used < page.capacity

    def _capacity(self, tokens: int) -> int:
        """Of the last page, which is to hold so many soon."""
        most = PAGE_TOKENS
        if self.limit is not None:
            most = min(most, self.limit - self.held // PAGE_TOKENS * PAGE_TOKENS)
        return min(most, tokens + max(LEAST_ROOM, self.read // ROOM_SHARE))


class Cache:
    """One `LayerCache` for each layer, and the number of tokens read."""

    def __init__(
        self, config: TextConfig, batch: int, dtype: torch.dtype, device: torch.device | str
    ) -> None:
        heads, width = config.num_key_value_heads, config.head_dim
        shape = PageShape(batch, heads, width, dtype, torch.device(device))
        self.length = 0
        self.gaze = Gaze()  #: of the last token, where a layer holds images instead of tokens
        self.layers = [
            LayerCache(shape, config.chunk(layer)) for layer in range(config.num_hidden_layers)
        ]

    @classmethod
    def of(cls, layers: Sequence[LayerCache], length: int, gaze: Gaze) -> Cache:
        """A cache made of what each layer holds."""
        cache = object.__new__(cls)
        cache.layers, cache.length, cache.gaze = list(layers), length, gaze
        return cache

    def __iter__(self) -> Iterator[LayerCache]:
        return iter(self.layers)

    @property
    def room(self) -> int:
        """Tokens that can be claimed at once of every layer."""
        return min(layer.room for layer in self.layers)

    def clone(self) -> Cache:
        """A cache that can be extended while this one stays as it is; they share what they hold."""
        return self.of([layer.clone() for layer in self.layers], self.length, self.gaze)

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self.layers)


def cache_bytes(
    config: TextConfig, tokens: int, dtype: torch.dtype, *, in_full: bool = False
) -> int:
    """Memory of the keys and values of so many tokens, at most: a layer that attends in chunks
    holds one chunk, one that looks at images no token. `in_full`: as if every layer held
    everything, as in engines that do not know of chunks."""
    tokens_held = (
        tokens if in_full else min(tokens, config.chunk(layer) or tokens)
        for layer in range(config.num_hidden_layers)
        if layer not in config.cross_attention_layers
    )
    return sum(layer_bytes(config, held, dtype) for held in tokens_held)


def layer_bytes(config: TextConfig, held: int, dtype: torch.dtype) -> int:
    """Memory of so many keys and values in one layer."""
    return held * 2 * config.num_key_value_heads * head_bytes(config.head_dim, dtype)
