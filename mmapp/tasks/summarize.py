"""Grounded summary: the sentences that best say what a document is about, each with its proof.

The whole document is read once. Decoding is constrained to sentences that stand in the document:
all of them are asked about together (`Reading`); the best are taken, near repetitions left out, and
put in order. No other words can come out. The best are those with the highest

    margin / temperature + title * (share of the title's words) - early * ln(place)

margin = log P(yes) - log P(no). The constants stand in the checkpoint's profile under
`calibration.summarize` where they were fitted; elsewhere the margin alone counts.

Why sentences and not tokens are the alphabet of the constraint: a trie over tokens commits to a
sentence by its first token, of which the model knows nothing but how well it begins ("The", "In"),
and compares sentences of different length by products of unequal length. Scoring whole sentences
compares them by what they say, lets every one of them compete, and costs one batched reading of the
document's own words.

Refuses a document without words (`NoText`). Called by `tasks.run`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmapp.tasks import prompts
from mmapp.tasks.inputs import DocumentInput
from mmapp.tasks.reading import (
    Purpose,
    Question,
    Reading,
    coverage,
    described,
    pages_with_words,
    proved,
)
from mmapp.tasks.sentences import Sentence, candidates, title, units, without_repeats
from mmapp.types import Engine, ReportProgress, SummarizeParams
from model.lexical import shared_words

PURPOSE = Purpose("summarize", phase="choosing", unit="sentences")
#: A candidate is a repetition when it shares this much of the shorter one's words.
REPETITION = 0.65


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a checkpoint's margins are weighed against what can be counted; fitted on held-out
    documents. By default the margin alone counts."""

    temperature: float = 1.0
    #: What it counts to have all the title's words.
    title: float = 0.0
    #: What it counts to stand e times as far to the front.
    early: float = 0.0

    @classmethod
    def of(cls, profile: Mapping[str, Any]) -> Calibration:
        """What the profile says; the defaults for what it does not."""
        stored = profile.get("calibration", {}).get("summarize", {})
        return cls(**{key: float(stored[key]) for key in cls.__slots__ if key in stored})

    def score(self, margin: float, shared: int, place: int) -> float:
        """Of a sentence with so many per cent of the title's words, at this place from 1."""
        counted = self.title * shared / 100 - self.early * math.log(place)
        return margin / self.temperature + counted


def summarize(
    engine: Engine, inputs: DocumentInput, params: SummarizeParams, report: ReportProgress
) -> dict[str, Any]:
    """The payload of a summary, with "usage" for the record."""
    pages = pages_with_words(inputs)
    covered = coverage(inputs, pages, report)
    offered = without_repeats(candidates(pages))
    shared = shared_words(title(pages), [sentence.text for sentence in offered])
    questions = [
        Question(
            prompts.summarize_question(sentence.text, place, len(offered), percent),
            sentence.spans[0],
        )
        for place, (sentence, percent) in enumerate(zip(offered, shared, strict=True), start=1)
    ]
    reading = Reading(engine, inputs, pages, questions, PURPOSE, report)
    weights = Calibration.of(engine.profile)
    scores = [
        weights.score(margin, percent, place)
        for place, (margin, percent) in enumerate(zip(reading.margins(), shared, strict=True), 1)
    ]
    chosen = choose(offered, scores, params.sentences)
    return {
        "document": described(inputs.document),
        "summary": [proved(offered[index], pages) for index in chosen],
        "coverage": covered,
        "usage": reading.usage(),
    }


def choose(sentences: Sequence[Sentence], scores: Sequence[float], count: int) -> list[int]:
    """Indices of the best sentences in document order.

    What nearly repeats a better one is taken only where nothing else is left.
    """
    chosen: list[int] = []
    repetitions: list[int] = []
    said: list[set[str]] = []
    for index in sorted(range(len(sentences)), key=lambda index: (-scores[index], index)):
        if len(chosen) == count:
            break
        words = units(sentences[index].text)
        if any(len(words & other) > REPETITION * min(len(words), len(other)) for other in said):
            repetitions.append(index)
            continue
        chosen.append(index)
        said.append(words)
    return sorted(chosen + repetitions[: count - len(chosen)])
