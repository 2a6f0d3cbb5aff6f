"""How well passages match a question by their words alone, and what a sentence has of a title.

Terms are lower-cased words; Chinese, which is written without blanks, gives its single characters
and its pairs of neighbours. A passage's match is its BM25 (Robertson and Zaragoza 2009) over the
question's terms that are not stop words or words of asking, together with that of the text around
it: an answer is often begun before, and gone on with after, the words that it shares with the
question. That ranks the passages of one document; which share of the question's terms a passage has
can be compared between documents. Nothing is learnt and nothing is refused.

Called by the application's `ask` and `summarize`, which import this module and nothing else of the
model, and by training and measuring, so that both tell a checkpoint the same.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Sequence

K1 = 1.5  # how soon it stops counting that a term comes again
B = 0.75  # how much a passage's length counts against it
AROUND = 300.0  # characters after which what stands around counts a third (1/e)

#: Words that say what the asker wants done, and not what about.
_ASKING = """
according conclude concluded conclusion decide decided decision describe described discuss discussed
discussing discussion explain explained give group mention mentioned meeting opinion opinions reason
reasons regarding said say speaker speakers summarise summarize summary talk talked talking team
tell think thinks thought thoughts view views whole would
总结 概括 概述 讨论 说明 解释 认为 意见 看法 提到 请问 多少 哪些 哪个 为何 文档 文中
"""

_HAN = r"\u3400-\u9fff\uf900-\ufaff"
_RUN = re.compile(rf"(?P<han>[{_HAN}]+)|[^\W_{_HAN}]+")


class Lexical:
    """Passages, ready to be matched with questions."""

    def __init__(self, passages: Sequence[str], middles: Sequence[float]) -> None:
        """`middles`: where each passage's middle is in the document, in characters."""
        # Here, since whoever imports the application's tasks would load it, and only questions
        # need it.
        import bm25s  # type: ignore[import-untyped]

        words = [terms(passage) for passage in passages]
        self._having: dict[str, list[int]] = defaultdict(list)  # which passages have a term
        for place, some in enumerate(words):
            for term in set(some):
                self._having[term].append(place)
        self._middles = middles
        self._index = bm25s.BM25(k1=K1, b=B) if any(words) else None
        if self._index is not None:
            self._index.index(words, show_progress=False)

    def matches(self, question: str) -> list[float]:
        """How well each passage matches, in standard deviations above the mean of all."""
        own = self.bm25(telling(question))
        around = surroundings(own, self._middles)
        both = zip(standardised(own), standardised(around), strict=True)
        return standardised([a + b for a, b in both])

    def shares(self, question: str) -> list[float]:
        """Which share of what the question asks by each passage has, 0 to 1: of its telling terms,
        each weighted by how rare it is among the passages (the idf of BM25).

        Unlike a match it means the same in a document of ten passages and of ten thousand."""
        count, whole = len(self._middles), 0.0
        found = [0.0] * count
        for term in telling(question):
            having = self._having.get(term, [])
            rarity = math.log(1 + (count - len(having) + 0.5) / (len(having) + 0.5))
            whole += rarity
            for place in having:
                found[place] += rarity
        return [share / whole for share in found] if whole else found

    def bm25(self, asked: Sequence[str]) -> list[float]:
        """The plain score of each passage, 0 where it has none of the terms."""
        if self._index is None or not asked:
            return [0.0] * len(self._middles)
        scores: list[float] = self._index.get_scores(list(asked)).tolist()
        return scores


def telling(question: str) -> list[str]:
    """The question's terms, each once, without those that any question has; all where it has no
    others."""
    from bm25s.stopwords import (  # type: ignore[import-untyped]
        STOPWORDS_CHINESE,
        STOPWORDS_EN_PLUS,
    )

    found = list(dict.fromkeys(terms(question)))
    common = {*_ASKING.split()}.union(STOPWORDS_EN_PLUS, STOPWORDS_CHINESE)
    return [term for term in found if term not in common] or found


def surroundings(values: Sequence[float], middles: Sequence[float]) -> list[float]:
    """For each place the mean of all values, weighted by exp(-distance / AROUND).

    In time linear in the places once they are in order: what all to the left weigh together fades
    by one factor from each place to the next, and so does what all to the right weigh.
    """
    order = sorted(range(len(middles)), key=middles.__getitem__)
    sums, weights = [0.0] * len(order), [0.0] * len(order)
    for way in (order, order[::-1]):
        total = weight = 0.0
        last = middles[way[0]] if way else 0.0
        for place in way:
            fade = math.exp(-abs(middles[place] - last) / AROUND)
            total, weight, last = total * fade, weight * fade, middles[place]
            sums[place] += total
            weights[place] += weight
            total, weight = total + values[place], weight + 1
    return [
        (total + value) / (weight + 1)
        for total, weight, value in zip(sums, weights, values, strict=True)
    ]


def standardised(values: Sequence[float]) -> list[float]:
    """In standard deviations above the mean; all 0 where the values are equal."""
    if len(set(values)) < 2:
        # The rounded mean of equal values may differ from them, and would be called a deviation.
        return [0.0] * len(values)
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    return [(value - mean) / spread for value in values]


def shared_words(title: str, texts: Sequence[str]) -> list[int]:
    """How many of the title's terms each text has too, in per cent, to the nearest ten."""
    wanted = set(terms(title))
    return [
        round(10 * len(wanted.intersection(terms(text))) / len(wanted)) * 10 if wanted else 0
        for text in texts
    ]


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
