"""Templates, and what fills their places: words of a language's lists, invented names, numbers.

A place is a name in braces. A place that was filled holds the same words everywhere in a template,
but for single characters and numbers, which are drawn anew; `{otherX}` or `{另X}` holds another
word of the list than `{X}`. Refuses templates with places that nothing fills. Called by `facts`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from model.train.questions.words import WordsError, read

PLACE = re.compile(r"\{([^{}]+)\}")
DIGITS = re.compile(r"n\d")
OTHER = re.compile(r"^(?:other|另)")
RANGES = {"k": (2, 30), "day31": (1, 28), "hour": (1, 12), "y": (20, 35), "m": (1, 12)}
DRAWN_ANEW = ("A", "字", "k")
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"  # without those that look like digits
NAME_SYLLABLES = (1, 1, 2)  # before the ending


@dataclass(frozen=True)
class _Names:
    syllables: tuple[str, ...]
    endings: tuple[str, ...]
    words: tuple[str, ...]


class Voice:
    """Says things in the words of a language, by chance."""

    def __init__(self, lists: Mapping[str, Sequence[str]], chance: random.Random) -> None:
        self._lists = lists
        self._chance = chance

    def say(self, templates: Sequence[str], words: Mapping[str, str]) -> str:
        """A sentence: one of the templates with its places filled."""
        said = self.fill(templates, words)
        is_address = "@" in said.partition(" ")[0]
        return said if is_address else said[:1].upper() + said[1:]

    def fill(self, templates: Sequence[str], words: Mapping[str, str] | None = None) -> str:
        """One of the templates with its places filled: with the given words, or drawn ones."""
        filled = dict(words or {})

        def words_of(place: re.Match[str]) -> str:
            name = place.group(1)
            if name not in filled or name in DRAWN_ANEW or DIGITS.fullmatch(name):
                filled[name] = self._draw(name, filled)
            return filled[name]

        return PLACE.sub(words_of, self._chance.choice(templates))

    def _draw(self, name: str, filled: Mapping[str, str]) -> str:
        if name in OF_GIVEN:
            given, form = OF_GIVEN[name]
            return form(filled[given])
        if name in MADE:
            return MADE[name](self._chance)
        if name in RANGES:
            return str(self._chance.randint(*RANGES[name]))
        if DIGITS.fullmatch(name):
            digits = int(name[1:])
            return str(self._chance.randrange(10 ** (digits - 1), 10**digits))
        listed = OTHER.sub("", name)
        words = [word for word in self._lists[listed] if word != filled.get(listed)]
        return self._chance.choice(words)


def check_places(
    templates: Iterable[str], lists: Mapping[str, Sequence[str]], given: Sequence[str], where: str
) -> None:
    """Refuses a place that is neither given nor of a list nor otherwise drawn."""
    known = {*given, *MADE, *RANGES}
    known |= {name for name, (of, _) in OF_GIVEN.items() if of in given}
    for template in templates:
        for name in PLACE.findall(template):
            is_listed = OTHER.sub("", name) in lists
            if not is_listed and name not in known and not DIGITS.fullmatch(name):
                raise WordsError(f"{where}: nothing fills {{{name}}} of {template!r}")


def _with_article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def _name(chance: random.Random) -> str:
    count = chance.choice(NAME_SYLLABLES)
    name = "".join(chance.choice(names().syllables) for _ in range(count))
    return (name + chance.choice(names().endings)).title()


@cache
def names() -> _Names:
    """Syllables of invented names, and English words, for templates of every language."""
    return read(_Names, "names.toml")


#: Places that say a given word in another form.
OF_GIVEN: dict[str, tuple[str, Callable[[str], str]]] = {
    "e's": ("e", lambda entity: f"{entity}'s"),
    "a0": ("a", _with_article),
}
#: Places that are not of a list.
MADE: dict[str, Callable[[random.Random], str]] = {
    "Name": _name,
    "lname": lambda chance: _name(chance).lower(),
    "Word": lambda chance: chance.choice(names().words).title(),
    "A": lambda chance: chance.choice(LETTERS),
    "min": lambda chance: f"{5 * chance.randrange(12):02d}",
    "half": lambda chance: f"{chance.randint(1, 6)}.5",
}
