"""Metrics of answers whose truth is known. Pure; None where there is nothing to measure.

Everything is from 0 to 1. Called by `listings`, `summaries` and `answers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from model.train.rouge import units

#: Points of a curve that a plot can show.
MOST_POINTS = 200
#: A text with a larger share of Chinese characters among its words is Chinese.
CHINESE_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Bin:
    """Inputs whose scores lie between two values: what was promised and what was so."""

    low: float
    high: float
    count: int
    mean_score: float | None
    share_right: float | None


def mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def auroc(scores: Sequence[float], rights: Sequence[bool]) -> float | None:
    """How often a right input scores above a wrong one; ties count half (Mann, Whitney 1947)."""
    positives, negatives = sum(rights), len(rights) - sum(rights)
    if not positives or not negatives:
        return None
    below, wins = 0, 0.0
    for right, wrong in _by_score(scores, rights):
        wins += right * (below + wrong / 2)
        below += wrong
    return wins / (positives * negatives)


def roc(scores: Sequence[float], rights: Sequence[bool]) -> list[tuple[float, float]]:
    """(false, true positive rate) as the threshold falls, from (0, 0) to (1, 1)."""
    positives, negatives = sum(rights), len(rights) - sum(rights)
    if not positives or not negatives:
        return []
    points, above_right, above_wrong = [(0.0, 0.0)], 0, 0
    for right, wrong in reversed(_by_score(scores, rights)):
        above_right, above_wrong = above_right + right, above_wrong + wrong
        points.append((above_wrong / negatives, above_right / positives))
    step = -(-len(points) // MOST_POINTS)
    return [*points[:-1:step], points[-1]]


def balanced_accuracy(said: Sequence[bool], rights: Sequence[bool]) -> float | None:
    """Mean of the shares of right and of wrong inputs that were taken for what they are."""
    found = [s for s, right in zip(said, rights, strict=True) if right]
    refused = [not s for s, right in zip(said, rights, strict=True) if not right]
    return (fmean(found) + fmean(refused)) / 2 if found and refused else None


def calibration(scores: Sequence[float], rights: Sequence[bool], count: int) -> list[Bin]:
    """The inputs in `count` bins of equal width."""
    held: list[list[tuple[float, bool]]] = [[] for _ in range(count)]
    for score, right in zip(scores, rights, strict=True):
        held[min(int(score * count), count - 1)].append((score, right))
    return [
        Bin(
            low=number / count,
            high=(number + 1) / count,
            count=len(inputs),
            mean_score=mean([score for score, _ in inputs]),
            share_right=mean([right for _, right in inputs]),
        )
        for number, inputs in enumerate(held)
    ]


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """The gap between promise and truth, averaged over the inputs (Naeini et al. 2015)."""
    total = sum(one.count for one in bins)
    gaps = [
        one.count * abs(one.mean_score - one.share_right)
        for one in bins
        if one.mean_score is not None and one.share_right is not None
    ]
    return sum(gaps) / total if total else None


def normal(text: str) -> str:
    """The text's words (Chinese: characters) between blanks; case and punctuation are gone."""
    return f" {' '.join(units(text))} "


def contains(text: str, words: str) -> bool:
    """Whether the words stand in the text, one after the other."""
    return bool(words.strip()) and normal(words) in normal(text)


def is_chinese(text: str) -> bool:
    found = units(text)
    return sum("\u3400" <= unit <= "\u9fff" for unit in found) > CHINESE_SHARE * len(found)


def _by_score(scores: Sequence[float], rights: Sequence[bool]) -> list[tuple[int, int]]:
    """How many right and wrong inputs have each score, the lowest score first."""
    groups = groupby(sorted(zip(scores, rights, strict=True)), key=lambda pair: pair[0])
    tied = [[right for _, right in group] for _, group in groups]
    return [(sum(group), group.count(False)) for group in tied]
