"""What is asked of a user's own rows: the claims of a listing, the question about a document.

A listing that agrees with its photos teaches "yes" to each of its claims, as the application takes
them, and "no" to the titles of others of the table. Of one that does not agree nobody said which
claim is wrong: only its title is taught, as "no", even where it is a colour that is false. Claims
about what no photo shows (a price, a weight) are left out, and some are taught as "unclear". Of a
document the passages with the answer's words are right and all others wrong. Refuses nothing; gives
None where a document has no such passage. Called by the curriculum.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from functools import cached_property

from model.train.documents import Sentence, TextDocument, in_one_line, sentences
from model.train.listings import UNSEEN, Claim, Listing, unseen_claim
from model.train.questions import MOST_RIGHT, RUN, STRIDE, Asked
from model.train.rouge import units

MOST_RIVALS = 2  # titles of other listings among the claims of one
UNCLEAR_SHARE = 0.3  # of the listings, those that are also asked what no photo shows
MOST_CHARACTERS = 300  # of a claim; the application cuts longer ones
NOT_SHOWN = frozenset(name for _, name, _ in UNSEEN) - {"description", "描述"}

# How the application cuts a listing into claims; a test compares both.
BRACKETED = re.compile(r"[(（【\[]([^()（）【】\[\]]*)[)）】\]]")
TITLE_BREAK = re.compile(r"\s+[-–—/]\s+|\s*[|｜;；•·]\s*")
TITLE_COMMA = re.compile(r"\s*[,，](?!\d)\s*")
LIST_WORD = re.compile(r"\b(?:and|or|with|for|without)\b|&|[和与及或]", re.IGNORECASE)
BULLET = re.compile(r"(?:[-*+•‣◦▪●○■✓·–]+|\(?\d{1,2}[.)]|[①-⑳])\s*(?=\D)")
NAMED = re.compile(r"([^\W\d][^\d:：.!?。！？,，;；]{0,23}?)\s*[:：](?!//)\s*(?=\S)")
CLAIM_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？；])")


# Listings


def claims_about(
    listing: Listing, others: Sequence[str], most: int, chance: random.Random
) -> list[Claim]:
    """At most `most` claims, the title's first; `others` are titles of other listings."""
    title, *further = claims_of(listing)
    unclear = [unseen_claim(chance)] if chance.random() < UNCLEAR_SHARE else []
    if not listing.consistent:
        return [Claim(*title, "no"), *unclear][:most]
    rivals = _rivals(title, others, chance)
    seen = [Claim(*words, "yes") for words in further if words[0].casefold() not in NOT_SHOWN]
    chance.shuffle(seen)
    rest = [*unclear, *seen][: max(0, most - 1 - len(rivals))]
    return [Claim(*title, "yes", rivals=1), *rivals, *rest][:most]


def _rivals(title: tuple[str, str], others: Sequence[str], chance: random.Random) -> list[Claim]:
    """Titles that say something else: one that holds the other's words may mean the same."""
    attribute, ours = title
    rivals: dict[str, Claim] = {}
    for other in chance.sample(others, min(len(others), 4 * MOST_RIVALS)):
        product = title_parts(other)[0]
        one, two = f" {' '.join(units(ours))} ", f" {' '.join(units(product))} "
        if one not in two and two not in one:
            rivals[product.casefold()] = Claim(attribute, product, "no", rivals=1)
    return list(rivals.values())[:MOST_RIVALS]


def claims_of(listing: Listing) -> list[tuple[str, str]]:
    """Attribute and words of each claim, the product's first; each once."""
    found = [("title", part) for part in title_parts(listing.title)]
    found += listing.attributes
    found += _described(listing.description)
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for attribute, words in found:
        if len(words) <= MOST_CHARACTERS:
            first.setdefault((attribute.casefold(), words.casefold()), (attribute, words))
    return list(first.values()) or found


def title_parts(title: str) -> list[str]:
    """The product, then what is said of it behind bars, dashes and commas or in brackets."""
    asides = [match[1].strip() for match in BRACKETED.finditer(title)]
    parts = TITLE_BREAK.split(BRACKETED.sub("|", title))
    if not LIST_WORD.search(title):
        parts = [cut for part in parts for cut in TITLE_COMMA.split(part)]
    return [part.strip() for part in [*parts, *asides] if units(part)] or [title]


def _described(description: str) -> Iterator[tuple[str, str]]:
    """The sentences of each line; "Colour: red" is about an attribute of its own."""
    for line in description.splitlines():
        words = line.strip()
        if bullet := BULLET.match(words):
            words = words[bullet.end() :]
        attribute = "description"
        if named := NAMED.match(words):
            attribute, words = named[1], words[named.end() :]
        yield from ((attribute, part.strip()) for part in CLAIM_END.split(words) if units(part))


# Documents


class Questioned:
    """A document of the user's with the question about it."""

    def __init__(self, document: TextDocument) -> None:
        self._document = document
        self._answers = [" ".join(units(answer)) for answer in document.answers]

    def asked(self, characters: int, passages: int, chance: random.Random) -> Asked | None:
        """The question about at most `characters` characters that hold the answer, if there is one;
        None where no passage does, or where every passage does."""
        if not self._pieces or (self._answers and not self._answering):
            return None
        place = chance.choice(self._answering or range(len(self._pieces)))
        first, last = self._grown(place, characters, chance)
        right, wrong = self._passages(first, last, place)
        for found in (right, wrong):
            chance.shuffle(found)
        right = right[: min(MOST_RIGHT, passages - 1) if chance.random() < 0.4 else 1]
        wrong = wrong[: passages - len(right)]
        if not wrong or (self._answers and not right):
            return None
        text = self._document.text[self._pieces[first].start : self._pieces[last].end]
        return Asked(text, self._document.question, tuple(right), tuple(wrong))

    @cached_property
    def _pieces(self) -> list[Sentence]:
        return sentences(self._document.text)

    @cached_property
    def _answering(self) -> list[int]:
        """The sentences that answer; where none does alone, those with which a run begins that
        does."""
        places = range(len(self._pieces))
        alone = [i for i in places if self._answers_in(i, i)]
        return alone or [i for i in places if self._answers_in(i, min(i + RUN, len(places)) - 1)]

    def _grown(self, place: int, characters: int, chance: random.Random) -> tuple[int, int]:
        """The sentences around a run from `place` on that fit, at any depth of what they are."""
        pieces, lean = self._pieces, chance.random()
        first, last = place, min(place + RUN, len(pieces)) - 1
        while True:
            before = first > 0 and pieces[last].end - pieces[first - 1].start <= characters
            after = (
                last + 1 < len(pieces) and pieces[last + 1].end - pieces[first].start <= characters
            )
            if not before and not after:
                return first, last
            if before and (not after or chance.random() < lean):
                first -= 1
            else:
                last += 1

    def _passages(self, first: int, last: int, place: int) -> tuple[list[str], list[str]]:
        """Of the sentences `first` to `last` right and wrong ones, and right and wrong runs of
        them, one of which begins at `place`."""
        spans = [(i, i) for i in range(first, last + 1) if not self._pieces[i].heading]
        low = first + (place - first) % STRIDE
        spans += [(i, i + RUN - 1) for i in range(low, last + 2 - RUN, STRIDE)]
        right: dict[str, None] = {}
        wrong: dict[str, None] = {}
        for span in spans:
            (right if self._answers_in(*span) else wrong)[self._passage(*span)] = None
        return list(right), list(wrong)

    def _passage(self, first: int, last: int) -> str:
        return in_one_line(self._document.text[self._pieces[first].start : self._pieces[last].end])

    def _answers_in(self, first: int, last: int) -> bool:
        """Case and punctuation do not count."""
        words = f" {' '.join(units(self._passage(first, last)))} "
        return any(f" {answer} " in words for answer in self._answers if answer)
