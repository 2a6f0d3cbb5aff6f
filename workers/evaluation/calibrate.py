"""Fits the score of listings to what is true of them, and writes it into a checkpoint's profile.

score = sigmoid(log-odds / score_temperature + score_bias): order and AUROC stay as they are, and a
score of 0.8 comes to mean right in 80 of 100 cases. `calibrate` is called by `run` when asked to,
`fit_score` also by `reviewed`. Refuses listings that are all consistent, or none of them: there is
nothing to fit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmapp.errors import BadInput
from mmapp.tasks.verdict import Calibration
from model.train.calibration import fit

PROFILE = "profile.json"
LEAST = 1e-4  # scores are rounded to four digits: 0 and 1 are nearly so


def calibrate(folder: Path, scored: Sequence[tuple[float, bool]]) -> None:
    """`scored`: each score that the checkpoint gave as it is, and whether it was consistent."""
    if len({right for _, right in scored}) < 2:
        raise BadInput("--calibrate needs listings that are consistent and some that are not")
    path = folder / PROFILE
    profile: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    found = fit_score(scored, Calibration.of(profile))
    stored = profile.setdefault("calibration", {}).setdefault("check_listing", {})
    stored["score_temperature"] = found.score_temperature
    stored["score_bias"] = found.score_bias
    text = json.dumps(profile, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def fit_score(scored: Sequence[tuple[float, bool]], before: Calibration) -> Calibration:
    """The calibration that made the scores, with the score's own two constants fitted anew.

    Unchanged where all or none are right.
    """
    if len({right for _, right in scored}) < 2:
        return before
    found = fit(
        [
            ((logit(score) - before.score_bias) * before.score_temperature, right)
            for score, right in scored
        ]
    )
    return replace(
        before, score_temperature=round(found.temperature, 4), score_bias=round(found.bias, 4)
    )


def logit(score: float) -> float:
    """The log-odds of a rounded probability."""
    p = min(max(score, LEAST), 1 - LEAST)
    return math.log(p / (1 - p))
