"""Plots as SVG, drawn from numbers: lines in a square, bars, hours, and a table of shaded cells.

Colours are classes of the page that holds them; every foreign word is escaped. Called by
`workers.evaluation` and `batches`, for their reports, and by the System page.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Point = tuple[float, float]
#: Shade from 0 to 1 (None: none), words, and whether it is good.
Cell = tuple[float | None, str, bool]

#: The square in which a plot is drawn, and the room for its axes, in pixels.
SIDE, MARGIN = 280, 46
#: The plot of hours; every so many of them are named.
HOURS_WIDTH, HOURS_HEIGHT, HOURS_NAMED = 720, 140, 3
CELL_WIDTH, CELL_HEIGHT, NAME_WIDTH = 104, 26, 190
#: Characters of a name that fit its place.
NAME_CHARACTERS = 26
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def curve(points: Sequence[Point], x_label: str, y_label: str, bars: Sequence[float] = ()) -> str:
    """A line from (0, 0) to (1, 1), over its diagonal; `bars` are shares of the inputs below it."""
    width = SIDE / max(len(bars), 1)
    shares = [
        _bar(MARGIN + number * width, width, share * SIDE / max(bars))
        for number, share in enumerate(bars)
        if share
    ]
    path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    dots = [
        f'<circle class="dot" cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="3"/>'
        for x, y in points
        if len(points) <= len(TICKS) * 4
    ]
    diagonal = f'<path class="faint" d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}"/>'
    line = f'<polyline class="line" points="{path}"/>'
    return _square("".join([*shares, diagonal, line, *dots]), x_label, y_label)


def histogram(values: Sequence[float], x_label: str, y_label: str, count: int = 20) -> str:
    """How many values from 0 to 1 fall into each of `count` bins."""
    counts = [0] * count
    for value in values:
        counts[min(int(value * count), count - 1)] += 1
    width = SIDE / count
    bars = [
        _bar(MARGIN + number * width, width, held / max(counts) * SIDE)
        for number, held in enumerate(counts)
        if held
    ]
    return _square("".join(bars), x_label, y_label, y_ticks=(0, max(counts, default=0)))


def hours(counts: Sequence[tuple[str, int, int]]) -> str:
    """Bars side by side, each named: what went well, and on top of it what did not."""
    most = max((good + bad for _, good, bad in counts), default=0)
    step, low = HOURS_WIDTH / max(len(counts), 1), HOURS_HEIGHT + MARGIN / 4
    parts = [f'<path class="faint" d="M{MARGIN} {low:g}h{HOURS_WIDTH}"/>']
    for number, (name, good, bad) in enumerate(counts):
        left, under = MARGIN + number * step, low
        for class_, count in (("good", good), ("bad", bad)):
            height = count / max(most, 1) * HOURS_HEIGHT
            under -= height
            if count:
                parts.append(
                    f'<rect class="{class_}" x="{left + 1:.1f}" y="{under:.1f}"'
                    f' width="{step - 2:.1f}" height="{height:.1f}"><title>{escape(name)}:'
                    f" {count:,}</title></rect>"
                )
        if number % HOURS_NAMED == len(counts) % HOURS_NAMED:
            parts.append(_text(left + step / 2, low + 16, name, "middle"))
    for tick in sorted({0, most}):
        y = low - tick / max(most, 1) * HOURS_HEIGHT
        parts.append(_text(MARGIN - 6, y + 4, f"{tick:,}", "end"))
    return _svg(MARGIN * 1.5 + HOURS_WIDTH, low + 24, "".join(parts))


def shaded(
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Cell]]],
) -> str:
    """A table of named rows."""
    width = NAME_WIDTH + CELL_WIDTH * len(columns)
    height = CELL_HEIGHT * (len(rows) + 1)
    parts = [
        _text(NAME_WIDTH + CELL_WIDTH * (number + 0.5), CELL_HEIGHT * 0.65, name, "middle")
        for number, name in enumerate(columns)
    ]
    for line, (name, cells) in enumerate(rows, 1):
        middle = CELL_HEIGHT * (line + 0.65)
        parts.append(_text(NAME_WIDTH - 10, middle, _short(name), "end"))
        for number, (shade, words, is_good) in enumerate(cells):
            left = NAME_WIDTH + CELL_WIDTH * number
            if shade is not None:
                parts.append(
                    f'<rect class="{"good" if is_good else "bad"}" x="{left + 1}"'
                    f' y="{CELL_HEIGHT * line + 1}" width="{CELL_WIDTH - 2}"'
                    f' height="{CELL_HEIGHT - 2}" fill-opacity="{0.06 + 0.6 * shade:.2f}"/>'
                )
            parts.append(_text(left + CELL_WIDTH / 2, middle, words, "middle", "ink"))
    return _svg(width, height, "".join(parts))


def _square(inside: str, x_label: str, y_label: str, y_ticks: tuple[float, ...] = TICKS) -> str:
    most = max(*y_ticks, 0) or 1
    frame = f'<rect class="frame" x="{MARGIN}" y="{MARGIN / 4}" width="{SIDE}" height="{SIDE}"/>'
    low = MARGIN / 4 + SIDE
    axes = [
        *(_text(_x(tick), low + 15, f"{tick:g}", "middle") for tick in TICKS),
        *(_text(MARGIN - 6, _y(tick / most) + 4, f"{tick:g}", "end") for tick in y_ticks),
        _text(MARGIN + SIDE / 2, low + 33, x_label, "middle"),
        f'<g transform="translate(11 {MARGIN / 4 + SIDE / 2}) rotate(-90)">'
        f"{_text(0, 0, y_label, 'middle')}</g>",
    ]
    return _svg(MARGIN * 1.5 + SIDE, MARGIN + SIDE + 6, frame + inside + "".join(axes))


def _svg(width: float, height: float, inside: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
        f' role="img">{inside}</svg>'
    )


def _bar(left: float, width: float, height: float) -> str:
    top = MARGIN / 4 + SIDE - height
    return (
        f'<rect class="bar" x="{left + 1:.1f}" y="{top:.1f}" width="{width - 2:.1f}"'
        f' height="{height:.1f}"/>'
    )


def _text(x: float, y: float, words: str, anchor: str, class_: str = "soft") -> str:
    return (
        f'<text class="{class_}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


def _x(value: float) -> float:
    return MARGIN + value * SIDE


def _y(value: float) -> float:
    return MARGIN / 4 + (1 - value) * SIDE


def _short(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS else name[: NAME_CHARACTERS - 1] + "…"
