"""Where in the photos a claim's answer comes from, found by hiding.

A part of a photo is painted over in the photo's mean colour, the photos are read again and the
claims are scored again. What is hidden when a claim's margin falls most is what the answer rested
on. This is causal evidence about this very model: no attention map, no guess. It is as coarse as
its grid, and where hiding changes nothing clearly, the whole photo is the evidence and no place is
made up.

Bounded: with several photos each is first hidden as a whole, to find the one that a claim rests on;
then the cells of a 3 x 3 grid are hidden one by one, in at most four photos. Variants are asked
about together, as many as hold no more than `MOST_PIXELS` of changed photos. A checkpoint for which
reading photos is dear turns this off by `"regions": false` in its profile. Refuses nothing; called
by `check_listing`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from PIL import ImageStat
from PIL.Image import Image

GRID = 3
MOST_PHOTOS = 4
#: Of changed photos that are held at once, beside the listing's own: 120 MB.
MOST_PIXELS = 40_000_000
#: A fall of the margin (log-odds) that counts as clear.
CLEAR_FALL = 0.5
#: Cells whose hiding costs at least this share of the greatest fall belong to the region.
REGION_SHARE = 0.5

PixelBox = tuple[int, int, int, int]
#: Variants of the photos to the margins of the claims in each, positive when the claim's label
#: holds more strongly.
Margins = Callable[[Sequence[Sequence[Image]]], Sequence[Sequence[float]]]
#: Called after some variants with (variants done, variants in all).
OnVariant = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a photo (counted from 0)."""

    photo: int
    box: PixelBox


def find_regions(
    photos: Sequence[Image],
    base: Sequence[float],
    margins: Margins,
    on_variant: OnVariant,
) -> list[Region]:
    """For each claim, given by its margin on the whole photos, the region that it rests on."""
    seeking = len(photos) if len(photos) > 1 else 0
    done, total = 0, seeking + GRID * GRID
    on_variant(done, total)

    def falls(boxes: Sequence[Region]) -> Iterator[list[float]]:
        """How much the margin of each claim falls where one of the boxes is hidden."""
        nonlocal done
        for some in _groups(boxes, photos):
            for found in margins([_without(photos, region) for region in some]):
                yield [before - after for before, after in zip(base, found, strict=True)]
            done += len(some)
            on_variant(done, total)

    photo_falls = list(falls([Region(n, whole(photo)) for n, photo in enumerate(photos)][:seeking]))
    chosen = [_steepest([fall[claim] for fall in photo_falls]) for claim in range(len(base))]
    gridded = [index for index, _ in Counter(chosen).most_common(MOST_PHOTOS)]
    regions = [Region(index, whole(photos[index])) for index in chosen]
    total = seeking + GRID * GRID * len(gridded)
    for index in gridded:
        cells = grid(photos[index])
        cell_falls = list(falls([Region(index, cell) for cell in cells]))
        for claim in range(len(base)):
            if chosen[claim] == index:
                box = _region([fall[claim] for fall in cell_falls], cells)
                regions[claim] = Region(index, box or whole(photos[index]))
    return regions


def whole(photo: Image) -> PixelBox:
    return (0, 0, photo.width, photo.height)


def grid(photo: Image) -> list[PixelBox]:
    """The cells of the grid, row by row; together they cover the photo once."""
    xs = [photo.width * i // GRID for i in range(GRID + 1)]
    ys = [photo.height * i // GRID for i in range(GRID + 1)]
    return [
        (xs[column], ys[row], xs[column + 1], ys[row + 1])
        for row in range(GRID)
        for column in range(GRID)
    ]


def _groups(regions: Sequence[Region], photos: Sequence[Image]) -> Iterator[list[Region]]:
    """As many as may be hidden at once, each in a copy of its photo."""
    group: list[Region] = []
    room = MOST_PIXELS
    for region in regions:
        pixels = photos[region.photo].width * photos[region.photo].height
        if group and pixels > room:
            yield group
            group, room = [], MOST_PIXELS
        group.append(region)
        room -= pixels
    if group:
        yield group


def _without(photos: Sequence[Image], region: Region) -> list[Image]:
    """The photos, with a part of one painted over in its mean colour."""
    hidden = photos[region.photo].convert("RGB").copy()
    mean = tuple(round(channel) for channel in ImageStat.Stat(hidden).mean)
    hidden.paste(mean, region.box)
    return [hidden if n == region.photo else photo for n, photo in enumerate(photos)]


def _steepest(falls: Sequence[float]) -> int:
    return max(range(len(falls)), key=falls.__getitem__, default=0)


def _region(falls: Sequence[float], cells: Sequence[PixelBox]) -> PixelBox | None:
    """The box around the steepest cell and the cells joined to it that matter nearly as much."""
    top = _steepest(falls)
    if falls[top] < CLEAR_FALL:
        return None
    matter = {i for i, fall in enumerate(falls) if fall >= REGION_SHARE * falls[top]}
    joined, border = {top}, [top]
    while border:
        row, column = divmod(border.pop(), GRID)
        for other in matter - joined:
            other_row, other_column = divmod(other, GRID)
            if abs(row - other_row) + abs(column - other_column) == 1:
                joined.add(other)
                border.append(other)
    boxes = [cells[i] for i in joined]
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )
