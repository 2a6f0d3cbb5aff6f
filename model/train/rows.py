"""Training rows: a trunk that is read once, branches that ask about it, and what is to be learnt.

A row is laid out exactly as the engine lays out a prefix and its continuations: the trunk is the
opened user's turn, each branch a question, the assistant's header and (sometimes) the answer.
Called by the curriculum; read by the training loop.

Letters: B rows, T tokens of the longest row, N tiles, S pixels per side, P predictions, A answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.transformer import Layout

LENGTH_STEP = 64  # rows are filled up to multiples: each new shape costs the CPU a compilation


@dataclass(frozen=True)
class Answer:
    """One answer to learn: after token `at`, the token `right` is to follow.

    `rank`: the share of its rivals' probability that this branch should have, by the margin
    between `yes` and `no`; rivals share a `group` within the row. None: it has no rivals.
    """

    at: int
    right: int
    group: int = 0
    rank: float | None = None


@dataclass
class Row:
    """One trunk with its branches."""

    token_ids: list[int]
    tiles_N3SS: Tensor | None = None
    positions: list[int] = field(default_factory=list)
    branches: list[int] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)  #: the product that each tile shows
    predictions: list[int] = field(default_factory=list)  #: tokens whose successor is learnt too

    def __post_init__(self) -> None:
        self.trunk = len(self.token_ids)
        self.positions = list(range(self.trunk))
        self.branches = [0] * self.trunk

    def add_branch(self, token_ids: Sequence[int]) -> int:
        """Append a branch; returns the place of its first token."""
        start, number = len(self.token_ids), self.branches[-1] + 1
        self.token_ids += token_ids
        self.positions += range(self.trunk, self.trunk + len(token_ids))
        self.branches += [number] * len(token_ids)
        return start

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True)
class Batch:
    """Rows brought to one length, and the places in them that are learnt from."""

    token_ids_BT: Tensor
    layout: Layout
    real_BT: Tensor  #: False where a short row was filled up
    tiles_N3SS: Tensor | None
    predicting_P: Tensor  #: flat places
    predicted_P: Tensor  #: token ids
    answering_A: Tensor  #: flat places
    answered_A: Tensor  #: token ids
    ranked_A: Tensor  #: target share among rivals; -1 for an answer without rivals
    groups_A: Tensor  #: rivals have the same number
    labels_N: Tensor  #: the product that each tile shows


def collate(rows: Sequence[Row], device: torch.device | str = "cpu") -> Batch:
    """Fill short rows up with tokens that nothing sees."""
    longest = -(-max(len(row) for row in rows) // LENGTH_STEP) * LENGTH_STEP
    token_ids_BT = torch.zeros(len(rows), longest, dtype=torch.long)
    positions_BT = torch.zeros_like(token_ids_BT)
    branches_BT = torch.full_like(token_ids_BT, max(row.branches[-1] for row in rows) + 1)
    for index, row in enumerate(rows):
        token_ids_BT[index, : len(row)] = torch.tensor(row.token_ids)
        positions_BT[index, : len(row)] = torch.tensor(row.positions)
        positions_BT[index, len(row) :] = torch.arange(row.trunk, row.trunk + longest - len(row))
        branches_BT[index, : len(row)] = torch.tensor(row.branches)
    learnt = [
        (index * longest + at, row.token_ids[at + 1])
        for index, row in enumerate(rows)
        for at in row.predictions
    ]
    learnt = learnt[: len(learnt) // LENGTH_STEP * LENGTH_STEP or None]
    answers = [(index, answer) for index, row in enumerate(rows) for answer in row.answers]
    tiles = [row.tiles_N3SS for row in rows if row.tiles_N3SS is not None]
    lengths = torch.tensor([len(row) for row in rows])
    return Batch(
        token_ids_BT=token_ids_BT.to(device),
        layout=Layout(positions_BT.to(device), branches_BT=branches_BT.to(device)),
        real_BT=(torch.arange(longest) < lengths[:, None]).to(device),
        tiles_N3SS=torch.cat(tiles).to(device) if tiles else None,
        predicting_P=_longs([place for place, _ in learnt], device),
        predicted_P=_longs([token for _, token in learnt], device),
        answering_A=_longs([index * longest + answer.at for index, answer in answers], device),
        answered_A=_longs([answer.right for _, answer in answers], device),
        ranked_A=torch.tensor(
            [-1.0 if answer.rank is None else answer.rank for _, answer in answers], device=device
        ),
        groups_A=_longs([index * 1000 + answer.group for index, answer in answers], device),
        labels_N=_longs([label for row in rows for label in row.labels], device),
    )


def pack(rows: Sequence[Row], most_tokens: int) -> list[list[Row]]:
    """Groups of rows of like length, each of at most `most_tokens` once filled up."""
    groups: list[list[Row]] = []
    for row in sorted(rows, key=len, reverse=True):
        if groups and len(groups[-1][0]) * (len(groups[-1]) + 1) <= most_tokens:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _longs(values: list[int], device: torch.device | str) -> Tensor:
    return torch.tensor(values, dtype=torch.long, device=device)
