"""Answers: which passage answers a question? JSONL with `id`, `text`, `question`, `answer`.

`answer` has words that the right passage contains (a list: any of them); empty or null says that
the document does not answer. Case and punctuation do not count. A text that can't be read counts as
a wrong answer. Called by `run`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmapp import tasks
from mmapp.config import Settings
from mmapp.types import AskParams, Engine, TaskName
from workers.evaluation import metrics
from workers.evaluation.kinds import (
    Figure,
    Id,
    Measured,
    Prediction,
    Question,
    add_truth,
    ignore_progress,
)
from workers.evaluation.rows import Row, read_document, read_rows, text_of, texts_of

#: Between these lengths of documents, in characters, recall is told apart.
LENGTHS = (2_000, 8_000, 32_000, 128_000)
#: Parts of a document in which the answer may stand.
DEPTHS = 5


@dataclass(frozen=True, slots=True)
class Truth:
    question: str
    #: Empty: the document does not answer.
    answers: tuple[str, ...]
    characters: int
    #: Pages with the answer's words, from 1, and where the first of them stands, from 0 to 1.
    pages: tuple[int, ...]
    depth: float | None


@dataclass(frozen=True, slots=True)
class _Judged:
    id: Id
    truth: Truth
    found: bool
    quote: str
    page: int | None

    @property
    def is_right(self) -> bool:
        if not self.truth.answers:
            return not self.found
        return any(metrics.contains(self.quote, answer) for answer in self.truth.answers)

    @property
    def overlaps(self) -> bool:
        """The passage holds the answer, or the answer holds the passage."""
        return self.is_right or (
            bool(self.quote)
            and any(metrics.contains(answer, self.quote) for answer in self.truth.answers)
        )

    @property
    def has_right_page(self) -> bool:
        return self.is_right and self.page in self.truth.pages


class Answers:
    """Questions about documents whose answers are known."""

    def __init__(self, data: Path, settings: Settings) -> None:
        self._data, self._settings = data, settings
        self._truths: dict[Id, Truth] = {}

    def load(self, limit: int | None) -> list[Id]:
        for id_, row in read_rows(self._data):
            add_truth(self._truths, id_, _truth(id_, row), self._data)
            if len(self._truths) == limit:
                break
        return list(self._truths)

    def questions(self) -> Iterator[tuple[Id, Question]]:
        for id_, row in read_rows(self._data):
            if id_ in self._truths:
                yield id_, self._question(id_, text_of(row, "text", id_))

    def measure(self, predictions: Mapping[Id, Prediction], profile: Mapping[str, Any]) -> Measured:
        del profile
        judged = [_judged(id_, truth, predictions[id_]) for id_, truth in self._truths.items()]
        answerable = [one for one in judged if one.truth.answers]
        others = [one for one in judged if not one.truth.answers]
        placed = [one for one in answerable if one.truth.pages]
        figures = [
            Figure("accuracy", "Right, of all questions", _mean(one.is_right for one in judged)),
            Figure("recall", "Passage has the answer", _mean(one.is_right for one in answerable)),
            Figure("overlap", "Passage and answer overlap", _mean(o.overlaps for o in answerable)),
            Figure(
                "right_page",
                "The same, with the right page",
                _mean(one.has_right_page for one in placed),
            ),
            Figure(
                "rejected", "“Not in this document” where so", _mean(o.is_right for o in others)
            ),
        ]
        details = {"by_depth_and_length": _by_depth_and_length(placed)}
        ordered = sorted(judged, key=lambda one: one.is_right)
        return Measured(figures, details, [_example(one) for one in ordered])

    def _question(self, id_: Id, text: str) -> Question:
        def ask(engine: Engine) -> Prediction:
            inputs = read_document(id_, text, self._settings)
            params = AskParams(inputs.document.sha256, self._truths[id_].question)
            payload = tasks.run(TaskName.ASK, engine, inputs, params, ignore_progress)
            evidence = [one for sentence in payload["answer"] for one in sentence["evidence"]]
            return {
                "found": payload["found"],
                "answer": _joined([sentence["text"] for sentence in payload["answer"]]),
                "quote": _joined([one["quote"] for one in evidence]),
                "page": evidence[0]["page"] if evidence else None,
                "probability": payload["probability"],
            }

        return ask


def _truth(id_: Id, row: Row) -> Truth:
    text = text_of(row, "text", id_)
    answers = texts_of(row, "answer", id_)
    # As in a text file, a form feed ends a page.
    sheets = [metrics.normal(sheet) for sheet in text.split("\f")]
    pages = [
        number
        for number, sheet in enumerate(sheets, 1)
        if any(metrics.normal(answer) in sheet for answer in answers)
    ]
    return Truth(
        question=text_of(row, "question", id_),
        answers=answers,
        characters=len(text),
        pages=tuple(pages),
        depth=_depth("".join(sheets), answers) if pages else None,
    )


def _depth(words: str, answers: Sequence[str]) -> float:
    """Where the first of the answers begins, from 0 to 1."""
    places = [words.find(metrics.normal(answer)) for answer in answers]
    return min(place for place in places if place >= 0) / len(words)


def _judged(id_: Id, truth: Truth, prediction: Prediction) -> _Judged:
    """What could not be read was not found, and is wrong even where nothing was to be found."""
    return _Judged(
        id_,
        truth,
        found=prediction.get("found", True),
        quote=prediction.get("quote", ""),
        page=prediction.get("page"),
    )


def _by_depth_and_length(placed: Sequence[_Judged]) -> list[dict[str, Any]]:
    """Recall of each depth in documents of each length; None where there are none."""
    cells = []
    for length in range(len(LENGTHS) + 1):
        for depth in range(DEPTHS):
            held = [
                one.is_right
                for one in placed
                if one.truth.depth is not None
                and bisect_right(LENGTHS, one.truth.characters) == length
                and min(int(one.truth.depth * DEPTHS), DEPTHS - 1) == depth
            ]
            cells.append(
                {
                    "characters": _between(length),
                    "depth": f"{100 * depth // DEPTHS}–{100 * (depth + 1) // DEPTHS} %",
                    "count": len(held),
                    "recall": metrics.mean(held),
                }
            )
    return cells


def _between(length: int) -> str:
    if length == 0:
        return f"< {LENGTHS[0]:,}"
    if length == len(LENGTHS):
        return f"≥ {LENGTHS[-1]:,}"
    return f"{LENGTHS[length - 1]:,} – {LENGTHS[length]:,}"


def _mean(values: Iterable[bool]) -> float | None:
    return metrics.mean(list(values))


def _joined(texts: Iterable[str]) -> str:
    return " ".join(texts)


def _example(one: _Judged) -> dict[str, str]:
    return {
        "id": str(one.id),
        "question": one.truth.question,
        "passage": one.quote or "—",
        "answer": " | ".join(one.truth.answers) or "—",
        "": "✓" if one.is_right else "✗",
    }
