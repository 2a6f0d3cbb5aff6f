"""What is common to the kinds of data that can be evaluated. Called by every part of this."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeVar

from mmapp.errors import BadInput
from mmapp.types import Engine, Progress

Truth = TypeVar("Truth")

#: An input's id as the data writes it; its place in the data, from 1, where it has none.
Id = str | int
#: One line of predictions.jsonl, without its id.
Prediction = Mapping[str, Any]
#: An input: how the engine is asked about it. Raises `MmappError` when it can't be read.
Question = Callable[[Engine], Prediction]


class KindName(StrEnum):
    LISTINGS = "listings"
    SUMMARIES = "summaries"
    ANSWERS = "answers"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the table, from 0 to 1; None where there is nothing to measure."""

    key: str
    label: str
    value: float | None

    @property
    def shown(self) -> str:
        """ROUGE in hundredths, as papers write it."""
        if self.value is None:
            return "–"
        return f"{100 * self.value:.1f}" if "rouge" in self.key else f"{self.value:.3f}"


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures, what the report's plots are drawn from, and inputs worth a look."""

    figures: list[Figure]
    details: dict[str, Any]
    #: The worst first; each the same columns.
    examples: list[dict[str, str]] = field(default_factory=list)
    #: Scores that a calibration can be fitted to, and whether they should be high.
    scored: list[tuple[float, bool]] = field(default_factory=list)


class Kind(Protocol):
    """One kind of data. It is read twice: what is true first, so that nothing about its form goes
    wrong after hours; then the inputs, one by one.
    """

    def load(self, limit: int | None) -> list[Id]:
        """Reads what is true of the first `limit` inputs; their ids, in order."""
        ...

    def questions(self) -> Iterator[tuple[Id, Question]]:
        """The inputs that were loaded, in the same order."""
        ...

    def measure(
        self, predictions: Mapping[Id, Prediction], profile: Mapping[str, Any]
    ) -> Measured: ...


def add_truth(truths: dict[Id, Truth], id_: Id, truth: Truth, data: Path) -> None:
    if id_ in truths:
        raise BadInput(f"Two rows of {data.name} have the id {id_}; give each its own")
    truths[id_] = truth


def ignore_progress(progress: Progress) -> None:
    """The bar counts inputs; what happens within one is not shown."""
