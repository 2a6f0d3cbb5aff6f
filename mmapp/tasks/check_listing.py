"""Listing check: a verdict for each claim of a listing, and whether photos and words agree.

The photos are read once; every claim is then asked with its three possible answers, all in one
batch. A checkpoint whose profile names `framings` is asked about the photos nearer or mirrored as
well (`model.framings`), in the same steps, and the mean of the log-probabilities counts. Softmax
over the answers gives P(unclear); what is left is shared between supported and refuted by the
calibrated odds, sigmoid(margin / temperature + bias), margin = log P(yes) - log P(no). The label is
the likeliest of the three, its probability is the verdict's. Without photos everything is
NOT_ENOUGH_INFO, by this code and not by a prompt.

Claims depend on what the product is. DSG (Cho et al., ICLR 2024) gives a question no credit when
the question that it depends on fails: if the photos show another product, that its colour happens
to fit says nothing about the product on offer. So when the product's claim is REFUTED, SUPPORTED
claims fall to NOT_ENOUGH_INFO, with the probability of the refutation. REFUTED ones stay: they are
faults as well.

The score, P(consistent), is the mean of the claims' log-odds, weighted by P(visible), the product's
claim weighing most, pulled down further by the worst refutation, because one plain fault makes a
listing wrong however much else fits. It shrinks to 0.5 as nothing is visible, and then the verdict
is `uncertain` whatever the score. Constants stand in the checkpoint's profile under
`calibration.check_listing` where they were fitted. Called by `tasks.run`; refuses nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mmapp.tasks import prompts
from mmapp.tasks.claims import Claim, take_claims
from mmapp.tasks.inputs import ListingInput
from mmapp.tasks.regions import MOST_PIXELS, Region, find_regions, whole
from mmapp.types import Continuation, Engine, Label, Progress, ReportProgress
from model.framings import framings

if TYPE_CHECKING:
    from PIL.Image import Image

Triple = tuple[float, float, float]

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
    #: How much of the worst refutation is added to the mean.
    pull: float = 0.5
    #: The verdict's thresholds of the score.
    consistent: float = 0.65
    inconsistent: float = 0.35

    @classmethod
    def of(cls, profile: Mapping[str, Any]) -> Calibration:
        """What the profile says; the defaults for what it does not."""
        stored = profile.get("calibration", {}).get("check_listing", {})
        return cls(**{key: float(stored[key]) for key in cls.__slots__ if key in stored})


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


def check_listing(engine: Engine, inputs: ListingInput, report: ReportProgress) -> dict[str, Any]:
    """The payload of a listing check, with "usage" for the record."""
    claims, unchecked = take_claims(inputs.listing)
    calibration = Calibration.of(engine.profile)
    asking = _Asking(engine, claims, report)
    judged = [_UNSEEN] * len(claims)
    regions: dict[int, list[Region]] = {}
    if inputs.photos and claims:
        answers = asking.answers(inputs.photos)
        judged = [judge(triple, calibration) for triple in asking.means(answers)]
        regions = asking.regions(inputs.photos, answers[0], judged)
    score = consistency(claims, judged, calibration)
    final = with_dependence(claims, judged)
    return {
        "verdict": _verdict(score, judged, calibration),
        "score": round(score, 4),
        "claims": [
            _claim(claim, judgement, regions.get(index, ()))
            for index, (claim, judgement) in enumerate(zip(claims, final, strict=True))
        ],
        "unchecked": [_words(claim) for claim in unchecked],
        "photos": [
            {"sha256": sha256, "width": photo.width, "height": photo.height}
            for sha256, photo in zip(inputs.listing.photos, inputs.photos, strict=True)
        ],
        "usage": asking.usage(),
    }


def judge(log_probabilities: Sequence[float], calibration: Calibration) -> Judgement:
    """The label of a claim from log P of its answers: supported, refuted, unseen."""
    yes, no, _ = log_probabilities
    top = max(log_probabilities)
    masses = [math.exp(value - top) for value in log_probabilities]
    unseen = masses[2] / sum(masses)
    log_odds = (yes - no) / calibration.temperature + calibration.bias
    log_odds = max(-MOST_LOG_ODDS, min(MOST_LOG_ODDS, log_odds))
    supported = (1 - unseen) * _sigmoid(log_odds)
    refuted = (1 - unseen) - supported
    probability = max(supported, refuted, unseen)
    label = Label.NOT_ENOUGH_INFO
    if probability > unseen:
        label = Label.SUPPORTED if supported >= refuted else Label.REFUTED
    return Judgement(label, probability, supported, refuted, unseen, log_odds)


#: The judgement without photos.
_UNSEEN = Judgement(Label.NOT_ENOUGH_INFO, 1.0, 0.0, 0.0, 1.0, 0.0)


def with_dependence(claims: Sequence[Claim], judged: Sequence[Judgement]) -> list[Judgement]:
    """The judgements after those that depend on a refuted product have fallen with it."""
    product = next((j for c, j in zip(claims, judged, strict=True) if c.names_product), None)
    if product is None or product.label is not Label.REFUTED:
        return list(judged)
    return [
        replace(judgement, label=Label.NOT_ENOUGH_INFO, probability=product.probability)
        if judgement.label is Label.SUPPORTED
        else judgement
        for judgement in judged
    ]


def consistency(
    claims: Sequence[Claim], judged: Sequence[Judgement], calibration: Calibration
) -> float:
    """P(photos and words agree), from all claims."""
    weights = [calibration.title_weight if claim.names_product else 1.0 for claim in claims]
    seen = [weight * (1 - j.unseen) for weight, j in zip(weights, judged, strict=True)]
    if sum(seen) == 0:
        return 0.5
    mean = sum(w * j.log_odds for w, j in zip(seen, judged, strict=True)) / sum(seen)
    worst = min((1 - j.unseen) * j.log_odds for j in judged)
    visible = 1 - math.prod(j.unseen for j in judged)
    log_odds = mean + calibration.pull * min(0.0, worst)
    log_odds = log_odds / calibration.score_temperature + calibration.score_bias
    return _sigmoid(visible * log_odds)


def _verdict(score: float, judged: Sequence[Judgement], calibration: Calibration) -> str:
    if not any(judgement.is_visible for judgement in judged):
        return "uncertain"
    if score >= calibration.consistent:
        return "consistent"
    return "inconsistent" if score <= calibration.inconsistent else "uncertain"


class _Asking:
    """The claims being asked about photos: progress and counts as it goes."""

    def __init__(self, engine: Engine, claims: Sequence[Claim], report: ReportProgress) -> None:
        self._engine, self._report = engine, report
        self._progress = Progress()
        self._framings = framings(engine.profile)
        self._questions = [prompts.listing_question(c.attribute, c.text) for c in claims]
        self._tokens = {"read": 0, "scored": 0, "for_regions": 0}
        self._seconds = {"reading": 0.0, "checking": 0.0, "locating": 0.0}

    def answers(self, photos: Sequence[Image]) -> list[list[Triple]]:
        """For each framing, of the whole photos first, log P of each claim's three answers."""
        pixels = sum(photo.width * photo.height for photo in photos)
        at_once = max(1, MOST_PIXELS // pixels)
        return [
            answers
            for first in range(0, len(self._framings), at_once)
            for answers in self._answers(photos, first, first + at_once)
        ]

    @staticmethod
    def means(rounds: Sequence[Sequence[Triple]]) -> list[Triple]:
        """Of each answer over the framings."""
        count = len(rounds)
        return [
            (sum(yes) / count, sum(no) / count, sum(unseen) / count)
            for each in zip(*rounds, strict=True)
            for yes, no, unseen in [zip(*each, strict=True)]
        ]

    def _answers(self, photos: Sequence[Image], first: int, end: int) -> list[list[Triple]]:
        """About the photos in some of the framings, in the same steps."""
        rounds, some = len(self._framings), self._framings[first:end]
        started = time.perf_counter()
        prefixes = self._engine.prefill_many(
            [prompts.listing_parts([framing.of(photo) for photo in photos]) for framing in some],
            lambda d, t: self._tell(
                "reading", first * t // len(some) + d, rounds * t // len(some), "tokens"
            ),
        )
        self._tokens["read"] += sum(prefix.length for prefix in prefixes)
        self._seconds["reading"] += time.perf_counter() - started
        started = time.perf_counter()
        count = len(self._questions)
        scored = 0

        def on_scored(done: int, total: int) -> None:
            nonlocal scored
            scored = total
            through = first + len(some) * (done / total if total else 1)
            self._tell("checking", int(count * through / rounds), count, "claims")

        asked: list[Continuation] = [
            (question, answer)
            for question in self._questions
            for answer in prompts.answers("check_listing")
        ]
        found = self._engine.score_many([(prefix, asked) for prefix in prefixes], on_scored)
        self._tokens["scored"] += scored
        self._seconds["checking"] += time.perf_counter() - started
        return [list(zip(scores[::3], scores[1::3], scores[2::3], strict=True)) for scores in found]

    def regions(
        self,
        photos: Sequence[Image],
        answers: Sequence[Triple],
        judged: Sequence[Judgement],
    ) -> dict[int, list[Region]]:
        """Claim index to where its answer comes from, for claims with an answer. `answers`: about
        the whole photos."""
        visible = [index for index, judgement in enumerate(judged) if judgement.is_visible]
        if not visible:
            return {}
        if not self._engine.profile.get("regions", True):
            everywhere = [Region(number, whole(photo)) for number, photo in enumerate(photos)]
            return dict.fromkeys(visible, everywhere)
        started = time.perf_counter()
        signs = [1.0 if judged[i].label is Label.SUPPORTED else -1.0 for i in visible]
        base = [
            sign * (answers[i][0] - answers[i][1]) for sign, i in zip(signs, visible, strict=True)
        ]

        def margins(variants: Sequence[Sequence[Image]]) -> list[list[float]]:
            found = self._margins(variants, [self._questions[index] for index in visible])
            return [[sign * m for sign, m in zip(signs, each, strict=True)] for each in found]

        found = find_regions(
            photos,
            base,
            margins,
            lambda done, total: self._tell("locating", done, total, "views"),
        )
        self._seconds["locating"] += time.perf_counter() - started
        return {index: [region] for index, region in zip(visible, found, strict=True)}

    def usage(self) -> dict[str, Any]:
        return {
            "tokens": dict(self._tokens),
            "durations_s": {name: round(value, 3) for name, value in self._seconds.items()},
            "prompt_sha256": prompts.prompt_sha256(),
        }

    def _margins(
        self, variants: Sequence[Sequence[Image]], questions: Sequence[str]
    ) -> list[list[float]]:
        """log P(yes) - log P(no) of each question, about each variant of the photos."""
        yes, no, _unclear = prompts.answers("check_listing")
        asked: list[Continuation] = [(q, answer) for q in questions for answer in (yes, no)]
        tokens = 0

        def on_scored(_done: int, total: int) -> None:
            nonlocal tokens
            tokens = total
            self._report(self._progress)

        found = self._engine.score_many(
            [(prompts.listing_parts(photos), asked) for photos in variants], on_scored
        )
        self._tokens["for_regions"] += tokens
        return [[a - b for a, b in zip(scores[::2], scores[1::2], strict=True)] for scores in found]

    def _tell(self, phase: str, done: int, total: int, unit: str) -> None:
        self._progress = Progress(phase=phase, done=done, total=total, unit=unit)
        self._report(self._progress)


def _claim(claim: Claim, judgement: Judgement, regions: Sequence[Region]) -> dict[str, Any]:
    """Evidence counts photos from 1; boxes are pixels of the photo as it is stored."""
    evidence = regions if judgement.is_visible else ()
    return {
        **_words(claim),
        "label": judgement.label.value,
        "probability": round(judgement.probability, 4),
        "probabilities": {
            "supported": round(judgement.supported, 4),
            "refuted": round(judgement.refuted, 4),
            "unseen": round(judgement.unseen, 4),
        },
        "evidence": [
            {"image": region.photo + 1, "box": [float(edge) for edge in region.box]}
            for region in evidence
        ],
    }


def _words(claim: Claim) -> dict[str, Any]:
    return {
        "text": claim.text,
        "attribute": claim.attribute,
        "field": claim.field,
        "span": [claim.start, claim.end],
    }


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
