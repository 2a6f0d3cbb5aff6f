"""Measures a checkpoint on the val split of a data folder, through the engine that serves it.

Every question is asked as the application asks it. Prints nothing: `cli` prints the table, `card`
writes it down. Called by both. Figures are ROUGE F-scores and percentages from 0 to 1.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from model.engine import Engine, Prefix
from model.train.calibration import Calibration, expected_error, fit
from model.train.documents import TextDocument, gain, read_documents, sentences
from model.train.listings import Catalogue, Photo, read_photos
from model.train.recipe import Prompts
from model.train.rouge import rouge

T = TypeVar("T")
WRONG_KINDS = ("other category", "same category", "same source")
MOST_SENTENCES = 300
PAGE_CHARACTERS = 60_000  # of one document: what is longer is cut
GOOD_SHARE = 0.9

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Score:
    """One margin, log P(yes) - log P(no), and whether yes was right."""

    margin: float
    right: bool
    kind: str


@dataclass
class Measured:
    """All figures of one evaluation, and the calibration fitted on the way."""

    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    calibration: dict[str, Calibration] = field(default_factory=dict)


def evaluate(
    engine: Engine,
    prompts: Prompts,
    data: Path,
    *,
    limit: int | None = None,
    on_progress: OnProgress | None = None,
) -> Measured:
    """Listings and summaries; at most `limit` photos and documents of each kind."""
    report = on_progress or _ignore
    measured = Measured()
    if engine.image_processor is not None:
        catalogue = Catalogue(read_photos(data, "train"))
        photos = _some(read_photos(data, "val"), limit)
        scores = list(listing_scores(engine, prompts, catalogue, photos, report))
        measured.figures["listings"] = listing_figures(scores)
        paired = [s for s in scores if s.kind in ("right", "same source")]
        measured.calibration["check_listing"] = fit([(s.margin, s.right) for s in paired])
    documents = [d for d in read_documents(data, "val") if d.references and d.source != "QMSum"]
    offered: list[tuple[float, bool]] = []
    for name, belongs in SUMMARY_KINDS.items():
        some = _some([document for document in documents if belongs(document)], limit)
        figures = summary_figures(engine, prompts, some, offered, partial(report, name))
        if figures:
            measured.figures[name] = figures
    measured.calibration["summarize"] = fit(offered)
    return measured


SUMMARY_KINDS: Mapping[str, Callable[[TextDocument], bool]] = {
    "papers": lambda document: document.source == "SciTLDR-A",
    "technical en": lambda document: document.source != "SciTLDR-A" and document.lang == "en",
    "technical zh": lambda document: document.lang == "zh",
}


def listing_scores(
    engine: Engine,
    prompts: Prompts,
    catalogue: Catalogue,
    photos: Sequence[Photo],
    report: OnProgress,
) -> Iterator[Score]:
    """For each photo the margin of its own product's name and of wrong ones of each kind."""
    words = prompts["check_listing"]
    for number, photo in enumerate(photos):
        chance = random.Random(photo.id)
        names = {"right": photo.product}
        for kind in WRONG_KINDS:
            other = catalogue.other_product(photo, kind, chance)
            if other is not None:
                names[kind] = other
        prefix = engine.prefill([words["photo"].format(number=1), photo.open()])
        questions = [words["question"].format(attribute="title", claim=n) for n in names.values()]
        found = margins(engine, prefix, questions, words["supported"], words["refuted"])
        for kind, margin in zip(names, found, strict=True):
            yield Score(margin, kind == "right", kind)
        report("listings", number + 1, len(photos))


def listing_figures(scores: Sequence[Score]) -> dict[str, float]:
    """AUROC by kind of wrong product; balanced accuracy and calibration error.

    For the last two each half of the photos is judged by a calibration fitted on the other half.
    """
    right = [score.margin for score in scores if score.kind == "right"]
    figures = {}
    for kind in WRONG_KINDS:
        wrong = [score.margin for score in scores if score.kind == kind]
        if wrong:
            figures[f"AUROC, {kind}"] = auroc(right, wrong)
    paired = [score for score in scores if score.kind in ("right", "same source")]
    found = cross_fitted([(score.margin, score.right) for score in paired])
    figures["balanced accuracy"] = balanced_accuracy(found)
    figures["expected calibration error"] = expected_error(found)
    return figures


def balanced_accuracy(found: Sequence[tuple[float, bool]]) -> float:
    """The mean of the shares of right and of wrong ones that fall on their side of one half."""
    rights = [p >= 0.5 for p, right in found if right]
    wrongs = [p < 0.5 for p, right in found if not right]
    return (_mean(rights) + _mean(wrongs)) / 2


def cross_fitted(pairs: Sequence[tuple[float, bool]]) -> list[tuple[float, bool]]:
    """Probabilities of each half by the calibration of the other half."""
    halves = [[p for i, p in enumerate(pairs) if i // 2 % 2 == half] for half in (0, 1)]
    found: list[tuple[float, bool]] = []
    for ours, theirs in (halves, halves[::-1]):
        calibration = fit(theirs)
        found += [(calibration.probability(margin), right) for margin, right in ours]
    return found


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
        questions = [
            words["question"].format(sentence=sentence, place=place, count=len(found))
            for place, sentence in enumerate(found, start=1)
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
    return {name: _mean(values) for name, values in rows.items()}


def margins(
    engine: Engine, prefix: Prefix, questions: Sequence[str], yes: str, no: str
) -> list[float]:
    """log P(yes) - log P(no) of each question."""
    pairs = [(question, answer) for question in questions for answer in (yes, no)]
    scores = engine.score(prefix, pairs)
    return [ours - theirs for ours, theirs in zip(scores[::2], scores[1::2], strict=True)]


def auroc(right: Sequence[float], wrong: Sequence[float]) -> float:
    """How often a right one scores above a wrong one; ties count half (Mann and Whitney 1947)."""
    ordered = sorted([(value, 1) for value in right] + [(value, 0) for value in wrong])
    ranks: dict[float, list[int]] = defaultdict(list)
    for rank, (value, _) in enumerate(ordered, start=1):
        ranks[value].append(rank)
    total = sum(_mean(ranks[value]) for value in right)
    return (total - len(right) * (len(right) + 1) / 2) / (len(right) * len(wrong))


def _some(items: Sequence[T], limit: int | None) -> list[T]:
    """Evenly spread over the items."""
    if limit is None or len(items) <= limit:
        return list(items)
    return [items[math.floor(i * len(items) / limit)] for i in range(limit)]


def _ignore(what: str, done: int, total: int) -> None:
    """Nobody watches."""


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
