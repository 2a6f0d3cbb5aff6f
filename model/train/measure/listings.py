"""How well a checkpoint tells a photo's product from others. Called by `evaluate`."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL.Image import Image

from model.engine import Engine
from model.framings import framings
from model.train.calibration import expected_error, fit
from model.train.listings import Catalogue, Photo, read_photos
from model.train.measure.common import Measured, OnProgress, margins, mean, spread
from model.train.recipe import Prompts

WRONG_KINDS = ("other category", "same category", "same source")


@dataclass(frozen=True)
class Score:
    """One margin, log P(yes) - log P(no), and whether yes was right."""

    margin: float
    right: bool
    kind: str


def measure_listings(
    engine: Engine, prompts: Prompts, data: Path, limit: int | None, report: OnProgress
) -> Measured:
    """Photos of val asked whether they show their product's name, and other ones."""
    photos = spread(read_photos(data, "val"), limit)
    if engine.image_processor is None or not photos:
        return Measured()
    catalogue = Catalogue(read_photos(data, "train"))
    scores = list(listing_scores(engine, prompts, catalogue, photos, report))
    paired = [(score.margin, score.right) for score in _paired(scores)]
    if len({right for _, right in paired}) < 2:  # one product alone can't be told from others
        return Measured()
    return Measured({"listings": listing_figures(scores)}, {"check_listing": fit(paired)})


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
        questions = [words["question"].format(attribute="title", claim=n) for n in names.values()]
        found = framed_margins(engine, prompts, photo.open(), questions)
        for kind, margin in zip(names, found, strict=True):
            yield Score(margin, kind == "right", kind)
        report("listings", number + 1, len(photos))


def framed_margins(
    engine: Engine, prompts: Prompts, photo: Image, questions: Sequence[str]
) -> list[float]:
    """Of each question about the photo, the mean over the framings that the profile names."""
    words = prompts["check_listing"]
    rounds = []
    for framing in framings(engine.profile):
        prefix = engine.prefill([words["photo"].format(number=1), framing.of(photo)])
        rounds.append(margins(engine, prefix, questions, words["supported"], words["refuted"]))
    return [mean(values) for values in zip(*rounds, strict=True)]


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
    found = cross_fitted([(score.margin, score.right) for score in _paired(scores)])
    figures["balanced accuracy"] = balanced_accuracy(found)
    figures["expected calibration error"] = expected_error(found)
    return figures


def _paired(scores: Sequence[Score]) -> list[Score]:
    """Of each photo the right name and one wrong one."""
    return [score for score in scores if score.kind in ("right", "same source")]


def balanced_accuracy(found: Sequence[tuple[float, bool]]) -> float:
    """The mean of the shares of right and of wrong ones that fall on their side of one half."""
    rights = [p >= 0.5 for p, right in found if right]
    wrongs = [p < 0.5 for p, right in found if not right]
    return (mean(rights) + mean(wrongs)) / 2


def cross_fitted(pairs: Sequence[tuple[float, bool]]) -> list[tuple[float, bool]]:
    """Probabilities of each half by the calibration of the other half."""
    halves = [[p for i, p in enumerate(pairs) if i // 2 % 2 == half] for half in (0, 1)]
    found: list[tuple[float, bool]] = []
    for ours, theirs in (halves, halves[::-1]):
        calibration = fit(theirs)
        found += [(calibration.probability(margin), right) for margin, right in ours]
    return found


def auroc(right: Sequence[float], wrong: Sequence[float]) -> float:
    """How often a right one scores above a wrong one; ties count half (Mann and Whitney 1947)."""
    ordered = sorted([(value, 1) for value in right] + [(value, 0) for value in wrong])
    ranks: dict[float, list[int]] = defaultdict(list)
    for rank, (value, _) in enumerate(ordered, start=1):
        ranks[value].append(rank)
    total = sum(mean(ranks[value]) for value in right)
    return (total - len(right) * (len(right) + 1) / 2) / (len(right) * len(wrong))
