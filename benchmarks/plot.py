"""Figures as SVG, on logarithmic scales: ratios as bars, which to the right of 1 say that we are
faster or use more; and costs as lines.

Called by `engine`, `context` and `scale`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

NAMES, BARS, ROW, MARGIN = 470, 320, 20, 30  # pixels
DECADES = (-1, 2)  # from a tenth to a hundred
COLOURS = {"transformers": "#3b6fb6", "llama.cpp": "#c2703d", "this machine": "#777777"}

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 560, 320, 60, 44, 16  #: of a plot of lines, and of its margins
LINE_COLOURS = ("#3a965f", "#3b6fb6", "#c2703d", "#777777", "#8a5fb0", "#222222")


@dataclass(frozen=True)
class Series:
    """One line of a plot."""

    name: str
    points: Sequence[tuple[float, float]]  #: from left to right, both above 0
    is_dashed: bool = False  #: what was not measured


def lines_svg(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    across_words: Callable[[float], str] | None = None,
) -> str:
    """Lines on two logarithmic scales: across by doublings, upwards by tens."""
    xs, ys = zip(*(point for one in series for point in one.points), strict=True)
    across = _Scale(min(xs), max(xs), LEFT, WIDTH - 16)
    floor, ceiling = (
        10.0 ** f(math.log10(y)) for f, y in ((math.floor, min(ys)), (math.ceil, max(ys)))
    )
    upwards = _Scale(floor, max(ceiling, 10 * floor), HEIGHT - BOTTOM, TOP)
    parts = [
        _tick_across(2.0**n, across, across_words or _binary)
        for n in range(math.ceil(math.log2(min(xs))), math.floor(math.log2(max(xs))) + 1)
    ]
    parts += [
        _tick_upwards(10.0**n, upwards)
        for n in range(round(math.log10(floor)), round(math.log10(upwards.high)) + 1)
    ]
    parts += [_series(one, number, across, upwards) for number, one in enumerate(series)]
    parts.append(_label((LEFT + WIDTH) / 2, HEIGHT - 6, x_label))
    parts.append(
        f'<text transform="translate(14 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
        f"{''.join(parts)}</svg>\n"
    )


@dataclass(frozen=True)
class _Scale:
    """From numbers to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + (self.end - self.start) * share


def _series(one: Series, number: int, across: _Scale, upwards: _Scale) -> str:
    colour = LINE_COLOURS[number % len(LINE_COLOURS)]
    points = " ".join(f"{across(x):.1f},{upwards(y):.1f}" for x, y in one.points)
    dashes = ' stroke-dasharray="5 4"' if one.is_dashed else ""
    top = TOP + 14 + 16 * number
    return (
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
        f'<path d="M{LEFT + 10} {top - 4}h24" stroke="{colour}" stroke-width="2"{dashes}/>'
        f'<text x="{LEFT + 40}" y="{top}">{escape(one.name)}</text>'
    )


def _tick_across(value: float, scale: _Scale, words: Callable[[float], str]) -> str:
    x = scale(value)
    return f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#eeeeee"/>' + _label(
        x, HEIGHT - BOTTOM + 16, words(value)
    )


def _binary(value: float) -> str:
    return f"{value / 1024:g}K" if value < 2**20 else f"{value / 2**20:g}M"


def _tick_upwards(value: float, scale: _Scale) -> str:
    y = scale(value)
    return (
        f'<path d="M{LEFT} {y:.1f}H{WIDTH - 16}" stroke="#cccccc"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
    )


def _label(x: float, y: float, words: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(words)}</text>'


def ratios_svg(rows: Sequence[Mapping[str, Any]]) -> str:
    height = len(rows) * ROW + 2 * MARGIN
    parts = [_line(10.0**n, height) for n in range(DECADES[0], DECADES[1] + 1)]
    parts += [_bar(row, MARGIN + number * ROW) for number, row in enumerate(rows)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{NAMES + BARS + 2 * MARGIN}" '
        f'height="{height}" font-family="sans-serif" font-size="12">{"".join(parts)}</svg>\n'
    )


def _bar(row: Mapping[str, Any], top: int) -> str:
    start, end = sorted((_x(1.0), _x(row["ratio"])))
    colour = next(c for name, c in COLOURS.items() if row["peer"].startswith(name))
    return (
        f'<text x="8" y="{top + 14}">{escape(row["work"])}, {escape(row["peer"])}</text>'
        f'<rect x="{start:.1f}" y="{top + 3}" width="{max(end - start, 1):.1f}" '
        f'height="{ROW - 6}" fill="{colour}"/>'
        f'<text x="{end + 4:.1f}" y="{top + 14}">{row["ratio"]:g}</text>'
    )


def _line(ratio: float, height: int) -> str:
    x = _x(ratio)
    return (
        f'<path d="M{x:.1f} {MARGIN}V{height - MARGIN}" stroke="#cccccc"/>'
        f'<text x="{x:.1f}" y="{MARGIN - 8}" text-anchor="middle">{ratio:g}</text>'
    )


def _x(ratio: float) -> float:
    low, high = DECADES
    place = (math.log10(max(ratio, 10.0**low)) - low) / (high - low)
    return NAMES + BARS * min(place, 1.0)
