"""ROUGE-1, ROUGE-2 and ROUGE-L F-scores (Lin 2004) of one text against references.

Units are lower-cased alphanumeric words; each Chinese, Japanese or Korean character is a unit of
its own. No stemming and no stop words. Called by the curriculum (which sentences of a document
its author's summary speaks of) and by the evaluation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

UNIT = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af]|[^\W_\u3040-\uffff]+")


@dataclass(frozen=True)
class Rouge:
    """F-scores from 0 to 1."""

    one: float
    two: float
    longest: float


def units(text: str) -> list[str]:
    """The words (and single CJK characters) that are counted."""
    return UNIT.findall(text.lower())


def overlap_f(candidate: Sequence[str], reference: Sequence[str], size: int) -> float:
    """F-score of the n-grams of `size` units that both share, counted with multiplicity."""
    ours, theirs = _ngrams(candidate, size), _ngrams(reference, size)
    shared = sum((ours & theirs).values())
    return _f_score(shared, sum(ours.values()), sum(theirs.values()))


def longest_f(candidate: Sequence[str], reference: Sequence[str]) -> float:
    """F-score of the longest common subsequence."""
    row = [0] * (len(reference) + 1)
    for ours in candidate:
        diagonal = 0
        for column, theirs in enumerate(reference, start=1):
            above = row[column]
            row[column] = diagonal + 1 if ours == theirs else max(above, row[column - 1])
            diagonal = above
    return _f_score(row[-1], len(candidate), len(reference))


def rouge(candidate: str, references: str | Sequence[str]) -> Rouge:
    """Each score against the reference that gives the best one."""
    ours = units(candidate)
    texts = [references] if isinstance(references, str) else references
    theirs = [units(text) for text in texts]
    return Rouge(
        one=max(overlap_f(ours, reference, 1) for reference in theirs),
        two=max(overlap_f(ours, reference, 2) for reference in theirs),
        longest=max(longest_f(ours, reference) for reference in theirs),
    )


def _ngrams(words: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1))


def _f_score(shared: int, ours: int, theirs: int) -> float:
    if not shared:
        return 0.0
    precision, recall = shared / ours, shared / theirs
    return 2 * precision * recall / (precision + recall)
