"""The words of a page as one string, and the way back from any part of it to boxes.

Pure. `tasks` choose quotes from `page_text`, and `boxes_of` proves where they stand, so the two
must count alike: both come from one walk over the page's lines. `web` draws the boxes after
`shown_box`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from mmapp.documents.characters import is_cjk
from mmapp.types import Box, Line, Page


@dataclass(frozen=True, slots=True)
class PlacedLine:
    """A line and the place of its text in the page's text."""

    line: Line
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.line.text)


class PageText:
    """The text of a page with a map from its characters to (line, column)."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.lines: list[PlacedLine] = []
        pieces: list[str] = []
        length = 0
        for separator, line in _joined(page):
            length += len(separator)
            self.lines.append(PlacedLine(line, length))
            length += len(line.text)
            pieces += (separator, line.text)
        self.text = "".join(pieces)

    def place(self, index: int) -> tuple[int, int]:
        """(line, column) of a character; of a separator, the end of the line before it."""
        if not 0 <= index < len(self.text):
            raise IndexError(f"character {index} of a page text of {len(self.text)}")
        number = bisect_right(self.lines, index, key=lambda placed: placed.start) - 1
        return number, index - self.lines[number].start

    def confidence_of(self, start: int, end: int) -> float | None:
        """How sure the least sure recognised line of `[start, end)` is; None where none is."""
        found = [
            placed.line.confidence
            for placed in self.lines
            if max(start, placed.start) < min(end, placed.end)
            and placed.line.confidence is not None
        ]
        return min(found, default=None)

    def boxes_of(self, start: int, end: int) -> tuple[Box, ...]:
        """One box for each line of which `[start, end)` covers a character, in reading order."""
        boxes = []
        for placed in self.lines:
            first, last = max(start, placed.start), min(end, placed.end)
            if first < last and placed.line.box is not None:
                boxes.append(
                    _cut(self.page, placed.line, first - placed.start, last - placed.start)
                )
        return tuple(boxes)


def page_text(page: Page) -> str:
    """The canonical text of a page; every quote is a part of it.

    The lines of a block are joined by a space, and by nothing between two characters of a script
    that is written without spaces; blocks are separated by a newline.
    """
    return PageText(page).text


def boxes_of(page: Page, start: int, end: int) -> tuple[Box, ...]:
    """Where `page_text(page)[start:end]` stands: one box for each line, cut to the quote."""
    return PageText(page).boxes_of(start, end)


def shown_box(page: Page, box: Box) -> Box:
    """`box` on the page as it is shown, whose size is `page.width` by `page.height`."""
    x0, y0, x1, y1 = box
    match page.rotation:
        case 90:
            return (page.width - y1, x0, page.width - y0, x1)
        case 180:
            return (page.width - x1, page.height - y1, page.width - x0, page.height - y0)
        case 270:
            return (y0, page.height - x1, y1, page.height - x0)
    return box


def stored_box(page: Page, box: Box) -> Box:
    """The inverse of `shown_box`: from the page as it is shown to the page before its rotation."""
    x0, y0, x1, y1 = box
    match page.rotation:
        case 90:
            return (y0, page.width - x1, y1, page.width - x0)
        case 180:
            return (page.width - x1, page.height - y1, page.width - x0, page.height - y0)
        case 270:
            return (page.height - y1, x0, page.height - y0, x1)
    return box


def stored_edges(page: Page, edges: tuple[float, ...]) -> tuple[float, ...]:
    """Edges of characters along x of the page as it is shown, as a `Line` counts them."""
    if page.rotation in (90, 180):
        return tuple(page.width - edge for edge in edges)
    return edges


def _joined(page: Page) -> Iterator[tuple[str, Line]]:
    """Each line that has text, with what stands between it and the one before."""
    before: Line | None = None
    for line in page.lines:
        if not line.text:
            continue
        if before is None:
            yield "", line
        elif line.block != before.block:
            yield "\n", line
        elif is_cjk(before.text[-1]) and is_cjk(line.text[0]):
            yield "", line
        else:
            yield " ", line
        before = line


def _cut(page: Page, line: Line, first: int, last: int) -> Box:
    """The line's box from character `first` to before `last`; whole where edges are not known."""
    assert line.box is not None
    if not line.edges:
        return line.box
    x0, y0, x1, y1 = line.box
    low = min(line.edges[first], line.edges[last])
    high = max(line.edges[first], line.edges[last])
    if page.rotation % 180:
        return (x0, low, x1, high)
    return (low, y0, high, y1)
