"""Headings as questions, which the first sentences under them answer.

Headings that say nothing by themselves are not asked, and a sentence that only leads to what
follows is no answer. What says nothing and how headings are asked is data
(`words/headings.*.toml`). Called by `numbered`.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache

from model.train.documents import HAN
from model.train.questions.cuts import LONGEST_RUN, Cut
from model.train.questions.derived import CODE_LIKE, MARKS, as_asked, others
from model.train.questions.passages import Found, content
from model.train.questions.words import read

LONGEST = 90  # characters of a heading that is asked
FEWEST_CHINESE = 4  # characters of such a heading …
FEWEST_WORDS = 2  # … or words that say what it is about
MOST_APART = LONGEST_RUN // 3  # characters between a heading and the answer under it
FURTHER = (0, 0, 1, 2)  # sentences of the answer after the first


@dataclass(frozen=True)
class _HeadingWords:
    empty: tuple[str, ...]
    leading: tuple[str, ...]
    instruction: str
    verbs: tuple[str, ...]
    asked_how: tuple[str, ...]
    asked: tuple[str, ...]


@dataclass(frozen=True)
class _Section:
    """A heading, its place, and the sentences under it, from `first` up to `end`."""

    heading: str
    place: int
    first: int
    end: int


def headed(cut: Cut, chance: random.Random) -> Found | None:
    """A heading as a question, and the first sentences under it."""
    sections = _sections(cut)
    if not sections:
        return None
    section = chance.choice(sections)
    first = section.first
    last = _last(cut, section, chance)
    question = _asked(section.heading, chance)
    under = frozenset(i for i in range(section.place, section.end) if not first <= i <= last)
    return Found(question, first, last, under | others(cut, question, range(first, last + 1)))


def _sections(cut: Cut) -> list[_Section]:
    """The headings that can be asked, with what answers them close below."""
    found = []
    for place, piece in enumerate(cut.pieces[:-1]):
        heading = MARKS.sub("", piece.text.lstrip("# ")).strip().removeprefix("About ")
        if not piece.heading or not _says_something(heading) or cut.pieces[place + 1].heading:
            continue
        first = end = place + 1
        while end < len(cut) and not cut.pieces[end].heading:
            end += 1
        if _leading().match(cut.pieces[first].text):
            first += 1
        if first < end and cut.pieces[first].start - piece.end < MOST_APART:
            found.append(_Section(heading, place, first, end))
    return found


def _last(cut: Cut, section: _Section, chance: random.Random) -> int:
    """The last sentence of the answer; none of it ends with a colon if it can be helped."""
    first, end = section.first, section.end
    last = min(end - 1, first + chance.choice(FURTHER))
    if cut.pieces[last].text.endswith((":", "：")) and last + 1 < end:
        last += 1
    is_long = cut.pieces[last].end - cut.pieces[first].start > LONGEST_RUN
    return first if is_long else last


def _says_something(heading: str) -> bool:
    if CODE_LIKE.search(heading) or len(heading) > LONGEST or _empty().match(heading):
        return False
    if len(HAN.findall(heading)) >= FEWEST_CHINESE:
        return True
    return " " in heading and len(content(heading)) >= FEWEST_WORDS


def _asked(heading: str, chance: random.Random) -> str:
    forms, do = _forms(heading)
    return chance.choice(forms).format(heading=heading, do=do)


def _forms(heading: str) -> tuple[tuple[str, ...], str]:
    """Ways to ask a heading, and what it says to do, if it says so."""
    if heading.endswith(("?", "？")):
        return ("{heading}",), ""
    for language in ("zh", "en"):
        match = _instruction(language).match(heading)
        if match is not None:
            do = match.group(1)
            if language == "en":
                do = as_asked(language, do[:1].lower() + do[1:])
            return _words(language).asked_how, do
    return _words("zh" if HAN.search(heading) else "en").asked, ""


@cache
def _instruction(language: str) -> re.Pattern[str]:
    words = _words(language)
    return re.compile(words.instruction.replace("VERBS", "|".join(words.verbs)))


@cache
def _empty() -> re.Pattern[str]:
    pieces = (*_words("en").empty, *_words("zh").empty)
    return re.compile(f"^(?:{'|'.join(pieces)})$", re.IGNORECASE)


@cache
def _leading() -> re.Pattern[str]:
    return re.compile("|".join((*_words("en").leading, *_words("zh").leading)))


@cache
def _words(language: str) -> _HeadingWords:
    return read(_HeadingWords, f"headings.{language}.toml")
