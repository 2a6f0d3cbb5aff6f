"""Listings: do photos and words agree? A batch table with a column `label`, asked with `check`.

Refuses a row without a label. A photo that can't be read is an error of its row. Called by `run`.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from mmapp import tasks
from mmapp.batches import CATEGORIES, read_batch, read_cells
from mmapp.config import Settings
from mmapp.documents.reader import Reader
from mmapp.errors import BadInput
from mmapp.tasks.verdict import Calibration
from mmapp.types import Document, Engine, Listing, TaskName
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

CONSISTENT, INCONSISTENT = LABELS = ("consistent", "inconsistent")
VERDICTS = (CONSISTENT, "uncertain", INCONSISTENT)


@dataclass(frozen=True, slots=True)
class Truth:
    label: str
    title: str
    category: str


@dataclass(frozen=True, slots=True)
class _Judged:
    id: Id
    truth: Truth
    score: float
    verdict: str

    @property
    def is_consistent(self) -> bool:
        return self.truth.label == CONSISTENT

    @property
    def error(self) -> float:
        return abs(self.score - self.is_consistent)


class Listings:
    """A table of listings whose labels are known."""

    def __init__(self, data: Path, settings: Settings) -> None:
        self._data, self._settings = data, settings
        self._truths: dict[Id, Truth] = {}

    def load(self, limit: int | None) -> list[Id]:
        rows = read_cells(self._data, TaskName.CHECK_LISTING, self._settings)
        for number, row in enumerate(rows, 1):
            if row.error:
                raise BadInput(f"Row {number:,} of {self._data.name}: {row.error}")
            cells = {name.casefold(): value.strip() for name, value in row.cells.items()}
            add_truth(self._truths, cells.get("id") or number, _truth(cells, number), self._data)
            if len(self._truths) == limit:
                break
        return list(self._truths)

    def questions(self) -> Iterator[tuple[Id, Question]]:
        with Reader(self._settings) as reader:
            gallery = _Gallery(self._settings, reader)
            rows = read_batch(self._data, TaskName.CHECK_LISTING, gallery)
            for id_, row in zip(self._truths, rows, strict=False):
                yield id_, _question(gallery, row.params, row.error)
                gallery.clear()

    def measure(self, predictions: Mapping[Id, Prediction], profile: Mapping[str, Any]) -> Measured:
        judged = [
            _Judged(id_, truth, predictions[id_]["score"], predictions[id_]["verdict"])
            for id_, truth in self._truths.items()
            if "score" in predictions[id_]
        ]
        scores = [one.score for one in judged]
        rights = [one.is_consistent for one in judged]
        thresholds = Calibration.of(profile)
        threshold = (thresholds.consistent + thresholds.inconsistent) / 2
        bins = metrics.calibration(scores, rights, 10)
        finer = metrics.calibration(scores, rights, 15)
        figures = {
            "AUROC": ("auroc", metrics.auroc(scores, rights)),
            f"Balanced accuracy, score ≥ {threshold:.2f}": (
                "balanced_accuracy",
                metrics.balanced_accuracy([score >= threshold for score in scores], rights),
            ),
            "Verdicts that are uncertain": (
                "uncertain",
                metrics.mean([one.verdict == "uncertain" for one in judged]),
            ),
            "Expected calibration error, 10 bins": ("ece", metrics.calibration_error(bins)),
            "Expected calibration error, 15 bins": ("ece_15", metrics.calibration_error(finer)),
        }
        details = {
            "threshold": threshold,
            "roc": metrics.roc(scores, rights),
            "calibration": [asdict(one) for one in bins],
            "by_category": _by_category(judged),
        }
        return Measured(
            [Figure(key, label, value) for label, (key, value) in figures.items()],
            details,
            [_example(one) for one in sorted(judged, key=lambda one: -one.error)],
            list(zip(scores, rights, strict=True)),
        )


def _truth(cells: Mapping[str, str], number: int) -> Truth:
    label = cells.get("label", "").casefold()
    if label not in LABELS:
        said = f"has the label “{label[:40]}”" if label else "has no label"
        raise BadInput(
            f"Row {number:,} {said}; the column label of a table to evaluate says {CONSISTENT} or"
            f" {INCONSISTENT} in each row"
        )
    category = next((cells[name] for name in CATEGORIES if cells.get(name)), "")
    return Truth(label, cells.get("title", ""), category)


class _Gallery:
    """The photos of one row at a time, read as the application reads them and kept nowhere."""

    def __init__(self, settings: Settings, reader: Reader) -> None:
        self.settings = settings
        self._reader = reader
        self._photos: dict[str, Image.Image] = {}

    def add_document(self, name: str, data: bytes, /) -> Document:
        read = self._reader.read(name, data)
        if not read.document.media_type.is_image:
            raise BadInput(f"{name} is {read.document.media_type}, not a photo")
        with Image.open(io.BytesIO(read.images[0])) as photo:
            self._photos[read.document.sha256] = photo.convert("RGB")
        return read.document

    def input_of(self, listing: Listing) -> tasks.ListingInput:
        most = self.settings.max_photos
        if len(listing.photos) > most:
            raise BadInput(f"A listing has 1 to {most} photos; this one has {len(listing.photos)}")
        return tasks.ListingInput(listing, tuple(self._photos[one] for one in listing.photos))

    def clear(self) -> None:
        self._photos.clear()


def _question(gallery: _Gallery, listing: object, error: str) -> Question:
    def ask(engine: Engine) -> Prediction:
        if not isinstance(listing, Listing):
            raise BadInput(error)
        inputs = gallery.input_of(listing)
        payload = tasks.run(TaskName.CHECK_LISTING, engine, inputs, listing, ignore_progress)
        return {"score": payload["score"], "verdict": payload["verdict"]}

    return ask


def _by_category(judged: Sequence[_Judged]) -> list[dict[str, Any]]:
    """For each category (title, where the table has none), the most frequent first: its AUROC, and
    how often which label got which verdict."""
    has_categories = any(one.truth.category for one in judged)
    groups: dict[str, list[_Judged]] = defaultdict(list)
    for one in judged:
        groups[one.truth.category if has_categories else one.truth.title].append(one)
    return [
        {
            "category": name,
            "count": len(group),
            "auroc": metrics.auroc([o.score for o in group], [o.is_consistent for o in group]),
            "verdicts": {
                label: {
                    verdict: sum(o.truth.label == label and o.verdict == verdict for o in group)
                    for verdict in VERDICTS
                }
                for label in LABELS
            },
        }
        for name, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _example(one: _Judged) -> dict[str, str]:
    return {
        "id": str(one.id),
        "title": one.truth.title,
        "label": one.truth.label,
        "verdict": one.verdict,
        "score": f"{one.score:.3f}",
    }
