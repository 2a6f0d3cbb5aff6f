"""The passages of a text that are offered with a question: right ones and wrong ones.

Wrong are hard ones first, which say much of the question's words, then any others; as many runs
among them as in service. Gives None where no passage is wrong. Called by every kind of question.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from model.train.documents import Sentence
from model.train.questions.cuts import Cut
from model.train.questions.words import read
from model.train.rouge import units

MOST_RIGHT = 2
SECOND_RIGHT_SHARE = 0.4  # of the questions, those that may have so many
RUN_SHARE = 1 / 3  # of the other passages, as many as in service
MOST_COVERED = 0.55  # of a question's words, in a sentence that does not answer for sure
FEWEST_COVERED = 0.6  # of a question's words, in a sentence that may answer as well


@dataclass(frozen=True)
class Asked:
    """A question about a text, and passages of the text that answer it or do not."""

    text: str
    question: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Room:
    """How much is shown of a document, and how many passages are offered."""

    characters: int
    passages: int


@dataclass(frozen=True)
class Found:
    """A question to which sentences `first` to `last` of a text are the answer."""

    question: str
    first: int
    last: int
    also: frozenset[int] = frozenset()  #: may answer too: neither right nor wrong


@dataclass(frozen=True)
class _StopWords:
    en: str
    zh: str


def answered(cut: Cut, found: Found, room: Room, chance: random.Random) -> Asked | None:
    """The question with its answer alone and among its neighbours."""
    first, last = found.first, found.last
    runs = [(first, last), cut.around(first, last, chance)]
    return offer(cut, found.question, runs, found.also, (), room, chance)


def unanswered(cut: Cut, question: str, room: Room, chance: random.Random) -> Asked | None:
    """The question of something else; None where this text may well answer it."""
    asked = content(question)
    covers = [_cover(asked, piece) for piece in cut.pieces]
    if not asked or not covers or max(covers) > MOST_COVERED:
        return None
    order = sorted(range(len(cut)), key=lambda index: -covers[index])
    hard = [index for index in order[:3] if covers[index] > 0]
    return offer(cut, question, [], frozenset(), hard, room, chance)


def offer(
    cut: Cut,
    question: str,
    runs: Sequence[tuple[int, int]],
    also: frozenset[int],
    hard: Sequence[int],
    room: Room,
    chance: random.Random,
) -> Asked | None:
    """Right: of `runs`. Wrong: half of them hard ones at most, and others of the text."""
    offered = list(dict.fromkeys(cut.passage(first, last) for first, last in runs))
    chance.shuffle(offered)
    several = chance.random() < SECOND_RIGHT_SHARE
    right = offered[: min(MOST_RIGHT, room.passages - 1) if several else 1]
    in_runs = {index for first, last in runs for index in range(first, last + 1)}
    barred = set(also)
    if runs:
        barred.update(range(max(low for low, _ in runs), min(high for _, high in runs) + 1))
    near = sorted(in_runs - barred)
    wrong = _wrong(cut, barred, near, hard, room.passages - len(right), chance)
    wrong = [text for text in wrong if not any(text in one or one in text for one in right)]
    if not wrong or (runs and not right):
        return None
    return Asked(cut.text, question, tuple(right), tuple(wrong))


def _wrong(
    cut: Cut,
    barred: set[int],
    near: Sequence[int],
    hard: Sequence[int],
    number: int,
    chance: random.Random,
) -> list[str]:
    """At most `number` passages without a barred sentence; `near` are the answer's neighbours."""
    free = [i for i in range(len(cut)) if i not in barred]
    plain = [i for i in free if not cut.pieces[i].heading]
    if not plain:
        return []
    chosen: dict[str, None] = {}
    hard = list(hard)
    chance.shuffle(hard)
    sought = [*hard[: (number + 1) // 2], *chance.sample(list(near), min(1, len(near)))]
    sought += [chance.choice(plain) for _ in range(4 * number)]
    for index in sought:
        if len(chosen) >= number:
            break
        low = high = index
        if chance.random() < RUN_SHARE or cut.pieces[index].heading:
            low, high = cut.around(index, index, chance)
        if not barred.isdisjoint(range(low, high + 1)):
            low = high = index
        if low < high or (index not in barred and not cut.pieces[index].heading):
            chosen[cut.passage(low, high)] = None
    return list(chosen)


def content(text: str) -> set[str]:
    """The words of a question that say what it is about; the characters of a Chinese one."""
    return set(units(text.lower())) - _stop_words()


@cache
def _stop_words() -> frozenset[str]:
    words = read(_StopWords, "stop_words.toml")
    return frozenset([*words.en.split(), *words.zh.split()])


def saying(cut: Cut, question: str) -> list[int]:
    """The sentences that say most of a question's words, and so may answer it as well."""
    asked = content(question)
    covers = [_cover(asked, piece) for piece in cut.pieces]
    return [index for index, cover in enumerate(covers) if cover >= FEWEST_COVERED]


def _cover(asked: set[str], piece: Sentence) -> float:
    """The share of the question's words that stand in a sentence."""
    return len(asked.intersection(units(piece.text))) / max(1, len(asked))
