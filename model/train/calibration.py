"""Calibration: a margin, log P(yes) - log P(no), becomes a probability that means what it says.

probability = sigmoid(margin / temperature + bias), fitted by maximum likelihood (Platt 1999) and
stored in the checkpoint's profile.json. Called by the evaluation and the export.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

NEWTON_STEPS = 50
RIDGE = 1e-3
BINS = 10


@dataclass(frozen=True)
class Calibration:
    """The two numbers that profile.json holds for a task."""

    temperature: float = 1.0
    bias: float = 0.0

    def probability(self, margin: float) -> float:
        """Of yes."""
        return _sigmoid(margin / self.temperature + self.bias)


def fit(pairs: Sequence[tuple[float, bool]]) -> Calibration:
    """The calibration under which the pairs (margin, whether yes was right) are most likely.

    Without both kinds of pairs there is nothing to fit: the identity."""
    if len({right for _, right in pairs}) < 2:
        return Calibration()
    slope, bias = 0.0, 0.0
    for _ in range(NEWTON_STEPS):
        g_slope, g_bias, h_ss, h_sb, h_bb = RIDGE * (slope - 1), 0.0, RIDGE, 0.0, RIDGE
        for margin, right in pairs:
            p = _sigmoid(slope * margin + bias)
            error, weight = p - right, p * (1 - p)
            g_slope += error * margin
            g_bias += error
            h_ss += weight * margin * margin
            h_sb += weight * margin
            h_bb += weight
        determinant = h_ss * h_bb - h_sb * h_sb
        slope -= (h_bb * g_slope - h_sb * g_bias) / determinant
        bias -= (h_ss * g_bias - h_sb * g_slope) / determinant
    if slope <= 0.01:  # margins that say nothing, or the opposite
        return Calibration(100.0, bias)
    return Calibration(1 / slope, bias)


def expected_error(pairs: Sequence[tuple[float, bool]]) -> float:
    """Expected calibration error over ten equal bins of probability (Naeini et al. 2015)."""
    total = 0.0
    for number in range(BINS):
        held = [(p, right) for p, right in pairs if min(int(p * BINS), BINS - 1) == number]
        total += abs(sum(p for p, _ in held) - sum(right for _, right in held))
    return total / len(pairs)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else 1 - 1 / (1 + math.exp(x))
