"""How well a checkpoint picks the sentence that says what a document is about.

As in service a sentence is chosen by the model's margin together with its place and its share of
the title's words. Called by `evaluate`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from model.engine import Engine
from model.lexical import shared_words
from model.train import tables
from model.train.calibration import Offered, SummaryCalibration, fit_choices
from model.train.documents import (
    TextDocument,
    choice_shares,
    gain,
    read_documents,
    sentences,
    title,
)
from model.train.measure.common import Measured, OnProgress, margins, mean, spread
from model.train.recipe import Prompts
from model.train.rouge import rouge

MOST_SENTENCES = 300
PAGE_CHARACTERS = 60_000  # of one document: what is longer is cut
KINDS = ("papers", "technical en", "technical zh", "own en", "own zh")


@dataclass(frozen=True)
class Read:
    """A document, its sentences, and what the model says of them."""

    document: TextDocument
    texts: tuple[str, ...]
    offered: tuple[Offered, ...]
    gains: tuple[float, ...]

    def best(self, score: Callable[[Offered], float]) -> str:
        """The sentence with the highest score; of equals the first."""
        return self.texts[max(range(len(self.texts)), key=lambda i: score(self.offered[i]))]


def measure_summaries(
    engine: Engine, prompts: Prompts, data: Path, limit: int | None, report: OnProgress
) -> Measured:
    """Documents of val that have a summary; at most `limit` of each kind."""
    documents = [d for d in read_documents(data, "val") if d.references and d.source != "QMSum"]
    read = {
        name: read_documents_of(
            engine,
            prompts,
            spread([document for document in documents if _kind(document) == name], limit),
            partial(report, name),
        )
        for name in KINDS
    }
    if not any(read.values()):
        return Measured()
    figures = summary_figures(read)
    return Measured(
        figures, {"summarize": calibrate([one for some in read.values() for one in some])}
    )


def _kind(document: TextDocument) -> str:
    if document.source == "SciTLDR-A":
        return "papers"
    return f"{'own' if document.source == tables.OWN else 'technical'} {document.lang}"


def read_documents_of(
    engine: Engine,
    prompts: Prompts,
    documents: Sequence[TextDocument],
    report: Callable[[int, int], None],
) -> list[Read]:
    """What the model says of every sentence of each document; those without any are left out."""
    found: list[Read] = []
    words = prompts["summarize"]
    for number, document in enumerate(documents):
        text = document.text[:PAGE_CHARACTERS]
        texts = [s.text for s in sentences(text) if not s.heading][:MOST_SENTENCES]
        if not texts:
            continue
        prefix = engine.prefill([prompts["document"]["page"].format(page=1, text=text)])
        shared = shared_words(title(text), texts)
        questions = [
            words["question"].format(
                sentence=sentence, place=place, count=len(texts), shared=percent
            )
            for place, (sentence, percent) in enumerate(zip(texts, shared, strict=True), start=1)
        ]
        scores = margins(engine, prefix, questions, words["yes"], words["no"])
        offered = map(Offered, scores, shared, range(1, len(texts) + 1))
        gains = (gain(sentence, document.references) for sentence in texts)
        found.append(Read(document, tuple(texts), tuple(offered), tuple(gains)))
        report(number + 1, len(documents))
    return found


def summary_figures(read: Mapping[str, Sequence[Read]]) -> dict[str, dict[str, float]]:
    """By kind of document: ROUGE of the sentence that is chosen, by margin and constants that were
    fitted on the other half of the documents; of the margin's alone, the first and the best
    possible one."""
    halves = [[one for some in read.values() for one in some[half::2]] for half in (0, 1)]
    fitted = [calibrate(other) for other in halves[::-1]]
    figures: dict[str, dict[str, float]] = {}
    for kind, some in read.items():
        rows: dict[str, list[float]] = defaultdict(list)
        for number, one in enumerate(some):
            chosen = {
                "": one.best(fitted[number % 2].score),
                "margin alone ": one.best(lambda offered: offered.margin),
                "first sentence ": one.texts[0],
                "best possible ": one.texts[max(range(len(one.texts)), key=one.gains.__getitem__)],
            }
            for who, sentence in chosen.items():
                score = rouge(sentence, one.document.references)
                rows[f"{who}ROUGE-1"].append(score.one)
                rows[f"{who}ROUGE-2"].append(score.two)
                rows[f"{who}ROUGE-L"].append(score.longest)
        if some:
            figures[kind] = {name: mean(values) for name, values in rows.items()}
    return figures


def calibrate(read: Sequence[Read]) -> SummaryCalibration:
    """How margin, title and place are weighed against each other."""
    return fit_choices([(one.offered, choice_shares(one.gains)) for one in read])
