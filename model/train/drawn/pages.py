"""Pages of a document as pictures: a title, text in lines, as a camera or scanner sees them.

A glyph that its font lacks stands as a box.
"""

from __future__ import annotations

import math
import random
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from model.train.drawn.lettering import open_font

PAGE = (480, 640)
READING = ("helv", "tiro", "cour", "pillow")


def draw_page(text: str, chance: random.Random) -> Image.Image:
    """A page of a document as a picture: its first line as a title, then what fits of the rest."""
    wide, high = PAGE
    paper = chance.randint(226, 255)
    page = Image.new("L", PAGE, paper)
    ink = chance.randint(0, 60)
    face = chance.choice(READING) if text.isascii() or not _is_chinese(text) else "china-s"
    margin = chance.randint(24, 48)
    first, _, rest = text.strip().partition("\n")
    title = open_font(face, chance.choice((36, 44)))
    body = open_font(face, chance.choice((14, 18)))
    y = float(margin)
    for line in _wrap(first, title, wide - 2 * margin, 3):
        _set(page, (margin, y), line, title, ink)
        y += title.size * 1.2
    y += body.size * 0.8
    leading = body.size * chance.uniform(1.25, 1.5)
    most = max(0, int((high - margin - y) / leading))
    for line in _wrap(rest, body, wide - 2 * margin, most):
        _set(page, (margin, y), line, body, ink)
        y += leading
    if chance.random() < 0.5:
        page = page.rotate(chance.uniform(-1.5, 1.5), Image.Resampling.BILINEAR, fillcolor=paper)
    grain = Image.frombytes("L", (wide // 2, high // 2), chance.randbytes(wide * high // 4))
    page = Image.blend(page, grain.resize(PAGE), chance.uniform(0.0, 0.06))
    return page.convert("RGB")


def _is_chinese(text: str) -> bool:
    return any("\u3000" <= letter <= "\u9fff" for letter in text)


def _wrap(text: str, font: ImageFont.FreeTypeFont, wide: float, most: int) -> list[str]:
    """The first lines of a text set in a width: broken at blanks, Chinese anywhere."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line, used = "", 0.0
        for word in _words(paragraph):
            length = sum(_advance(font, letter) for letter in word)
            if line and used + length > wide:
                lines.append(line.rstrip())
                line, used = "", 0.0
                if len(lines) >= most:
                    return lines[:most]
                word = word.lstrip()
            line, used = line + word, used + length
        lines.append(line.rstrip())
        if len(lines) >= most:
            break
    return lines[:most]


def _words(paragraph: str) -> list[str]:
    words: list[str] = []
    for letter in paragraph:
        if words and letter.isascii() and words[-1][-1:].isascii() and not words[-1].endswith(" "):
            words[-1] += letter
        else:
            words.append(letter)
    return words


def _set(
    page: Image.Image,
    start: tuple[float, float],
    line: str,
    font: ImageFont.FreeTypeFont,
    ink: int,
) -> None:
    """A line letter by letter from kept glyphs: FreeType would take a page's time for each line."""
    x, y = start
    for letter in line:
        if letter != " ":
            page.paste(ink, (round(x), round(y)), _glyph(font, letter))
        x += _advance(font, letter)


@lru_cache(maxsize=16384)
def _glyph(font: ImageFont.FreeTypeFont, letter: str) -> Image.Image:
    size = (math.ceil(_advance(font, letter)) + 2, math.ceil(font.size * 1.4))
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).text((0, 0), letter, fill=255, font=font)
    return mask


@lru_cache(maxsize=16384)
def _advance(font: ImageFont.FreeTypeFont, letter: str) -> float:
    return font.getlength(letter)
