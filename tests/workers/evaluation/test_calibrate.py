"""A score that is too sure of itself is made honest, and nothing else in the profile changes."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from mmapp.errors import BadInput
from mmapp.tasks.verdict import Calibration
from workers.evaluation.calibrate import calibrate


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def scored(calibration: Calibration) -> list[tuple[float, bool]]:
    """Scores by a calibration, of listings whose log-odds are three times too far from zero."""
    chance = random.Random(4)
    honest = [chance.gauss(0.3, 1.5) for _ in range(3000)]
    return [
        (
            sigmoid(3 * x / calibration.score_temperature + calibration.score_bias),
            chance.random() < sigmoid(x),
        )
        for x in honest
    ]


@pytest.mark.parametrize("before", [{}, {"score_temperature": 2.0, "score_bias": 0.4}])
def test_a_score_comes_to_mean_what_it_says(tmp_path: Path, before: dict[str, float]) -> None:
    profile = {"skills": {"zh": "识别"}, "calibration": {"check_listing": {"bias": 1.2, **before}}}
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(profile), encoding="utf-8")
    calibrate(tmp_path, scored(Calibration.of(profile)))
    after = json.loads(path.read_text(encoding="utf-8"))
    found = after["calibration"]["check_listing"]
    assert found.pop("score_temperature") == pytest.approx(3.0, rel=0.1)
    assert found.pop("score_bias") == pytest.approx(0.0, abs=0.15)
    assert found == {"bias": 1.2}
    assert after["skills"] == profile["skills"]


def test_listings_of_one_kind_fit_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="consistent"):
        calibrate(tmp_path, [(0.4, True), (0.9, True)])
    assert not (tmp_path / "profile.json").exists()
