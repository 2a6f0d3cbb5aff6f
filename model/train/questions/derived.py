"""Questions derived from real sentences: the way in which a sentence is made says what it answers.

The patterns are data (`words/derived.*.toml`). A sentence that only the words around it explain is
not asked about. Refuses patterns that are no regular expressions. Called by `numbered`; headings
are worded and bounded with the same means.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from model.train.documents import HAN
from model.train.questions.cuts import Cut
from model.train.questions.passages import Found, saying
from model.train.questions.words import WordsError, read

MOST_TRIED = 60  # sentences of a text
ENOUGH_KINDS = 4  # of sentences found: one of them is asked about
LONGEST = 320  # characters of a sentence that is asked about

CODE_LIKE = re.compile(r"[<>{}|=\\\[\]$]|https?:|::|--")
MARKS_BEFORE = re.compile(r"^(?:[-*+] |\d+[.)] |> ?|\*\*[^*]{1,12}[:：]\*\* ?)+")
MARKS = re.compile(r"\*\*|`")
ARTICLE_INSIDE = re.compile(r"(?<=.)\b(?:The|An?)(?= )")
BLANK_BEFORE_MARK = re.compile(r" (?=[，。？])")
NOT_ASKED = re.compile(r"(?<=[\u3400-\u9fff]) (?=[\u3400-\u9fff])|[\"“”*]")


@dataclass(frozen=True)
class _PatternWords:
    example: str
    matches: tuple[str, ...]
    questions: tuple[str, ...]
    own_work: bool = False


@dataclass(frozen=True)
class _DerivedWords:
    vague: tuple[str, ...]
    ours: Mapping[str, str]
    parts: Mapping[str, tuple[str, ...]]
    patterns: tuple[_PatternWords, ...]
    verbs: Mapping[str, str] = field(default_factory=dict)
    own_work: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pattern:
    """A sentence that matches answers one of the questions, in which \\1 … stand for its groups."""

    example: str
    matches: re.Pattern[str]
    questions: tuple[str, ...]
    own_work: bool  #: they ask about what a paper says of itself


def derived(cut: Cut, chance: random.Random) -> Found | None:
    """A question that a sentence of the text answers, by the way the sentence is made."""
    order = [i for i, piece in enumerate(cut.pieces) if not piece.heading]
    chance.shuffle(order)
    candidates: dict[int, tuple[int, str]] = {}
    for index in order[:MOST_TRIED]:
        for kind, question in questions_of(cut.pieces[index].text, chance):
            candidates.setdefault(kind, (index, question))
        if len(candidates) >= ENOUGH_KINDS:
            break
    if not candidates:
        return None
    index, question = chance.choice(list(candidates.values()))
    return Found(question, index, index, others(cut, question, range(index, index + 1)))


def others(cut: Cut, question: str, answer: range) -> frozenset[int]:
    """Sentences that may answer as well: they say the question's words."""
    also = set(saying(cut, question))
    if any(pattern.own_work and question in pattern.questions for pattern in patterns("en")):
        also |= {i for i, piece in enumerate(cut.pieces) if _own_work().search(piece.text)}
    return frozenset(also.difference(answer))


def questions_of(sentence: str, chance: random.Random) -> Iterator[tuple[int, str]]:
    """The questions that a sentence answers, each with the number of its pattern."""
    bare = MARKS.sub("", MARKS_BEFORE.sub("", sentence)).strip()
    if len(bare) > LONGEST or CODE_LIKE.search(bare) or bare.endswith((":", "：")):
        return
    for kind, pattern in enumerate(patterns("zh" if HAN.search(bare) else "en")):
        match = pattern.matches.search(bare)
        if match is None or any(_vague().search(group or "") for group in match.groups()):
            continue
        yield kind, _worded(match.expand(chance.choice(pattern.questions)), match)


def _worded(question: str, match: re.Match[str]) -> str:
    if "VERB" in question:
        question = question.replace("VERB", _words("en").verbs[match.group(2)])
    question = ARTICLE_INSIDE.sub(lambda word: word.group().lower(), question)
    question = as_asked("zh" if HAN.search(question) else "en", question)
    question = NOT_ASKED.sub("", BLANK_BEFORE_MARK.sub("", question))
    return question[:1].upper() + question[1:]


def as_asked(language: str, said: str) -> str:
    """As the asker says what the document says to its reader: I, not you."""
    for theirs, ours in _words(language).ours.items():
        said = re.sub(theirs, ours, said)
    return said


@cache
def patterns(language: str) -> tuple[Pattern, ...]:
    """How sentences of a language are made, and what they answer."""
    words = _words(language)
    parts = {name: "|".join(pieces) for name, pieces in words.parts.items()}
    parts["VERBS"] = "|".join(words.verbs)
    return tuple(
        Pattern(one.example, _compiled(one, parts), one.questions, one.own_work)
        for one in words.patterns
    )


def _compiled(pattern: _PatternWords, parts: Mapping[str, str]) -> re.Pattern[str]:
    source = "".join(pattern.matches)
    for name, stands_for in parts.items():
        source = source.replace(name, stands_for)
    try:
        return re.compile(source)
    except re.error as error:
        raise WordsError(f"the pattern of {pattern.example!r}: {error}") from error


@cache
def _vague() -> re.Pattern[str]:
    """What asks about something that only the words around a sentence name, in any language."""
    return re.compile("|".join((*_words("en").vague, *_words("zh").vague)), re.IGNORECASE)


@cache
def _own_work() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(_words('en').own_work)})\b", re.IGNORECASE)


@cache
def _words(language: str) -> _DerivedWords:
    return read(_DerivedWords, f"derived.{language}.toml")
