"""Whether a page shows words that its text lacks, told by its ink without reading it.

Cheap, and rather too ready than not: text recognition looks at the page and may find nothing. What
is looked at is the page drawn without its text, small. Writing changes from point to point both
across and down; rules, borders and shades do so in their corners alone, so that it tells writing
where many such points stand side by side. Called by `pdf` and `parser` in the parser's child;
refuses nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Protocol

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from mmapp.documents.hidden import LOOK_DPI
from mmapp.types import Box, Line, Recognition, Source

#: A picture whose darkest and lightest points differ by less is blank.
BLANK = 8
#: Points of 0 to 255 that differ by more from their neighbours belong to a stroke.
STROKE = 24
#: Half the width and height of the field in which they are counted, points: four letters of small
#: print. The share of them that tells writing; where borders cross it is below 0.15.
FIELD = (6, 2)
WRITING = 0.25
#: Such fields from which on there may be a word.
FEWEST_FIELDS = 12
#: Letters of a text layer that say something, as a share; below it the layer is of no use.
USABLE = 0.7


class Bare(Protocol):
    """What is asked about a page, in points before its rotation."""

    width: float
    height: float

    def bare(self, dpi: int) -> Image.Image:
        """The page without its text (mode RGB)."""


def recognition(lines: Sequence[Line], page: Bare) -> Recognition:
    """Whether there is anything to recognise on a page with this text."""
    if any(line.source is Source.UNCHECKED for line in lines):
        return Recognition.WANTED
    picture = page.bare(LOOK_DPI)
    if not lines:
        return of_picture(picture)
    if _is_blank(picture):
        return Recognition.NOT_NEEDED
    boxes = [line.box for line in lines if line.box is not None]
    fields = _fields(picture, boxes, picture.width / page.width, picture.height / page.height)
    return Recognition.WANTED if fields >= FEWEST_FIELDS else Recognition.NOT_NEEDED


def of_picture(picture: Image.Image) -> Recognition:
    """Of a page that is a picture: wanted unless it is blank."""
    return Recognition.NOT_NEEDED if _is_blank(picture) else Recognition.WANTED


def is_text(lines: Sequence[Line]) -> bool:
    """False where a text layer has signs without meaning: its font does not say what they are."""
    signs = [sign for line in lines for sign in line.text if not sign.isspace()]
    known = sum(sign != "\ufffd" and unicodedata.category(sign) != "Co" for sign in signs)
    return known >= USABLE * len(signs)


def _is_blank(picture: Image.Image) -> bool:
    darkest, lightest = picture.convert("L").getextrema()
    return lightest - darkest < BLANK  # type: ignore[operator]


def _fields(picture: Image.Image, boxes: Sequence[Box], across: float, down: float) -> int:
    """Fields of writing outside of the boxes."""
    grey = picture.convert("L")
    beside, below = (
        ImageChops.difference(grey, ImageChops.offset(grey, *step)) for step in ((1, 0), (0, 1))
    )
    both = ImageChops.darker(beside, below)
    strokes = both.point([255 if value > STROKE else 0 for value in range(256)])
    draw = ImageDraw.Draw(strokes)
    for x0, y0, x1, y1 in boxes:
        draw.rectangle((x0 * across - 1, y0 * down - 1, x1 * across + 1, y1 * down + 1), fill=0)
    shares = strokes.filter(ImageFilter.BoxBlur(FIELD))
    return sum(shares.histogram()[round(255 * WRITING) :])
