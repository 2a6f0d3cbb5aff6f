"""What was asked for by its name is there, or the error says that it is not."""

from __future__ import annotations

from typing import TypeVar

from mmapp.errors import NotFound

T = TypeVar("T")


def found(value: T | None, noun: str, name: str) -> T:
    """The value; raises `NotFound` when there is none."""
    if value is None:
        raise NotFound(f"There is no {noun} {name}")
    return value
