"""Calibration: a margin, log P(yes) - log P(no), becomes a probability that means what it says.

probability = sigmoid(margin / temperature + bias), fitted by maximum likelihood (Platt 1999) and
stored in the checkpoint's profile.json. Passages that may answer a question have a second score
beside the margin, how well their words match, and a probability from which on one is the answer.
Sentences offered for a summary are compared by their margin, their share of the title's words and
their place together.
Called by what measures; refuses nothing: where there is nothing to fit, nothing is changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

NEWTON_STEPS = 50
RIDGE = 1e-3
CHOICE_RIDGE = 1.0  # about a document's worth
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
    terms: float = 0.0  #: what a standard deviation of matching words counts for the rank
    certainty: float = 1.0  #: what the margin counts for the probability
    share: float = 0.0  #: what it counts to have all of the question's terms
    bias: float = 0.0
    threshold: float = 0.5  #: the first passage is the answer from this probability on

    def deciding(self, threshold: float) -> AnswerCalibration:
        """The same with another threshold."""
        return replace(self, threshold=threshold)

    def rank(self, margin: float, z: float) -> float:
        """By which passages are ordered. `z`: the words' match in standard deviations above the
        mean of the document's passages."""
        return margin / self.temperature + self.terms * z

    def probability(self, margin: float, said: float) -> float:
        """That the first passage answers. `said`: its share of the question's terms."""
        return _sigmoid(self.certainty * margin + self.share * said + self.bias)

    def stored(self) -> dict[str, float]:
        """As profile.json holds it."""
        return {
            "temperature": round(self.temperature, 4),
            "terms": round(self.terms, 4),
            "certainty": round(self.certainty, 4),
            "share": round(self.share, 4),
            "bias": round(self.bias, 4),
            "threshold": float(f"{self.threshold:.4g}"),
            "closest": self.closest,
        }


@dataclass(frozen=True)
class SummaryCalibration:
    """What profile.json holds for summaries: how sentences are compared."""

    temperature: float = 1.0
    title: float = 0.0  #: what it counts to have all the title's words
    early: float = 0.0  #: what it counts to stand e times as far to the front

    def score(self, offered: Offered) -> float:
        """By which the best sentence is chosen."""
        margin, title, early = offered.features
        return margin / self.temperature + self.title * title + self.early * early

    def stored(self) -> dict[str, float]:
        """As profile.json holds it."""
        return {
            "temperature": round(self.temperature, 4),
            "title": round(self.title, 4),
            "early": round(self.early, 4),
        }


@dataclass(frozen=True)
class Offered:
    """A sentence offered for a summary."""

    margin: float  #: log P(yes) - log P(no)
    shared: int  #: per cent of the title's words
    place: int  #: among those offered, from 1

    @property
    def features(self) -> tuple[float, float, float]:
        """What its score is made of."""
        return self.margin, self.shared / 100, -math.log(self.place)


def fit(pairs: Sequence[tuple[float, bool]]) -> Calibration:
    """The calibration under which the pairs (margin, whether yes was right) are most likely.

    Without both kinds of pairs there is nothing to fit: the identity."""
    if len({right for _, right in pairs}) < 2:
        return Calibration()
    slope, bias = _logistic([(m, 1.0) for m, _ in pairs], [r for _, r in pairs], (1.0, 0.0))
    return Calibration(1 / max(slope, LEAST_SLOPE), bias)


def fit_ranks(rows: Sequence[tuple[float, float, bool]], closest: int) -> AnswerCalibration:
    """The same for rows of margin, z and whether the passage answers: how passages are ordered.
    Words that match never count against a passage: where they would, they count nothing."""
    slopes = _agreeing([(margin, z) for margin, z, _ in rows], [right for *_, right in rows])
    if slopes is None:
        return AnswerCalibration(closest)
    margin, terms, _ = slopes
    return AnswerCalibration(closest, 1 / max(margin, LEAST_SLOPE), terms)


def fit_answers(
    ranked: AnswerCalibration, rows: Sequence[tuple[float, float, bool]]
) -> AnswerCalibration:
    """The probability too, from rows of margin, share of the question's terms and whether the
    passage answers, one for each question: its first passage. Neither ever counts against it."""
    slopes = _agreeing([(margin, said) for margin, said, _ in rows], [right for *_, right in rows])
    if slopes is None:
        return ranked
    certainty, share, bias = slopes
    return replace(ranked, certainty=max(certainty, 0.0), share=share, bias=bias)


def _agreeing(
    pairs: Sequence[tuple[float, float]], rights: Sequence[bool]
) -> tuple[float, float, float] | None:
    """The slopes of a margin and of matching words, the latter not below 0, and the bias. None
    where there is nothing to fit, since all are right or none is."""
    if len(set(rights)) < 2:
        return None
    margin, words, bias = _logistic([(*pair, 1.0) for pair in pairs], rights, (1.0, 0.0, 0.0))
    if words < 0:
        margin, bias = _logistic([(first, 1.0) for first, _ in pairs], rights, (1.0, 0.0))
        words = 0.0
    return margin, words, bias


def fit_choices(
    documents: Sequence[tuple[Sequence[Offered], Sequence[float]]],
) -> SummaryCalibration:
    """For documents of sentences and the shares of the choice that each should have: the weights
    under which choices in these shares are most likely (conditional logit, McFadden 1974).

    Neither the title nor an early place ever counts against a sentence: where it would, it counts
    nothing. Of no document nothing is learnt: the margin alone counts."""
    used = [True, True, True]
    while True:
        margin, title, early = _conditional_logit(documents, used)
        if title >= 0 and early >= 0:
            return SummaryCalibration(1 / max(margin, LEAST_SLOPE), title, early)
        used = [True, used[1] and title >= 0, used[2] and early >= 0]


def _conditional_logit(
    documents: Sequence[tuple[Sequence[Offered], Sequence[float]]], used: Sequence[bool]
) -> list[float]:
    """By Newton's method, with a little ridge towards the margin alone; 0 for what is not used."""
    prior_F, used_F = np.array([1.0, 0.0, 0.0]), np.array(used, dtype=float)
    weights_F = prior_F.copy()
    rows = [(np.array([o.features for o in some]) * used_F, np.array(s)) for some, s in documents]
    for _ in range(NEWTON_STEPS):
        gradient_F = CHOICE_RIDGE * (prior_F - weights_F)
        curve_FF = np.diag(np.full(3, CHOICE_RIDGE))
        for x_NF, share_N in rows:
            logits_N = x_NF @ weights_F
            p_N = np.exp(logits_N - logits_N.max())
            p_N /= p_N.sum()
            mean_F = p_N @ x_NF
            gradient_F += (share_N - p_N) @ x_NF
            curve_FF += (x_NF.T * p_N) @ x_NF - np.outer(mean_F, mean_F)
        weights_F = weights_F + np.linalg.solve(curve_FF, gradient_F)
    return [float(value) for value in weights_F]


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
