"""Listing check: a verdict for each claim of a listing, and whether photos and words agree.

The photos are read once; every claim is then asked with its three possible answers, all in one
batch (`asking`). A checkpoint whose profile names `framings` is asked again about the photos nearer
or mirrored, and the mean of the log-probabilities counts. What becomes of the
answers stands in `verdict`. Without photos everything is NOT_ENOUGH_INFO, by code and not by a
prompt; so is a claim of a kind that no photo can show (`claims.kinds`), which the model is never
asked about. The payload says why: `reason` is "not visible", "depends on the product", or empty
where the model's answer stands. Called by `tasks.run`; refuses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmapp.tasks.asking import Asking
from mmapp.tasks.claims import Claim, take_claims
from mmapp.tasks.inputs import ListingInput
from mmapp.tasks.propose import choose, corrections, proposal
from mmapp.tasks.regions import Region
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
from mmapp.types import Engine, ReportProgress

#: Why code and not the model's answer about a claim says NOT_ENOUGH_INFO.
NOT_VISIBLE = "not visible"
DEPENDS = "depends on the product"


def check_listing(engine: Engine, inputs: ListingInput, report: ReportProgress) -> dict[str, Any]:
    """The payload of a listing check, with "usage" for the record."""
    claims, unchecked = take_claims(inputs.listing)
    calibration = Calibration.of(engine.profile)
    asked = [index for index, claim in enumerate(claims) if claim.kind.is_visible]
    asking = Asking(engine, [(claims[i].attribute, claims[i].text) for i in asked], report)
    judged = [UNSEEN] * len(claims)
    regions: dict[int, list[Region]] = {}
    if inputs.photos and asked:
        answers = asking.answers(inputs.photos)
        for index, triple in zip(asked, asking.means(answers), strict=True):
            judged[index] = judge(triple, calibration)
        labels = {p: judged[i].label for p, i in enumerate(asked) if judged[i].is_visible}
        found = asking.regions(inputs.photos, answers[0], labels)
        regions = {asked[place]: some for place, some in found.items()}
    score = round(consistency(claims, judged, calibration), 4)
    rule = Rule.of(calibration, inputs.listing.threshold)
    settled = verdict(score, judged, rule)
    final = with_dependence(claims, judged)
    proposed, usage = _proposed(engine, inputs, claims, judged, asking.usage(), report)
    return {
        "verdict": settled,
        "score": score,
        "rule": {"consistent": rule.consistent, "inconsistent": rule.inconsistent},
        "decided_by": _decided_by(decider(claims, judged, settled, calibration), regions),
        "claims": [
            _claim(claim, judgement, regions.get(index, ()), fell=judgement is not judged[index])
            for index, (claim, judgement) in enumerate(zip(claims, final, strict=True))
        ],
        "unchecked": [_words(claim) for claim in unchecked],
        "photos": [
            {"sha256": sha256, "width": photo.width, "height": photo.height}
            for sha256, photo in zip(inputs.listing.photos, inputs.photos, strict=True)
        ],
        **proposed,
        "usage": usage,
    }


def _proposed(
    engine: Engine,
    inputs: ListingInput,
    claims: Sequence[Claim],
    judged: Sequence[Judgement],
    usage: dict[str, Any],
    report: ReportProgress,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What to call what the photos show and what to correct, where it is asked for; `usage` with
    what that cost."""
    if not inputs.listing.propose or not inputs.photos:
        return {}, usage
    choices, cost = choose(engine, inputs.photos, report)
    tokens = {f"{name}_for_proposal": value for name, value in cost["tokens"].items() if value}
    durations = {"proposing": sum(cost["durations_s"].values())}
    return (
        {
            "proposal": proposal(choices),
            "correction": corrections(inputs.listing, claims, judged, choices),
        },
        {
            **usage,
            "tokens": usage["tokens"] | tokens,
            "durations_s": usage["durations_s"] | durations,
        },
    )


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
