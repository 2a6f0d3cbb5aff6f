"""Shades of the colours that products and pictures have, and which of them look alike."""

from __future__ import annotations

import math
import random

Rgb = tuple[int, int, int]
Box = tuple[float, float, float, float]


SHADES: dict[str, Rgb] = {
    "black": (28, 28, 32), "white": (244, 244, 242), "grey": (132, 134, 138),
    "red": (208, 28, 38), "orange": (246, 134, 14), "brown": (116, 70, 34),
    "yellow": (248, 214, 36), "green": (36, 146, 62), "blue": (34, 84, 204),
    "purple": (122, 46, 164), "pink": (246, 146, 188),
}  # fmt: skip
# Which of these a person would not tell apart with certainty at 120 px.
ALIKE_COLOURS = (
    {"red", "orange"}, {"red", "pink"}, {"orange", "yellow"}, {"orange", "brown"},
    {"brown", "red"}, {"purple", "pink"}, {"purple", "blue"}, {"white", "grey"},
    {"grey", "black"}, {"brown", "black"},
)  # fmt: skip


def alike(colour: str) -> set[str]:
    """The colour and those that it is easily taken for."""
    return {colour}.union(*(group for group in ALIKE_COLOURS if colour in group))


def _mix(one: Rgb, two: Rgb, share: float) -> Rgb:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, two, strict=True))
    return red, green, blue


def distance(one: Rgb, two: Rgb) -> float:
    """How far apart two shades are, Euclidean in RGB: 0 to 442."""
    return math.dist(one, two)


def light(rgb: Rgb) -> float:
    """Luma of a shade, 0 to 255, by the weights of ITU-R BT.601, rounded."""
    return 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]


def vary(colour: str, chance: random.Random) -> Rgb:
    """One of a colour's shades; those of grey have no hue."""
    steps = [chance.randint(-14, 14) for _ in range(3)]
    if colour in ("black", "grey", "white"):
        steps = steps[:1] * 3
    red, green, blue = (
        min(255, max(0, part + by)) for part, by in zip(SHADES[colour], steps, strict=True)
    )
    return red, green, blue


def toned(tone: str, rgb: Rgb) -> Rgb:
    """The shade of a trim: darker or lighter than the item's, or one of three fixed ones."""
    if tone == "dark":
        return _mix(rgb, (0, 0, 0), 0.35)
    if tone == "light":
        return _mix(rgb, (255, 255, 255), 0.3)
    return {"grey": (176, 178, 182), "white": (246, 246, 246), "black": (36, 36, 36)}[tone]
