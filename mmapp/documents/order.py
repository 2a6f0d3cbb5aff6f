"""The reading order of the text on a page with columns.

PDF text comes in the order in which it was drawn. For most producers that is the order of reading,
so it is kept unless the page shows columns of prose: then each column is read to its end, and what
crosses the gutter (titles, page numbers) is read where it stands between them. Columns of a table
are no columns of prose: their lines are short, and a table is read by rows, as it was drawn.

Pure geometry on boxes as they are shown, y downwards. Only `pdf` calls it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from mmapp.types import Box

#: A gutter narrower than this is a wide space, points.
MIN_GUTTER = 6.0
#: Fewer lines side by side may be anything.
MIN_COLUMN_LINES = 3
#: The middle line of a column of prose is at least this wide, as a share of the page's width.
MIN_LINE_WIDTH = 0.12
#: Columns stand beside each other over at least this share of the shorter one's height.
MIN_OVERLAP = 0.3
#: Lines below each other overlap by up to this, and the parts of a formula step up by up to this,
#: points.
MAX_TOUCH = 4.0
MAX_STEP_UP = 24.0
#: Gutters that are tried on one page, best first, and columns that are sought inside columns.
MAX_GUTTERS = 12
MAX_DEPTH = 5
#: A page of more pieces (a map, a plan) keeps the order in which it was drawn.
MAX_CHUNKS = 1_000


@dataclass(frozen=True)
class Chunk:
    """Lines that are read together: a block, or the part of one that lies in one column."""

    #: What the caller knows the lines by, in drawing order.
    lines: tuple[int, ...]
    boxes: tuple[Box, ...]

    @cached_property
    def box(self) -> Box:
        return _around(self.boxes)


def reading_order(blocks: Sequence[Chunk], page_width: float) -> list[Chunk]:
    """The blocks in reading order; one that holds lines of several columns comes in parts."""
    chunks = [part for block in blocks for part in _split_block(block, page_width)]
    return _order(chunks, page_width, MAX_DEPTH)


def _split_block(block: Chunk, page_width: float) -> list[Chunk]:
    """Where columns were drawn line by line across the page, both are found in one block."""
    lines = [Chunk((line,), (box,)) for line, box in zip(block.lines, block.boxes, strict=True)]
    for gutter in _gutters(lines[:MAX_CHUNKS]):
        left, crossing, right = _sides(lines, gutter)
        if not crossing and _are_columns(left, right, page_width):
            return [
                part for side in (left, right) for part in _split_block(_joined(side), page_width)
            ]
    return [block]


def _order(chunks: list[Chunk], page_width: float, depth: int) -> list[Chunk]:
    if len(chunks) > MAX_CHUNKS or not depth:
        return chunks
    for gutter in _gutters(chunks):
        left, crossing, right = _sides(chunks, gutter)
        if _are_columns(left, right, page_width):
            return _by_columns(chunks, crossing, gutter, page_width, depth)
    return _downwards(chunks)


def _by_columns(
    chunks: list[Chunk], crossing: list[Chunk], gutter: float, page_width: float, depth: int
) -> list[Chunk]:
    """Left column, then right column, between any two chunks that cross the gutter."""
    ordered: list[Chunk] = []
    left, _, right = _sides(chunks, gutter)
    for bar in [*_downwards(crossing), None]:
        until = _middle(bar) if bar else math.inf
        for side in (left, right):
            above = [chunk for chunk in side if _middle(chunk) < until]
            ordered += _order(above, page_width, depth - 1)
        left, right = ([c for c in side if _middle(c) >= until] for side in (left, right))
        ordered += [bar] if bar else []
    return ordered


def _downwards(chunks: list[Chunk]) -> list[Chunk]:
    """Runs of chunks from top to bottom; runs beside each other keep the order of drawing."""
    runs = _runs(chunks)
    boxes = [_joined(run).box for run in runs]
    bands: list[list[int]] = []
    bottom = -math.inf
    for index in sorted(range(len(runs)), key=lambda i: boxes[i][1]):
        _, top, _, low = boxes[index]
        if top >= bottom - MAX_TOUCH:
            bands.append([])
        bands[-1].append(index)
        bottom = max(bottom, low)
    return [chunk for band in bands for index in sorted(band) for chunk in runs[index]]


def _runs(chunks: list[Chunk]) -> list[list[Chunk]]:
    """Drawn one after the other downwards; the parts of a formula step up a little within one."""
    runs: list[list[Chunk]] = []
    for chunk in chunks:
        if not runs or chunk.box[1] < runs[-1][-1].box[1] - MAX_STEP_UP:
            runs.append([])
        runs[-1].append(chunk)
    return runs


def _gutters(chunks: list[Chunk]) -> list[float]:
    """Places between something on the left and something on the right, least crossed first."""
    boxes = [chunk.box for chunk in chunks]
    starts = sorted({box[0] for box in boxes})
    found = []
    for start in starts[1:]:
        left_ends = [x1 for _, _, x1, _ in boxes if x1 <= start - MIN_GUTTER]
        if left_ends:
            gutter = (max(left_ends) + start) / 2
            crossed = sum(x0 < gutter < x1 for x0, _, x1, _ in boxes)
            found.append((crossed, max(left_ends) - start, gutter))
    return [gutter for _, _, gutter in sorted(found)[:MAX_GUTTERS]]


def _sides(chunks: list[Chunk], gutter: float) -> tuple[list[Chunk], list[Chunk], list[Chunk]]:
    """What lies left of the gutter, across it, and right of it."""
    left = [chunk for chunk in chunks if chunk.box[2] <= gutter]
    right = [chunk for chunk in chunks if chunk.box[0] >= gutter]
    crossing = [chunk for chunk in chunks if chunk.box[0] < gutter < chunk.box[2]]
    return left, crossing, right


def _are_columns(left: list[Chunk], right: list[Chunk], page_width: float) -> bool:
    """Whether both sides hold lines of prose, one side beside the other."""
    for side in (left, right):
        widths = [x1 - x0 for chunk in side for x0, _, x1, _ in chunk.boxes]
        if len(widths) < MIN_COLUMN_LINES or median(widths) < MIN_LINE_WIDTH * page_width:
            return False
    (_, top1, _, low1), (_, top2, _, low2) = _joined(left).box, _joined(right).box
    beside = min(low1, low2) - max(top1, top2)
    return beside >= MIN_OVERLAP * min(low1 - top1, low2 - top2)


def _joined(chunks: list[Chunk]) -> Chunk:
    return Chunk(
        tuple(line for chunk in chunks for line in chunk.lines),
        tuple(box for chunk in chunks for box in chunk.boxes),
    )


def _around(boxes: Sequence[Box]) -> Box:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return (min(x0), min(y0), max(x1), max(y1))


def _middle(chunk: Chunk) -> float:
    _, y0, _, y1 = chunk.box
    return (y0 + y1) / 2
