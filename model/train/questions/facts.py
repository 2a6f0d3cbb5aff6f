"""Invented facts: an entity, a value of one of its traits, and the question that asks for it.

With them come statements that nearly answer: the same of something else, something else of the
same, and the question's words without an answer. Refuses words of which no fact can be made
(`words`). Called by `numbered`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain

from model.train.questions.templates import Voice, check_places, names
from model.train.questions.words import WordsError, read

DISTRACTED_SHARE = 0.75  # of the facts, those that stand among facts that are nearly asked for
TWO_SENTENCES_SHARE = 0.2  # of the facts, those told in two sentences
TOLD_ALIKE_SHARE = 0.5  # of the statements, those in words that serve for any trait
ASKED_ITS_WAY_SHARE = 0.55  # of the questions, those in words of the trait
OTHER_TRAIT_SHARE = 0.7  # of the decoys, those with something else of the same entity
EVASIVE_SHARE = 0.5  # of the decoys, those with the question's words without an answer
NO_MARK_SHARE = 0.08  # of the questions, those without their question mark
LOWER_CASE_SHARE = 0.05  # of the English ones
MOST_DECOYS = 3

#: Traits of these values are told and asked for in their own words only.
OWN_WORDS_ONLY = ("reason", "activity")
#: Values that may answer each other's questions.
CLASHING = (("place", "city"), ("code", "word", "number", "phone"), ("time", "weekday", "date"))
ANY_KIND = "other"  # of entities, in the openings: those that are not named there
GIVEN = ("e", "a", "v")  # the places of the entity, of the trait's noun and of the value


@dataclass(frozen=True)
class Fact:
    """A fact, the question about it, and statements that nearly answer."""

    entity: str
    told: tuple[str, ...]
    question: str
    decoys: tuple[str, ...]


@dataclass(frozen=True)
class Trait:
    """What entities of some kinds have: nouns for it, and ways of its own to tell and to ask."""

    entities: tuple[str, ...]
    value: str
    nouns: tuple[str, ...]
    told: tuple[str, ...]
    asked: tuple[str, ...]
    apart: bool = False  #: its nouns are no synonyms

    @property
    def in_own_words(self) -> bool:
        """Whether what is said of any trait cannot be said of this one."""
        return self.value in OWN_WORDS_ONLY


@dataclass(frozen=True)
class FactWords:
    """What facts are said in, in one language."""

    its: str
    their: str
    told: tuple[str, ...]
    asked: tuple[str, ...]
    asked_who: tuple[str, ...]
    following: tuple[str, ...]
    evasive: tuple[str, ...]
    openings: Mapping[str, tuple[str, ...]]
    entities: Mapping[str, tuple[str, ...]]
    values: Mapping[str, tuple[str, ...]]
    lists: Mapping[str, tuple[str, ...]]
    traits: tuple[Trait, ...]


def invent(language: str, chance: random.Random) -> Fact:
    """A fact of a language, 'zh' or another one, for which English does."""
    return _Inventor(fact_words("zh" if language == "zh" else "en"), chance).fact()


@cache
def fact_words(language: str) -> FactWords:
    """The words of a language."""
    name = f"facts.{language}.toml"
    return checked(read(FactWords, name), name)


def checked(words: FactWords, name: str) -> FactWords:
    """Words that fit each other, with the English words that addresses are made of, too."""
    words = replace(words, lists={**words.lists, "word": names().words})
    _check_kinds(words, name)
    drawn = chain(*words.entities.values(), *words.values.values())
    own = chain.from_iterable((*trait.told, *trait.asked) for trait in words.traits)
    general = (words.told, words.asked, words.asked_who, words.evasive, *words.openings.values())
    check_places(drawn, words.lists, (), name)
    check_places(chain(own, *general), words.lists, GIVEN, name)
    check_places(words.following, words.lists, (*GIVEN, "its"), name)
    return words


def _check_kinds(words: FactWords, name: str) -> None:
    if ANY_KIND not in words.openings:
        raise WordsError(f"{name}: openings: {ANY_KIND!r} is missing")
    named = [("openings", kind, {*words.entities, ANY_KIND}) for kind in words.openings]
    for place, trait in enumerate(words.traits):
        named += [(f"traits[{place}]", kind, {*words.entities}) for kind in trait.entities]
        named.append((f"traits[{place}]", trait.value, {*words.values}))
    for where, kind, known in named:
        if kind not in known:
            raise WordsError(f"{name}: {where}: {kind!r} is not known; known are {sorted(known)}")


class _Inventor:
    """Facts in the words of one language."""

    def __init__(self, words: FactWords, chance: random.Random) -> None:
        self._words = words
        self._chance = chance
        self._voice = Voice(words.lists, chance)

    def fact(self) -> Fact:
        chance = self._chance
        trait = chance.choice(self._words.traits)
        kind = chance.choice(trait.entities)
        said = {"e": self._entity(kind), "v": self._value(trait), "a": chance.choice(trait.nouns)}
        asked = said if trait.apart else said | {"a": chance.choice(trait.nouns)}
        if not trait.in_own_words and chance.random() < TWO_SENTENCES_SHARE:
            told = self._told_in_two(kind, said)
        else:
            told = (self._told(trait, said),)
        question = self._question(trait, asked)
        is_distracted = chance.random() < DISTRACTED_SHARE
        decoys = self._decoys(trait, kind, said) if is_distracted else ()
        return Fact(said["e"], told, question, decoys)

    def _entity(self, kind: str) -> str:
        return self._voice.fill(self._words.entities[kind])

    def _value(self, trait: Trait) -> str:
        return self._voice.fill(self._words.values[trait.value])

    def _told_in_two(self, kind: str, said: Mapping[str, str]) -> tuple[str, ...]:
        """A sentence about the entity, and one that tells the fact of what was named before."""
        words = self._words
        opening = words.openings.get(kind, words.openings[ANY_KIND])
        its = words.their if kind == "person" else words.its
        first = self._voice.say(opening, said)
        return first, self._voice.say(words.following, {**said, "its": its})

    def _told(self, trait: Trait, said: Mapping[str, str]) -> str:
        is_own = trait.in_own_words or self._chance.random() >= TOLD_ALIKE_SHARE
        return self._voice.say(trait.told if is_own else self._words.told, said)

    def _question(self, trait: Trait, said: Mapping[str, str]) -> str:
        general = self._words.asked_who if trait.value == "person" else self._words.asked
        is_own = trait.in_own_words or self._chance.random() < ASKED_ITS_WAY_SHARE
        question = self._voice.say(trait.asked if is_own else general, said)
        if self._chance.random() < NO_MARK_SHARE:
            question = question.rstrip("?？.。")
        if question.isascii() and self._chance.random() < LOWER_CASE_SHARE:
            return question.lower()
        return question

    def _decoys(self, trait: Trait, kind: str, said: Mapping[str, str]) -> tuple[str, ...]:
        chance = self._chance
        made = []
        for _ in range(chance.choice((1, 1, 2))):
            entity, value = self._entity(kind), self._value(trait)
            if entity != said["e"] and value != said["v"]:
                made.append(self._told(trait, {**said, "e": entity, "v": value}))
        others = self._others(trait, kind)
        if others and chance.random() < OTHER_TRAIT_SHARE:
            other = chance.choice(others)
            value, noun = self._value(other), chance.choice(other.nouns)
            made.append(self._told(other, {"e": said["e"], "v": value, "a": noun}))
        if not trait.in_own_words and chance.random() < EVASIVE_SHARE:
            made.append(self._voice.say(self._words.evasive, said))
        chance.shuffle(made)
        return tuple(dict.fromkeys(made))[:MOST_DECOYS]

    def _others(self, trait: Trait, kind: str) -> list[Trait]:
        """Traits of the same kind of entity whose values do not answer for this one."""
        clashing = next((group for group in CLASHING if trait.value in group), (trait.value,))
        traits = self._words.traits
        return [one for one in traits if kind in one.entities and one.value not in clashing]
