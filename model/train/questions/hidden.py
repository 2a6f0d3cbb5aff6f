"""Invented facts hidden in real text: each statement at any depth, between two sentences or lines.

Gives None where the text leaves no room for the statements, or holds the words of one already.
Called by `numbered`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from model.train.documents import HAN, sentences
from model.train.questions.cuts import Cut, window
from model.train.questions.facts import Fact
from model.train.questions.passages import Asked, Room, offer

LEAST_TEXT = 200  # characters of a real text around the statements
INLINE_SHARE = 0.7  # of the statements, those after a sentence; the others after a line
OWN_LINE_SHARE = 0.5  # of the statements at a line's end, those on a line of their own
LINE_END = re.compile(r"\n|$")


def with_fact(
    text: str, fact: Fact, is_answered: bool, room: Room, chance: random.Random
) -> Asked | None:
    """The question about a fact, which is hidden in a window of the text if it is answered."""
    chinese = bool(HAN.search(fact.question))
    told = ("" if chinese else " ").join(fact.told)
    hidden = [*([told] if is_answered else []), *fact.decoys]
    left = room.characters - sum(len(one) + 1 for one in hidden)
    if left < LEAST_TEXT:
        return None
    cut = Cut(_hide(window(text, left, chance), hidden, chance))
    if any(cut.text.count(one) != 1 for one in hidden):
        return None
    hard = [index for one in fact.decoys for index in cut.holding(one)]
    if not is_answered:
        return offer(cut, fact.question, [], frozenset(), hard, room, chance)
    held = cut.holding(told)
    if not held:
        return None
    runs = [(held[0], held[-1]), cut.around(held[0], held[-1], chance)]
    return offer(cut, fact.question, runs, frozenset(held), hard, room, chance)


def _hide(text: str, statements: Sequence[str], chance: random.Random) -> str:
    """The text with statements put in; the last one first, so that the places of others stay."""
    for place, statement in sorted(_places(text, statements, chance), reverse=True):
        end, joint = _joint(text, place)
        if text[end : end + 1] == "\n" and chance.random() < OWN_LINE_SHARE:
            joint = "\n"
        text = text[:end] + joint + statement + text[end:]
    return text


def _places(text: str, statements: Sequence[str], chance: random.Random) -> list[tuple[int, str]]:
    """Where each statement comes: at the end of a sentence or line."""
    ends = [piece.end for piece in sentences(text) if not piece.heading]
    lines = _line_ends(text)
    places = []
    for statement in statements:
        at = chance.randrange(len(text) + 1)
        is_inline = bool(ends) and chance.random() < INLINE_SHARE
        nearest = min(ends if is_inline else lines, key=lambda end: abs(end - at))
        places.append((nearest, statement))
    return places


def _joint(text: str, place: int) -> tuple[int, str]:
    """What stands before a statement at a place, which moves to its line's end where no sentence
    ends."""
    before, after = text[max(0, place - 1) : place], text[place : place + 1]
    if before in tuple("。！？"):
        return place, ""
    if before in tuple(".!?") and after in ("", " ", "\n"):
        return place, " "
    return min((line for line in _line_ends(text) if line >= place), default=len(text)), "\n"


def _line_ends(text: str) -> list[int]:
    return [match.start() for match in LINE_END.finditer(text)]
