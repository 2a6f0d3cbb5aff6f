"""How well a checkpoint picks the sentence that says what a document is about.

Called by `evaluate`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from model.engine import Engine
from model.lexical import shared_words
from model.train import tables
from model.train.calibration import fit
from model.train.documents import TextDocument, gain, read_documents, sentences, title
from model.train.measure.common import Measured, OnProgress, margins, mean, spread
from model.train.recipe import Prompts
from model.train.rouge import rouge

MOST_SENTENCES = 300
PAGE_CHARACTERS = 60_000  # of one document: what is longer is cut
GOOD_SHARE = 0.9
KINDS = ("papers", "technical en", "technical zh", "own en", "own zh")


def measure_summaries(
    engine: Engine, prompts: Prompts, data: Path, limit: int | None, report: OnProgress
) -> Measured:
    """Documents of val that have a summary; at most `limit` of each kind."""
    documents = [d for d in read_documents(data, "val") if d.references and d.source != "QMSum"]
    measured = Measured()
    offered: list[tuple[float, bool]] = []
    for name in KINDS:
        some = spread([document for document in documents if _kind(document) == name], limit)
        figures = summary_figures(engine, prompts, some, offered, partial(report, name))
        if figures:
            measured.figures[name] = figures
    if offered:
        measured.calibration["summarize"] = fit(offered)
    return measured


def _kind(document: TextDocument) -> str:
    if document.source == "SciTLDR-A":
        return "papers"
    return f"{'own' if document.source == tables.OWN else 'technical'} {document.lang}"


def summary_figures(
    engine: Engine,
    prompts: Prompts,
    documents: Sequence[TextDocument],
    offered: list[tuple[float, bool]],
    report: Callable[[int, int], None],
) -> dict[str, float]:
    """ROUGE of the sentence with the highest margin, of the first and of the best possible one.

    Adds to `offered` each margin and whether its sentence was about the best.
    """
    rows: dict[str, list[float]] = defaultdict(list)
    words = prompts["summarize"]
    for number, document in enumerate(documents):
        text = document.text[:PAGE_CHARACTERS]
        found = [s.text for s in sentences(text) if not s.heading][:MOST_SENTENCES]
        if not found:
            continue
        prefix = engine.prefill([prompts["document"]["page"].format(page=1, text=text)])
        shared = shared_words(title(text), found)
        questions = [
            words["question"].format(
                sentence=sentence, place=place, count=len(found), shared=percent
            )
            for place, (sentence, percent) in enumerate(zip(found, shared, strict=True), start=1)
        ]
        scores = margins(engine, prefix, questions, words["yes"], words["no"])
        gains = [gain(sentence, document.references) for sentence in found]
        best = max(gains)
        offered += [(s, g >= GOOD_SHARE * best) for s, g in zip(scores, gains, strict=True)]
        chosen = found[max(range(len(found)), key=scores.__getitem__)]
        ideal = found[max(range(len(found)), key=gains.__getitem__)]
        sentences_of = {"": chosen, "first sentence ": found[0], "best possible ": ideal}
        for who, sentence in sentences_of.items():
            score = rouge(sentence, document.references)
            rows[f"{who}ROUGE-1"].append(score.one)
            rows[f"{who}ROUGE-2"].append(score.two)
            rows[f"{who}ROUGE-L"].append(score.longest)
        report(number + 1, len(documents))
    return {name: mean(values) for name, values in rows.items()}
