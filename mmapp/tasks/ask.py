"""Answer: the passage of a document that answers a question, with its proof, or none.

The words of a passage, and of the text around it, match those of the question so well
(`model.lexical`); the model, which has read the document, is asked whether the passage answers.
Both together rank the passages, and tell whether the first of them answers:

    rank = margin / temperature + terms * z
    P(it answers) = sigmoid(certainty * margin + share * said + bias)

margin = log P(yes) - log P(no); z is the passage's match in standard deviations above the mean of
all passages of the document, said the share of the question's terms that the passage has. z orders
the passages well but grows with the length of the document, said can be compared between documents:
hence one for each purpose. The first passage is the answer when it is probable enough, word for
word as it stands on its page; else the document does not answer. Of equals the first counts, in the
order of `passages`: sentences as the document has them, then runs. Both scores of the first
passage, margin and said, stand in the payload beside P.

Where `closest` is set, the model is asked only about so many passages, those that match best by
their words. In a document of more passages, one that answers in words of its own and shares none
with the question can be missed: "not in this document" then says that none of the closest answers.
The model reads the whole document all the same, so that coverage means what it means elsewhere.

The constants stand in the checkpoint's profile under `calibration.ask` where they were fitted.
Refuses a document without words (`NoText`), and a checkpoint that has calibrations but none for
questions: it was not trained for them and would guess. Called by `tasks.run`; jobs refuse such a
checkpoint already when a question is submitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmapp.documents.quotes import PageText
from mmapp.errors import NotPossible
from mmapp.tasks import prompts
from mmapp.tasks.coverage import with_map
from mmapp.tasks.inputs import DocumentInput
from mmapp.tasks.odds import sigmoid
from mmapp.tasks.passages import passages
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
from mmapp.tasks.sentences import Sentence
from mmapp.types import AskParams, Engine, ReportProgress
from model.lexical import Lexical

PURPOSE = Purpose("ask", phase="searching", unit="passages")


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a checkpoint's margins become probabilities; fitted on held-out questions."""

    temperature: float = 1.0
    #: What a standard deviation of matching words counts for the rank.
    terms: float = 0.0
    #: What the margin counts for the probability, …
    certainty: float = 1.0
    #: … and what it counts to have all of the question's terms.
    share: float = 0.0
    bias: float = 0.0
    #: Below this probability of the first passage the document does not answer.
    threshold: float = 0.5
    #: How many passages the model is asked about; None: all of them.
    closest: int | None = None

    @classmethod
    def of(cls, profile: Mapping[str, Any]) -> Calibration:
        """What the profile says; the defaults for what it does not."""
        stored = profile.get("calibration", {}).get("ask", {})
        return cls(**{key: stored[key] for key in cls.__slots__ if key in stored})

    def rank(self, margin: float, z: float) -> float:
        """By which the passages of a document are ordered."""
        return margin / self.temperature + self.terms * z

    def probability(self, margin: float, said: float) -> float:
        """That a passage answers."""
        return sigmoid(self.certainty * margin + self.share * said + self.bias)


@dataclass(frozen=True, slots=True)
class Rated:
    """A passage that was asked about, with its scores and what they make together."""

    passage: Sentence
    margin: float
    said: float
    rank: float
    probability: float


def ask(
    engine: Engine, inputs: DocumentInput, params: AskParams, report: ReportProgress
) -> dict[str, Any]:
    """The payload of an answer, with "usage" for the record."""
    refuse_untrained(engine.name, engine.profile)
    calibration = Calibration.of(engine.profile)
    pages = pages_with_words(inputs)
    covered = coverage(inputs, pages, report)
    question = " ".join(params.question.split())
    offered = passages(pages)
    matched = Matched(
        question, offered, Lexical([p.text for p in offered], middles(offered, pages))
    )
    closest = matched.closest(calibration.closest)
    reading = _reading(engine, inputs, pages, question, [offered[i] for i in closest], report)
    rated = matched.rated(closest, reading.margins(), calibration)
    best = max(rated, key=lambda one: one.rank)
    found = best.probability >= calibration.threshold
    return {
        "document": described(inputs.document),
        "question": question,
        "found": found,
        "answer": [proved(best.passage, pages)] if found else [],
        "probability": round(best.probability, 4),
        "scores": {"model": round(best.margin, 4), "words": round(best.said, 4)},
        "coverage": with_map(covered, inputs.pages, reading.parts_of_pages(), reading.undrawn),
        "hidden": hidden(inputs),
        "usage": {**reading.usage(), "passages": len(offered)},
    }


def refuse_untrained(name: str, profile: Mapping[str, Any]) -> None:
    """Raises `NotPossible` for a checkpoint that has calibrations but none for questions."""
    if not is_trained(profile):
        raise NotPossible(
            f"the checkpoint {name} was not trained to answer questions and would guess; "
            "set MMAPP_CHECKPOINT to one that was"
        )


def is_trained(profile: Mapping[str, Any]) -> bool:
    """Whether questions may be asked: the profile has a calibration for them, or none at all."""
    return "ask" in profile.get("calibration", {"ask": None})


def middles(passages: Sequence[Sentence], pages: Sequence[PageText]) -> list[float]:
    """Where the middle of each passage is in the document, in characters."""
    starts: dict[int, int] = {}
    length = 0
    for page in pages:
        starts[page.page.number] = length
        length += len(page.text) + 1
    found = []
    for passage in passages:
        first, last = passage.spans[0], passage.spans[-1]
        found.append((starts[first.page] + first.start + starts[last.page] + last.end) / 2)
    return found


class Matched:
    """How well the passages of a document match one question by their words."""

    def __init__(self, question: str, passages: Sequence[Sentence], lexical: Lexical) -> None:
        self._passages = passages
        self._z, self._said = lexical.matches(question), lexical.shares(question)

    def closest(self, count: int | None) -> list[int]:
        """Places of the best, in order; of equals the first are taken."""
        ranked = sorted(range(len(self._z)), key=lambda place: -self._z[place])
        return sorted(ranked[:count])

    def rated(
        self, places: Sequence[int], margins: Iterable[float], calibration: Calibration
    ) -> list[Rated]:
        """The passages in these places, of which the model said so much."""
        return [
            Rated(
                self._passages[place],
                margin,
                self._said[place],
                calibration.rank(margin, self._z[place]),
                calibration.probability(margin, self._said[place]),
            )
            for place, margin in zip(places, margins, strict=True)
        ]


def _reading(
    engine: Engine,
    inputs: DocumentInput,
    pages: Sequence[PageText],
    question: str,
    asked: Sequence[Sentence],
    report: ReportProgress,
) -> Reading:
    """The document, and whether each of these passages answers."""
    stem = prompts.ask_stem(question)
    questions = [Question(prompts.ask_rest(passage.text), passage.spans[0]) for passage in asked]
    return Reading(engine, inputs, pages, questions, PURPOSE, report, stem=stem)
