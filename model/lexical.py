"""How well passages match a question by their words alone: BM25 (Robertson and Zaragoza 2009).

Terms are lower-cased words; Chinese, which is written without blanks, gives its single characters
and its pairs of neighbours. Nothing is learnt and nothing is refused. The application matches in
the same way (`mmapp.tasks.matching`; a test holds both equal). Called by the measuring of answers,
as the baseline and to narrow thousands of passages down to those that are read closely.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import bm25s  # type: ignore[import-untyped]

K1 = 1.5  # how soon it stops counting that a term comes again
B = 0.75  # how much a passage's length counts against it

_HAN = r"\u3400-\u9fff\uf900-\ufaff"
_RUN = re.compile(rf"(?P<han>[{_HAN}]+)|[^\W_{_HAN}]+")


class Lexical:
    """Passages, ready to be matched with questions."""

    def __init__(self, passages: Sequence[str]) -> None:
        words = [terms(passage) for passage in passages]
        self._count = len(words)
        self._index = bm25s.BM25(k1=K1, b=B) if any(words) else None
        if self._index is not None:
            self._index.index(words, show_progress=False)

    def scores(self, question: str) -> list[float]:
        """The score of each passage, 0 where it shares no term with the question."""
        asked = list(dict.fromkeys(terms(question)))
        if self._index is None or not asked:
            return [0.0] * self._count
        scores: list[float] = self._index.get_scores(asked).tolist()
        return scores


def terms(text: str) -> list[str]:
    """What is counted, in order."""
    found: list[str] = []
    for match in _RUN.finditer(text.lower()):
        run = match.group()
        if match["han"]:
            found += [*run, *(a + b for a, b in itertools.pairwise(run))]
        else:
            found.append(run)
    return found
