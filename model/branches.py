"""Many continuations of one prefix as few rows of tokens.

A row holds several branches side by side; each sees the prefix and itself, never its neighbours.
The last token of a continuation is only predicted, never read, so answers that differ in that
token alone ("yes", "no") share one branch; so does an answer that begins like a longer one.

Called by: engine.py, to score.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from model.transformer import Layout

Tokens = tuple[int, ...]


class Target(NamedTuple):
    """A token whose probability is asked for."""

    source: int  #: the place that predicts it: 0 is the prefix's end, n the row's n-th token
    token_id: int
    continuation: int  #: which continuation's score it belongs to


class Slice(NamedTuple):
    """Some places of a row, and what is asked of them."""

    sources: Tensor
    rows: Tensor  #: for each target, which of the sources predicts it
    targets: list[Target]


@dataclass(frozen=True)
class Row:
    """Branches side by side, and what is asked of them."""

    branches: tuple[Tokens, ...]
    targets: tuple[Target, ...]

    @property
    def token_ids(self) -> list[int]:
        return [token_id for branch in self.branches for token_id in branch]

    @property
    def longest(self) -> int:
        """Tokens of the longest branch."""
        return max(len(branch) for branch in self.branches)

    def layout(self, prefix_length: int, device: torch.device) -> Layout:
        """Every branch starts where the prefix ends; branches are numbered from 1."""
        lengths = torch.tensor([len(branch) for branch in self.branches])
        numbers_T = torch.arange(1, len(lengths) + 1).repeat_interleave(lengths)
        places_T = torch.cat([torch.arange(prefix_length, prefix_length + n) for n in lengths])
        return Layout(
            positions_BT=places_T[None].to(device), branches_BT=numbers_T[None].to(device)
        )

    def slices(self, size: int) -> Iterator[Slice]:
        """At most `size` sources at a time, their targets, and each target's row among them."""
        by_source: dict[int, list[Target]] = defaultdict(list)
        for target in self.targets:
            by_source[target.source].append(target)
        sources = sorted(by_source)
        for start in range(0, len(sources), size):
            some = sources[start : start + size]
            targets = [target for source in some for target in by_source[source]]
            rows = [row for row, source in enumerate(some) for _ in by_source[source]]
            yield Slice(torch.tensor(some), torch.tensor(rows), targets)


class Continued(NamedTuple):
    """A continuation in tokens; the score counts those from `answer_start` on."""

    token_ids: Tokens
    answer_start: int


def pack(continuations: Sequence[Continued], row_tokens: int) -> list[Row]:
    """All continuations in rows of at most `row_tokens` tokens; a longer branch has its own."""
    members: dict[Tokens, list[int]] = defaultdict(list)
    branch_of = _shared_branches({c.token_ids[:-1] for c in continuations})
    for number, continuation in enumerate(continuations):
        members[branch_of[continuation.token_ids[:-1]]].append(number)
    return [
        Row(tuple(branches), tuple(_targets(branches, members, continuations)))
        for branches in _fill_rows(list(members), row_tokens)
    ]


def _shared_branches(heads: set[Tokens]) -> dict[Tokens, Tokens]:
    """For each head the longest head that begins with it: in sorted order those are neighbours."""
    longest: dict[Tokens, Tokens] = {}
    following: Tokens = ()
    for head in sorted(heads, reverse=True):
        begins_next = following[: len(head)] == head
        longest[head] = longest[following] if following and begins_next else head
        following = head
    return longest


def _fill_rows(branches: list[Tokens], row_tokens: int) -> Iterator[list[Tokens]]:
    row: list[Tokens] = []
    filled = 0
    for branch in branches:
        if row and filled + len(branch) > row_tokens:
            yield row
            row, filled = [], 0
        row.append(branch)
        filled += len(branch)
    if row:
        yield row


def _targets(
    branches: Sequence[Tokens],
    members: dict[Tokens, list[int]],
    continuations: Sequence[Continued],
) -> Iterator[Target]:
    start = 0
    for branch in branches:
        for number in members[branch]:
            token_ids, answer_start = continuations[number]
            for place in range(answer_start, len(token_ids)):
                source = start + place if place else 0
                yield Target(source, token_ids[place], number)
        start += len(branch)
