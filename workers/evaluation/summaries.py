"""Summaries: which sentences say what a document is about? JSONL with `id`, `text`, `summary`.

Compared by ROUGE with the reference that fits best; Chinese counts in characters. Beside the
checkpoint stands the plain baseline, a document's first sentences. A document that can't be read
has an empty summary. Refuses data without any reference. Called by `run`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmapp import tasks
from mmapp.config import Settings
from mmapp.documents.quotes import PageText
from mmapp.errors import BadInput, MmappError
from mmapp.tasks.sentences import candidates
from mmapp.types import Engine, SummarizeParams, TaskName
from model.train.rouge import Rouge, rouge
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


@dataclass(frozen=True, slots=True)
class Truth:
    references: tuple[str, ...]
    language: str
    source: str
    #: Of the document's first sentences, as many as are asked for.
    baseline: Rouge


@dataclass(frozen=True, slots=True)
class _Compared:
    id: Id
    truth: Truth
    summary: str
    rouge: Rouge


class Summaries:
    """Documents whose authors wrote a summary."""

    def __init__(self, data: Path, settings: Settings, sentences: int) -> None:
        self._data, self._settings, self._sentences = data, settings, sentences
        self._truths: dict[Id, Truth] = {}

    def load(self, limit: int | None) -> list[Id]:
        for id_, row in read_rows(self._data):
            if texts_of(row, "summary", id_):
                add_truth(self._truths, id_, self._truth(id_, row), self._data)
            if len(self._truths) == limit:
                break
        if not self._truths:
            raise BadInput(f"No row of {self._data.name} has a summary to compare with; add some")
        return list(self._truths)

    def questions(self) -> Iterator[tuple[Id, Question]]:
        for id_, row in read_rows(self._data):
            if id_ in self._truths:
                yield id_, self._question(id_, text_of(row, "text", id_))

    def measure(self, predictions: Mapping[Id, Prediction], profile: Mapping[str, Any]) -> Measured:
        del profile
        compared = []
        for id_, truth in self._truths.items():
            summary = "\n".join(predictions[id_].get("summary", ()))
            compared.append(_Compared(id_, truth, summary, rouge(summary, truth.references)))
        figures = [
            Figure(f"{who}{key}", f"{words}{name} F", value)
            for who, words, scores in (
                ("", "", [one.rouge for one in compared]),
                ("first_", "First sentences: ", [one.truth.baseline for one in compared]),
            )
            for key, name, value in _means(scores)
        ]
        details = {
            "by_language": _groups(compared, lambda one: one.truth.language),
            "by_source": _groups(compared, lambda one: one.truth.source),
            "rouge1_of_inputs": [round(one.rouge.one, 4) for one in compared],
        }
        ordered = sorted(compared, key=lambda one: one.rouge.one)
        return Measured(figures, details, [_example(one) for one in ordered])

    def _truth(self, id_: Id, row: Row) -> Truth:
        text = text_of(row, "text", id_)
        references = texts_of(row, "summary", id_)
        return Truth(
            references=references,
            language=str(row.get("lang") or ("zh" if metrics.is_chinese(text) else "en")),
            source=str(row.get("source") or ""),
            baseline=rouge(self._first_sentences(id_, text), references),
        )

    def _first_sentences(self, id_: Id, text: str) -> str:
        try:
            pages = read_document(id_, text, self._settings).pages
        except MmappError:
            return ""  # the same error stands in the predictions
        found = candidates([PageText(page) for page in pages])
        return "\n".join(sentence.text for sentence in found[: self._sentences])

    def _question(self, id_: Id, text: str) -> Question:
        def ask(engine: Engine) -> Prediction:
            inputs = read_document(id_, text, self._settings)
            params = SummarizeParams(inputs.document.sha256, self._sentences)
            payload = tasks.run(TaskName.SUMMARIZE, engine, inputs, params, ignore_progress)
            return {"summary": [sentence["text"] for sentence in payload["summary"]]}

        return ask


def _means(scores: Sequence[Rouge]) -> list[tuple[str, str, float | None]]:
    return [
        ("rouge1", "ROUGE-1", metrics.mean([score.one for score in scores])),
        ("rouge2", "ROUGE-2", metrics.mean([score.two for score in scores])),
        ("rougeL", "ROUGE-L", metrics.mean([score.longest for score in scores])),
    ]


def _groups(
    compared: Sequence[_Compared], name_of: Callable[[_Compared], str]
) -> list[dict[str, Any]]:
    """The same figures for parts of the data; empty where it has but one."""
    groups: dict[str, list[_Compared]] = defaultdict(list)
    for one in compared:
        groups[name_of(one)].append(one)
    if len(groups) < 2:
        return []
    return [
        {
            "group": name,
            "count": len(group),
            **{key: value for key, _, value in _means([one.rouge for one in group])},
            **{
                f"first_{key}": value
                for key, _, value in _means([one.truth.baseline for one in group])
            },
        }
        for name, group in sorted(groups.items())
    ]


def _example(one: _Compared) -> dict[str, str]:
    return {
        "id": str(one.id),
        "summary": one.summary,
        "reference": one.truth.references[0],
        "ROUGE-1": f"{100 * one.rouge.one:.1f}",
    }
