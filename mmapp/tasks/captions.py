"""The words about a figure: its caption, else the sentence that refers to it, else none.

A caption begins a line with a label, "Figure 3:", "Fig. 2.1", "图3", "图 3：", and runs to the end
of its text block. Each caption goes to one picture of its page, the nearest above or below that it
shares some width with; those below their picture are preferred, as most are. A caption that is a
label alone, and a figure of a document without any labels (counted, then), are told by the sentence
of the text that names them: "see Figure 3", "如图3所示". Tables have captions of their own, which
are no figure's. The words are always a run of characters of one page. Pure; called by `figures`.
Refuses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mmapp.documents.quotes import PageText, shown_box
from mmapp.tasks.paragraphs import Span
from mmapp.tasks.sentences import sentence_spans
from mmapp.types import Box, Picture

#: Points between a picture and its caption at most, and how far the caption may stand inside it.
MOST_GAP = 60.0
MOST_INSIDE = 12.0
#: A caption above a picture counts as so many times farther away than one below.
ABOVE = 1.5
#: Characters of a caption that are read.
MOST_CHARACTERS = 1_000

_NUMBER = r"[0-9]{1,3}(?:[.\-–][0-9]{1,3})*[a-z]?(?![0-9a-z])|[IVX]{1,5}(?![A-Za-z])"
_ZH_NUMBER = r"[0-9]{1,3}(?:[.\-–－][0-9]{1,3})*[a-z]?(?![0-9a-z])|[一二三四五六七八九十]{1,3}"
_NAMED = (
    rf"(?:(?:figures?|figs?\.|fig|photo|image|picture|plate|illustration)[\s\u00a0]*(?:{_NUMBER})"
    rf"|(?:插图|附图|照片|图片|图|圖)\s*(?:{_ZH_NUMBER}))"
)
_LABEL = re.compile(rf"\s*({_NAMED})(\s*[:：.．、|—–-]+\s*|[\s\u3000]+|$)", re.IGNORECASE)
#: "Figure 3 shows that …", "图3显示…": a sentence of the text and no caption.
_SENTENCE = re.compile(
    r"(?:and|or|to|is|are|was|were|has|have|shows?|showed|illustrates?|depicts?|presents?|gives?"
    r"|compares?|plots?|reports?|summari[sz]es?|displays?|contains?|describes?|provides?|in|on|of"
    r"|above|below|also|can|we)\b|[,，;)）]|(?:所示|显示|展示|给出|表示|说明|描述|为|是|中|和|与|可见)",
    re.IGNORECASE,
)
# Blanks are taken whole (`*+`), so that a line of nothing else costs no more than its length.
_LEADS = (
    r"\s*+(?:(?:as\s++)?(?:is\s++)?(?:(?:shown|seen|can\s++be\s++seen|depicted|illustrated)\s++)?"
    r"(?:in|by|see)?|如|见|由|从)?\s*+"
)
_TAILS = (
    r"\s*+(?:(?:shows?|depicts?|illustrates?|displays?|presents?)(?:\s++that)?"
    r"|所示|显示了?|展示了?|是|为|可见|可知|可以看出)?\s*+[,，:：]?\s*+"
)
_BEFORE = re.compile(rf"{_LEADS}{_NAMED}{_TAILS}", re.IGNORECASE)
_BEHIND = re.compile(
    rf"[(（\[【，,]?\s*+(?:(?:see|as\s++shown\s++in|shown\s++in|cf\.|in|见|如|参见)\s*+)?{_NAMED}"
    r"\s*+(?:所示)?\s*+[)）\]】]?\s*+[.。]?\s*+\Z",
    re.IGNORECASE,
)
#: Characters at the end of a sentence in which a reference is looked for.
BEHIND_CHARACTERS = 60


class FoundBy(StrEnum):
    """What ties words to a figure."""

    CAPTION = "caption"
    REFERENCE = "reference"
    #: The sentence names a number, and the document labels no figure: the third is "Figure 3".
    COUNTED = "counted"


@dataclass(frozen=True, slots=True)
class About:
    """Words about a figure: characters `span` of its page, without the label."""

    span: Span
    #: As it is written: "Figure 3", "图 3".
    label: str
    found_by: FoundBy


@dataclass(frozen=True, slots=True)
class _Caption:
    label: str
    #: From the label on, and its words alone.
    whole: Span
    words: Span
    #: On the page as it is shown.
    box: Box


def words_about(figures: Sequence[Picture], pages: Sequence[PageText]) -> list[About | None]:
    """What the document says of each figure; None where nothing does."""
    by_number = {page.page.number: page for page in pages}
    captions = {number: list(_captions(page)) for number, page in by_number.items()}
    every = [caption for of_page in captions.values() for caption in of_page]
    matched = _matched(figures, by_number, captions)
    return [
        _about(order, figure, caption, pages, every)
        for order, (figure, caption) in enumerate(zip(figures, matched, strict=True), 1)
    ]


def _about(
    order: int,
    figure: Picture,
    caption: _Caption | None,
    pages: Sequence[PageText],
    every: Sequence[_Caption],
) -> About | None:
    if caption is not None and caption.words.start < caption.words.end:
        return About(caption.words, caption.label, FoundBy.CAPTION)
    if caption is not None:
        number = _number(caption.label)
        return _referring(number, figure, pages, every, FoundBy.REFERENCE)
    if not every:
        return _referring(str(order), figure, pages, every, FoundBy.COUNTED)
    return None


# --- captions ------------------------------------------------------------------------------------


def _captions(page: PageText) -> Iterator[_Caption]:
    """The captions of a page: from a label at the begin of a line to the block's end."""
    starts = [_labelled(page, index) for index in range(len(page.lines))]
    for index, match in enumerate(starts):
        if match is None:
            continue
        first = page.lines[index]
        last = index
        while (
            last + 1 < len(page.lines)
            and starts[last + 1] is None
            and page.lines[last + 1].line.block == first.line.block
        ):
            last += 1
        number = page.page.number
        end = min(page.lines[last].end, first.start + MOST_CHARACTERS)
        words = first.start + match.end()
        boxes = [
            shown_box(page.page, placed.line.box)
            for placed in page.lines[index : last + 1]
            if placed.line.box is not None
        ]
        if boxes:
            x0, y0, x1, y1 = zip(*boxes, strict=True)
            yield _Caption(
                match.group(1),
                Span(number, first.start, end),
                Span(number, min(words, end), end),
                (min(x0), min(y0), max(x1), max(y1)),
            )


def _labelled(page: PageText, index: int) -> re.Match[str] | None:
    """The label that begins a line, unless the line goes on as a sentence about it."""
    text = page.lines[index].line.text
    match = _LABEL.match(text)
    is_plain = match is not None and not match.group(2).strip()
    if match is None or (is_plain and _SENTENCE.match(text, match.end())):
        return None
    return match


def _matched(
    figures: Sequence[Picture],
    pages: dict[int, PageText],
    captions: dict[int, list[_Caption]],
) -> list[_Caption | None]:
    """The caption of each figure: the nearest pairs first, each caption once."""
    pairs = sorted(
        (distance, index, place, figure.page)
        for index, figure in enumerate(figures)
        if figure.page in pages
        for place, caption in enumerate(captions[figure.page])
        if (distance := _distance(shown_box(pages[figure.page].page, figure.box), caption.box))
        is not None
    )
    found: list[_Caption | None] = [None] * len(figures)
    taken: set[tuple[int, int]] = set()
    for _, index, place, page in pairs:
        if found[index] is None and (page, place) not in taken:
            found[index] = captions[page][place]
            taken.add((page, place))
    return found


def _distance(figure: Box, caption: Box) -> float | None:
    """Points from a picture to a caption below or above it; None where it can't be its own."""
    if caption[0] >= figure[2] or figure[0] >= caption[2]:
        return None
    below, above = caption[1] - figure[3], figure[1] - caption[3]
    if -MOST_INSIDE <= below <= MOST_GAP:
        return max(0.0, below)
    if -MOST_INSIDE <= above <= MOST_GAP:
        return ABOVE * max(0.0, above)
    return None


# --- sentences that refer to a figure ------------------------------------------------------------


def _referring(
    number: str,
    figure: Picture,
    pages: Sequence[PageText],
    captions: Sequence[_Caption],
    found_by: FoundBy,
) -> About | None:
    """The sentence nearest to the figure that names its number and says something."""
    named = re.compile(_NAMED, re.IGNORECASE)
    for page in sorted(pages, key=lambda page: abs(page.page.number - figure.page)):
        for start, end in _sentences(page, captions):
            for match in named.finditer(page.text, start, end):
                if _number(match.group()) == number:
                    first, last = _without_reference(page.text, start, end)
                    if re.search(r"\w", page.text[first:last]):
                        span = Span(page.page.number, first, last)
                        return About(span, match.group(), found_by)
    return None


def _sentences(page: PageText, captions: Sequence[_Caption]) -> Iterator[tuple[int, int]]:
    """Where the sentences of a page stand, except in captions."""
    whole = [caption.whole for caption in captions if caption.whole.page == page.page.number]
    for block in re.finditer(r"[^\n]+", page.text):
        for start, end in _mended(sentence_spans(block.group()), block.group()):
            first, last = block.start() + start, block.start() + end
            if not any(first < one.end and one.start < last for one in whole):
                yield first, last


def _mended(spans: Sequence[tuple[int, int]], text: str) -> list[tuple[int, int]]:
    """Sentences with those joined that only the dot of "Fig." parts."""
    found: list[tuple[int, int]] = []
    for start, end in spans:
        if found and re.search(r"\bfigs?\.\Z", text[slice(*found[-1])], re.IGNORECASE):
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _without_reference(text: str, start: int, end: int) -> tuple[int, int]:
    """The part of a sentence between "As Figure 3 shows," and "(see Figure 3)."."""
    before = _BEFORE.match(text[start:end])
    first = start + before.end() if before else start
    behind = _BEHIND.search(text, max(first, end - BEHIND_CHARACTERS), end)
    last = behind.start() if behind else end
    return first, first + len(text[first:last].rstrip())


def _number(label: str) -> str:
    """What a label counts: "3", "2-1", "三" as "3"."""
    number = re.search(rf"(?:{_ZH_NUMBER}|{_NUMBER})\s*\Z", label, re.IGNORECASE)
    found = number.group().strip() if number else ""
    written = "一二三四五六七八九十".find(found) + 1 if len(found) == 1 else 0
    return str(written) if written else re.sub(r"[–－]", "-", found)
