"""The sections of a document: what its outline says, or the headings that stand on its pages.

A PDF's own bookmarks come first; their titles are looked for on the pages that they lead to, so
that a section begins where its title stands. Where a document has none, headings are told by how
they look: in PDFs by the height of their lines against that of the running text, everywhere by the
way they are numbered (`1.2 Methods`, `Chapter 3`, `第二章`, `一、`), in text files by the marks of
Markdown. Refuses nothing: a document without headings has no sections. Called by `summarize` and,
for the places where a long document may be cut, by `reading`.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Literal, NamedTuple

from mmapp.documents.quotes import PageText, PlacedLine, shown_box
from mmapp.tasks.paragraphs import CJK, ENDS_HERE, Span, bare, edge_lines
from mmapp.types import Bookmark, Document

Source = Literal["bookmarks", "headings", "none"]

#: A heading's line is so much higher than a line of running text, and its letters so much wider:
#: formulas make lines higher, capitals make them wider, a larger font makes both …
LARGER, WIDER = 1.15, 1.05
#: … or numbered, and alone in its block. It runs over so many lines and characters at most.
MOST_LINES = 3
MOST_CHARACTERS = 150
#: Numbered lines of the text's own size that follow each other sooner are a list, or a contents.
LIST_CHARACTERS = 150
#: A line at the edge of so many pages is a running header.
RUNNING_PAGES = 3
#: Sections are those of the outermost level at which there are so many.
FEWEST_SECTIONS = 3

_NUMERAL = "[一二三四五六七八九十百零〇两\\d]+"
#: How headings are numbered, and how deep each way stands below the others.
_NUMBERED = (
    (re.compile(rf"第{_NUMERAL}[篇部编卷](?=\s|$|[{CJK}])"), 1),
    (re.compile(r"(?:part|book|volume)\s+(?:\d+|[ivxlc]+|[a-z])\b", re.IGNORECASE), 1),
    (re.compile(rf"第{_NUMERAL}章"), 2),
    (re.compile(r"(?:chapter|appendix|annex)\s+(?:\d+|[ivxlc]+|[a-z])\b", re.IGNORECASE), 2),
    (re.compile(rf"第{_NUMERAL}节"), 3),
    (re.compile(r"(?:section|article)\s+(?:\d+|[ivxlc]+)\b", re.IGNORECASE), 3),
    (re.compile(r"[一二三四五六七八九十]{1,3}、"), 4),
    (re.compile(r"[（(][一二三四五六七八九十]{1,3}[)）]"), 5),
)
_DECIMAL = re.compile(rf"(\d{{1,2}}(?:\.\d{{1,2}}){{0,3}})\.?\s+(?=[A-ZÀ-Þ{CJK}])")
_DECIMAL_DEPTH = 3
_UNNUMBERED = 0
_LETTER = re.compile(r"[^\W\d_]")
_CHINESE = re.compile(f"[{CJK}]")
_HASHES = re.compile(r"\s{0,3}(#{1,6})\s+")
_CLOSING_HASHES = re.compile(r"\s+#+\s*$")
_FENCE = re.compile(r"\s*(?:```|~~~)")
_TO_A_PAGE = re.compile(r"[.…·\s]{2,}\d{1,4}\s*$|\D\s\d{1,4}$")


class Place(NamedTuple):
    """A character of a document: its page, and where it stands in the page's text."""

    page: int
    at: int


@dataclass(frozen=True, slots=True)
class Heading:
    """A title in a document and where what it names begins."""

    #: From 1, the outermost.
    level: int
    title: str
    start: Place
    #: Where the title stands; empty for a bookmark whose words are not on its page.
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Outline:
    """All headings of a document, in its order."""

    headings: tuple[Heading, ...]
    source: Source

    def sections(self) -> list[Heading]:
        """The headings of the outermost level that divides the document, and those above it."""
        for level in sorted({heading.level for heading in self.headings}):
            found = [heading for heading in self.headings if heading.level <= level]
            if len(found) >= FEWEST_SECTIONS:
                return found
        return list(self.headings)


def outline_of(document: Document, pages: Sequence[PageText]) -> Outline:
    """The outline of a document, given the pages of it that have words."""
    if document.outline:
        return Outline(tuple(_of_bookmarks(document.outline, pages)), "bookmarks")
    found = _ranked(_headings(pages))
    return Outline(tuple(found), "headings" if found else "none")


def by_section(sections: Sequence[Heading], places: Sequence[Place]) -> list[list[int]]:
    """Indices of the places in what stands before the first section, then in each section."""
    starts = [section.start for section in sections]
    found: list[list[int]] = [[] for _ in range(len(sections) + 1)]
    for index, place in enumerate(places):
        found[bisect_right(starts, place)].append(index)
    return found


# Bookmarks.


def _of_bookmarks(bookmarks: Sequence[Bookmark], pages: Sequence[PageText]) -> list[Heading]:
    """Each bookmark where its title stands on its page, else where the page begins."""
    by_number = {page.page.number: page for page in pages}
    keys = {number: _line_keys(page) for number, page in by_number.items()}
    found = []
    after: dict[int, int] = {}
    for bookmark in bookmarks:
        page = by_number.get(bookmark.page)
        spans: tuple[Span, ...] = ()
        if page is not None:
            lines = _lines_of_title(_key(bookmark.title), keys[bookmark.page], after)
            if lines:
                after[bookmark.page] = lines[-1] + 1
                spans = _spans([page.lines[line] for line in lines], page)
        start = Place(bookmark.page, spans[0].start if spans else 0)
        found.append(Heading(bookmark.level, bookmark.title, start, spans))
    return sorted(found, key=lambda heading: heading.start)


def _line_keys(page: PageText) -> tuple[int, list[str]]:
    return page.page.number, [_key(placed.line.text) for placed in page.lines]


def _lines_of_title(title: str, page: tuple[int, list[str]], after: dict[int, int]) -> list[int]:
    """The lines of a page that say a title, with or without its number, and nothing more.

    Bookmarks of one page are looked for one after another, since titles may be repeated.
    """
    number, keys = page
    for first in range(after.get(number, 0), len(keys)):
        said = ""
        for last in range(first, min(first + MOST_LINES, len(keys))):
            said += keys[last]
            if title and (said == title or _without_number(said) == _without_number(title)):
                return list(range(first, last + 1))
            if len(said) > len(title) + 12:
                break
    return []


def _key(text: str) -> str:
    """The letters and digits of a text, whatever their width and case."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in plain if character.isalnum())


def _without_number(key: str) -> str:
    return re.sub(r"^(?:\d+|[ivxlc]{1,4}(?=\d))+", "", key) or key


# Headings on the pages.


@dataclass(frozen=True, slots=True)
class _Found:
    """What looks like a heading."""

    title: str
    start: Place
    spans: tuple[Span, ...]
    #: Its height in tenths of that of the running text; 10 for what is told by its number alone.
    size: int
    #: How deep its way of numbering stands; `_UNNUMBERED` has none.
    depth: int


@dataclass(frozen=True, slots=True)
class _Size:
    """Of a line as it is shown: its height, and the width of an em as its letters tell it."""

    height: float
    em: float

    def stands_out(self, body: _Size) -> bool:
        return self.height >= LARGER * body.height > 0 and self.em >= WIDER * body.em


def _headings(pages: Sequence[PageText]) -> list[_Found]:
    body = _body_size(pages)
    running = _running_headers(pages)
    found: list[_Found] = []
    for page in pages:
        if any(placed.line.box for placed in page.lines):
            found += _drawn_headings(page, body, running)
        else:
            found += _written_headings(page)
    return _without_lists(found, _Ruler(pages))


def _drawn_headings(page: PageText, body: _Size, running: set[str]) -> Iterator[_Found]:
    """Of a page with boxes: the first lines of a block that stand out."""
    for _, block in groupby(page.lines, key=lambda placed: placed.line.block):
        lines = [placed for placed in block if placed.line.text.strip()]
        sizes = [_size(page, placed) for placed in lines]
        if not lines or _furniture_key(lines[0]) in running:
            continue
        is_larger = sizes[0].stands_out(body)
        if is_larger:
            head = _as_high(lines, [size.height for size in sizes])
            size_class = round(10 * sizes[0].height / body.height)
        else:
            head, size_class = lines if len(lines) == 1 else [], 10
        if not 0 < len(head) <= MOST_LINES:
            continue
        spans = _spans(head, page)
        title = _said(spans, page)
        depth = _depth(title)
        if _is_title(title) and (is_larger or depth != _UNNUMBERED):
            start = Place(page.page.number, spans[0].start)
            yield _Found(title, start, spans, size_class, depth)


def _written_headings(page: PageText) -> Iterator[_Found]:
    """Of a page of a text file: marked as in Markdown, or numbered and alone in a block."""
    blocks = Counter(placed.line.block for placed in page.lines)
    fenced = False
    for placed in page.lines:
        text = placed.line.text
        if _FENCE.match(text):
            fenced = not fenced
            continue
        start, end = bare(placed)
        marked = None if fenced else _HASHES.match(text)
        if marked:
            start = placed.start + marked.end()
            closing = _CLOSING_HASHES.search(page.text[start:end])
            end = start + closing.start() if closing else end
        title = page.text[start:end]
        depth = _UNNUMBERED if marked else _depth(title)
        stands_out = bool(marked) or (depth != _UNNUMBERED and blocks[placed.line.block] == 1)
        if not fenced and stands_out and _is_title(title):
            span = Span(page.page.number, start, end)
            # One mark is the largest of headings, six are the smallest.
            size = 20 - len(marked.group(1)) if marked else 10
            yield _Found(title, Place(span.page, placed.start), (span,), size, depth)


def _is_title(title: str) -> bool:
    letters = len(_LETTER.findall(title))
    has_words = letters >= max(2, 0.6 * len("".join(title.split())))
    ends = ENDS_HERE.search(title) and not title.endswith(("?", "？", "!", "！"))
    is_formula = any(unicodedata.category(character) == "Sm" for character in title)
    is_short = len(title) <= MOST_CHARACTERS
    return has_words and is_short and not ends and not is_formula and not title[0].islower()


def _depth(title: str) -> int:
    """How deep the way in which a title is numbered stands; `_UNNUMBERED` where it is not."""
    for pattern, depth in _NUMBERED:
        if pattern.match(title):
            return depth
    decimal = _DECIMAL.match(title)
    return _DECIMAL_DEPTH + 1 + decimal.group(1).count(".") if decimal else _UNNUMBERED


def _as_high(lines: Sequence[PlacedLine], heights: Sequence[float]) -> list[PlacedLine]:
    """The first lines of a block that are about as high as its first."""
    count = next(
        (i for i, height in enumerate(heights) if abs(height - heights[0]) > 0.1 * heights[0]),
        len(lines),
    )
    return list(lines[:count])


def _size(page: PageText, placed: PlacedLine) -> _Size:
    """Of a line as it is shown; nothing for one that is not level."""
    line = placed.line
    if line.box is None or not line.edges:
        return _Size(0.0, 0.0)
    left, top, right, bottom = shown_box(page.page, line.box)
    # A Chinese character is as wide as its font is high, a letter about half as wide.
    halves = len(line.text) + len(_CHINESE.findall(line.text))
    return _Size(bottom - top, 2 * (right - left) / halves)


def _body_size(pages: Sequence[PageText]) -> _Size:
    """The size of most of the text, in half points of height."""
    characters: Counter[float] = Counter()
    widths: dict[float, float] = {}
    for page in pages:
        for placed in page.lines:
            size, count = _size(page, placed), len(placed.line.text)
            height = round(2 * size.height) / 2
            characters[height] += count
            widths[height] = widths.get(height, 0.0) + count * size.em
    del characters[0.0]
    if not characters:
        return _Size(0.0, 0.0)
    ((height, count),) = characters.most_common(1)
    return _Size(height, widths[height] / count)


def _running_headers(pages: Sequence[PageText]) -> set[str]:
    on_pages: Counter[str] = Counter()
    for page in pages:
        edges = edge_lines(page)
        on_pages.update(
            {_furniture_key(placed) for placed in page.lines if id(placed.line) in edges}
        )
    return {key for key, count in on_pages.items() if count >= RUNNING_PAGES}


def _furniture_key(placed: PlacedLine) -> str:
    return " ".join(placed.line.text.split()).casefold()


class _Ruler:
    """How many characters stand between two places."""

    def __init__(self, pages: Sequence[PageText]) -> None:
        self._starts: dict[int, int] = {}
        length = 0
        for page in pages:
            self._starts[page.page.number] = length
            length += len(page.text)

    def between(self, first: Place, last: Place) -> int:
        return self._starts[last.page] + last.at - self._starts[first.page] - first.at


def _without_lists(found: Sequence[_Found], ruler: _Ruler) -> list[_Found]:
    """Without numbered lines of the text's own size that crowd together, or lead to a page."""
    crowded: set[int] = set()
    for index, (one, other) in enumerate(pairwise(found)):
        is_alike = one.size == other.size == 10 and one.depth == other.depth
        if is_alike and ruler.between(one.start, other.start) < LIST_CHARACTERS:
            crowded |= {index, index + 1}
    return [
        one
        for index, one in enumerate(found)
        if index not in crowded and not (one.size == 10 and _TO_A_PAGE.search(one.title))
    ]


def _ranked(found: Sequence[_Found]) -> list[Heading]:
    """Levels from 1: larger headings stand above smaller, then by their way of numbering."""
    shallowest: dict[int, int] = {}
    for one in found:
        if one.depth != _UNNUMBERED:
            shallowest[one.size] = min(one.depth, shallowest.get(one.size, one.depth))
    # What has no number stands beside the outermost numbered headings of its size.
    found = [replace(one, depth=one.depth or shallowest.get(one.size, 0)) for one in found]
    kinds = sorted({(-one.size, one.depth) for one in found})
    return [
        Heading(kinds.index((-one.size, one.depth)) + 1, one.title, one.start, one.spans)
        for one in found
    ]


def _spans(lines: Sequence[PlacedLine], page: PageText) -> tuple[Span, ...]:
    """One span over neighbouring lines, without the blanks around them."""
    start, end = bare(lines[0])[0], bare(lines[-1])[1]
    return (Span(page.page.number, start, end),)


def _said(spans: Sequence[Span], page: PageText) -> str:
    return " ".join(page.text[span.start : span.end] for span in spans)
