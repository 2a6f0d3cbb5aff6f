"""A training recipe: one TOML file that says all that a run depends on, apart from the data folder.

It refuses unknown keys and missing ones, so that a mistyped number cannot be trained with.
Called by the command line and the training loop.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class RecipeError(ValueError):
    """The recipe cannot be followed; the message names the key."""


@dataclass(frozen=True)
class TokenizerRecipe:
    """How the vocabulary is made."""

    vocabulary: int
    sample_characters: int


@dataclass(frozen=True)
class OptimizerRecipe:
    """Muon for matrices, AdamW for the rest; warm-up, constant rate, linear decay to a tenth."""

    matrix_rate: float
    other_rate: float
    weight_decay: float
    warmup_steps: int
    decay_share: float  #: of all steps, the last ones
    clip_norm: float
    averaged_steps: int  #: the last ones, whose mean is exported
    balance_weight: float  #: of the Switch loss that spreads tokens over the experts


@dataclass(frozen=True)
class Phase:
    """A stretch of steps and what each of them reads."""

    name: str
    steps: int
    rate: float = 1.0  #: share of the optimiser's rates
    labels: int = 0  #: photos to name with the throw-away classifier
    listings: int = 0  #: photos to answer claims about
    claims: int = 6  #: claims for each of them
    drawn: int = 0  #: drawn products to answer claims about
    summaries: int = 0  #: documents whose sentences are offered
    candidates: int = 8  #: sentences offered of each, at most
    far_candidates: int = 0  #: and further ones, from beyond the part that is read
    passages: int = 0  #: documents to read on with, word by word
    asks: int = 0  #: documents with a question and passages
    trunk_tokens: tuple[int, ...] = (512,)  #: lengths that documents are cut to, drawn evenly
    pictured_share: float = 0.05  #: of the documents, those with a page's picture before its words
    language_share: float = 0.3  #: of the tokens read, those predicted from their past
    language_weight: float = 1.0  #: of the loss on them
    label_weight: float = 1.0  #: of the loss of the throw-away classifier


@dataclass(frozen=True)
class Shape:
    """What a checkpoint that is begun looks like."""

    tokenizer: TokenizerRecipe
    text: Mapping[str, Any]
    vision: Mapping[str, Any]
    context_length: int


@dataclass(frozen=True)
class Recipe:
    """A whole run."""

    name: str
    seed: int
    prompts: Path
    save_minutes: float
    log_steps: int
    optimizer: OptimizerRecipe
    phases: tuple[Phase, ...]
    #: What a run from random weights needs; one that goes on from a checkpoint has its shape.
    context_length: int | None = None
    tokenizer: TokenizerRecipe | None = None
    text: Mapping[str, Any] | None = None  #: keys of a Llama4TextConfig
    vision: Mapping[str, Any] | None = None  #: keys of a Llama4VisionConfig
    #: Of photos, those that it is asked about beside the whole ones (`model.framings`).
    framings: tuple[Mapping[str, Any], ...] = ()
    #: By language what the checkpoint can do and what it cannot; empty: what the first one says.
    skills: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""  #: for the model card, in English: how the run went

    @property
    def shape(self) -> Shape:
        """Of a checkpoint that is begun; refused where the recipe has none."""
        parts = (self.tokenizer, self.text, self.vision, self.context_length)
        tokenizer, text, vision, context_length = parts
        if tokenizer is None or text is None or vision is None or context_length is None:
            names = ("[tokenizer]", "[text]", "[vision]", "context_length")
            missing = [name for name, part in zip(names, parts, strict=True) if part is None]
            raise RecipeError(
                f"{self.name} has no {', '.join(missing)}: it goes on from a checkpoint; "
                "name one with --start, or take a recipe that begins one"
            )
        return Shape(tokenizer, text, vision, context_length)

    @property
    def steps(self) -> int:
        """Of all phases."""
        return sum(phase.steps for phase in self.phases)

    def phase_at(self, step: int) -> Phase:
        """The phase that step number `step` (from 0) belongs to."""
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        raise RecipeError(f"{self.name} has {self.steps} steps; there is no {step + self.steps}")


@dataclass(frozen=True)
class Prompts:
    """The words of one prompts file, by section and name."""

    sections: Mapping[str, Mapping[str, str]]

    def __getitem__(self, section: str) -> Mapping[str, str]:
        return self.sections[section]

    def phrases(self) -> list[str]:
        """All that training asks with. Nothing is written there: a long instruction to write would
        only take tokens from the answers."""
        asked = (words for name, words in self.sections.items() if name != "write")
        return [words for section in asked for words in section.values()]


def read_prompts(path: Path) -> Prompts:
    """The prompts file that serving reads too."""
    return Prompts(tomllib.loads(path.read_text(encoding="utf-8")))


def read_recipe(path: Path) -> Recipe:
    """Paths in the file are relative to it."""
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        values["prompts"] = (path.parent / values["prompts"]).resolve()
        if "tokenizer" in values:
            values["tokenizer"] = _build(TokenizerRecipe, values["tokenizer"], "tokenizer")
        values["optimizer"] = _build(OptimizerRecipe, values["optimizer"], "optimizer")
        values["phases"] = tuple(_build(Phase, phase, "phases") for phase in values["phases"])
    except KeyError as error:
        raise RecipeError(f"{path}: {error.args[0]!r} is missing") from error
    return _build(Recipe, values, path.name)


def _build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(values.keys() - known)
    if unknown:
        raise RecipeError(f"{where}: {unknown[0]!r} is not known; known are {sorted(known)}")
    plain = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    try:
        return cls(**plain)
    except TypeError as error:
        raise RecipeError(f"{where}: {error}") from error
