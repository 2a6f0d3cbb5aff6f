"""The details of a title: the words in it that tell one kind each, as claims of their own.

"Red cotton T-shirt without hood" is one statement and says four things; a photo may show three of
them. Only titles are taken apart: their words are about the product, while in a sentence ("green
apples with white pulp") a word list cannot tell what a colour is the colour of. For the same reason
what stands behind "with" stays one phrase, and what stands behind "for" and "from" is left alone.
Refuses nothing; called by `statements`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from mmapp.tasks.claims.kinds import Kind, Word, find_words, kind_of

#: What the head of an English title ends with; "with" and negations begin phrases of their own.
_TAIL = re.compile(r"(?<!\w)(?:with|featuring|for|from|by|in the style of)(?!\w)", re.IGNORECASE)
_COMMA = re.compile(r"[,，;；]")
_CLAIMED = ("with", "featuring")
#: What may stand between two words of a kind that are one claim: "red and white".
_BETWEEN = re.compile(r"\s*(?:[,，、/&+-]|and\b|与|和|及)?\s*", re.IGNORECASE)
#: The name of a detail's attribute, in the language of its words.
_NAMES = {
    Kind.PRODUCT: ("type", "类别"),
    Kind.BRAND: ("brand", "品牌"),
    Kind.COLOUR: ("colour", "颜色"),
    Kind.MATERIAL: ("material", "材质"),
    Kind.PATTERN: ("pattern", "图案"),
    Kind.COUNT: ("count", "数量"),
    Kind.SIZE: ("size", "尺寸"),
    Kind.TEXT: ("text", "文字"),
    Kind.CONDITION: ("condition", "成色"),
}


@dataclass(frozen=True, slots=True)
class Detail:
    """A run of characters of a title that says one thing."""

    start: int
    end: int
    kind: Kind
    #: What it is about, in the language of its words.
    attribute: str


def details_of(title: str, start: int, end: int) -> Iterator[Detail]:
    """Of the part of a title from `start` to `end`, in order; none where it says one thing."""
    text = title[start:end]
    for one in sorted(_told(text), key=lambda detail: detail.start):
        if text[one.start : one.end] != text.strip(" .。!！"):
            yield replace(one, start=start + one.start, end=start + one.end)


def _told(text: str) -> Iterator[Detail]:
    words = find_words(text)
    phrases = list(_phrases(text, words))
    for begin, end, kind in phrases:
        if kind is not None:
            yield Detail(begin, end, kind, "title")
    free = [w for w in words if not any(begin <= w.start < end for begin, end, _ in phrases)]
    # The last name is the thing itself: "bed" of "dog bed", "卫衣" of "小熊卫衣".
    noun = [word for word in free if word.kind is Kind.PRODUCT][-1:]
    for word in _joined(text, free):
        if word.kind is not Kind.PRODUCT or word in noun:
            yield Detail(word.start, word.end, word.kind, _name(word, text))


def _phrases(text: str, words: Sequence[Word]) -> Iterator[tuple[int, int, Kind | None]]:
    """ "with white laces", "without hood", "不带帽": start, end and kind of each phrase that is a
    claim as a whole; None for one that says nothing of the product ("for small dogs")."""
    denied = {word.start for word in words if word.is_particle}
    cuts = sorted({match.start() for match in _TAIL.finditer(text)} | denied)
    products = [word.start for word in words if word.kind is Kind.PRODUCT]
    for begin, stop in pairwise([*cuts, len(text)]):
        comma = _COMMA.search(text, begin, stop)
        stop = comma.start() if comma else stop
        if begin in denied and _is_chinese(text[begin:stop]):
            # "不带帽卫衣": the name behind the phrase is not in it; a blank ends it as well.
            blank = text.find(" ", begin, stop)
            names = [place for place in products if begin < place < stop]
            stop = min([stop, *names[-1:], *([blank] if blank > 0 else [])])
        phrase = text[begin:stop].rstrip()
        kind = None
        if begin in denied:
            kind = Kind.NEGATION
        elif phrase.casefold().startswith(_CLAIMED):
            kind = kind_of(phrase)
        yield begin, begin + len(phrase), kind


def _joined(text: str, words: Sequence[Word]) -> list[Word]:
    """Neighbours of one kind as one: "red and white"."""
    joined: list[Word] = []
    for word in words:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.kind is word.kind is not Kind.PRODUCT
            and _BETWEEN.fullmatch(text[last.end : word.start])
        ):
            joined[-1] = replace(last, end=word.end)
        else:
            joined.append(word)
    return joined


def _name(word: Word, text: str) -> str:
    english, chinese = _NAMES.get(word.kind, ("title", "title"))
    return chinese if _is_chinese(text[word.start : word.end]) else english


def _is_chinese(text: str) -> bool:
    return re.search(r"[\u3400-\u9fff]", text) is not None
