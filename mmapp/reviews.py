"""Reviews as they are read: which one counts, what it says, and as columns of an export.

Pure. A person's verdict stands beside the model's and never in its place. Called by `jobs`, which
refuses what can't be reviewed, and by all that shows or exports results.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from mmapp.types import Label, Result, Review, TaskName

#: What a label says of a listing as a whole.
VERDICTS = {
    Label.SUPPORTED: "consistent",
    Label.REFUTED: "inconsistent",
    Label.NOT_ENOUGH_INFO: "uncertain",
}
_LABELS = {verdict: label for label, verdict in VERDICTS.items()}


def counting(reviews: Iterable[Review]) -> dict[int | None, Review]:
    """The review that counts of each claim, in the claims' order; of the whole (None) first."""
    newest = {review.claim: review for review in reviews}
    return dict(sorted(newest.items(), key=lambda item: item[0] or 0))


def can_be_reviewed(result: Result | None) -> TypeGuard[Result]:
    """Whether there is a verdict to say something of."""
    if result is None or result.task is not TaskName.CHECK_LISTING:
        return False
    return bool(result.payload["claims"])


def verdict(review: Review) -> str:
    """What a person says, as the model would say it of the same."""
    return VERDICTS[review.label] if review.claim is None else review.label.value


def model_label(payload: Mapping[str, Any], claim: int | None) -> Label:
    """What the model says of a claim, or of the listing as a whole."""
    if claim is None:
        return _LABELS[payload["verdict"]]
    return Label(payload["claims"][claim - 1]["label"])


def model_probability(payload: Mapping[str, Any], claim: int | None) -> float:
    """The claim's probability, or P(photos and words agree)."""
    found = payload["score"] if claim is None else payload["claims"][claim - 1]["probability"]
    return float(found)


def words(payload: Mapping[str, Any], claim: int | None) -> str:
    """The words of a claim; empty for the listing as a whole."""
    return "" if claim is None else str(payload["claims"][claim - 1]["text"])


def as_json(review: Review) -> dict[str, Any]:
    """A review as `--json` and the exports have it."""
    return {
        "claim": review.claim,
        "verdict": verdict(review),
        "note": review.note,
        "by": review.by,
        "at": review.created_at.isoformat(timespec="seconds"),
    }


#: What an export of results has at the end of its columns.
COLUMNS = ("reviewed", "reviewed_by", "review_note", "reviewed_claims")


def cells(result: Result | None) -> list[str]:
    """The cells for `COLUMNS`: a person's verdict of the whole, and as JSON those of claims."""
    found = counting(result.reviews) if result is not None else {}
    whole = found.pop(None, None)
    of_claims = [as_json(review) for review in found.values()]
    claims = json.dumps(of_claims, ensure_ascii=False) if of_claims else ""
    if whole is None:
        return ["", "", "", claims]
    return [verdict(whole), whole.by, whole.note, claims]


def in_json(result: Result) -> dict[str, Any]:
    """What the JSON of a verdict says of its reviews: those that count."""
    if result.task is not TaskName.CHECK_LISTING:
        return {}
    return {"reviews": [as_json(review) for review in counting(result.reviews).values()]}


def headline(result: Result | None) -> str:
    """What a person says of a whole listing, behind the model's headline in a list of results."""
    whole = counting(result.reviews).get(None) if result is not None else None
    return "" if whole is None else f"{verdict(whole)}, says {whole.by}"
