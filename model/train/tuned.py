"""What is written about a checkpoint that was fine-tuned: the first one's profile and card, brought
up to date with what was measured on its user's own data.

What could not be measured again stays as the first checkpoint had it: a calibration is new only
where enough rows were held out to fit one. Called by the command line after an export. Refuses
nothing.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from model.train.card import PROFILE, measured_line, read_profile, table
from model.train.documents import read_documents
from model.train.listings import read_photos
from model.train.loop import write_json
from model.train.measure.common import Figures, Measured
from model.train.recipe import Recipe
from model.train.tables import OWN, splits_in_words

CARD = "README.md"
FEWEST_FITTED = 20  # rows held out; a calibration of fewer would be worse than the old one
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def leave_out_unmeasured(measured: Measured, data: Path, limit: int | None) -> None:
    """Drop the figures that are no number and the calibrations of too few rows."""
    known = {
        kind: {name: value for name, value in figures.items() if not math.isnan(value)}
        for kind, figures in measured.figures.items()
    }
    measured.figures = {kind: figures for kind, figures in known.items() if figures}
    held_out = held_out_rows(data)
    for task in list(measured.calibration):
        count = held_out.get(task, 0)
        if min(count, limit or count) < FEWEST_FITTED:
            del measured.calibration[task]


def held_out_rows(data: Path) -> dict[str, int]:
    """How many a calibration of each task is fitted on."""
    documents = read_documents(data, "val")
    return {
        "check_listing": len(read_photos(data, "val")),
        "summarize": sum(bool(document.references) for document in documents),
        "ask": sum(bool(d.question) or d.source != OWN for d in documents),
    }


def keep_profile(folder: Path, start: Path) -> None:
    """Fill what the folder's profile does not say with what the first checkpoint's says."""
    old, new = read_profile(start), read_profile(folder)
    calibration = dict(old.get("calibration", {}))
    for task, values in new.get("calibration", {}).items():
        calibration[task] = {**calibration.get(task, {}), **values}
    said = {key: value for key, value in new.items() if value not in ({}, None)}
    kept = {**old, **said, "calibration": calibration}
    kept["page_images"] = old.get("page_images", False)  # a matter of how it was first trained
    kept["figures"] = new.get("figures", {})
    write_json(folder / PROFILE, kept)


def write_tuned_card(
    folder: Path,
    start: Path,
    data: Path,
    recipe: Recipe,
    figures: Figures,
    steps: int,
) -> None:
    """README.md: what was done, measured and trained on, before the first checkpoint's card."""
    path = start / CARD
    before = path.read_text("utf-8") if path.exists() else "It came without a card.\n"
    found = FRONT_MATTER.match(before)
    front, rest = (found[0], before[found.end() :]) if found else ("", before)
    name = start.resolve().name
    card = f"""\
{front}
# {name}, fine-tuned

`{name}` after {steps:,} of {recipe.steps:,} steps of `python -m model train {recipe.name}.toml`
(seed {recipe.seed}) on its user's own data. What follows the figures was written about `{name}`.

{_lines(data)}
## Figures

{measured_line()}: on the rows held out, and on all rows of a table that is too small to hold any
out. Listings ask whether a photo shows its title, against the titles of others.

{table(figures)}
{rest.lstrip()}"""
    (folder / CARD).write_text(card.lstrip(), encoding="utf-8")


def _lines(data: Path) -> str:
    return "".join(f"- {line}\n" for line in splits_in_words(data))
