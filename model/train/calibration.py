"""Calibration: a margin, log P(yes) - log P(no), becomes a probability that means what it says.

probability = sigmoid(margin / temperature + bias), fitted by maximum likelihood (Platt 1999) and
stored in the checkpoint's profile.json. Passages that may answer a question have a second score
beside the margin, how well their words match, and a probability from which on one is the answer.
Called by what measures; refuses nothing: where there is nothing to fit, nothing is changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

NEWTON_STEPS = 50
RIDGE = 1e-3
LEAST_SLOPE = 0.01  # of margins that say nothing, or the opposite
BINS = 10


@dataclass(frozen=True)
class Calibration:
    """The two numbers that profile.json holds for a task."""

    temperature: float = 1.0
    bias: float = 0.0

    def probability(self, margin: float) -> float:
        """Of yes."""
        return _sigmoid(margin / self.temperature + self.bias)

    def stored(self) -> dict[str, float]:
        """As profile.json holds it."""
        return {"temperature": round(self.temperature, 4), "bias": round(self.bias, 4)}


@dataclass(frozen=True)
class AnswerCalibration:
    """What profile.json holds for questions about documents."""

    closest: int  #: so many passages, those whose words match best, are put to the model
    temperature: float = 1.0
    bias: float = 0.0
    terms: float = 0.0  #: what a standard deviation of matching words counts
    threshold: float = 0.5  #: the best passage is the answer from this probability on

    def deciding(self, log_odds: float) -> AnswerCalibration:
        """The same with another threshold."""
        return replace(self, threshold=_sigmoid(log_odds))

    def probability(self, margin: float, z: float) -> float:
        """That a passage answers. `z`: its words' match in standard deviations above the mean."""
        return _sigmoid(self.log_odds(margin, z))

    def log_odds(self, margin: float, z: float) -> float:
        """The probability before it is rounded to 1 where it is very likely."""
        return margin / self.temperature + self.terms * z + self.bias

    @property
    def least_log_odds(self) -> float:
        """The threshold."""
        return math.log(self.threshold / (1 - self.threshold)) if self.threshold < 1 else math.inf

    def stored(self) -> dict[str, float]:
        """As profile.json holds it. Thresholds may be small: what counts are their digits."""
        return {
            "temperature": round(self.temperature, 4),
            "bias": round(self.bias, 4),
            "threshold": float(f"{self.threshold:.4g}"),
            "terms": round(self.terms, 4),
            "closest": self.closest,
        }


def fit(pairs: Sequence[tuple[float, bool]]) -> Calibration:
    """The calibration under which the pairs (margin, whether yes was right) are most likely.

    Without both kinds of pairs there is nothing to fit: the identity."""
    if len({right for _, right in pairs}) < 2:
        return Calibration()
    slope, bias = _logistic([(m, 1.0) for m, _ in pairs], [r for _, r in pairs], (1.0, 0.0))
    return Calibration(1 / max(slope, LEAST_SLOPE), bias)


def fit_answers(rows: Sequence[tuple[float, float, bool]], closest: int) -> AnswerCalibration:
    """The same for rows of margin, z and whether the passage answers; the threshold is not yet
    fitted. Words that match never count against a passage: where they would, they count nothing."""
    rights = [right for _, _, right in rows]
    if len(set(rights)) < 2:
        return AnswerCalibration(closest)
    both = [(margin, z, 1.0) for margin, z, _ in rows]
    slope, terms, bias = _logistic(both, rights, (1.0, 0.0, 0.0))
    if terms < 0:
        alone = [(margin, 1.0) for margin, _, _ in rows]
        (slope, bias), terms = _logistic(alone, rights, (1.0, 0.0)), 0.0
    return AnswerCalibration(closest, 1 / max(slope, LEAST_SLOPE), bias, terms)


def expected_error(pairs: Sequence[tuple[float, bool]]) -> float:
    """Expected calibration error over ten equal bins of probability (Naeini et al. 2015)."""
    total = 0.0
    for number in range(BINS):
        held = [(p, right) for p, right in pairs if min(int(p * BINS), BINS - 1) == number]
        total += abs(sum(p for p, _ in held) - sum(right for _, right in held))
    return total / len(pairs)


def _logistic(
    features: Sequence[Sequence[float]], rights: Sequence[bool], prior: Sequence[float]
) -> list[float]:
    """The slopes of a logistic regression by Newton's method. A little ridge towards the prior
    keeps them finite where a line parts right from wrong; the last one, the bias, has none."""
    x_NF, right_N = np.array(features), np.array(rights, dtype=float)
    prior_F = np.array(prior)
    ridge_F = np.full(len(prior), RIDGE)
    pull_F = np.append(ridge_F[:-1], 0.0)
    slope_F = np.zeros(len(prior))
    for _ in range(NEWTON_STEPS):
        p_N = 0.5 + np.tanh(x_NF @ slope_F / 2) / 2
        gradient_F = x_NF.T @ (p_N - right_N) + pull_F * (slope_F - prior_F)
        curve_FF = (x_NF.T * (p_N * (1 - p_N))) @ x_NF + np.diag(ridge_F)
        slope_F -= np.linalg.solve(curve_FF, gradient_F)
    return [float(value) for value in slope_F]


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
