"""How well a checkpoint sees what drawn pictures of products show, property by property.

Claims are made as in training, with seeds that training never uses. A claim that holds or not is
decided by its margin; of rivals the highest margin wins; "unclear" is said where it is likelier
than both. Beside the shares that are right stands what constant answers or a blind choice would
get. Called by `evaluate`.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.engine import Engine
from model.train.drawn import draw_product
from model.train.listings import Claim, Photo, read_product_photos
from model.train.measure.common import Measured, OnProgress, mean
from model.train.recipe import Prompts

PICTURES = 300
CLAIMS = 12  # about each


@dataclass(frozen=True)
class Asked:
    """A claim and the log-probabilities of its answers."""

    picture: int
    claim: Claim
    yes: float
    no: float
    unclear: float

    @property
    def margin(self) -> float:
        return self.yes - self.no

    @property
    def said_unclear(self) -> bool:
        return self.unclear > max(self.yes, self.no)


def measure_drawn(
    engine: Engine, prompts: Prompts, data: Path, limit: int | None, report: OnProgress
) -> Measured:
    """Figures of pictures drawn over the photos of val."""
    if engine.image_processor is None:
        return Measured()
    asked: list[Asked] = []
    backgrounds, count = read_product_photos(data, "val"), min(PICTURES, limit or PICTURES)
    for number in range(count):
        asked += _ask(engine, prompts, number, backgrounds)
        report("drawn products", number + 1, count)
    return Measured({"drawn products": drawn_figures(asked)})


def _ask(
    engine: Engine, prompts: Prompts, number: int, backgrounds: Sequence[Photo]
) -> list[Asked]:
    """The claims about one picture."""
    picture, claims = draw_product(random.Random(f"val/drawn/{number}"), backgrounds, CLAIMS)
    words = prompts["check_listing"]
    prefix = engine.prefill([words["photo"].format(number=1), picture])
    answers = (words["supported"], words["refuted"], words["unseen"])
    pairs = [
        (words["question"].format(attribute=claim.attribute, claim=claim.text), answer)
        for claim in claims
        for answer in answers
    ]
    found = engine.score(prefix, pairs)
    return [
        Asked(number, claim, *found[place : place + len(answers)])
        for place, claim in zip(range(0, len(found), len(answers)), claims, strict=True)
    ]


def drawn_figures(asked: Sequence[Asked]) -> dict[str, float]:
    """By kind of claim: the share decided rightly alone, and among rivals; then "unclear"."""
    figures: dict[str, float] = {}
    alone: dict[str, list[Asked]] = defaultdict(list)
    rivals: dict[tuple[str, int], list[Asked]] = defaultdict(list)
    for one in asked:
        if one.claim.rivals:
            rivals[one.claim.kind, one.picture].append(one)
        elif one.claim.truth != "unclear":
            alone[one.claim.kind].append(one)
    for kind, some in sorted(alone.items()):
        truths = [one.claim.truth == "yes" for one in some]
        rights = [(one.margin > 0) == truth for one, truth in zip(some, truths, strict=True)]
        figures[f"{kind}, yes or no"] = mean(rights)
        figures[f"chance {kind}, yes or no"] = max(Counter(truths).values()) / len(truths)
    for kind in sorted({kind for kind, _ in rivals}):
        groups = [group for (name, _), group in rivals.items() if name == kind]
        best = [max(group, key=lambda one: one.margin) for group in groups]
        figures[f"{kind}, one of several"] = mean([one.claim.truth == "yes" for one in best])
        figures[f"chance {kind}, one of several"] = mean([1 / len(group) for group in groups])
    return figures | _unclear(asked)


def _unclear(asked: Sequence[Asked]) -> dict[str, float]:
    """Of what no picture shows, the share called so; and the share rightly called so."""
    hidden = [one.said_unclear for one in asked if one.claim.truth == "unclear"]
    said = [one.claim.truth == "unclear" for one in asked if one.said_unclear]
    return {"unclear, recall": mean(hidden), "unclear, precision": mean(said)}
