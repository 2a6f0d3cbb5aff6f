"""Grounded summary: the sentences that best say what a document is about, each with its proof.

The whole document is read once. Decoding is constrained to sentences that stand in the document:
all of them are asked about together (`Reading`); the best by log P(yes) - log P(no) are taken, near
repetitions left out, and put in order. No other words can come out.

Why sentences and not tokens are the alphabet of the constraint: a trie over tokens commits to a
sentence by its first token, of which the model knows nothing but how well it begins ("The", "In"),
and compares sentences of different length by products of unequal length. Scoring whole sentences
compares them by what they say, lets every one of them compete, and costs one batched reading of the
document's own words.

Refuses a document without words (`NoText`). Called by `tasks.run`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmapp.tasks import prompts
from mmapp.tasks.inputs import DocumentInput
from mmapp.tasks.reading import (
    Purpose,
    Question,
    Reading,
    coverage,
    described,
    hidden,
    pages_with_words,
    proved,
)
from mmapp.tasks.sentences import Sentence, candidates, title, units, without_repeats
from mmapp.types import Engine, ReportProgress, SummarizeParams
from model.lexical import shared_words

PURPOSE = Purpose("summarize", phase="choosing", unit="sentences")
#: A candidate is a repetition when it shares this much of the shorter one's words.
REPETITION = 0.65


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
    chosen = choose(offered, reading.margins(), params.sentences)
    return {
        "document": described(inputs.document),
        "summary": [proved(offered[index], pages) for index in chosen],
        "coverage": covered,
        "hidden": hidden(inputs),
        "usage": reading.usage(),
    }


def choose(sentences: Sequence[Sentence], margins: Sequence[float], count: int) -> list[int]:
    """Indices of the best sentences in document order.

    What nearly repeats a better one is taken only where nothing else is left.
    """
    chosen: list[int] = []
    repetitions: list[int] = []
    said: list[set[str]] = []
    for index in sorted(range(len(sentences)), key=lambda index: (-margins[index], index)):
        if len(chosen) == count:
            break
        words = units(sentences[index].text)
        if any(len(words & other) > REPETITION * min(len(words), len(other)) for other in said):
            repetitions.append(index)
            continue
        chosen.append(index)
        said.append(words)
    return sorted(chosen + repetitions[: count - len(chosen)])
