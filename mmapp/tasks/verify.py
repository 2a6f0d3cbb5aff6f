"""What was written about a document, held against the words that it cites.

A sentence is supported when every quote that it gives stands on the page that it names, the quotes
have every number, date, amount and name of the sentence (`facts`), share a word with it, and it is
in the document's language. What fails is named, never mended: code shows what code found. Out of
reach are negations ("was not closed"), who did what to whom, rounding, and what follows from the
words: a sentence can be supported here and be wrong.

Refuses nothing. Called by `abstractive`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mmapp.documents.quotes import PageText
from mmapp.tasks.facts import Evidence, facts_of
from mmapp.tasks.paragraphs import CJK, Span
from mmapp.tasks.sentences import units, word_count

#: A quote of fewer words proves nothing.
FEWEST_WORDS = 2
#: Of the words of a text, two characters being a word, so many are Chinese in a Chinese one.
CHINESE_SHARE = 0.3
#: Pages that are named for a quote that stands elsewhere than was said.
MOST_FOUND = 5

_CHINESE = re.compile(f"[{CJK}]")
_LOWER_WORD = re.compile(r"(?<![\w'’.-])[^\W\d_A-Z][^\W\d_]+")
_ELLIPSIS = re.compile(r"\s*(?:\[?\.\.\.\]?|…+)\s*")
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−－"), "-")
_MARKS = dict.fromkeys(map(ord, "\"'“”‘’„«»「」『』\u00ad"), None)


@dataclass(frozen=True, slots=True)
class Citation:
    """A page that a sentence names, and the words that it says stand there."""

    page: int
    quote: str


@dataclass(frozen=True, slots=True)
class Written:
    """A sentence as it was written, with its citations."""

    text: str
    citations: tuple[Citation, ...]


def is_chinese(text: str) -> bool:
    return len(_CHINESE.findall(text)) / 2 > CHINESE_SHARE * word_count(text)


class Proofreader:
    """Checks sentences against the pages of one document."""

    def __init__(self, pages: Sequence[PageText]) -> None:
        self._pages = {page.page.number: _Searched(page) for page in pages}
        self._is_chinese = is_chinese("".join(page.text[:1000] for page in pages))

    def check(self, sentence: Written) -> dict[str, Any]:
        """The sentence as payloads have it, with what its proofs lack under `missing`."""
        spans: list[Span] = []
        missing: list[dict[str, Any]] = []
        for citation in sentence.citations:
            found, lacking = self._look_up(citation)
            spans += [span for span in found if span not in spans]
            missing += lacking
        evidence = [self._proof(span) for span in spans]
        quotes = [proof["quote"] for proof in evidence]
        if not sentence.citations:
            missing.append({"kind": "proof", "text": ""})
        elif quotes:
            missing += self._unsaid(sentence.text, quotes)
        if is_chinese(sentence.text) != self._is_chinese:
            missing.append({"kind": "language", "text": ""})
        return {
            "text": sentence.text,
            "supported": not missing,
            "evidence": evidence,
            "missing": missing,
        }

    def _look_up(self, citation: Citation) -> tuple[list[Span], list[dict[str, Any]]]:
        """Where the quote stands; what it leaves out (…) may be anything between its pieces."""
        page = self._pages.get(citation.page)
        pieces = [piece for piece in _ELLIPSIS.split(citation.quote) if piece.strip()]
        if word_count(citation.quote) < FEWEST_WORDS:
            return [], [{"kind": "quote", "text": citation.quote, "page": citation.page}]
        found = page.spans(pieces) if page else None
        if found is not None:
            return found, []
        elsewhere = [number for number, other in self._pages.items() if other.spans(pieces)]
        kind = "page" if elsewhere else "quote"
        lacking = {"kind": kind, "text": citation.quote, "page": citation.page}
        return [], [{**lacking, "found_on": elsewhere[:MOST_FOUND]} if elsewhere else lacking]

    def _unsaid(self, text: str, quotes: Sequence[str]) -> Iterator[dict[str, Any]]:
        evidence = Evidence(quotes)
        told: set[str] = set()
        for fact in facts_of(text, self._ordinary):
            if fact.text not in told and not evidence.says(fact):
                told.add(fact.text)
                yield {"kind": fact.kind.value, "text": fact.text}
        if not units(text) & units(" ".join(quotes)):
            yield {"kind": "words", "text": ""}

    def _proof(self, span: Span) -> dict[str, Any]:
        page = self._pages[span.page].page
        boxes = page.boxes_of(span.start, span.end)
        quote = page.text[span.start : span.end]
        return {"page": span.page, "quote": quote, "boxes": [list(box) for box in boxes]}

    @cached_property
    def _ordinary(self) -> frozenset[str]:
        """Words that the document writes in lower case: at a sentence's start they name nobody."""
        return frozenset(
            word for searched in self._pages.values() for word in searched.lower_words()
        )


class _Searched:
    """A page in which quotes are found whatever their case, white space, dashes and marks."""

    def __init__(self, page: PageText) -> None:
        self.page = page

    def spans(self, pieces: Sequence[str]) -> list[Span] | None:
        """Where the pieces stand, each after the one before; None if they do not."""
        text, places = self._folded
        found, after = [], 0
        for piece in pieces:
            wanted = fold(piece)
            at = text.find(wanted, after) if wanted else -1
            if at < 0:
                return None
            after = at + len(wanted)
            found.append(Span(self.page.page.number, places[at], places[after - 1] + 1))
        return found or None

    def lower_words(self) -> list[str]:
        return _LOWER_WORD.findall(self.page.text)

    @cached_property
    def _folded(self) -> tuple[str, list[int]]:
        """The page's text as `fold` makes it, and the place of each of its characters."""
        pieces: list[str] = []
        places: list[int] = []
        for index, character in enumerate(self.page.text):
            folded = fold(character)
            pieces.append(folded)
            places += [index] * len(folded)
        return "".join(pieces), places


def fold(text: str) -> str:
    """Text by which quotes are compared: case, width, white space and marks do not count."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_DASHES).translate(_MARKS)
    return "".join(plain.split())
