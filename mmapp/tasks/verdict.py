"""How claims' answers become labels, and labels one verdict. Pure rules, written down here.

A claim's label is the likeliest of its three answers. Softmax over them gives P(unclear); what is
left is shared between supported and refuted by the calibrated odds, sigmoid(margin / temperature +
bias), margin = log P(yes) - log P(no). The label's probability is the claim's.

Claims depend on what the product is. DSG (Cho et al., ICLR 2024) gives a question no credit when
the question that it depends on fails: if the photos show another product, that its colour happens
to fit says nothing about the product on offer. So when the product's claim is REFUTED, SUPPORTED
claims fall to NOT_ENOUGH_INFO, with the probability of the refutation. REFUTED ones stay: they are
faults as well. The product's claim is the name in the title where the word lists know one, else the
title's first part.

The score, P(consistent), is the mean of the claims' log-odds, weighted by P(visible), the title's
first part weighing most and details least, pulled down further by the worst refutation, because
one plain fault makes a listing wrong however much else fits. It shrinks to 0.5 as nothing is
visible. The verdict is `consistent` where the score reaches the threshold T, `inconsistent` where
it is 1 - T or less, else `uncertain`; and `uncertain` whatever the score where no photo shows
anything of what is claimed. T is the person's, or else the checkpoint's. The claim that decided is
the one that weighs most in the direction of the verdict.

Constants stand in the checkpoint's profile under `calibration.check_listing` where they were
fitted, and over them those that reviews have fitted (`mmapp calibrate`). Refuses
nothing; called by `check_listing`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from mmapp.tasks.claims import Claim, Kind
from mmapp.tasks.odds import sigmoid
from mmapp.types import Label

VerdictName = Literal["consistent", "inconsistent", "uncertain"]

#: Log-odds beyond this are no more certain: a model's tails are not calibrated.
MOST_LOG_ODDS = 8.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a checkpoint's margins become probabilities; fitted on held-out listings."""

    #: Claims: P(supported | visible) = sigmoid(margin / temperature + bias).
    temperature: float = 1.0
    bias: float = 0.0
    #: Score: sigmoid(log-odds / score_temperature + score_bias).
    score_temperature: float = 1.0
    score_bias: float = 0.0
    #: The product's claim counts as much as this many others.
    title_weight: float = 3.0
    #: A detail counts as much as this many others; what it says is part of its statement as well.
    detail_weight: float = 0.25
    #: How much of the worst refutation is added to the mean.
    pull: float = 0.5
    #: The verdict's thresholds of the score.
    consistent: float = 0.65
    inconsistent: float = 0.35

    @classmethod
    def of(cls, profile: Mapping[str, Any]) -> Calibration:
        """What the profile says, refitted to reviews where it was; the defaults for the rest."""
        came = profile.get("calibration", {}).get("check_listing", {})
        stored = {**came, **profile.get("reviewed", {}).get("check_listing", {})}
        return cls(**{key: float(stored[key]) for key in cls.__slots__ if key in stored})


@dataclass(frozen=True, slots=True)
class Rule:
    """From which scores a listing is called consistent and inconsistent."""

    #: This score at least,
    consistent: float
    #: this one at most.
    inconsistent: float

    @classmethod
    def of(cls, calibration: Calibration, threshold: float | None) -> Rule:
        """The person's threshold, else the checkpoint's thresholds."""
        if threshold is None:
            return cls(calibration.consistent, calibration.inconsistent)
        return cls(threshold, round(1 - threshold, 6))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the photos say of one claim."""

    label: Label
    probability: float
    #: P(supported), P(refuted) and P(unseen); they sum to 1.
    supported: float
    refuted: float
    unseen: float
    #: Calibrated log-odds of supported against refuted.
    log_odds: float

    @property
    def is_visible(self) -> bool:
        return self.label is not Label.NOT_ENOUGH_INFO


def judge(log_probabilities: Sequence[float], calibration: Calibration) -> Judgement:
    """The label of a claim from log P of its answers: supported, refuted, unseen."""
    yes, no, _ = log_probabilities
    top = max(log_probabilities)
    masses = [math.exp(value - top) for value in log_probabilities]
    unseen = masses[2] / sum(masses)
    log_odds = (yes - no) / calibration.temperature + calibration.bias
    log_odds = max(-MOST_LOG_ODDS, min(MOST_LOG_ODDS, log_odds))
    supported = (1 - unseen) * sigmoid(log_odds)
    refuted = (1 - unseen) - supported
    probability = max(supported, refuted, unseen)
    label = Label.NOT_ENOUGH_INFO
    if probability > unseen:
        label = Label.SUPPORTED if supported >= refuted else Label.REFUTED
    return Judgement(label, probability, supported, refuted, unseen, log_odds)


#: The judgement without photos.
UNSEEN = Judgement(Label.NOT_ENOUGH_INFO, 1.0, 0.0, 0.0, 1.0, 0.0)


def with_dependence(claims: Sequence[Claim], judged: Sequence[Judgement]) -> list[Judgement]:
    """The judgements after those that depend on a refuted product have fallen with it."""
    product = _product(claims, judged)
    if product is None or product.label is not Label.REFUTED:
        return list(judged)
    return [
        replace(judgement, label=Label.NOT_ENOUGH_INFO, probability=product.probability)
        if judgement.label is Label.SUPPORTED
        else judgement
        for judgement in judged
    ]


def _product(claims: Sequence[Claim], judged: Sequence[Judgement]) -> Judgement | None:
    """The judgement of what the product is."""
    pairs = list(zip(claims, judged, strict=True))
    named = [j for claim, j in pairs if claim.is_detail and claim.kind is Kind.PRODUCT]
    return next(iter([*named, *(j for claim, j in pairs if claim.names_product)]), None)


def consistency(
    claims: Sequence[Claim], judged: Sequence[Judgement], calibration: Calibration
) -> float:
    """P(photos and words agree), from all claims."""
    weights = [_weight(claim, calibration) for claim in claims]
    seen = [weight * (1 - j.unseen) for weight, j in zip(weights, judged, strict=True)]
    if sum(seen) == 0:
        return 0.5
    mean = sum(w * j.log_odds for w, j in zip(seen, judged, strict=True)) / sum(seen)
    worst = min((1 - j.unseen) * j.log_odds for j in judged)
    visible = 1 - math.prod(j.unseen for j in judged)
    log_odds = mean + calibration.pull * min(0.0, worst)
    log_odds = log_odds / calibration.score_temperature + calibration.score_bias
    return sigmoid(visible * log_odds)


def verdict(score: float, judged: Sequence[Judgement], rule: Rule) -> VerdictName:
    """What the score means by the rule; nothing where nothing that is claimed can be seen."""
    if not any(judgement.is_visible for judgement in judged):
        return "uncertain"
    if score >= rule.consistent:
        return "consistent"
    return "inconsistent" if score <= rule.inconsistent else "uncertain"


def decider(
    claims: Sequence[Claim],
    judged: Sequence[Judgement],
    found: VerdictName,
    calibration: Calibration,
) -> int | None:
    """The claim that weighs most in the direction of the verdict; of `uncertain` there is none."""
    if found == "uncertain":
        return None
    sign = 1.0 if found == "consistent" else -1.0
    pulls = [
        sign * max(_weight(claim, calibration), calibration.pull) * (1 - j.unseen) * j.log_odds
        for claim, j in zip(claims, judged, strict=True)
    ]
    top = max(range(len(pulls)), key=pulls.__getitem__)
    return top if pulls[top] > 0 else None


def _weight(claim: Claim, calibration: Calibration) -> float:
    if claim.names_product:
        return calibration.title_weight
    return calibration.detail_weight if claim.is_detail else 1.0
