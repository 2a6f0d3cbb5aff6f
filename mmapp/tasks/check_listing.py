"""Listing check: a verdict for each claim of a listing, and whether photos and words agree.

The photos are read once; every claim is then asked with its three possible answers, all in one
batch. A checkpoint whose profile names `framings` is asked again about the photos nearer or
mirrored (`model.framings`), and the mean of the log-probabilities counts. What becomes of the
answers stands in `verdict`. Without photos everything is NOT_ENOUGH_INFO, by code and not by a
prompt; so is a claim of a kind that no photo can show (`claims.kinds`), which the model is never
asked about. The payload says why: `reason` is "not visible", "depends on the product", or empty
where the model's answer stands. Called by `tasks.run`; refuses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmapp.tasks import prompts
from mmapp.tasks.claims import Claim, take_claims
from mmapp.tasks.inputs import ListingInput
from mmapp.tasks.regions import Region, find_regions, whole
from mmapp.tasks.verdict import (
    UNSEEN,
    Calibration,
    Judgement,
    Rule,
    consistency,
    decider,
    judge,
    verdict,
    with_dependence,
)
from mmapp.types import Continuation, Engine, Label, Progress, ReportProgress
from model.framings import framings

if TYPE_CHECKING:
    from PIL.Image import Image

Triple = tuple[float, float, float]

#: Why code and not the model's answer about a claim says NOT_ENOUGH_INFO.
NOT_VISIBLE = "not visible"
DEPENDS = "depends on the product"


def check_listing(engine: Engine, inputs: ListingInput, report: ReportProgress) -> dict[str, Any]:
    """The payload of a listing check, with "usage" for the record."""
    claims, unchecked = take_claims(inputs.listing)
    calibration = Calibration.of(engine.profile)
    asking = _Asking(engine, claims, report)
    judged = [UNSEEN] * len(claims)
    regions: dict[int, list[Region]] = {}
    if inputs.photos and asking.asked:
        answers = asking.answers(inputs.photos)
        for index, triple in zip(asking.asked, asking.means(answers), strict=True):
            judged[index] = judge(triple, calibration)
        regions = asking.regions(inputs.photos, answers[0], judged)
    score = round(consistency(claims, judged, calibration), 4)
    rule = Rule.of(calibration, inputs.listing.threshold)
    found = verdict(score, judged, rule)
    final = with_dependence(claims, judged)
    return {
        "verdict": found,
        "score": score,
        "rule": {"consistent": rule.consistent, "inconsistent": rule.inconsistent},
        "decided_by": _decided_by(decider(claims, judged, found, calibration), regions),
        "claims": [
            _claim(claim, judgement, regions.get(index, ()), fell=judgement is not judged[index])
            for index, (claim, judgement) in enumerate(zip(claims, final, strict=True))
        ],
        "unchecked": [_words(claim) for claim in unchecked],
        "photos": [
            {"sha256": sha256, "width": photo.width, "height": photo.height}
            for sha256, photo in zip(inputs.listing.photos, inputs.photos, strict=True)
        ],
        "usage": asking.usage(),
    }


class _Asking:
    """The claims being asked about photos: progress and counts as it goes."""

    def __init__(self, engine: Engine, claims: Sequence[Claim], report: ReportProgress) -> None:
        self._engine, self._report = engine, report
        self._progress = Progress()
        self._framings = framings(engine.profile)
        #: The claims that the photos can show: which they are, and how each is asked.
        self.asked = [index for index, claim in enumerate(claims) if claim.kind.is_visible]
        self._questions = [
            prompts.listing_question(claims[index].attribute, claims[index].text)
            for index in self.asked
        ]
        self._tokens = {"read": 0, "scored": 0, "read_for_regions": 0, "scored_for_regions": 0}
        self._seconds = {"reading": 0.0, "checking": 0.0, "locating": 0.0}

    def answers(self, photos: Sequence[Image]) -> list[list[Triple]]:
        """For each framing, of the whole photos first, log P of each claim's three answers."""
        return [
            self._answers([framing.of(photo) for photo in photos], number)
            for number, framing in enumerate(self._framings)
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

    def _answers(self, photos: Sequence[Image], number: int) -> list[Triple]:
        """About the photos in framing `number`."""
        started = time.perf_counter()
        rounds = len(self._framings)
        prefix = self._engine.prefill(
            prompts.listing_parts(photos),
            lambda d, t: self._tell("reading", number * t + d, rounds * t, "tokens"),
        )
        self._tokens["read"] += prefix.length
        self._seconds["reading"] += time.perf_counter() - started
        started = time.perf_counter()
        count = len(self._questions)
        scored = 0

        def on_scored(done: int, total: int) -> None:
            nonlocal scored
            scored = total
            through = number + (done / total if total else 1)
            self._tell("checking", int(count * through / rounds), count, "claims")

        asked: list[Continuation] = [
            (question, answer)
            for question in self._questions
            for answer in prompts.answers("check_listing")
        ]
        scores = self._engine.score(prefix, asked, on_scored)
        self._tokens["scored"] += scored
        self._seconds["checking"] += time.perf_counter() - started
        return list(zip(scores[::3], scores[1::3], scores[2::3], strict=True))

    def regions(
        self,
        photos: Sequence[Image],
        answers: Sequence[Triple],
        judged: Sequence[Judgement],
    ) -> dict[int, list[Region]]:
        """Claim index to where its answer comes from, for claims with an answer. `answers`: about
        the whole photos."""
        places = [place for place, i in enumerate(self.asked) if judged[i].is_visible]
        visible = [self.asked[place] for place in places]
        if not visible:
            return {}
        if not self._engine.profile.get("regions", True):
            everywhere = [Region(number, whole(photo)) for number, photo in enumerate(photos)]
            return dict.fromkeys(visible, everywhere)
        started = time.perf_counter()
        signs = [1.0 if judged[i].label is Label.SUPPORTED else -1.0 for i in visible]
        base = [
            sign * (answers[place][0] - answers[place][1])
            for sign, place in zip(signs, places, strict=True)
        ]

        def margins(variant: Sequence[Image]) -> list[float]:
            found = self._margins(variant, [self._questions[place] for place in places])
            return [sign * margin for sign, margin in zip(signs, found, strict=True)]

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

    def _margins(self, photos: Sequence[Image], questions: Sequence[str]) -> list[float]:
        """log P(yes) - log P(no) of each question, about these photos."""
        prefix = self._engine.prefill(prompts.listing_parts(photos), self._tell_again)
        self._tokens["read_for_regions"] += prefix.length
        scored = 0

        def on_scored(_done: int, total: int) -> None:
            nonlocal scored
            scored = total
            self._tell_again()

        yes, no, _unclear = prompts.answers("check_listing")
        asked: list[Continuation] = [(q, answer) for q in questions for answer in (yes, no)]
        scores = self._engine.score(prefix, asked, on_scored)
        self._tokens["scored_for_regions"] += scored
        return [a - b for a, b in zip(scores[::2], scores[1::2], strict=True)]

    def _tell(self, phase: str, done: int, total: int, unit: str) -> None:
        self._progress = Progress(phase=phase, done=done, total=total, unit=unit)
        self._report(self._progress)

    def _tell_again(self, _done: int = 0, _total: int = 0) -> None:
        """Gives `report` a chance to cancel inside a step too small to show."""
        self._report(self._progress)


def _decided_by(
    index: int | None, regions: Mapping[int, Sequence[Region]]
) -> dict[str, Any] | None:
    """The claim that decided, counted from 0, and the photo that decided it, counted from 1; no
    photo where places are not looked for, or the claim's answer is not one that a photo shows."""
    if index is None:
        return None
    photos = {region.photo + 1 for region in regions.get(index, ())}
    return {"claim": index, "image": photos.pop() if len(photos) == 1 else None}


def _claim(
    claim: Claim, judgement: Judgement, regions: Sequence[Region], *, fell: bool
) -> dict[str, Any]:
    """Evidence counts photos from 1; boxes are pixels of the photo as it is stored."""
    evidence = regions if judgement.is_visible else ()
    return {
        **_words(claim),
        "kind": claim.kind.value,
        "detail": claim.is_detail,
        "visible": claim.kind.is_visible,
        "reason": NOT_VISIBLE if not claim.kind.is_visible else DEPENDS if fell else "",
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
