"""Where in the photos a claim's answer comes from, found by looking at parts of them alone.

Each photo is looked at alone, to find the one that a claim rests on; then its parts are: windows of
half its width and height that overlap by half. The part whose answer agrees most with the claim's
label is the region. This is what this very model says of that part: no attention map, no guess. It
is as coarse as its windows, and where no part says it as clearly as the whole photo does, the whole
photo is the evidence and no place is made up. Of the ways that `python -m benchmarks.regions`
compares, this one overlaps most with where products were laid.

A refutation has no place: any part that lacks the thing refutes it. Its evidence is the whole photo
that refutes it most.

Bounded: parts are looked at in at most four photos. Views are asked about together, as many as hold
no more than `MOST_PIXELS`. A checkpoint for which reading photos is dear turns this off by
`"regions": false` in its profile. Refuses nothing; called by `asking`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from PIL.Image import Image

#: Windows in each direction, and their share of the photo's sides.
WINDOWS = 3
SHARE = 0.5
MOST_PHOTOS = 4
#: Of views that are asked about at once: 120 MB.
MOST_PIXELS = 40_000_000

PixelBox = tuple[int, int, int, int]
#: Views, each alone, to the margins of the claims in each, positive when the claim's label holds
#: more strongly.
Margins = Callable[[Sequence[Image]], Sequence[Sequence[float]]]
#: Called after some views with (views done, views in all).
OnViews = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a photo (counted from 0)."""

    photo: int
    box: PixelBox


def find_regions(
    photos: Sequence[Image],
    base: Sequence[float],
    has_place: Sequence[bool],
    margins: Margins,
    on_views: OnViews,
) -> list[Region]:
    """For each claim the region that it rests on.

    `base`: the claims' margins about all photos together; `has_place`: the claims of which a part
    of a photo is sought, and not a photo alone.
    """
    seeking = list(photos) if len(photos) > 1 else []
    parts = WINDOWS * WINDOWS if any(has_place) else 0
    done, total = 0, len(seeking) + parts
    on_views(done, total)

    def asked(views: Sequence[Image]) -> Iterator[Sequence[float]]:
        """The margins of the claims in each view."""
        nonlocal done
        for some in _groups(views):
            yield from margins(some)
            done += len(some)
            on_views(done, total)

    alone = list(asked(seeking)) or [base]
    chosen = [_highest([each[claim] for each in alone]) for claim in range(len(base))]
    regions = [Region(index, whole(photos[index])) for index in chosen]
    placed = Counter(index for index, has in zip(chosen, has_place, strict=True) if has)
    sought = [index for index, _ in placed.most_common(MOST_PHOTOS)]
    total = len(seeking) + parts * len(sought)
    for index in sought:
        boxes = windows(photos[index])
        found = list(asked([photos[index].crop(box) for box in boxes]))
        for claim in range(len(base)):
            if chosen[claim] == index and has_place[claim]:
                best = _highest([each[claim] for each in found])
                if found[best][claim] > alone[index][claim]:
                    regions[claim] = Region(index, boxes[best])
    return regions


def whole(photo: Image) -> PixelBox:
    return (0, 0, photo.width, photo.height)


def windows(photo: Image) -> list[PixelBox]:
    """Overlapping parts of a photo, row by row; together they cover it. At least a pixel each."""
    wide, high = max(1, round(photo.width * SHARE)), max(1, round(photo.height * SHARE))
    return [
        (x, y, x + wide, y + high)
        for y in _starts(photo.height - high)
        for x in _starts(photo.width - wide)
    ]


def _groups(views: Sequence[Image]) -> Iterator[list[Image]]:
    """As many as may be asked about at once."""
    group: list[Image] = []
    room = MOST_PIXELS
    for view in views:
        pixels = view.width * view.height
        if group and pixels > room:
            yield group
            group, room = [], MOST_PIXELS
        group.append(view)
        room -= pixels
    if group:
        yield group


def _starts(last: int) -> list[int]:
    return [round(last * step / (WINDOWS - 1)) for step in range(WINDOWS)]


def _highest(margins: Sequence[float]) -> int:
    return max(range(len(margins)), key=margins.__getitem__)
