"""Texts cut as the application cuts them: into sentences, and runs of neighbouring sentences.

Also windows of texts that are longer than what is read. Refuses nothing. Called by the modules
beside it.
"""

from __future__ import annotations

import random
import re

from model.train.documents import sentences

RUN = 3  # sentences of a passage that is a run …
STRIDE = 2  # … and how many further the next one begins in service: any two neighbours stand in one
LONGEST_RUN = 1500  # characters; further than that sentences are no neighbours

WIDE_LINE_END = re.compile(
    r"(?<=[\u3000-\u9fff\uff00-\uffef])\s*\n\s*(?=[\u3000-\u9fff\uff00-\uffef])"
)
LINE_END = re.compile(r"\s*\n\s*")
WINDOW_START = re.compile(r"\n|(?<=[.!?]) |(?<=[。！？])")


class Cut:
    """A text and its sentences, and what is offered of them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.pieces = sentences(text)

    def __len__(self) -> int:
        return len(self.pieces)

    def passage(self, first: int, last: int) -> str:
        """The sentences from `first` to `last` as they stand, without line ends."""
        text = self.text[self.pieces[first].start : self.pieces[last].end]
        return LINE_END.sub(" ", WIDE_LINE_END.sub("", text))

    def touching(self, start: int, end: int) -> list[int]:
        """The sentences that share characters with a stretch of the text."""
        return [i for i, s in enumerate(self.pieces) if s.start < end and s.end > start]

    def holding(self, words: str) -> list[int]:
        """The sentences that share characters with words of the text."""
        start = self.text.find(words)
        return self.touching(start, start + len(words))

    def around(self, first: int, last: int, chance: random.Random) -> tuple[int, int]:
        """A run that holds the sentences `first` to `last`; they alone where none fits."""
        spare = max(0, RUN - (last - first + 1))
        before = chance.randint(0, spare)
        low, high = max(0, first - before), min(len(self) - 1, last + spare - before)
        near = self.pieces[high].end - self.pieces[low].start <= LONGEST_RUN
        return (low, high) if near else (first, last)


def window(text: str, characters: int, chance: random.Random) -> str:
    """At most `characters` of a text."""
    start, end = span(text, characters, chance)
    return text[start:end]


def span(
    text: str, characters: int, chance: random.Random, anchor: int | None = None
) -> tuple[int, int]:
    """A window of a text, from a line's or sentence's start to a line's, sentence's or word's end.

    With an anchor it holds that place, at any depth."""
    if len(text) <= characters:
        return 0, len(text)
    if anchor is None:
        start = 0 if chance.random() < 0.3 else chance.randrange(len(text) - characters + 1)
        latest = start + characters // 4
    else:
        start = min(anchor - int(0.9 * characters * chance.random()), len(text) - characters)
        start = max(0, start)
        latest = max(start, anchor)
    if start:
        begin = WINDOW_START.search(text, start, latest)
        start = begin.end() if begin else start
    return start, _end(text, start, start + characters)


def _end(text: str, start: int, end: int) -> int:
    """The last place up to `end` where a window that starts at `start` may end."""
    if end >= len(text):
        return len(text)
    ends = (text.rfind("\n", start, end), text.rfind("。", start, end) + 1)
    last = max(*ends, text.rfind(". ", start, end) + 1)
    if last <= start + 0.7 * (end - start):
        last = text.rfind(" ", start, end)
    return last if last > start else end
