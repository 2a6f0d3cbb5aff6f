"""`python -m workers.evaluation.reviewed`: calibration and threshold, fitted to what people say.

On stdin stands one JSON object: `current`, the constants in force, and `listings`, each with its
`params`, its result's `claims`, the constants that these were `made_with`, and what people `said`
of the claims (by their number from 1) and of the whole ("0"). On stdout stands one: `constants` and
`figures`, or `error`. Nothing is asked of the model again: a claim's answers stand in its result as
probabilities, from which its margin follows, log P(yes) - log P(no).

Claims: sigmoid(margin / temperature + bias). Then the score's two constants, on the scores of the
claims so fitted. Then the threshold: where people's two verdicts are best parted, by balanced
accuracy; the band of `uncertain` around it stays as wide as it is. What has fewer than `LEAST_EACH`
reviews of each kind stays as it is; where neither can be fitted, how many are missing is told.

Figures after are those of listings that were left out of the fit: five folds, a listing with all
its claims in one. Called by `mmapp calibrate`.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mmapp.errors import BadInput
from mmapp.tasks.claims import Claim, take_claims
from mmapp.tasks.verdict import UNSEEN, Calibration, Judgement, consistency, judge
from mmapp.types import Label, Listing
from model.train.calibration import fit
from workers.evaluation import metrics
from workers.evaluation.calibrate import fit_score

#: Reviews of each kind (agree, disagree) that a fit of two constants needs at least.
LEAST_EACH = 10
FOLDS = 5
#: Probabilities are rounded to four digits: smaller ones are nearly 0.
LEAST = 5e-5
#: With a larger share of unclear, too few digits are left of the other two answers.
MOST_UNSEEN = 0.98
#: Constants that are fitted.
FITTED = ("temperature", "bias", "score_temperature", "score_bias", "consistent", "inconsistent")

#: (probability, whether people agree).
Scored = tuple[float, bool]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A checked listing and what people say of it."""

    claims: tuple[Claim, ...]
    #: Of each claim, log P(yes) - log P(no) and P(unseen); None: no photo can show it.
    answers: tuple[tuple[float, float] | None, ...]
    #: Claims by their place, and whether people find them supported.
    said: Mapping[int, bool]
    #: Whether people find that photos and words agree; None: nobody said so or otherwise.
    agrees: bool | None

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Reviewed | None:
        """None where the listing is cut into other claims today than when it was checked."""
        claims, _ = take_claims(Listing(**stored["params"]))
        if [claim.text for claim in claims] != [claim["text"] for claim in stored["claims"]]:
            return None
        made_with = Calibration.of({"calibration": {"check_listing": stored["made_with"]}})
        said = {int(n): label == Label.SUPPORTED for n, label in stored["said"].items()}
        return cls(
            tuple(claims),
            tuple(_answer(claim, made_with) for claim in stored["claims"]),
            {number - 1: right for number, right in said.items() if number},
            said.get(0),
        )

    def judged(self, calibration: Calibration) -> list[Judgement]:
        """Its claims under a calibration."""
        return [
            UNSEEN if one is None else judge(_log_probabilities(*one), calibration)
            for one in self.answers
        ]

    def margins(self) -> list[tuple[float, bool]]:
        """Of the reviewed claims that a photo can show."""
        pairs = [(self.answers[place], right) for place, right in self.said.items()]
        return [
            (answer[0], right)
            for answer, right in pairs
            if answer is not None and answer[1] <= MOST_UNSEEN
        ]

    def scored_claims(self, calibration: Calibration) -> list[Scored]:
        """P(supported) of the reviewed claims, where they are visible."""
        return [
            (1 / (1 + math.exp(-(margin / calibration.temperature + calibration.bias))), right)
            for margin, right in self.margins()
        ]

    def score(self, calibration: Calibration) -> float:
        return consistency(self.claims, self.judged(calibration), calibration)


def _answer(claim: Mapping[str, Any], made_with: Calibration) -> tuple[float, float] | None:
    """What the model answered, taken back from the probabilities of its result."""
    of = claim["probabilities"]
    if not claim.get("visible", True) or of["supported"] + of["refuted"] <= 2 * LEAST:
        return None
    log_odds = math.log(max(of["supported"], LEAST) / max(of["refuted"], LEAST))
    return (log_odds - made_with.bias) * made_with.temperature, of["unseen"]


def _log_probabilities(margin: float, unseen: float) -> tuple[float, float, float]:
    """log P of yes, no and unclear that have this margin and share of unclear."""
    share = min(max(unseen, LEAST), 1 - LEAST)
    seen = math.log(1 - share) - math.log1p(math.exp(-abs(margin)))
    yes, no = (seen, seen - margin) if margin >= 0 else (seen + margin, seen)
    return yes, no, math.log(share)


def refit(
    listings: Sequence[Reviewed], current: Calibration, *, claims: bool = True, whole: bool = True
) -> Calibration:
    """The calibration under which people's verdicts are most likely.

    `claims`, `whole`: what is fitted; the rest, and what has verdicts of one kind only, stays.
    """
    fitted = current
    margins = [pair for one in listings for pair in one.margins()]
    if claims and len({right for _, right in margins}) == 2:
        found = fit(margins)
        fitted = replace(fitted, temperature=round(found.temperature, 4), bias=round(found.bias, 4))
    scores = scored(listings, fitted)
    if whole and len({right for _, right in scores}) == 2:
        fitted = fit_score(scores, fitted)
        fitted = with_threshold(scored(listings, fitted), fitted)
    return fitted


def scored(listings: Iterable[Reviewed], calibration: Calibration) -> list[Scored]:
    """The scores of the listings that people have judged as a whole."""
    return [(one.score(calibration), one.agrees) for one in listings if one.agrees is not None]


def with_threshold(scores: Sequence[Scored], calibration: Calibration) -> Calibration:
    """Its thresholds moved to where the two kinds are best parted, nearest to where they were."""
    half = (calibration.consistent - calibration.inconsistent) / 2
    now = (calibration.consistent + calibration.inconsistent) / 2
    values = sorted({score for score, _ in scores})
    between = [(a + b) / 2 for a, b in itertools.pairwise(values)]
    possible = [t for t in between if half < t < 1 - half]
    best = max((now, *possible), key=lambda t: (_parted(scores, t), -abs(t - now)))
    return replace(
        calibration, consistent=round(best + half, 4), inconsistent=round(best - half, 4)
    )


def _parted(scores: Sequence[Scored], threshold: float) -> float:
    said, rights = [score >= threshold for score, _ in scores], [right for _, right in scores]
    return metrics.balanced_accuracy(said, rights) or 0.0


def missing(pairs: Sequence[Scored]) -> str:
    """How many of which kind a fit still needs; empty when there are enough."""
    agree = sum(right for _, right in pairs)
    lacking = {
        "that people support": LEAST_EACH - agree,
        "that people refute": LEAST_EACH - (len(pairs) - agree),
    }
    return " and ".join(f"{count} more {kind}" for kind, count in lacking.items() if count > 0)


def figures(
    listings: Sequence[Reviewed], current: Calibration, *, claims: bool, whole: bool
) -> dict[str, Any]:
    """How right the constants in force are, and those fitted to four fifths about the last."""
    ordered = sorted(listings, key=lambda one: (one.agrees is None, bool(one.agrees)))
    folds = [ordered[number::FOLDS] for number in range(FOLDS)]
    held: list[tuple[Reviewed, Calibration]] = []
    for number, fold in enumerate(folds):
        others = [one for other in (*folds[:number], *folds[number + 1 :]) for one in other]
        fitted = refit(others, current, claims=claims, whole=whole)
        held += [(one, fitted) for one in fold]
    return {
        "before": _measured([(one, current) for one in ordered]),
        "after": _measured(held),
    }


def _measured(pairs: Sequence[tuple[Reviewed, Calibration]]) -> dict[str, Any]:
    claims = [scored for one, calibration in pairs for scored in one.scored_claims(calibration)]
    whole = [(one.score(c), one.agrees, c) for one, c in pairs if one.agrees is not None]
    agreed = [(score >= (c.consistent + c.inconsistent) / 2) == right for score, right, c in whole]
    return {
        "claims": {
            **_quality(claims),
            "accuracy": metrics.mean([(p >= 0.5) == right for p, right in claims]),
        },
        "listings": {
            **_quality([(score, right) for score, right, _ in whole]),
            "accuracy": metrics.mean(agreed),
        },
    }


def _quality(scores: Sequence[Scored]) -> dict[str, float | int | None]:
    values, rights = [p for p, _ in scores], [right for _, right in scores]
    bins = metrics.calibration(values, rights, 10)
    return {
        "count": len(scores),
        "ece": metrics.calibration_error(bins),
        "auroc": metrics.auroc(values, rights),
    }


def outcome(given: Mapping[str, Any]) -> dict[str, Any]:
    """What `mmapp calibrate` is told."""
    current = Calibration.of({"calibration": {"check_listing": given["current"]}})
    read = [Reviewed.read(stored) for stored in given["listings"]]
    listings = [one for one in read if one is not None]
    margins = [pair for one in listings for pair in one.margins()]
    lacking = {"claims": missing(margins), "listings": missing(scored(listings, current))}
    if all(lacking.values()):
        raise BadInput(
            f"Too few reviews to fit: {lacking['listings']} are needed among whole listings, or"
            f" {lacking['claims']} among claims; `mmapp reviews next` says what to look at"
        )
    fitted = {"claims": not lacking["claims"], "whole": not lacking["listings"]}
    constants = asdict(refit(listings, current, **fitted))
    return {
        "constants": {name: constants[name] for name in FITTED},
        "figures": figures(listings, current, **fitted),
        "missing": lacking,
        "left_out": len(read) - len(listings),
    }


def main() -> int:
    try:
        found = outcome(json.load(sys.stdin))
    except BadInput as problem:
        found = {"error": str(problem)}
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
