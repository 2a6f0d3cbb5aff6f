"""Pages' lines joined to paragraphs of running text, each as spans of its page's canonical text.

Left out is what no one reads as a sentence: running headers and footers, page numbers, and in text
files the headings, tables, code, images and includes of Markdown. List marks and the `>` of a
quotation are cut off. A paragraph that a page or column break cuts in two is joined again. Refuses
nothing; called by `sentences` and `passages`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mmapp.documents.quotes import PageText, PlacedLine
from mmapp.types import Line

CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
CLOSERS = r"[)\]\"'”’»*_`」』）》】]*(?:\[\d+(?:[,–-]\s?\d+)*\])*"
ENDS_HERE = re.compile(rf"[.!?…。！？；]{CLOSERS}\s*$")

_FENCE = re.compile(r"\s*(?:>\s*)*(?:```|~~~)")
_NOT_TEXT = re.compile(
    r"\s*(?:>\s*)*(?:#{1,6}\s|\||!\[|!include\b|<[/!a-z]|\[[^\]]+\]:\s|\[!\w+\]\s*$|:::|\{%"
    r"|[-*_=]{3,}\s*$|!?\[?!include)",
    re.IGNORECASE,
)
_QUOTATION = re.compile(r"\s*(?:>\s?)+")
_LIST_MARK = re.compile(
    r"\s*(?:[•‣◦▪●○■□➢✓·]\s*|[-*+–]\s+(?![a-z])|\(?(?:\d{1,2}|[a-z])[.)]\s+"
    r"|[（(](?:[一二三四五六七八九十]+|\d{1,2})[)）]\s*|[一二三四五六七八九十]+、|[①-⑳]\s*)"
    r"(?:\[[ xX]\]\s+)?"
)
_MARKDOWN_DASH = re.compile(r"\s*[-*+]\s+(?:\[[ xX]\]\s+)?")
_LONE_MARK = re.compile(r"\s*(?:[•‣◦▪●○■□➢✓·*–-]|\(?(?:\d{1,2}|[a-z])[.)])\s*$")
_SPEAKER = re.compile(rf"(?:[A-Z][\w.'-]*(?: [\w.'-]+){{0,3}}|[{CJK}]{{1,10}})\s?[:：]\s?\S")
_PAGE_NUMBER = re.compile(
    r"\W*(?:page|p\.|第)?\s*(?:\d{1,5}|[ivxlc]{1,7})\s*页?(?:\s*(?:of|/|共|-|，共)\s*\d{1,5}\s*页?)?\W*",
    re.IGNORECASE,
)
#: Lines at the top and bottom of a page among which running headers and footers are looked for.
EDGE_LINES = 3


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` of the text of a page."""

    page: int
    start: int
    end: int


@dataclass(slots=True)
class Paragraph:
    """Spans that are read as one running text."""

    spans: list[Span] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    is_item: bool = False
    #: Its last line is about as long as the page's longest: it may go on elsewhere.
    is_full: bool = False


def paragraphs(pages: Sequence[PageText], *, with_source: bool = False) -> Iterator[Paragraph]:
    """The paragraphs of all pages in reading order.

    `with_source`: what is no running text in text files too, each line as a paragraph.
    """
    furniture = _furniture(pages)
    current: Paragraph | None = None
    for page in pages:
        for paragraph in _page_paragraphs(page, furniture, with_source):
            if current and _goes_on(current, paragraph):
                for span in paragraph.spans:
                    extend(current.spans, span, page.text)
                current.lines += paragraph.lines
                current.is_full = paragraph.is_full
                continue
            if current:
                yield current
            current = paragraph
    if current:
        yield current


def bare(placed: PlacedLine) -> tuple[int, int]:
    """Where the line's words stand in the page's text, without the blanks around them."""
    text = placed.line.text
    return placed.start + len(text) - len(text.lstrip()), placed.start + len(text.rstrip())


def _page_paragraphs(page: PageText, furniture: set[str], with_source: bool) -> list[Paragraph]:
    found: list[Paragraph] = []
    current: Paragraph | None = None
    item_follows = False
    edges = edge_lines(page)
    widths: dict[int, int] = {}
    for placed in page.lines:
        widths[placed.line.block] = max(widths.get(placed.line.block, 0), len(placed.line.text))
    longest = max(widths.values(), default=0)
    for placed, is_text in zip(page.lines, _running_text(page), strict=True):
        line = placed.line
        start, end = bare(placed)
        if id(line) in edges and _furniture_key(line) in furniture:
            continue
        if not is_text or start >= end:
            current = None
            if with_source and start < end:
                span = Span(page.page.number, start, end)
                found.append(Paragraph([span], [line], is_item=True))
            continue
        if _LONE_MARK.fullmatch(line.text):
            current, item_follows = None, True
            continue
        length, is_item = _mark(page.text[start:end], line, current)
        is_item, item_follows = is_item or item_follows, False
        if current is None or is_item or _breaks(current.lines, line, widths[line.block]):
            current = Paragraph(is_item=is_item)
            found.append(current)
        extend(current.spans, Span(page.page.number, start + length, end), page.text)
        current.lines.append(line)
        current.is_full = len(line.text) >= 0.8 * longest
    return found


def _running_text(page: PageText) -> list[bool]:
    """For each line whether it is running text. Only text files have marks that say otherwise."""
    found, fenced = [], False
    for placed in page.lines:
        text, is_source = placed.line.text, placed.line.box is None
        fence = is_source and bool(_FENCE.match(text))
        found.append(not (fenced or fence or (is_source and _NOT_TEXT.match(text))))
        fenced ^= fence
    return found


def _mark(body: str, line: Line, before: Paragraph | None) -> tuple[int, bool]:
    """How many characters of quotation and list marks lead the line, and whether it is an item."""
    quoted = _QUOTATION.match(body) if line.box is None else None
    length = quoted.end() if quoted else 0
    pattern = _LIST_MARK
    if line.box is None and _MARKDOWN_DASH.match(body, length):
        pattern = _MARKDOWN_DASH
    marked = pattern.match(body, length)
    if not marked or marked.end() == len(body):
        return length, False
    is_numbered = marked.group().strip()[-1:] in ".)" and not marked.group().startswith("(")
    if is_numbered and before and before.lines[-1].block == line.block and not before.is_item:
        tail = before.lines[-1].text.rstrip()
        if not (ENDS_HERE.search(tail) or tail.endswith((":", "："))):
            return length, False  # "… in chapter / 12. Then …": a wrapped line
    return marked.end(), True


def _breaks(lines: Sequence[Line], line: Line, width: int) -> bool:
    """Whether a new paragraph begins between lines and the next, in a block of such width."""
    before = lines[-1]
    if before.block != line.block:
        return True
    tail, head = before.text.rstrip(), line.text.strip()
    if before.box is None or line.box is None:
        first_word = head.split(maxsplit=1)[0]
        fits = len(tail) + 1 + len(first_word) <= width  # the line was broken on purpose
        return fits and bool(ENDS_HERE.search(tail) or _SPEAKER.match(head))
    if len(lines) > 1 or ENDS_HERE.search(tail) or head[:1].islower():
        return False
    height, next_height = before.box[3] - before.box[1], line.box[3] - line.box[1]
    is_short = before.box[2] - before.box[0] < 0.8 * (line.box[2] - line.box[0])
    return is_short and height > 1.2 * next_height  # a heading above its text


def extend(spans: list[Span], span: Span, text: str) -> None:
    """One more span, of a page of that text; what goes on where the last one ends is one span."""
    last = spans[-1] if spans else None
    if last and last.page == span.page and text[last.end : span.start] in ("", " "):
        spans[-1] = Span(span.page, last.start, span.end)
    else:
        spans.append(span)


def _goes_on(before: Paragraph, after: Paragraph) -> bool:
    """Whether a block only continues the sentence that the last block left open."""
    last, first = before.lines[-1], after.lines[0]
    tail, head = last.text.rstrip(), first.text.lstrip()
    is_new_page = before.spans[-1].page != after.spans[0].page
    if after.is_item or ENDS_HERE.search(tail) or tail.endswith((":", "：")):
        return False
    if not is_new_page and (first.box is None or last.box is None):
        return False  # a blank line or a mark in a text file ends a paragraph
    if head[0].islower():
        return len(before.lines) > 1 or len(tail) > 30
    if not is_new_page and _is_next_line(last, first):
        return True
    if not re.match(f"[{CJK}]", head) or not before.is_full:
        return False
    return is_new_page or bool(first.box and last.box and first.box[1] < last.box[1])


def _is_next_line(last: Line, first: Line) -> bool:
    """Whether a line stands right below a line that is as wide, as within one paragraph."""
    if last.box is None or first.box is None or len(last.text) < 30:
        return False
    height = last.box[3] - last.box[1]
    gap, indent, room = first.box[1] - last.box[3], first.box[0] - last.box[0], first.box[2]
    is_below = -0.5 * height < gap < 0.5 * height
    same_size = abs(first.box[3] - first.box[1] - height) < 0.2 * height
    return is_below and same_size and abs(indent) < height and room <= last.box[2] + height


# Running headers, footers and page numbers.


def _furniture(pages: Sequence[PageText]) -> set[str]:
    """Keys of lines that stand at the edge of several pages, and of page numbers."""
    on_pages: Counter[str] = Counter()
    for page in pages:
        edges = edge_lines(page)
        lines = (placed.line for placed in page.lines if id(placed.line) in edges)
        on_pages.update({_furniture_key(line) for line in lines})
    needed = max(2, min(3, len(pages)))
    return {key for key, count in on_pages.items() if count >= needed} | {_PAGE_NUMBER_KEY}


_PAGE_NUMBER_KEY = "page number"


def _furniture_key(line: Line) -> str:
    if _PAGE_NUMBER.fullmatch(line.text):
        return _PAGE_NUMBER_KEY
    text = " ".join(line.text.split()).casefold()
    return text if ENDS_HERE.search(text) else re.sub(r"\d+", "#", text)


def edge_lines(page: PageText) -> set[int]:
    """Identities of the topmost and lowest lines of a page."""
    lines = [placed.line for placed in page.lines if placed.line.text.strip()]
    if all(line.box for line in lines):
        lines.sort(key=lambda line: line.box[1] if line.box else 0.0)
    return {id(line) for line in lines[:EDGE_LINES] + lines[-EDGE_LINES:]}
