"""The claims of a listing: what its title, attributes and description say, word for word.

A claim is never invented or reworded: its text is a run of characters of the listing, with the
field and the place where it stands, and negations stay inside it. Statements are whole parts of a
title, values and sentences; a title's details come behind the statement that they stand in. Claims
beyond a bound are given back apart, so that they are reported and not lost. Refuses nothing; called
by `check_listing`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mmapp.tasks.claims.details import details_of
from mmapp.tasks.claims.kinds import Kind, kind_of
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
    kind: Kind = Kind.OTHER
    #: Stands inside another claim of the title, and says one of the things that it says.
    is_detail: bool = False


def take_claims(listing: Listing) -> tuple[list[Claim], list[Claim]]:
    """The claims to check, the product's first, and those beyond the bound."""
    seen: set[tuple[str, str]] = set()
    found: list[Claim] = []
    for statement in _statements(listing):
        key = (statement.attribute.casefold(), statement.text.casefold())
        if key not in seen and re.search(r"[^\W_]", statement.text):
            seen.add(key)
            found.append(statement)
    told = {(claim.kind, claim.text.casefold()) for claim in found if claim.field == "title"}
    found = [
        claim for statement in found for claim in (statement, *_details(statement, listing, told))
    ]
    return found[:MOST_CLAIMS], found[MOST_CLAIMS:]


def _statements(listing: Listing) -> Iterator[Claim]:
    yield from _title_claims(listing.title)
    for name, value in listing.attributes.items():
        for start, end in _pieces(value, 0, len(value)):
            text = value[start:end]
            yield Claim(text, name, "attributes", start, end, kind=kind_of(text, name))
    yield from _description_claims(listing.description)


def _details(statement: Claim, listing: Listing, told: set[tuple[Kind, str]]) -> Iterator[Claim]:
    """Those of a title's statement that the title does not tell elsewhere; adds them to `told`."""
    if statement.field != "title":
        return
    for one in details_of(listing.title, statement.start, statement.end):
        text = listing.title[one.start : one.end]
        key = (one.kind, text.casefold())
        if key not in told:
            told.add(key)
            yield Claim(
                text, one.attribute, "title", one.start, one.end, kind=one.kind, is_detail=True
            )


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
            text = title[start:end]
            kind = Kind.PRODUCT if is_first else kind_of(text)
            yield Claim(text, "title", "title", start, end, is_first, kind)
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
                text = description[slice(*cut)]
                kind = kind_of(text, attribute)
                yield Claim(text, attribute, "description", *cut, kind=kind)


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
