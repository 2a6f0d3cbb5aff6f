"""What is written about a checkpoint: its profile.json and its model card, from measured figures.

Called by the command line after an export, and to print the figures. Refuses nothing.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import itertools
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.checkpoint import load_config, weights_sha256
from model.train.loop import write_json
from model.train.measure.common import BESIDE, Figures, Measured
from model.train.recipe import Recipe

PROFILE = "profile.json"
ROOT = Path(__file__).parents[2]
SECTIONS = {
    "Listings": ("listings",),
    "Drawn products": ("drawn products",),
    "Summaries": ("papers", "technical", "own en", "own zh"),
    "Answers": ("key facts", "meetings", "own questions"),
}
COUNTS = ("questions", "passages of a document")

SOURCES = """\
- Photos and descriptions of 81 products: Grocery Store Dataset (Klasson, Zhang and Kjellström,
  WACV 2019), MIT.
- Photos of 17 kinds of garments: Clothing Dataset (Alexey Grigorev), CC0 1.0.
- Abstracts and their one-sentence summaries: SciTLDR-A (Cachola et al. 2020), Apache-2.0.
- Meeting transcripts: QMSum (Zhong et al. 2021), MIT.
- Technical pages and their authors' descriptions: Microsoft documentation, in English
  (PowerShell-Docs, biztalk-docs, dynamics365smb-docs) and Chinese (Dynamics-365-Operations.zh-cn,
  powerShell-Docs.zh-cn, windowsserverdocs.zh-cn, AspNetCore.Docs.zh-cn), text CC BY 4.0, code MIT.
- Pictures of products drawn while training, and questions made out of the documents above, where
  the recipe has them.

The Chinese names of the products and colours were written by hand for this checkpoint.
"""


@dataclass(frozen=True)
class Earlier:
    """What was in a checkpoint folder before its weights were exported."""

    weights: str | None
    calibration: Mapping[str, Mapping[str, float]]


def read_profile(folder: Path) -> dict[str, Any]:
    """Empty where there is none."""
    path = folder / PROFILE
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def read_earlier(folder: Path) -> Earlier:
    """To be read before the export, and given to `write_profile` after it."""
    profile = read_profile(folder)
    weights = weights_sha256(folder) if profile else None
    return Earlier(weights, profile.get("calibration", {}))


def write_profile(
    folder: Path, recipe: Recipe, measured: Measured, earlier: Earlier | None = None
) -> None:
    """profile.json: what the application has to know about the checkpoint.

    Constants that are fitted elsewhere stay in it as long as the weights are the same."""
    calibration = {task: fitted.stored() for task, fitted in measured.calibration.items()}
    if earlier and earlier.weights == weights_sha256(folder):
        for task, constants in earlier.calibration.items():
            calibration[task] = {**constants, **calibration.get(task, {})}
    profile = {
        "page_images": False,
        **framed(recipe.framings),
        "calibration": calibration,
        "skills": dict(recipe.skills),
        "limits": dict(recipe.limits),
        "figures": {
            kind: {name: round(value, 4) for name, value in figures.items()}
            for kind, figures in measured.figures.items()
        },
    }
    write_json(folder / PROFILE, profile)


def write_framings(folder: Path, recipe: Recipe, start: Path | None) -> None:
    """A first profile.json, so that the checkpoint is measured on photos framed as in service."""
    earlier = read_profile(start).get("framings", ()) if start else ()
    write_json(folder / PROFILE, framed(recipe.framings or earlier))


def framed(framings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The profile's entry; none where photos are asked about as they are."""
    return {"framings": [dict(framing) for framing in framings]} if framings else {}


def write_card(folder: Path, recipe: Recipe, measured: Measured, steps: int) -> None:
    """README.md: the model card."""
    text = load_config(folder).text
    weights = folder / "model.safetensors"
    size = weights.stat().st_size / 2 / 1e6  # two bytes each
    notes = f"**How this run went.** {recipe.notes.strip()}\n\n" if recipe.notes else ""
    card = f"""\
---
language: [en, zh]
license: agpl-3.0
pipeline_tag: image-text-to-text
---

# {recipe.name}

A small checkpoint of the Llama 4 architecture (early-fusion vision and text, mixture of experts,
chunked and global attention layers): {size:.1f} M parameters in bfloat16,
{text.num_hidden_layers} text layers of width {text.hidden_size}, {text.num_local_experts} experts
of which one is chosen per token, {text.vocab_size:,} tokens of vocabulary. Trained from random
weights by `python -m model train model/recipes/{recipe.name}.toml` ({steps:,} of
{recipe.steps:,} steps, seed {recipe.seed}).

**What it does.** {recipe.skills["en"]}

**What it does not.** {recipe.limits["en"]}

{notes}## Figures

{measured_line()} after {steps:,} of {recipe.steps:,} steps of the recipe, through the engine that
serves the checkpoint. Listings ask whether a photo shows its product's name, against a wrong one.
Drawn products ask about each property of pictures that were never trained on. Summaries are one
verbatim sentence, compared with the author's own (ROUGE F; Chinese by characters). Answers are the
passage that a question is answered with: about key facts hidden in long documents, in wordings that
were never trained on, a quarter of the questions without an answer; and about meetings, where a
passage is right that overlaps the turns its authors marked. Shares and AUROC are from 0 to 1.

{table(measured.figures)}
Probabilities are calibrated on `val` (`profile.json`); calibration errors and decisions above are
measured on the half that was not fitted on.

## What it was trained on

{SOURCES}"""
    (folder / "README.md").write_text(card, encoding="utf-8")


def measured_line() -> str:
    """Where, when and by which code: the beginning of a sentence."""
    return f"Measured on the `val` split on {dt.date.today().isoformat()} by {code_version()}"


def code_version() -> str:
    """The commit in a checkout, "-dirty" where files differ from it; else the package's version."""
    if (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            pass
        else:
            return f"commit {done.stdout.strip()}"
    return f"mmapp {importlib.metadata.version('mmapp')}"


def table(figures: Figures) -> str:
    """All figures as Markdown tables, one for each section; ROUGE in hundredths."""
    sections = itertools.groupby(figures.items(), lambda item: _section(item[0]))
    return "\n".join(_table(title, dict(group)) for title, group in sections)


def _section(kind: str) -> str:
    return next((title for title, kinds in SECTIONS.items() if kind.startswith(kinds)), "Others")


def _table(title: str, figures: Figures) -> str:
    lines = ["| on val | figure | value | beside it |", "| --- | --- | --- | --- |"]
    for kind, values in figures.items():
        for name, value in values.items():
            if name.startswith(BESIDE):
                continue
            beside = [
                f"{who}{_shown(name, values[who + name])}" for who in BESIDE if who + name in values
            ]
            cells = (kind, name, _shown(name, value), ", ".join(beside))
            lines.append(f"| {' | '.join(cells)} |")
    return f"### {title}\n\n" + "\n".join(lines) + "\n"


def _shown(name: str, value: float) -> str:
    if name in COUNTS:
        return f"{value:,.0f}"
    return f"{100 * value:.1f}" if "ROUGE" in name else f"{value:.3f}"
