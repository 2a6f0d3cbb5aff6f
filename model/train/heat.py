"""A heat map as SVG: recall by the length of a text and the depth of a fact. Lengths beyond what a
checkpoint was made for stand behind a line, with stars. Called by `cli`."""

from __future__ import annotations

from collections.abc import Sequence

from model.train.measure.recall import BEYOND, CHANCE, Recall

CELL_WIDTH, CELL_HEIGHT, NAMES, MARGIN = 64, 34, 96, 52  # pixels
LEAST_WIDTH = 460  #: that the words below take
#: Red, green and blue of a checkpoint that recalls by chance, and of one that always does.
WORST, BEST = (215, 92, 70), (58, 150, 95)


def heat_map(found: Sequence[Recall], title: str) -> str:
    tokens = sorted({cell.tokens for cell in found})
    depths = sorted({cell.depth for cell in found})
    beyond = {cell.tokens for cell in found if cell.is_beyond}
    width = max(NAMES + CELL_WIDTH * len(tokens) + 16, LEAST_WIDTH)
    height = MARGIN + CELL_HEIGHT * len(depths) + (56 if beyond else 40)
    parts = [_words(NAMES, 20, title, "start")]
    parts += [
        _words(NAMES + CELL_WIDTH * (place + 0.5), MARGIN - 8, f"{length:,}{star}")
        for place, length in enumerate(tokens)
        for star in ["*" if length in beyond else ""]
    ]
    parts += [
        _words(NAMES - 8, MARGIN + CELL_HEIGHT * (line + 0.6), f"{depth:.0%} deep", "end")
        for line, depth in enumerate(depths)
    ]
    parts += [_cell(cell, tokens.index(cell.tokens), depths.index(cell.depth)) for cell in found]
    legend = f"tokens across; facts recalled of {found[0].asked} each; by chance {CHANCE:.0%}"
    below = MARGIN + CELL_HEIGHT * len(depths) + 26
    parts.append(_words(NAMES, below, legend, "start"))
    if beyond:
        border = NAMES + CELL_WIDTH * tokens.index(min(beyond))
        parts.append(f'<path d="M{border} {MARGIN - 24}V{below - 20}" stroke="#333"/>')
        parts.append(_words(NAMES, below + 18, f"* {BEYOND}", "start"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' font-family="sans-serif" font-size="12">{"".join(parts)}</svg>\n'
    )


def _cell(cell: Recall, column: int, line: int) -> str:
    left, top = NAMES + CELL_WIDTH * column, MARGIN + CELL_HEIGHT * line
    share = max(0.0, (cell.share - CHANCE) / (1 - CHANCE))
    colour = ",".join(f"{a + (b - a) * share:.0f}" for a, b in zip(WORST, BEST, strict=True))
    middle = _words(left + CELL_WIDTH / 2, top + CELL_HEIGHT * 0.6, f"{cell.share:.0%}")
    return (
        f'<rect x="{left + 1}" y="{top + 1}" width="{CELL_WIDTH - 2}" height="{CELL_HEIGHT - 2}"'
        f' fill="rgb({colour})"/>{middle}'
    )


def _words(x: float, y: float, words: str, anchor: str = "middle") -> str:
    escaped = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escaped}</text>'
