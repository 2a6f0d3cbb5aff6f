"""Measures a checkpoint on the val split of a data folder, through the engine that serves it.

Every question is asked as the application asks it. Prints nothing: `cli` prints the table, `card`
writes it down. Called by both. What the data or the checkpoint has nothing for is left out: photos
for one that reads text only, questions where there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from model.engine import Engine
from model.train.measure import SUBJECTS
from model.train.measure.answers import measure_answers
from model.train.measure.common import Measured, OnProgress
from model.train.measure.drawn import measure_drawn
from model.train.measure.listings import measure_listings
from model.train.measure.summaries import measure_summaries
from model.train.recipe import Prompts

__all__ = ["Measured", "evaluate"]

Measure = Callable[[Engine, Prompts, Path, int | None, OnProgress], Measured]

MEASURES: Mapping[str, Measure] = {
    "listings": measure_listings,
    "drawn": measure_drawn,
    "summaries": measure_summaries,
    "answers": measure_answers,
}


def evaluate(
    engine: Engine,
    prompts: Prompts,
    data: Path,
    *,
    only: Sequence[str] = SUBJECTS,
    limit: int | None = None,
    on_progress: OnProgress | None = None,
) -> Measured:
    """The subjects named; of each at most `limit` photos, pictures, documents and questions of each
    kind that are answered."""
    measured = Measured()
    for subject in SUBJECTS:
        if subject in only:
            measure = MEASURES[subject]
            measured.add(measure(engine, prompts, data, limit, on_progress or _ignore))
    return measured


def _ignore(what: str, done: int, total: int) -> None:
    """Nobody watches."""
