"""How items are laid out in a picture: their grid, and whether a word can be read on them."""

from __future__ import annotations

import math

from model.train.drawn.shapes import Shape

SIDE = 192  # of a product picture
LEAST_LETTER = 13.0  # px of width that a printed letter needs; Chinese characters need twice that


def grid(shape: Shape, count: int, high: int, tilt: float) -> tuple[int, int, float]:
    """Columns and rows in which the tilted items become largest, and how high one is then."""
    sin, cos = abs(math.sin(math.radians(tilt))), math.cos(math.radians(tilt))
    found = []
    for columns in range(1, count + 1):
        rows = math.ceil(count / columns)
        by_height = 0.92 * high / rows / (cos + shape.aspect * sin)
        by_width = 0.92 * SIDE / columns / (shape.aspect * cos + sin)
        found.append((min(by_height, by_width), columns, rows))
    tall, columns, rows = max(found)
    return columns, rows, tall


def fits(text: str, shape: Shape, count: int) -> bool:
    """Whether a word can be read on the items; if not, it gets a banner of its own."""
    if shape.front is None:
        return False
    wide = grid(shape, count, SIDE, 5)[2] * shape.aspect * (shape.front[2] - shape.front[0])
    letters = len(text) if text.isascii() else 1.8 * len(text)
    return wide * 0.88 >= letters * LEAST_LETTER
