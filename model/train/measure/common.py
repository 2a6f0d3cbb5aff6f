"""What the measurements of all subjects have in common. Called by them alone.

A figure's name says what it is; that of a figure to compare it with is the same behind one of
`BESIDE`. Figures are shares and AUROCs from 0 to 1; `card` shows them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from model.engine import Engine
from model.readings import Prefix
from model.train.calibration import AnswerCalibration, Calibration, SummaryCalibration

T = TypeVar("T")
Figures = Mapping[str, Mapping[str, float]]  # by subject or kind of data, then by name
OnProgress = Callable[[str, int, int], None]

BESIDE = ("first sentence ", "best possible ", "margin alone ", "BM25 alone ", "chance ")


@dataclass
class Measured:
    """Figures, and the calibrations fitted on the way, by task."""

    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    calibration: dict[str, Calibration | AnswerCalibration | SummaryCalibration] = field(
        default_factory=dict
    )

    def add(self, other: Measured) -> None:
        """What another subject gave; figures of nothing are left out."""
        for kind, figures in other.figures.items():
            known = {name: value for name, value in figures.items() if not math.isnan(value)}
            self.figures[kind] = known
        self.calibration |= other.calibration


def margins(
    engine: Engine, prefix: Prefix, questions: Sequence[str], yes: str, no: str
) -> list[float]:
    """log P(yes) - log P(no) of each question."""
    pairs = [(question, answer) for question in questions for answer in (yes, no)]
    scores = engine.score(prefix, pairs)
    return [ours - theirs for ours, theirs in zip(scores[::2], scores[1::2], strict=True)]


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """At most so many of the items, evenly spread over them."""
    if limit is None or len(items) <= limit:
        return list(items)
    return [items[math.floor(i * len(items) / limit)] for i in range(limit)]


def mean(values: Sequence[float]) -> float:
    """Not a number of nothing."""
    return sum(values) / len(values) if values else math.nan
