"""The claims of a listing: what its title, attributes and description say, word for word.

A claim is never invented or reworded: its text is a run of characters of the listing, with the
field and the place where it stands, and negations stay inside it. Claims beyond a bound are given
back apart, so that they are reported and not lost. Refuses nothing; called by `check_listing`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mmapp.tasks.sentences import sentence_spans
from mmapp.types import Listing

#: Most claims that one listing is checked for.
MOST_CLAIMS = 40

#: Longer runs of words are checked in pieces, cut between clauses.
MOST_CHARACTERS = 300

_BRACKETED = re.compile(r"[(（【\[]([^()（）【】\[\]]*)[)）】\]]")
_TITLE_BREAK = re.compile(r"\s+[-–—/]\s+|\s*[|｜;；•·]\s*")
_TITLE_COMMA = re.compile(r"\s*[,，](?!\d)\s*")
#: A title with one of these keeps its commas: "Red, white and blue flag".
_LIST_WORD = re.compile(r"\b(?:and|or|with|for|without)\b|&|[和与及或]", re.IGNORECASE)
_BULLET = re.compile(r"(?:[-*+•‣◦▪●○■✓·–]+|\(?\d{1,2}[.)]|[①-⑳])\s*(?=\D)")
#: "Colour: red" on a line of a description is about an attribute of its own.
_NAMED = re.compile(r"([^\W\d][^\d:：.!?。！？,，;；]{0,23}?)\s*[:：](?!//)\s*(?=\S)")


@dataclass(frozen=True, slots=True)
class Claim:
    """One checkable statement of a listing."""

    text: str
    #: What the words are about: "title", "description", or a name that the listing gives.
    attribute: str
    #: Where the words stand: "title", "description", or "attributes" (in the value of `attribute`),
    field: Literal["title", "description", "attributes"]
    #: from `start` to `end`.
    start: int
    end: int
    #: Says what the product is; the others are about that product and depend on this one.
    names_product: bool = False


def take_claims(listing: Listing) -> tuple[list[Claim], list[Claim]]:
    """The claims to check, the product's first, and those beyond the bound."""
    seen: set[tuple[str, str]] = set()
    found = []
    for claim in _all_claims(listing):
        key = (claim.attribute.casefold(), claim.text.casefold())
        if key not in seen and re.search(r"[^\W_]", claim.text):
            seen.add(key)
            found.append(claim)
    return found[:MOST_CLAIMS], found[MOST_CLAIMS:]


def _all_claims(listing: Listing) -> Iterator[Claim]:
    yield from _title_claims(listing.title)
    for name, value in listing.attributes.items():
        for start, end in _pieces(value, 0, len(value)):
            yield Claim(value[start:end], name, "attributes", start, end)
    yield from _description_claims(listing.description)


def _title_claims(title: str) -> Iterator[Claim]:
    """The product first, then what is said of it behind bars, dashes and commas or in brackets."""
    asides = [match.span(1) for match in _BRACKETED.finditer(title)]
    outside = _BRACKETED.sub(lambda match: "|" * len(match.group()), title)
    parts = list(_split(outside, _TITLE_BREAK, 0, len(title)))
    if not _LIST_WORD.search(title):
        parts = [cut for part in parts for cut in _split(outside, _TITLE_COMMA, *part)]
    is_first = True
    for part_start, part_end in parts + asides:
        for start, end in _pieces(title, part_start, part_end):
            yield Claim(title[start:end], "title", "title", start, end, names_product=is_first)
            is_first = False


def _split(text: str, pattern: re.Pattern[str], start: int, end: int) -> Iterator[tuple[int, int]]:
    for match in pattern.finditer(text, start, end):
        if match.start() > start:
            yield start, match.start()
        start = match.end()
    if start < end:
        yield start, end


def _description_claims(description: str) -> Iterator[Claim]:
    for line in re.finditer(r"[^\r\n]+", description):
        start, end = _trim(description, *line.span())
        bullet = _BULLET.match(description, start, end)
        start = bullet.end() if bullet else start
        named = _NAMED.match(description, start, end)
        attribute = named.group(1) if named else "description"
        start = named.end() if named else start
        for first, last in sentence_spans(description[start:end]):
            for cut in _pieces(description, start + first, start + last):
                yield Claim(description[slice(*cut)], attribute, "description", *cut)


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The span without blanks at its ends; in halves, between clauses or words, where too long."""
    start, end = _trim(text, start, end)
    if end - start <= MOST_CHARACTERS:
        if start < end:
            yield start, end
        return
    middle = (start + end) // 2
    low, high = middle - (end - start) // 4, middle + (end - start) // 4
    for pattern in (r"[,，、;；]\s*", r"\s+", ""):
        places = [match.end() for match in re.compile(pattern).finditer(text, low, high)]
        if places:
            break
    cut = min(places, key=lambda place: abs(place - middle))
    yield from _pieces(text, start, cut)
    yield from _pieces(text, cut, end)


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    body = text[start:end]
    return start + len(body) - len(body.lstrip()), start + len(body.rstrip())
