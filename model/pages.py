"""Pages of a cache: keys and values of some tokens side by side in memory.

They are stored plainly, or in eight bits with a scale for each token and head. What a page holds is
never written over, so that any number of caches share it: whoever goes on where it is filled writes
behind that, everybody else goes on in a copy. Made, filled and shared by `cache`; read by
`attention`, a page at a time; written to disk by `prefixes`. It refuses tokens that do not fit.

Letters: B batch, K key-value heads, T new tokens, S tokens, W head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: In what keys and values can be stored, by the names that people give.
CACHE_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "fp8": torch.float8_e4m3fn,
    "int8": torch.int8,
}
#: What the largest number of a head becomes where it is scaled: the largest that the dtype has.
LARGEST = {torch.float8_e4m3fn: 448.0, torch.int8: 127.0}
#: Of scales. Numbers are divided by the scale as it is stored, so that its rounding costs nothing.
SCALE_DTYPE = torch.bfloat16
SMALLEST_SCALE = 1e-30  # for heads of zeros


class PageShape(NamedTuple):
    """What all pages of a cache have in common."""

    batch: int
    heads: int  #: with keys and values
    width: int
    dtype: torch.dtype  #: one of `CACHE_DTYPES`
    device: torch.device

    @property
    def token_bytes(self) -> int:
        """Of keys, values and scales of a token in one layer, for the whole batch."""
        return 2 * self.batch * self.heads * head_bytes(self.width, self.dtype)


def head_bytes(width: int, dtype: torch.dtype) -> int:
    """Of the keys, or the values, of one token and head."""
    return width * dtype.itemsize + (SCALE_DTYPE.itemsize if dtype in LARGEST else 0)


class Page:
    """Keys and values of up to `capacity` tokens; those that are `filled` stay as they are."""

    def __init__(
        self, shape: PageShape, values_2BKSW: Tensor, scales_2BKS1: Tensor | None, filled: int
    ) -> None:
        self.shape = shape
        self.values_2BKSW = values_2BKSW
        self.scales_2BKS1 = scales_2BKS1  #: only where they are kept in eight bits
        self.filled = filled  #: tokens

    @classmethod
    def empty(cls, shape: PageShape, capacity: int) -> Page:
        batch, heads, width, dtype, device = shape
        sizes = (2, batch, heads, capacity)
        with torch.inference_mode(False):  # pages outlive the call that makes them
            values_2BKSW = torch.empty(*sizes, width, dtype=dtype, device=device)
            scales_2BKS1 = None
            if dtype in LARGEST:
                scales_2BKS1 = torch.empty(*sizes, 1, dtype=SCALE_DTYPE, device=device)
        return cls(shape, values_2BKSW, scales_2BKS1, filled=0)

    @property
    def capacity(self) -> int:
        """Tokens."""
        return self.values_2BKSW.shape[3]

    @torch.no_grad()
    def write(self, k_BKTW: Tensor, v_BKTW: Tensor) -> None:
        """Adds tokens behind those that are there."""
        begin, end = self.filled, self.filled + k_BKTW.shape[2]
        if end > self.capacity:
            raise ValueError(f"{end} tokens do not fit a page of {self.capacity}")
        if self.scales_2BKS1 is None:
            self.values_2BKSW[0, :, :, begin:end] = k_BKTW
            self.values_2BKSW[1, :, :, begin:end] = v_BKTW
        else:
            values_2BKTW, scales_2BKT1 = scaled(torch.stack([k_BKTW, v_BKTW]), self.shape.dtype)
            self.values_2BKSW[:, :, :, begin:end] = values_2BKTW
            self.scales_2BKS1[:, :, :, begin:end] = scales_2BKT1
        self.filled = end

    def copy(self, tokens: int, capacity: int) -> Page:
        """A page of its own that begins with these tokens of this one."""
        page = Page.empty(self.shape, capacity)
        page.values_2BKSW[:, :, :, :tokens] = self.values_2BKSW[:, :, :, :tokens]
        if page.scales_2BKS1 is not None and self.scales_2BKS1 is not None:
            page.scales_2BKS1[:, :, :, :tokens] = self.scales_2BKS1[:, :, :, :tokens]
        page.filled = tokens
        return page

    def to(self, device: torch.device) -> Page:
        """A page of its own with the same, on another device."""
        page = Page.empty(self.shape._replace(device=device), self.capacity)
        page.values_2BKSW.copy_(self.values_2BKSW)
        if page.scales_2BKS1 is not None and self.scales_2BKS1 is not None:
            page.scales_2BKS1.copy_(self.scales_2BKS1)
        page.filled = self.filled
        return page

    @property
    def nbytes(self) -> int:
        return self.capacity * self.shape.token_bytes


class Segment(NamedTuple):
    """Some tokens of a page."""

    page: Page
    first: int
    end: int  #: one after the last

    def read(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Keys and values (B, K, S, W); views, unless they are stored in another dtype."""
        values_2BKSW = self.page.values_2BKSW[:, :, :, self.first : self.end]
        if values_2BKSW.dtype != dtype:
            values_2BKSW = values_2BKSW.to(dtype)
        if self.page.scales_2BKS1 is not None:
            values_2BKSW *= self.page.scales_2BKS1[:, :, :, self.first : self.end]
        keys_BKSW, values_BKSW = values_2BKSW
        return keys_BKSW, values_BKSW


def scaled(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Heads in eight bits, and the scales (with a last dimension of 1) that give them back."""
    x, largest = x.float(), LARGEST[dtype]
    scales = (x.abs().amax(-1, keepdim=True) / largest).clamp(min=SMALLEST_SCALE).to(SCALE_DTYPE)
    shares = (x / scales).clamp(-largest, largest)
    return (shares.round() if dtype == torch.int8 else shares).to(dtype), scales
