"""Which of a PDF's pictures are figures: not logos, rules, backgrounds, or the scan of a page.

Pure. `pdf` tells what is painted where; no picture is decoded for it, so a picture that comes again
is known by its size in pixels and bytes, and by its place. What is left out is counted by reason.
Refuses nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mmapp.types import Box, Picture, Pictures

#: Half an inch: in less than this, on either side, nothing is shown that a caption tells of.
LEAST_SIDE = 36.0
#: Share of its page from which a picture is the page: a scan, or a background.
PAGE_SHARE = 0.8
#: In one place on so many pages the same picture is a logo or an ornament.
REPEATED_PAGES = 3
#: Figures of a document, and pictures of a page, that are looked at; more are counted.
MOST_FIGURES = 300
MOST_ON_PAGE = 200
#: Points between the slices into which some programs cut one picture.
SLICE_GAP = 1.0


Key = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Painted:
    """A picture as a page paints it, within the page and before the page's rotation."""

    box: Box
    #: Width and height in pixels, and bytes as stored.
    content: tuple[int, int, int]

    @property
    def key(self) -> Key:
        """Equal for what is the same picture in the same place, to a point."""
        x0, y0, x1, y1 = (round(edge) for edge in self.box)
        return (*self.content, x0, y0, x1, y1)


@dataclass(frozen=True, slots=True)
class PaintedPage:
    number: int
    #: Square points.
    area: float
    painted: tuple[Painted, ...]


def figures(pages: Iterable[PaintedPage]) -> Pictures:
    """The figures in the order of their pages and places, and how many pictures are none."""
    kept = list(pages)
    repeated = _repeated(kept)
    left_out = dict.fromkeys(("tiny", "repeated", "page_sized", "beyond"), 0)
    found: list[Picture] = []
    for page in kept:
        left_out["beyond"] += len(page.painted[MOST_ON_PAGE:])
        boxes = []
        for one in page.painted[:MOST_ON_PAGE]:
            if _area(one.box) >= PAGE_SHARE * page.area:
                left_out["page_sized"] += 1
            elif one.key in repeated:
                left_out["repeated"] += 1
            else:
                boxes.append(one.box)
        whole = joined(boxes)
        figures = [box for box in whole if not _is_tiny(box)]
        left_out["tiny"] += len(whole) - len(figures)
        found += [Picture(page.number, box) for box in figures]
    left_out["beyond"] += len(found[MOST_FIGURES:])
    return Pictures(tuple(found[:MOST_FIGURES]), left_out)


def joined(boxes: Sequence[Box]) -> list[Box]:
    """Boxes that touch or overlap as one, each around all of its slices; from top to bottom."""
    whole: list[Box] = []
    for box in boxes:
        while touching := [other for other in whole if _touch(box, other)]:
            whole = [other for other in whole if other not in touching]
            box = _around([box, *touching])
        whole.append(box)
    return sorted(whole, key=lambda box: (box[1], box[0]))


def _repeated(pages: Sequence[PaintedPage]) -> set[Key]:
    places: dict[Key, set[int]] = defaultdict(set)
    for number, key in _keys(pages):
        places[key].add(number)
    return {key for key, numbers in places.items() if len(numbers) >= REPEATED_PAGES}


def _keys(pages: Sequence[PaintedPage]) -> Iterator[tuple[int, Key]]:
    return ((page.number, one.key) for page in pages for one in page.painted)


def _touch(one: Box, other: Box) -> bool:
    return (
        one[0] <= other[2] + SLICE_GAP
        and other[0] <= one[2] + SLICE_GAP
        and one[1] <= other[3] + SLICE_GAP
        and other[1] <= one[3] + SLICE_GAP
    )


def _around(boxes: Sequence[Box]) -> Box:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return (min(x0), min(y0), max(x1), max(y1))


def _is_tiny(box: Box) -> bool:
    return min(box[2] - box[0], box[3] - box[1]) < LEAST_SIDE


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
