"""Photos that stand in several listings: the same bytes, or nearly the same picture.

A picture is known by two marks. Its shape: the signs of the 63 lowest frequencies of the luma
against their median (pHash: Zauner, "Implementation and Benchmarking of Perceptual Image Hash
Functions", 2010), which scaling, compression and light editing leave alone. And its colours on a
4×4 grid, because the same cup in red and in blue has one shape and is two products. Our own forty
lines and not `imagehash`, which needs SciPy and knows no colours. Mirrored and turned pictures are
not found, nor are many that were cropped by more than a little. Called by `report`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Luma of SIDE × SIDE pixels, of which LOW × LOW frequencies without the mean make the shape.
SIDE, LOW = 32, 8
GRID = 4

#: Pictures are near when at most so many of the 63 signs differ
MOST_SIGNS = 10
#: and no cell of the grid differs by more in luma, or in either chroma (of 255).
MOST_LUMA, MOST_CHROMA = 48, 20

#: Photos that are compared with all others in one step.
BLOCK = 256


@dataclass(frozen=True, slots=True)
class Mark:
    """What a picture is known by."""

    #: The 63 signs, in 8 bytes.
    shape: int
    #: (GRID, GRID, 3) luma and chroma, from 0 to 255.
    colours: NDArray[np.int16]


def mark(photo: Image.Image) -> Mark:
    luma = photo.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    waves = _waves()
    frequencies = waves @ np.asarray(luma, dtype=np.float64) @ waves.T
    low = frequencies[:LOW, :LOW].ravel()[1:]
    # The cosines of a flat picture are zero but for rounding.
    signs = np.round(low, 3) > np.round(np.median(low), 3)
    colours = photo.convert("YCbCr").resize((GRID, GRID), Image.Resampling.BOX)
    shape = int.from_bytes(np.packbits(signs).tobytes(), "big")
    return Mark(shape, np.asarray(colours, dtype=np.int16))


def near_groups(
    marks: Sequence[Mark], on_progress: Callable[[int, int], None] | None = None
) -> list[list[int]]:
    """Indices of pictures that are nearly the same, in groups of two and more.

    Who is near to one of a group belongs to it. All pairs are compared, 256 × n at a time.
    """
    shapes = np.array([one.shape for one in marks], dtype=np.uint64)
    colours = np.array([one.colours for one in marks], dtype=np.int16)
    leaders = list(range(len(marks)))
    for start in range(0, len(marks), BLOCK):
        differing = np.bitwise_count(shapes[start : start + BLOCK, None] ^ shapes[None, start:])
        for here, there in np.argwhere(differing <= MOST_SIGNS):
            one, other = start + int(here), start + int(there)
            if one < other and _alike(colours[one], colours[other]):
                leaders[_leader(leaders, other)] = _leader(leaders, one)
        if on_progress is not None:
            on_progress(min(start + BLOCK, len(marks)), len(marks))
    groups: dict[int, list[int]] = {}
    for index in range(len(marks)):
        groups.setdefault(_leader(leaders, index), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _alike(one: NDArray[np.int16], other: NDArray[np.int16]) -> bool:
    furthest = np.abs(one - other).max(axis=(0, 1))
    return bool(furthest[0] <= MOST_LUMA and furthest[1:].max() <= MOST_CHROMA)


def _leader(leaders: list[int], index: int) -> int:
    while leaders[index] != index:
        leaders[index] = leaders[leaders[index]]
        index = leaders[index]
    return index


@cache
def _waves() -> NDArray[np.float64]:
    """(LOW, SIDE) cosines of the DCT-II."""
    wave, place = np.arange(LOW)[:, None], np.arange(SIDE)[None, :]
    waves: NDArray[np.float64] = np.cos(np.pi * wave * (2 * place + 1) / (2 * SIDE))
    return waves
