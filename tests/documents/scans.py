"""Scans made on the spot: pages that are written, drawn, spoilt, and kept as pictures alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import pymupdf
from PIL import Image, ImageFilter

DPI = 150
ENGLISH = [
    "The board met on Monday and read the report of the auditors.",
    "Costs rose by 4 percent, which the chair called acceptable.",
]
CHINESE = ["今天的会议讨论了明年的预算和人员安排。", "北部的新楼还没有决定，下周再谈。"]


def written(lines: Sequence[str], size: float = 11, top: float = 60) -> pymupdf.Document:
    """A page of 420 by 200 points with a line each 18 points."""
    document = pymupdf.open()
    page = document.new_page(width=420, height=200)
    for number, line in enumerate(lines):
        font = "helv" if line.isascii() else "china-s"
        page.insert_text((40, top + 18 * number), line, fontsize=size, fontname=font)
    return document


def picture(document: pymupdf.Document, dpi: int = DPI) -> Image.Image:
    pixels = document[0].get_pixmap(dpi=dpi)
    return Image.frombytes("RGB", (pixels.width, pixels.height), pixels.samples)


def spoilt(image: Image.Image, degrees: float = 0.8) -> Image.Image:
    """As a cheap scanner gives it: askew, grey, grainy, soft."""
    askew = image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor="white")
    grain = Image.effect_noise(image.size, 40).convert("RGB")
    return Image.blend(askew, grain, 0.15).filter(ImageFilter.GaussianBlur(0.6))


def encoded(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@dataclass(frozen=True)
class Word:
    """A word of a text layer: where it begins and how large it is, points."""

    text: str
    x: float
    size: float


def laid_over(line: str, other: str) -> list[list[Word]]:
    """Other words, each as wide as the word of the line over which it stands."""
    font = pymupdf.Font("helv" if line.isascii() else "china-s")
    words, x = [], 40.0
    for shown, said in zip(line.split(), other.split(), strict=True):
        size = 11 * font.text_length(shown, 11) / font.text_length(said, 11)
        words.append(Word(said, x, size))
        x += font.text_length(shown + " ", 11)
    return [words]


def scanned(
    image: Image.Image, layer: Sequence[str | list[Word]] = (), *, rotation: int = 0
) -> bytes:
    """A PDF whose page is the picture, with lines of an unseen text layer above it."""
    document = pymupdf.open()
    page = document.new_page(width=image.width * 72 / DPI, height=image.height * 72 / DPI)
    page.insert_image(page.rect, stream=encoded(image))
    for number, line in enumerate(layer):
        for word in [Word(line, 40, 11)] if isinstance(line, str) else line:
            font = "helv" if word.text.isascii() else "china-s"
            at = (word.x, 60 + 18 * number)
            page.insert_text(at, word.text, fontsize=word.size, fontname=font, render_mode=3)
    page.set_rotation(rotation)
    return document.tobytes()
