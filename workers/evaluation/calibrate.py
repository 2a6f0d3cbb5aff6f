"""Fits the score of listings to what is true of them, and writes it into a checkpoint's profile.

score = sigmoid(log-odds / score_temperature + score_bias): order and AUROC stay as they are, and a
score of 0.8 comes to mean right in 80 of 100 cases. Called by `run` when asked to. Refuses listings
that are all consistent, or none of them: there is nothing to fit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
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
    before = Calibration.of(profile)
    log_odds = [
        (_logit(score) - before.score_bias) * before.score_temperature for score, _ in scored
    ]
    found = fit([(value, right) for value, (_, right) in zip(log_odds, scored, strict=True)])
    stored = profile.setdefault("calibration", {}).setdefault("check_listing", {})
    stored["score_temperature"] = round(found.temperature, 4)
    stored["score_bias"] = round(found.bias, 4)
    text = json.dumps(profile, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def _logit(score: float) -> float:
    p = min(max(score, LEAST), 1 - LEAST)
    return math.log(p / (1 - p))
