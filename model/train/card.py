"""What is written about a checkpoint: its profile.json and its model card, from measured figures.

Called by the command line after an export.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

from model.checkpoint import load_config
from model.train.evaluate import Measured
from model.train.loop import write_json
from model.train.recipe import Recipe

SOURCES = """\
- Photos and descriptions of 81 products: Grocery Store Dataset (Klasson, Zhang and Kjellström,
  WACV 2019), MIT.
- Photos of 17 kinds of garments: Clothing Dataset (Alexey Grigorev), CC0 1.0.
- Abstracts and their one-sentence summaries: SciTLDR-A (Cachola et al. 2020), Apache-2.0.
- Meeting transcripts: QMSum (Zhong et al. 2021), MIT.
- Technical pages and their authors' descriptions: Microsoft documentation, in English
  (PowerShell-Docs, biztalk-docs, dynamics365smb-docs) and Chinese (Dynamics-365-Operations.zh-cn,
  powerShell-Docs.zh-cn, windowsserverdocs.zh-cn, AspNetCore.Docs.zh-cn), text CC BY 4.0, code MIT.

The Chinese names of the products and colours were written by hand for this checkpoint.
"""


def write_profile(folder: Path, recipe: Recipe, measured: Measured) -> None:
    """profile.json: what the application has to know about the checkpoint."""
    profile = {
        "page_images": False,
        "calibration": {
            task: {"temperature": round(c.temperature, 4), "bias": round(c.bias, 4)}
            for task, c in measured.calibration.items()
        },
        "skills": dict(recipe.skills),
        "limits": dict(recipe.limits),
        "figures": {
            kind: {name: round(value, 4) for name, value in figures.items()}
            for kind, figures in measured.figures.items()
        },
    }
    write_json(folder / "profile.json", profile)


def write_card(folder: Path, recipe: Recipe, measured: Measured, steps: int) -> None:
    """README.md: the model card."""
    text = load_config(folder).text
    weights = folder / "model.safetensors"
    size = weights.stat().st_size / 2 / 1e6  # two bytes each
    today = dt.date.today().isoformat()
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

## Figures

Measured on the `val` split on {today} through the engine that serves the checkpoint. Listings ask
whether a photo shows its product's name, against a wrong one; summaries are one verbatim sentence,
compared with the author's own (ROUGE F; Chinese by characters).

{table(measured.figures)}
Probabilities are calibrated on `val` (`profile.json`); the calibration error above is measured on
the half that was not fitted on.

## What it was trained on

{SOURCES}"""
    (folder / "README.md").write_text(card, encoding="utf-8")


def table(figures: Mapping[str, Mapping[str, float]]) -> str:
    """All figures as a Markdown table; AUROC and error from 0 to 1, ROUGE in hundredths."""
    lines = ["| on val | figure | value |", "| --- | --- | --- |"]
    for kind, values in figures.items():
        for name, value in values.items():
            shown = f"{100 * value:.1f}" if "ROUGE" in name else f"{value:.3f}"
            lines.append(f"| {kind} | {name} | {shown} |")
    return "\n".join(lines) + "\n"
