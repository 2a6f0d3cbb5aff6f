"""Ratios as bars in an SVG, on a logarithmic scale: to the right of 1 we are faster or use more.

Called by `engine`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

NAMES, BARS, ROW, MARGIN = 470, 320, 20, 30  # pixels
DECADES = (-1, 2)  # from a tenth to a hundred
COLOURS = {"transformers": "#3b6fb6", "llama.cpp": "#c2703d", "this machine": "#777777"}


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
