"""The coverage map: what became of each page of a document, and in which part it was read.

Neighbouring pages of which the same is true are told together: thousands of pages take a few lines.
Refuses nothing; called by `summarize`, `abstractive` and `ask`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import groupby
from typing import Any

from mmapp.types import Page, Source


class PageState(StrEnum):
    """What became of a page."""

    READ = "read"
    #: Its words were recognised in its picture.
    OCR = "ocr"
    #: There is nothing on it to be read.
    BLANK = "blank"
    FAILED = "failed"


def with_map(
    covered: Mapping[str, Any],
    pages: Sequence[Page],
    parts: Mapping[int, Sequence[int]],
    undrawn: Mapping[int, str],
) -> dict[str, Any]:
    """The coverage of a payload with its map.

    `parts`: the parts in which a page's words were read, by its number; a page without words has
    none. `undrawn`: pages that a model which looks at pages had to read without their picture.
    """
    failed = {entry["page"] for entry in covered["failed"]}
    states = [(_state(page, failed, parts), tuple(parts.get(page.number, ()))) for page in pages]
    runs = []
    for (state, own), group in groupby(zip(states, pages, strict=True), key=lambda pair: pair[0]):
        numbers = [page.number for _, page in group]
        runs.append({"first": numbers[0], "last": numbers[-1], "state": state, "parts": [*own]})
    return {
        **covered,
        "blank": sum(state is PageState.BLANK for state, _ in states),
        "undrawn": [{"page": page, "reason": reason} for page, reason in sorted(undrawn.items())],
        "parts": max((part for own in parts.values() for part in own), default=0),
        "map": runs,
    }


def _state(page: Page, failed: set[int], parts: Mapping[int, Sequence[int]]) -> PageState:
    if page.number in failed:
        return PageState.FAILED
    if page.number not in parts:
        return PageState.BLANK
    recognised = any(line.source is Source.OCR for line in page.lines)
    return PageState.OCR if recognised else PageState.READ
