"""Questions that people asked about meetings, with the turns that they marked as the answer.

Of the marked turns those passages are right that share most with the answer that a person wrote;
wrong are such outside of them. Questions whose answer is most of the meeting are left out: they
single out nothing. Gives None where a question fits no passage. Called by `numbered`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from model.train.documents import TextDocument
from model.train.questions.cuts import Cut, span
from model.train.questions.passages import Asked, Room, content, offer

MOST_MARKED = 0.6  # of a meeting, the turns that answer; more of them single out nothing
FEWEST_SHARED = 2  # words that the best passage of a meeting shares with the given answer
GOOD_SHARE = 0.6  # of the best passage's score: as good an answer
APART_SHARE = 0.75  # of it, at most: surely no answer
HARD = 4  # passages that answer best of those that do not
HARD_UNANSWERED = 5  # and where none answers
LEAST_ALONE = 60  # characters of a sentence of a meeting that answers without its neighbours
FEWEST_LINES = 20  # a meeting of fewer lines has lost its turns
FEWEST_WORDS = 4  # of a question that meetings of one kind do not share
ANCHORS = 6  # turns of which the one that seems to answer is shown
GLANCE = 400  # characters of a turn that are looked at for it
EDGE_SHARE = 0.6  # of what is shown, so close to an edge of the answer is its middle
LINES_SHARE = 0.6  # of the meetings, those shown with a turn on each line

_Stretch = tuple[int, int]  # from a character or turn to another

ROLE = re.compile(
    r"(?:^|(?<= ))(?:(?:Professor|Grad|PhD|Postdoc|Undergrad) [A-Z]|Marketing|Project Manager"
    r"|Industrial Designer|User Interface): "
)
_NAME = r"(?:[^\W\d_][\w'’-]*|[A-Z]\.)"
_TITLED = "|".join(
    (
        r"The (?:Acting |Vice-)?Chair",
        rf"(?:The )?(?:Right )?Hon(?:\.|ourable)(?: {_NAME}){{2,5}}",
        rf"(?:Mr|Mrs|Ms|Dr)\.?(?: {_NAME}){{1,4}}",
    )
)
_UNTITLED = (
    r"(?:(?<=[^\w,] )|(?<=^))(?!(?:Mr|Ms|Mrs|Hon|Right) )[A-Z][\w'’-]*(?: [A-Z][\w'’-]*){1,3}"
)
SPEAKER = re.compile(rf"(?:^|(?<= ))(?:{_TITLED}|{_UNTITLED})(?: ?\([^:]{{1,110}}\))?: ")


@dataclass(frozen=True)
class Query:
    """A question about a meeting, with the answer that a person wrote."""

    text: str
    answer: str
    marked: tuple[_Stretch, ...]  #: the first and the last of the turns that answer


class Meeting:
    """A meeting, one turn for each line, and the questions about it that single out turns of it."""

    def __init__(self, document: TextDocument) -> None:
        self.group = document.id.rpartition("-")[0]
        self.queries = [query for row in document.queries if (query := _query(row)) is not None]
        self._document = document

    @cached_property
    def text(self) -> str:
        """The text with a turn on each line; found by the speakers where the lines were joined."""
        text = self._document.text
        if text.count("\n") >= FEWEST_LINES:
            return text
        starts = [match.start() for match in ROLE.finditer(text)]
        if len(starts) < FEWEST_LINES:
            starts = [match.start() for match in SPEAKER.finditer(text)]
        starts = [0, *(start for start in starts if start)]
        ends = [*starts[1:], len(text) + 1]
        return "\n".join(text[a : b - 1] for a, b in zip(starts, ends, strict=True))

    @cached_property
    def turns(self) -> list[_Stretch]:
        """Where each turn starts and ends."""
        return [match.span() for match in re.finditer(r"[^\n]+", self.text)]

    def answered(self, query: Query, room: Room, chance: random.Random) -> Asked | None:
        """The question with passages of its marked turns, and wrong ones outside of them."""
        marked = self._marked(query)
        if sum(end - start for start, end in marked) > MOST_MARKED * len(self.text):
            return None
        anchor = self._anchor(query, chance.choice(marked), room, chance) if marked else None
        if anchor is None:
            return None
        start, end = span(self.text, room.characters, chance, anchor)
        cut = Cut(_shown(self.text[start:end], chance))
        inside, outside = _sides(cut, [(low - start, high - start) for low, high in marked])
        scores = [_score(piece.text, query) for piece in cut.pieces]
        best = sorted(inside, key=lambda index: -scores[index])[:4]
        if not best or len(outside) < 2 or scores[best[0]] < FEWEST_SHARED:
            return None
        good = scores[best[0]]
        at = chance.choice([index for index in best if scores[index] >= GOOD_SHARE * good])
        runs = _runs(cut, at, inside, chance)
        apart = [index for index in outside if scores[index] <= APART_SHARE * good]
        hard = sorted(apart, key=lambda index: -scores[index])[:HARD]
        also = frozenset(range(len(cut))) - frozenset(apart)
        return offer(cut, query.text, runs, also, hard, room, chance)

    def unanswered(
        self, other: Meeting, query: Query, room: Room, chance: random.Random
    ) -> Asked | None:
        """Another meeting's question, or one of this meeting about turns that are not shown."""
        start, end = span(self.text, room.characters, chance)
        marked = self._marked(query) if other is self else []
        if any(low < end and high > start for low, high in marked):
            return None
        is_alike = other is not self and self.group == other.group
        if is_alike and len(content(query.text)) < FEWEST_WORDS:
            return None  # What one meeting discussed another of its kind may have discussed too.
        cut = Cut(_shown(self.text[start:end], chance))
        scores = [_score(piece.text, query) for piece in cut.pieces]
        hard = sorted(range(len(cut)), key=lambda index: -scores[index])[:HARD_UNANSWERED]
        return offer(cut, query.text, [], frozenset(), hard, room, chance)

    def _marked(self, query: Query) -> list[_Stretch]:
        """The marked turns as stretches of characters."""
        last = len(self.turns) - 1
        return [
            (self.turns[first][0], self.turns[min(end, last)][1])
            for first, end in query.marked
            if first <= min(end, last)
        ]

    def _anchor(
        self, query: Query, stretch: _Stretch, room: Room, chance: random.Random
    ) -> int | None:
        """A turn that seems to answer, near an edge of the stretch, so that others are in sight."""
        low, high = stretch
        reach = int(EDGE_SHARE * room.characters)
        starts = [
            start
            for start, _ in self.turns
            if low <= start < high and (start < low + reach or start > high - reach)
        ]
        if not starts:
            return None
        some = [chance.choice(starts) for _ in range(ANCHORS)]
        return max(some, key=lambda start: _score(self.text[start : start + GLANCE], query))


def _query(row: Any) -> Query | None:
    marked = tuple((int(turns[0]), int(turns[1])) for turns in row.get("turns") or ())
    text = row["query"].strip()
    return Query(text, row["answer"], marked) if marked and len(content(text)) > 1 else None


def _shown(text: str, chance: random.Random) -> str:
    """A turn on each line, or all as one block."""
    return text if chance.random() < LINES_SHARE else text.replace("\n", " ")


def _sides(cut: Cut, marked: Sequence[_Stretch]) -> tuple[list[int], list[int]]:
    """The sentences inside of the marked stretches, and those outside; some are neither."""
    inside, outside = [], []
    for index, piece in enumerate(cut.pieces):
        if any(low <= piece.start and piece.end <= high for low, high in marked):
            inside.append(index)
        elif all(piece.end <= low or piece.start >= high for low, high in marked):
            outside.append(index)
    return inside, outside


def _runs(cut: Cut, at: int, inside: Sequence[int], chance: random.Random) -> list[_Stretch]:
    """A sentence that answers: among its neighbours if they are marked too, alone if it is long."""
    low, high = cut.around(at, at, chance)
    if not all(index in inside for index in range(low, high + 1)):
        return [(at, at)]
    is_long = len(cut.pieces[at].text) > LEAST_ALONE
    return [(low, high), (at, at)] if is_long else [(low, high)]


def _score(text: str, query: Query) -> float:
    """How much a passage shares with the answer that a person wrote, and with the question."""
    said = content(text)
    return len(said & content(query.answer)) + 0.5 * len(said & content(query.text))
