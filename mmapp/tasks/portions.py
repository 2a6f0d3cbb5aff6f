"""A document cut into portions that fit an engine's context, where its structure lets it be cut.

Every character of every page is in exactly one portion as its own, so nothing is skipped and every
sentence is asked about once. A portion ends where a section does if one ends in its last third,
else with a page. It begins with a lead that is read again: the opening of the document, which says
what all of it is about, and the paragraphs before its own first word. Refuses a context that has no
room for text beside the question. Called by `reading` and `abstractive`.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mmapp.errors import CheckpointProblem
from mmapp.tasks.paragraphs import Span
from mmapp.tasks.sections import Heading, Place
from mmapp.types import Engine

#: Tokens kept free for turn markers and for words that are cut differently when joined.
SPARE_TOKENS = 64
#: Fewest tokens of text that are worth reading at once.
FEWEST_TOKENS = 64
#: Of the room of a portion, what its opening and what the paragraphs before it may take.
LEAD_SHARE = 1 / 16
#: A section may end a portion that it fills at least so far.
FULL_ENOUGH = 2 / 3
#: Questions get a multiple of this share of the context, so that a document is cut in the same
#: places for most questions about it, and what was read for one is known for the next.
QUESTION_STEPS = 32

#: What the words of a page take in a prompt, by its number and them.
CountTokens = Callable[[int, str], int]


@dataclass(frozen=True, slots=True)
class Portion:
    """What is read in one prefix: spans in document order, and the tokens of each."""

    spans: tuple[Span, ...]
    tokens: tuple[int, ...]
    #: Read before them, once more: the document's opening, and what stands right before.
    lead: tuple[Span, ...] = ()
    lead_tokens: tuple[int, ...] = ()

    @property
    def start(self) -> Place:
        return Place(self.spans[0].page, self.spans[0].start)


def room_for_text(engine: Engine, question_tokens: int, picture_tokens: int) -> int:
    """Tokens of pages that fit beside the longest question; `picture_tokens` for one page."""
    room = engine.context_length - question_tokens - SPARE_TOKENS
    least = FEWEST_TOKENS + picture_tokens
    if room < least:
        raise CheckpointProblem(
            f"{engine.name} has a context of {engine.context_length:,} tokens; a question takes "
            f"{question_tokens:,} and a page's picture {picture_tokens:,}, which leaves no room "
            "for a document: use a checkpoint with a longer context, or, where memory cuts it "
            "(MMAPP_ENGINE_MEMORY_MB), give the worker more"
        )
    return max(least, room_of(engine.context_length, question_tokens))


def room_of(context_tokens: int, question_tokens: int) -> int:
    """Tokens of a context that are left beside the longest question, below 1 where none are."""
    step = max(1, context_tokens // QUESTION_STEPS)
    return context_tokens - SPARE_TOKENS - -(-question_tokens // step) * step


def portions_of(pages: int, tokens: int, room: int) -> int:
    """How many portions so many pages of so many tokens in all make, if they are alike and no
    section ends a portion early: whole pages where they fit, else halves of them, or quarters, …"""
    if tokens <= room:
        return 1
    own, piece, pieces = max(1, room - 2 * int(LEAD_SHARE * room)), tokens / pages, pages
    while piece > own:
        piece, pieces = piece / 2, pieces * 2
    return -(-pieces // int(own / piece))


def portions(
    texts: Sequence[tuple[int, str]],
    room: int,
    page_tokens: CountTokens,
    *,
    lead_tokens: CountTokens | None = None,
    headings: Callable[[], Sequence[Heading]] = tuple,
) -> list[Portion]:
    """`texts` as (page number, text); `page_tokens` counts with a page's picture, `lead_tokens`
    (where leads are read) without. `headings` is asked where the document has to be cut."""
    whole = [(Span(n, 0, len(text)), page_tokens(n, text)) for n, text in texts]
    if sum(count for _, count in whole) <= room:
        return [_portion(whole)] if whole else []
    lead_room = int(LEAD_SHARE * room) if lead_tokens else 0
    by_number = dict(texts)
    cutter = _Cutter(by_number, room - 2 * lead_room, page_tokens, headings())
    owned = list(cutter.cut([span for span, _ in whole]))
    if lead_tokens is None:
        return [_portion(slices) for slices in owned]
    leads = _Leads(by_number, lead_room, lead_tokens)
    found = [_portion(owned[0])]
    for before, slices in pairwise(owned):
        lead = leads.opening(found[0]) + leads.before(before)
        found.append(_portion(slices, lead))
    return found


_Slice = tuple[Span, int]


def _portion(slices: Sequence[_Slice], lead: Sequence[_Slice] = ()) -> Portion:
    return Portion(
        tuple(span for span, _ in slices),
        tuple(count for _, count in slices),
        tuple(span for span, _ in lead),
        tuple(count for _, count in lead),
    )


class _Cutter:
    """Cuts pages into runs of slices that each fit a room."""

    def __init__(
        self,
        texts: Mapping[int, str],
        room: int,
        page_tokens: CountTokens,
        headings: Sequence[Heading],
    ) -> None:
        self._texts, self._room, self._page_tokens = texts, room, page_tokens
        self._headings = headings
        self._starts = [heading.start for heading in headings]

    def cut(self, pages: Sequence[Span]) -> Iterator[list[_Slice]]:
        waiting = deque(slice_ for span in pages for slice_ in self._fitting(span))
        while waiting:
            taken: list[_Slice] = []
            filled = 0
            while waiting and (not taken or filled + waiting[0][1] <= self._room):
                taken.append(waiting.popleft())
                filled += taken[-1][1]
            if waiting:
                waiting.extendleft(reversed(self._give_back(taken, filled)))
            yield taken

    def _give_back(self, taken: list[_Slice], filled: int) -> list[_Slice]:
        """What stands behind the last border of the outermost sections, taken off `taken`."""
        least, place = FULL_ENOUGH * filled, 0
        while least >= taken[place][1]:
            least -= taken[place][1]
            place += 1
        span, end = taken[place][0], taken[-1][0]
        # In the page on which the last third begins, a section may begin in its last third.
        into = span.start + int((span.end - span.start) * least / taken[place][1])
        begins = Place(taken[0][0].page, taken[0][0].start)
        first = bisect_left(self._starts, Place(span.page, into))
        first = max(first, bisect_right(self._starts, begins))
        last = bisect_right(self._starts, Place(end.page, end.end - 1))
        borders = self._headings[first:last]
        if not borders:
            return []
        start = min(reversed(borders), key=lambda heading: heading.level).start
        return self._split(taken, start)

    def _split(self, taken: list[_Slice], start: Place) -> list[_Slice]:
        behind: list[_Slice] = []
        while taken and (taken[-1][0].page, taken[-1][0].start) >= start:
            behind.append(taken.pop())
        span = taken[-1][0] if taken else None
        if span and span.page == start.page and span.start < start.at < span.end:
            del taken[-1]
            behind.append(self._counted(Span(span.page, start.at, span.end)))
            taken.append(self._counted(Span(span.page, span.start, start.at)))
        behind.reverse()
        return behind

    def _counted(self, span: Span) -> _Slice:
        return span, self._page_tokens(span.page, self._texts[span.page][span.start : span.end])

    def _fitting(self, span: Span) -> Iterator[_Slice]:
        """The span whole where it fits, else in halves cut at the best place near the middle."""
        _, count = self._counted(span)
        if count <= self._room or span.end - span.start < 2:
            yield span, count
            return
        middle = _cut(self._texts[span.page], span.start, span.end)
        yield from self._fitting(Span(span.page, span.start, middle))
        yield from self._fitting(Span(span.page, middle, span.end))


def _cut(text: str, start: int, end: int) -> int:
    """Between paragraphs if possible, else sentences, else words; else in the very middle."""
    quarter = max((end - start) // 4, 1)
    low, high = start + quarter, end - quarter
    middle = (start + end) // 2
    for pattern in (r"\n", r"[。！？]|[.!?]\s", r"\s"):
        places = [low + match.end() for match in re.finditer(pattern, text[low:high])]
        if places:
            return min(places, key=lambda place: abs(place - middle))
    return middle


class _Leads:
    """What is read again before a portion, whole paragraphs within a room of tokens."""

    def __init__(self, texts: Mapping[int, str], room: int, tokens: CountTokens) -> None:
        self._texts, self._room, self._tokens = texts, room, tokens
        self._opening: list[_Slice] | None = None

    def opening(self, first: Portion) -> list[_Slice]:
        """The first paragraphs of the first page."""
        if self._opening is None:
            span = first.spans[0]
            ends = [end for end in self._borders(span) if end > span.start]
            found = self._most([Span(span.page, span.start, end) for end in ends])
            self._opening = [found] if found else []
        return self._opening

    def before(self, slices: Sequence[_Slice]) -> list[_Slice]:
        """The last paragraphs of what precedes."""
        span = slices[-1][0]
        starts = [start for start in self._borders(span) if start < span.end]
        found = self._most([Span(span.page, start, span.end) for start in reversed(starts)])
        return [found] if found else []

    def _borders(self, span: Span) -> list[int]:
        """Where a paragraph begins or ends, within a span and at its ends."""
        text = self._texts[span.page]
        inner = [match.end() for match in re.finditer(r"\n", text[span.start : span.end])]
        return sorted({span.start, span.end, *(span.start + place for place in inner)})

    def _most(self, growing: Sequence[Span]) -> _Slice | None:
        """The longest of spans that each hold the one before, as far as there is room."""
        found = None
        low, high = 0, len(growing)
        while low < high:
            middle = (low + high) // 2
            span = growing[middle]
            count = self._tokens(span.page, self._texts[span.page][span.start : span.end])
            if count <= self._room:
                found, low = (span, count), middle + 1
            else:
                high = middle
        return found
