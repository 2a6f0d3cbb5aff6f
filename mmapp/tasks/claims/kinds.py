"""What a claim is about: the words of a listing that tell a kind, by word lists in two languages.

`en.toml` and `zh.toml` hold the words, and patterns for numbers with units. At each place the
longest word counts, so that "green tea" and "红茶" are products and no colours. A word that names a
product as well as a colour or a material ("orange", "glass") is a product unless a product's name
follows it. A claim that says only what no photo can show ("soft", "free delivery", "包邮") is told
so here, by code: `Kind.is_visible`. Refuses nothing; called by `statements` and `details`, and by
`propose`, which offers words of these lists.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files

LANGUAGES = ("en", "zh")


class Kind(StrEnum):
    """What a claim is about; the order is that in which two kinds of one word are preferred."""

    PRODUCT = "product"
    BRAND = "brand"
    COLOUR = "colour"
    MATERIAL = "material"
    PATTERN = "pattern"
    COUNT = "count"
    SIZE = "size"
    TEXT = "text"
    CONDITION = "condition"
    NEGATION = "negation"
    PRICE = "price"
    DELIVERY = "delivery"
    ORIGIN = "origin"
    WARRANTY = "warranty"
    WEIGHT = "weight"
    FEEL = "feel"
    PERFORMANCE = "performance"
    #: Several kinds that a photo can show.
    SEVERAL = "several"
    #: None that the lists know; a photo may show it.
    OTHER = "other"

    @property
    def is_visible(self) -> bool:
        """Whether a photo can show what a claim of this kind says."""
        return self not in _UNSEEN


_UNSEEN = frozenset(
    {
        Kind.PRICE,
        Kind.DELIVERY,
        Kind.ORIGIN,
        Kind.WARRANTY,
        Kind.WEIGHT,
        Kind.FEEL,
        Kind.PERFORMANCE,
    }
)


@dataclass(frozen=True, slots=True)
class Word:
    """A run of characters that tells a kind."""

    start: int
    end: int
    kind: Kind
    #: Denies what follows it ("without"), and says nothing alone.
    is_particle: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    """A word of the lists; no kinds: a word to be passed over."""

    kinds: tuple[Kind, ...]
    is_particle: bool = False


_IGNORED = _Entry(())
_COLOUR = _Entry((Kind.COLOUR,))
_PARTICLE = _Entry((Kind.NEGATION,), is_particle=True)
_LATIN = re.compile(r"[a-z0-9À-ÖØ-öø-ÿ]", re.IGNORECASE)
_IN_NUMBER = re.compile(r"\d[.,]\Z")
_PLURAL = re.compile(r"e?s")


def kind_of(text: str, attribute: str = "") -> Kind:
    """What a statement is about: as the name of its attribute says, else as its words say."""
    words = find_words(text)
    kinds = {word.kind for word in words}
    named = _attributes().get(_folded(attribute).strip())
    if named is not None and not named.is_visible:
        return named
    visible = {kind for kind in kinds if kind.is_visible}
    unseen = [word.kind for word in words if not word.kind.is_visible]
    # "The shirt is soft": that the subject can be seen does not make the softness so.
    if unseen and named is None and visible <= {Kind.PRODUCT, Kind.NEGATION}:
        return unseen[0]
    if Kind.NEGATION in visible:
        return Kind.NEGATION
    if named is not None:
        return named
    if len(visible) > 1:
        return Kind.SEVERAL
    return next(iter(visible), Kind.OTHER)


def find_words(text: str) -> list[Word]:
    """The words that tell a kind, in order; none overlaps another."""
    found: list[Word] = []
    folded = _folded(text)
    patterned = _patterned(folded)
    place = 0
    while place < len(folded):
        end, entry = _longest(folded, place)
        if place in patterned and patterned[place][0] > end:
            end, entry = patterned[place]
        if entry.kinds:
            kind = _choose(entry.kinds, folded, end)
            found.append(Word(place, end, kind, entry.is_particle))
        place = max(end, place + 1)
    return found


def listed(kind: Kind, language: str) -> tuple[str, ...]:
    """The words of a kind in one language's list, in its order."""
    return tuple(_split(_source(language)[kind.value].get("words", "")))


def _choose(kinds: Sequence[Kind], folded: str, end: int) -> Kind:
    """Of a word's kinds the one meant here."""
    if len(kinds) == 1 or kinds[0] is not Kind.PRODUCT:
        return kinds[0]
    return kinds[1] if _names_product(folded, end) else kinds[0]


def _names_product(folded: str, place: int) -> bool:
    """Whether a product's name begins here, behind a blank or a hyphen at most."""
    begin = place + 1 if folded[place : place + 1] in {" ", "-"} else place
    _, entry = _longest(folded, begin)
    return Kind.PRODUCT in entry.kinds


def _longest(folded: str, place: int) -> tuple[int, _Entry]:
    """The end of the longest word of the lists that begins here, and what it is."""
    if _LATIN.match(folded, place) and _LATIN.match(folded[place - 1 : place]):
        return place, _IGNORED  # within a word
    for word, entry in _lexicon().get(folded[place : place + 1], ()):
        if folded.startswith(word, place):
            end = _word_end(folded, place + len(word))
            if end is not None:
                return end, entry
    if folded[place : place + 1] in _letters() and _is_coloured(folded, place + 1):
        return place + 1, _COLOUR
    return place, _IGNORED


def _is_coloured(folded: str, place: int) -> bool:
    """Whether what begins here can have a colour, so that the character before it is one."""
    if folded.startswith("款", place):
        return True
    _, entry = _longest(folded, place)
    return bool({Kind.PRODUCT, Kind.PATTERN, Kind.MATERIAL} & {*entry.kinds}) or entry is _COLOUR


def _word_end(folded: str, end: int) -> int | None:
    """The end of a word read up to `end`: there, or behind a plural's s; None within a word."""
    if not _LATIN.match(folded[end - 1]):
        return end
    plural = _PLURAL.match(folded, end)
    for place in (end, plural.end() if plural else end):
        if not _LATIN.match(folded, place):
            return place
    return None


def _patterned(folded: str) -> dict[int, tuple[int, _Entry]]:
    """Start to end and kind of what the patterns find; the longest of each start."""
    found: dict[int, tuple[int, _Entry]] = {}
    for kind, pattern in _patterns():
        for match in pattern.finditer(folded):
            if _IN_NUMBER.search(folded, max(0, match.start() - 2), match.start()):
                continue
            if match.end() > found.get(match.start(), (0, _IGNORED))[0]:
                found[match.start()] = match.end(), _Entry((kind,))
    return found


def _folded(text: str) -> str:
    """In small letters, character by character, so that places stay the same."""
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


@cache
def _source(language: str) -> Mapping[str, Mapping[str, str]]:
    path = files(__package__).joinpath(f"{language}.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


@cache
def _lexicon() -> dict[str, list[tuple[str, _Entry]]]:
    """First character to the words that begin with it, the longest first."""
    kinds: dict[str, list[Kind]] = defaultdict(list)
    entries: dict[str, _Entry] = {}
    for language in LANGUAGES:
        source = _source(language)
        for kind in Kind:
            for word in _split(source.get(kind.value, {}).get("words", "")):
                kinds[_folded(word)].append(kind)
        entries |= dict.fromkeys(_split(source["negation"]["particles"]), _PARTICLE)
        entries |= dict.fromkeys(_split(source["ignored"]["words"]), _IGNORED)
    entries |= {word: _Entry(tuple(dict.fromkeys(some))) for word, some in kinds.items()}
    lexicon: dict[str, list[tuple[str, _Entry]]] = defaultdict(list)
    for word in sorted(entries, key=len, reverse=True):
        lexicon[word[0]].append((word, entries[word]))
    return lexicon


@cache
def _letters() -> frozenset[str]:
    return frozenset(_source("zh")["colour"]["letters"])


@cache
def _patterns() -> list[tuple[Kind, re.Pattern[str]]]:
    return [
        (kind, re.compile(line))
        for language in LANGUAGES
        for kind in Kind
        for line in _source(language).get(kind.value, {}).get("patterns", "").splitlines()
        if line
    ]


@cache
def _attributes() -> dict[str, Kind]:
    return {
        _folded(name): kind
        for language in LANGUAGES
        for kind in Kind
        for name in _split(_source(language).get(kind.value, {}).get("attributes", ""))
    }


def _split(words: str) -> Iterator[str]:
    return (word for part in words.split(",") if (word := " ".join(part.split())))
