"""Proposals: words for photos, and what to change in a listing whose words the photos refute.

Nothing is written freely. Each word is chosen among known names (`propose.toml`): the photos are
asked about all of them as they are asked about claims, and the likeliest name of a kind is proposed
if its share among the names, softmax(margin), reaches `LEAST_SHARE` and the same checker that
checks claims says SUPPORTED. Else nothing is proposed of that kind, and the payload says so: how
many names were known, and which were the closest, for a person to choose from. Title, description
and attributes are these words put side by side by code.

A correction replaces a refuted word of the title or of an attribute by the word proposed for its
kind, in the language of what it replaces, with both probabilities. Sentences of a description are
left alone: a word list cannot tell what a colour in them is the colour of.

Which kinds are offered stands in the checkpoint's profile under `proposes`; without it, product and
colour. Called by `check_listing` where it is asked for; refuses nothing.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from mmapp.tasks.asking import Asking
from mmapp.tasks.claims import Claim, Kind
from mmapp.tasks.verdict import Calibration, Judgement, judge
from mmapp.types import Engine, Label, Listing, ReportProgress

if TYPE_CHECKING:
    from PIL.Image import Image

#: A name is proposed when it is likelier than all others together.
LEAST_SHARE = 0.5
#: Names that are told for a person to choose from, whether one is proposed or not.
CLOSEST = 5
#: What a checkpoint is offered whose profile does not say `proposes`.
USUAL_KINDS = (Kind.PRODUCT.value, Kind.COLOUR.value)
LANGUAGES = ("en", "zh")


@dataclass(frozen=True, slots=True)
class Choice:
    """The likeliest of the known names of one kind."""

    kind: Kind
    #: The name and its attribute's, in English and in Chinese.
    words: tuple[str, str]
    attributes: tuple[str, str]
    #: Among how many names it was chosen, and its share of their probability.
    known: int
    share: float
    #: The likeliest names with their shares, this one first.
    closest: tuple[tuple[tuple[str, str], float], ...]
    #: What the checker says of it.
    judgement: Judgement

    @property
    def is_sure(self) -> bool:
        return self.share >= LEAST_SHARE and self.judgement.label is Label.SUPPORTED


@dataclass(frozen=True, slots=True)
class _Names:
    kind: Kind
    attributes: tuple[str, str]
    words: tuple[tuple[str, str], ...]


def choose(
    engine: Engine, photos: Sequence[Image], report: ReportProgress
) -> tuple[list[Choice], dict[str, Any]]:
    """For each kind the likeliest name, and what asking cost."""
    offered = _offered(engine.profile)
    asking = Asking(engine, asked_names(engine.profile), report, phase="proposing", unit="names")
    means = asking.means(asking.answers(photos))
    calibration = Calibration.of(engine.profile)
    choices, done = [], 0
    for names in offered:
        found = means[done : done + len(names.words)]
        done += len(names.words)
        margins = [yes - no for yes, no, _ in found]
        order = sorted(range(len(found)), key=lambda place: -margins[place])
        top = order[0]
        total = sum(math.exp(margin - margins[top]) for margin in margins)
        closest = tuple(
            (names.words[place], math.exp(margins[place] - margins[top]) / total)
            for place in order[:CLOSEST]
        )
        choices.append(
            Choice(
                names.kind,
                names.words[top],
                names.attributes,
                len(found),
                1 / total,
                closest,
                judge(found[top], calibration),
            )
        )
    return choices, asking.usage()


def asked_names(profile: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Attribute and word of each name that the model is asked about, in order."""
    return [
        ("title" if names.kind is Kind.PRODUCT else names.attributes[0], word)
        for names in _offered(profile)
        for word, _ in names.words
    ]


def proposal(choices: Sequence[Choice]) -> dict[str, Any]:
    """The part of the payload: each choice, and the words for a listing in both languages."""
    sure = [choice for choice in choices if choice.is_sure]
    return {
        "choices": [
            {
                "kind": choice.kind.value,
                **dict(zip(LANGUAGES, choice.words, strict=True)),
                "known": choice.known,
                "share": round(choice.share, 4),
                "label": choice.judgement.label.value,
                "probability": round(choice.judgement.supported, 4),
                "proposed": choice.is_sure,
                "closest": [
                    {**dict(zip(LANGUAGES, words, strict=True)), "share": round(share, 4)}
                    for words, share in choice.closest
                ],
            }
            for choice in choices
        ],
        **{name: _words(sure, place) for place, name in enumerate(LANGUAGES)},
    }


def corrections(
    listing: Listing,
    claims: Sequence[Claim],
    judged: Sequence[Judgement],
    choices: Sequence[Choice],
) -> dict[str, Any]:
    """The words to change, each with why, and the title and attributes after the changes."""
    sure = {choice.kind: choice for choice in choices if choice.is_sure}
    taken_apart = {claim.kind for claim in claims if claim.is_detail}
    changes = []
    for claim, judgement in zip(claims, judged, strict=True):
        choice = sure.get(claim.kind)
        # A whole title is changed only where it has no name inside it that can be.
        is_whole = claim.names_product and claim.kind in taken_apart
        if choice is None or judgement.label is not Label.REFUTED or is_whole:
            continue
        if claim.field == "description":
            continue
        old, new = claim.text, choice.words[_is_chinese(claim.text)]
        if old.casefold() != new.casefold():
            changes.append((claim, judgement, choice, _cased(old, new)))
    return {
        "changes": [
            {
                "field": claim.field,
                "attribute": claim.attribute,
                "span": [claim.start, claim.end],
                "old": claim.text,
                "new": new,
                "refuted": round(judgement.refuted, 4),
                "probability": round(choice.judgement.supported, 4),
                "share": round(choice.share, 4),
            }
            for claim, judgement, choice, new in changes
        ],
        "title": _changed(
            listing.title, [(c, new) for c, _, _, new in changes if c.field == "title"]
        ),
        "attributes": {
            name: _changed(
                value,
                [
                    (c, new)
                    for c, _, _, new in changes
                    if c.field == "attributes" and c.attribute == name
                ],
            )
            for name, value in listing.attributes.items()
        },
    }


def _words(sure: Sequence[Choice], language: int) -> dict[str, Any]:
    """Title, description and attributes of what is sure."""
    product = [choice.words[language] for choice in sure if choice.kind is Kind.PRODUCT]
    others = [choice for choice in sure if choice.kind is not Kind.PRODUCT]
    said = [*product, *(choice.words[language] for choice in others)]
    full_stop, comma = ("。", "，") if language else (".", ", ")
    return {
        "title": product[0] if product else "",
        "description": _begun(comma.join(said)) + full_stop if said else "",
        "attributes": {choice.attributes[language]: choice.words[language] for choice in others},
    }


def _changed(text: str, changes: Sequence[tuple[Claim, str]]) -> str:
    """The text with the claims' words replaced, from its end to its beginning."""
    for claim, new in sorted(changes, key=lambda change: -change[0].start):
        text = text[: claim.start] + new + text[claim.end :]
    return text


def _cased(old: str, new: str) -> str:
    """A colour at the beginning of a title keeps its capital letter."""
    return _begun(new) if old[:1].isupper() else new


def _begun(text: str) -> str:
    """With a capital letter, as a sentence begins."""
    return text[:1].upper() + text[1:]


def _is_chinese(text: str) -> bool:
    return re.search(r"[\u3400-\u9fff]", text) is not None


def _offered(profile: Mapping[str, Any]) -> list[_Names]:
    kinds = profile.get("proposes", USUAL_KINDS)
    return [names for names in _known() if names.kind.value in kinds]


@cache
def _known() -> tuple[_Names, ...]:
    text = files(__package__).joinpath("propose.toml").read_text(encoding="utf-8")
    return tuple(
        _Names(
            Kind(kind),
            (stored["attribute"][0], stored["attribute"][1]),
            tuple((english, chinese) for english, chinese in stored["words"]),
        )
        for kind, stored in tomllib.loads(text).items()
    )
