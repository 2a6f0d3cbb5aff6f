"""How well passages match a question by their words alone: BM25 (Robertson and Zaragoza 2009).

Terms are lower-cased words; Chinese, which is written without blanks, gives its single characters
and its pairs of neighbours. `model.lexical` matches in the same way where constants are fitted, and
a test holds both equal. Nothing is learnt and nothing is refused. Called by `ask`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

K1 = 1.5  # how soon it stops counting that a term comes again
B = 0.75  # how much a passage's length counts against it

_HAN = r"\u3400-\u9fff\uf900-\ufaff"
_RUN = re.compile(rf"(?P<han>[{_HAN}]+)|[^\W_{_HAN}]+")


def matches(passages: Sequence[str], question: str) -> list[float]:
    """The score of each passage, 0 where it shares no term with the question."""
    words = [_terms(passage) for passage in passages]
    asked = list(dict.fromkeys(_terms(question)))
    if not asked or not any(words):
        return [0.0] * len(words)
    # Here, since whoever imports the tasks would load it, and only questions need it.
    import bm25s  # type: ignore[import-untyped]

    index = bm25s.BM25(k1=K1, b=B)
    index.index(words, show_progress=False)
    scores: list[float] = index.get_scores(asked).tolist()
    return scores


def standardised(scores: Sequence[float]) -> list[float]:
    """In standard deviations above the mean; all 0 where the scores are equal."""
    if len(set(scores)) < 2:
        # The rounded mean of equal scores may differ from them, and would be called a deviation.
        return [0.0] * len(scores)
    mean = sum(scores) / len(scores)
    spread = math.sqrt(sum((score - mean) ** 2 for score in scores) / len(scores))
    return [(score - mean) / spread for score in scores]


def _terms(text: str) -> list[str]:
    """What is counted, in order."""
    found: list[str] = []
    for match in _RUN.finditer(text.lower()):
        run = match.group()
        if match["han"]:
            found += [*run, *(a + b for a, b in itertools.pairwise(run))]
        else:
            found.append(run)
    return found
