"""Answer: the passage of a document that answers a question, with its proof, or none.

The whole document is read once. Every passage of it is asked about together (`Reading`): does it
answer the question? The best is the answer when it is probable enough, word for word as it stands
on its page; else the document does not answer. Nothing is preselected by its words, so that a
passage can answer in words of its own.

P(answered) = sigmoid(margin / temperature + bias), margin = log P(yes) - log P(no). The constants
and the threshold stand in the checkpoint's profile under `calibration.ask` where they were fitted.
Refuses a document without words (`NoText`), and a checkpoint that has calibrations but none for
questions: it was not trained for them and would guess. Called by `tasks.run`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmapp.errors import NotPossible
from mmapp.tasks import prompts
from mmapp.tasks.inputs import DocumentInput
from mmapp.tasks.passages import passages
from mmapp.tasks.reading import (
    Purpose,
    Question,
    Reading,
    coverage,
    described,
    pages_with_words,
    proved,
)
from mmapp.types import AskParams, Engine, ReportProgress

PURPOSE = Purpose("ask", phase="searching", unit="passages")


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a checkpoint's margins become probabilities; fitted on held-out questions."""

    temperature: float = 1.0
    bias: float = 0.0
    #: Below this probability of the best passage the document does not answer.
    threshold: float = 0.5

    @classmethod
    def of(cls, profile: Mapping[str, Any]) -> Calibration:
        """What the profile says; the defaults for what it does not."""
        stored = profile.get("calibration", {}).get("ask", {})
        return cls(**{key: float(stored[key]) for key in cls.__slots__ if key in stored})

    def probability(self, margin: float) -> float:
        return (1 + math.tanh((margin / self.temperature + self.bias) / 2)) / 2


def ask(
    engine: Engine, inputs: DocumentInput, params: AskParams, report: ReportProgress
) -> dict[str, Any]:
    """The payload of an answer, with "usage" for the record."""
    if "ask" not in engine.profile.get("calibration", {"ask": None}):
        raise NotPossible(
            f"the checkpoint {engine.name} was not trained to answer questions and would guess; "
            "set MMAPP_CHECKPOINT to one that was"
        )
    pages = pages_with_words(inputs)
    covered = coverage(inputs, pages, report)
    offered = passages(pages)
    asked = " ".join(params.question.split())
    stem = prompts.ask_stem(asked)
    questions = [Question(prompts.ask_rest(p.text), p.spans[0]) for p in offered]
    reading = Reading(engine, inputs, pages, questions, PURPOSE, report, stem=stem)
    margins = reading.margins()
    best = max(range(len(offered)), key=lambda index: margins[index])
    calibration = Calibration.of(engine.profile)
    probability = calibration.probability(margins[best])
    found = probability >= calibration.threshold
    return {
        "document": described(inputs.document),
        "question": asked,
        "found": found,
        "answer": [proved(offered[best], pages)] if found else [],
        "probability": round(probability, 4),
        "coverage": covered,
        "usage": reading.usage(),
    }
