"""Estimates as they are stored: one JSON value beside the job. Called by the queries beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from mmapp.db.transaction import columns
from mmapp.types import Estimate

_NAMES = frozenset(field.name for field in fields(Estimate))


def estimate_columns(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else columns(estimate)


def estimate_of(stored: Mapping[str, Any] | None) -> Estimate | None:
    """What a newer version has told beside is left out."""
    if not stored:
        return None
    return Estimate(**{name: value for name, value in stored.items() if name in _NAMES})
