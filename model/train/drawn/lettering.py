"""Words drawn into pictures, with the fonts inside Pillow and PyMuPDF."""

from __future__ import annotations

import math
import random
from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from model.train.drawn.colours import Box, Rgb, light

BOLD = ("hebo", "tibo", "cobo", "pillow", "helv")


def write(picture: Image.Image, text: str, box: Box, ground: Rgb, chance: random.Random) -> None:
    """A word as large as its box allows, in a colour that stands out from the ground."""
    face = chance.choice(BOLD) if text.isascii() else "china-s"
    word = _stamp(text, face)
    wide, high = box[2] - box[0], box[3] - box[1]
    # Narrow faces exist: a word may be drawn out in height or width before it stays small.
    across = min(wide / word.width, 1.35 * high / word.height)
    down = min(high / word.height, 1.35 * across)
    size = (max(1, round(word.width * across)), max(1, round(word.height * down)))
    word = word.resize(size, Image.Resampling.BILINEAR)
    at = round((box[0] + box[2] - size[0]) / 2), round((box[1] + box[3] - size[1]) / 2)
    picture.paste(chance.choice(_inks(ground)), at, word)


def _inks(ground: Rgb) -> tuple[Rgb, ...]:
    if light(ground) > 150:
        return (10, 10, 12), (20, 24, 90), (90, 10, 20)
    return ((255, 255, 255),) if light(ground) > 80 else ((255, 255, 255), (255, 240, 190))


@lru_cache(maxsize=2048)
def _stamp(text: str, face: str) -> Image.Image:
    """A word as a mask without margins; one size for all, so that each font is loaded once."""
    font = open_font(face, 72)
    left, top, right, bottom = font.getbbox(text)
    mask = Image.new("L", (max(1, math.ceil(right - left)), max(1, math.ceil(bottom - top))), 0)
    ImageDraw.Draw(mask).text((-left, -top), text, fill=255, font=font)
    return mask


@lru_cache(maxsize=64)
def open_font(face: str, size: int) -> ImageFont.FreeTypeFont:
    """One of Pillow's or PyMuPDF's fonts by its name, `size` px high."""
    if face == "pillow":
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont)
        return font
    return ImageFont.truetype(BytesIO(_font_bytes(face)), size)


@lru_cache(maxsize=16)
def _font_bytes(face: str) -> bytes:
    import pymupdf  # heavy, and needed by nothing else here

    buffer: bytes = pymupdf.Font(face).buffer  # type: ignore[no-untyped-call]
    return buffer
