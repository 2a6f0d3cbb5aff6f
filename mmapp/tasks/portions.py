"""A document cut into portions that fit an engine's context, at page borders where it can be.

Every character of every page is in exactly one portion, so nothing is skipped. Refuses a context
that has no room for text beside the question. Called by `reading`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mmapp.errors import CheckpointProblem
from mmapp.tasks.paragraphs import Span
from mmapp.types import Engine

#: Tokens kept free for turn markers and for words that are cut differently when joined.
SPARE_TOKENS = 64
#: Fewest tokens of text that are worth reading at once.
FEWEST_TOKENS = 64
#: Questions get a multiple of this share of the context, so that a document is cut in the same
#: places for most questions about it, and what was read for one is known for the next.
QUESTION_STEPS = 32


@dataclass(frozen=True, slots=True)
class Portion:
    """What is read in one prefix: spans in document order, and the tokens of each."""

    spans: tuple[Span, ...]
    tokens: tuple[int, ...]


def room_for_text(engine: Engine, question_tokens: int, picture_tokens: int) -> int:
    """Tokens of pages that fit beside the longest question; `picture_tokens` for one page."""
    room = engine.context_length - question_tokens - SPARE_TOKENS
    least = FEWEST_TOKENS + picture_tokens
    if room < least:
        raise CheckpointProblem(
            f"{engine.name} has a context of {engine.context_length:,} tokens; a question takes "
            f"{question_tokens:,} and a page's picture {picture_tokens:,}, which leaves no room "
            "for a document: use a checkpoint with a longer context"
        )
    step = max(1, engine.context_length // QUESTION_STEPS)
    return max(least, engine.context_length - SPARE_TOKENS - -(-question_tokens // step) * step)


def portions(
    texts: Sequence[tuple[int, str]], room: int, page_tokens: Callable[[int, str], int]
) -> list[Portion]:
    """`texts` as (page number, text); `page_tokens` counts what a page's text takes in a prompt."""
    found: list[Portion] = []
    spans: list[Span] = []
    tokens: list[int] = []
    for number, text in texts:
        for span, count in _fitting(number, text, 0, len(text), room, page_tokens):
            if spans and sum(tokens) + count > room:
                found.append(Portion(tuple(spans), tuple(tokens)))
                spans, tokens = [], []
            spans.append(span)
            tokens.append(count)
    if spans:
        found.append(Portion(tuple(spans), tuple(tokens)))
    return found


def _fitting(
    number: int,
    text: str,
    start: int,
    end: int,
    room: int,
    page_tokens: Callable[[int, str], int],
) -> Iterator[tuple[Span, int]]:
    """The span whole where it fits, else in halves cut at the best place near the middle."""
    count = page_tokens(number, text[start:end])
    if count <= room or end - start < 2:
        yield Span(number, start, end), count
        return
    middle = _cut(text, start, end)
    yield from _fitting(number, text, start, middle, room, page_tokens)
    yield from _fitting(number, text, middle, end, room, page_tokens)


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
