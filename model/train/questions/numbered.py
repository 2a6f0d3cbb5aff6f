"""The questions of a run, by number: which kind, about which document, answered or not.

Each depends on the seed and its number only. Documents of all sources are drawn alike, rather those
that fill the room. Gives None where no document yields a question of the drawn kind. Called by the
curriculum.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from model.train.documents import TextDocument
from model.train.questions.cuts import Cut, window
from model.train.questions.derived import derived
from model.train.questions.facts import invent
from model.train.questions.headings import headed
from model.train.questions.hidden import with_fact
from model.train.questions.meetings import Meeting
from model.train.questions.passages import Asked, Found, Room, answered, unanswered

KINDS = (("fact", 0.45), ("derived", 0.25), ("heading", 0.10), ("meeting", 0.20))
UNANSWERED_SHARE = 0.15
CHINESE_SHARE = 0.5  # of the questions that are not about meetings
TRIES = 10  # documents that are looked at for a question of one kind
GLANCE = 6000  # characters of another document, for a question that is not answered here
DRAWN = 3  # documents, of which one that fills the room is taken

_Pools = dict[str, list[list[TextDocument]]]  # by language, then by source
_Finder = Callable[[Cut, random.Random], Found | None]
_FINDERS: dict[str, _Finder] = {"derived": derived, "heading": headed}


class Questions:
    """The questions of a run, by number."""

    def __init__(self, documents: Sequence[TextDocument], seed: str) -> None:
        self._seed = seed
        self._meetings = [Meeting(document) for document in documents if document.queries]
        self._meetings = [meeting for meeting in self._meetings if meeting.queries]
        self._hosts = _by_source(documents)
        self._written = _by_source([d for d in documents if not d.queries])

    def asked(self, number: int, characters: int, passages: int) -> Asked | None:
        """Question number `number` about at most `characters` characters of a document."""
        chance = random.Random(f"{self._seed}/{number}")
        kind = chance.choices([name for name, _ in KINDS], [share for _, share in KINDS])[0]
        is_answered = chance.random() >= UNANSWERED_SHARE
        room = Room(characters, passages)
        if kind == "meeting" and self._meetings:
            return self._of_meeting(is_answered, room, chance)
        language = "zh" if chance.random() < CHINESE_SHARE else "en"
        if kind in _FINDERS:
            found = self._of_text(_FINDERS[kind], language, is_answered, room, chance)
            if found is not None:
                return found
        return self._of_fact(language, is_answered, room, chance)

    def _of_meeting(self, is_answered: bool, room: Room, chance: random.Random) -> Asked | None:
        for _ in range(TRIES):
            meeting = chance.choice(self._meetings)
            query = chance.choice(meeting.queries)
            if is_answered:
                found = meeting.answered(query, room, chance)
            else:
                found = chance.choice(self._meetings).unanswered(meeting, query, room, chance)
            if found is not None:
                return found
        return None

    def _of_fact(
        self, language: str, is_answered: bool, room: Room, chance: random.Random
    ) -> Asked | None:
        for _ in range(TRIES):
            document = _document(self._hosts, language, room.characters, chance)
            if document is None:
                return None
            fact = invent(document.lang, chance)
            if fact.entity in document.text:
                continue
            found = with_fact(document.text, fact, is_answered, room, chance)
            if found is not None:
                return found
        return None

    def _of_text(
        self, find: _Finder, language: str, is_answered: bool, room: Room, chance: random.Random
    ) -> Asked | None:
        for _ in range(TRIES):
            document = _document(self._written, language, room.characters, chance)
            other = None if is_answered else _document(self._written, language, GLANCE, chance)
            if document is None or (other is None and not is_answered):
                return None
            if other is document:
                continue
            cut = Cut(window(document.text, room.characters, chance))
            if other is None:
                found = find(cut, chance)
                asked = answered(cut, found, room, chance) if found else None
            else:
                found = find(Cut(window(other.text, GLANCE, chance)), chance)
                asked = unanswered(cut, found.question, room, chance) if found else None
            if asked is not None:
                return asked
        return None


def _by_source(documents: Sequence[TextDocument]) -> _Pools:
    """The documents of each language, apart by source: a large source is no larger than others."""
    sources: dict[tuple[str, str], list[TextDocument]] = {}
    for document in documents:
        sources.setdefault((document.lang, document.source), []).append(document)
    languages: _Pools = {}
    for (language, _), group in sources.items():
        languages.setdefault(language, []).append(group)
    return languages


def _document(
    pools: _Pools, language: str, characters: int, chance: random.Random
) -> TextDocument | None:
    """A document, rather one that fills the room."""
    groups = pools.get(language) or [group for pool in pools.values() for group in pool]
    if not groups:
        return None
    some = [chance.choice(chance.choice(groups)) for _ in range(DRAWN)]
    return max(some, key=lambda d: min(len(d.text), characters) * chance.random())
