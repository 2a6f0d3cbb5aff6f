"""Training rows: a trunk that is read once, branches that ask about it, and what is to be learnt.

A row is laid out exactly as the engine lays out a prefix and its continuations: the trunk is the
opened user's turn, each branch a question, the assistant's header and (sometimes) the answer.
Rows become a batch by filling trunks up to one length and packing branches, never cut, into blocks:
attention then computes little that it masks. Called by the curriculum; read by the training loop.

Letters: B rows, T tokens of a filled-up row, N tiles, S pixels per side, P predictions, A answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.attention import Blocks
from model.transformer import Layout

LENGTH_STEP = 16  # lengths are filled up to multiples: each new shape costs the CPU a compilation
PREDICTIONS_STEP = 64  # so are the predictions learnt at once
LEAST_BLOCK = 128  # tokens: several branches share one copy of their trunk's keys and values
MOST_BLOCK = 256  # unless one branch is longer


@dataclass(frozen=True)
class Answer:
    """One answer to learn: after token `at`, the token `right` is to follow.

    `rank`: the share of its rivals' probability that this branch should have, by the margin
    between `yes` and `no`; rivals share a `group` within the row. None: it has no rivals.
    `label`: the product that the question names, as the classifier counts them; -1: none.
    """

    at: int
    right: int
    group: int = 0
    rank: float | None = None
    label: int = -1


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

    def branch_lengths(self) -> list[int]:
        """Tokens of each branch."""
        return list(Counter(self.branches[self.trunk :]).values())

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
    names_A: Tensor  #: the product that each answer's question names; -1 for none
    labels_N: Tensor  #: the product that each tile shows
    rows_N: Tensor  #: and the tile's row


def collate(rows: Sequence[Row], device: torch.device | str = "cpu") -> Batch:
    """Fill rows up with tokens that nothing sees."""
    plan = Plan.of(rows)
    places = [plan.places(row, index) for index, row in enumerate(rows)]
    token_ids_BT = torch.zeros(len(rows), plan.length, dtype=torch.long)
    positions_BT = torch.arange(plan.length).repeat(len(rows), 1)
    branches_BT = torch.full_like(token_ids_BT, max(row.branches[-1] for row in rows) + 1)
    real_BT = torch.zeros_like(token_ids_BT, dtype=torch.bool)
    for index, (row, where) in enumerate(zip(rows, places, strict=True)):
        token_ids_BT[index, where] = torch.tensor(row.token_ids)
        positions_BT[index, where] = torch.tensor(row.positions)
        branches_BT[index, where] = torch.tensor(row.branches)
        real_BT[index, where] = True
    learnt = [
        (index * plan.length + places[index][at], row.token_ids[at + 1])
        for index, row in enumerate(rows)
        for at in row.predictions
    ]
    learnt = learnt[: len(learnt) // PREDICTIONS_STEP * PREDICTIONS_STEP or None]
    answers = [(index, answer) for index, row in enumerate(rows) for answer in row.answers]
    asking = [index * plan.length + places[index][answer.at] for index, answer in answers]
    tiles = [row.tiles_N3SS for row in rows if row.tiles_N3SS is not None]
    return Batch(
        token_ids_BT=token_ids_BT.to(device),
        layout=plan.layout(positions_BT.to(device), branches_BT.to(device)),
        real_BT=real_BT.to(device),
        tiles_N3SS=torch.cat(tiles).to(device) if tiles else None,
        predicting_P=_longs([place for place, _ in learnt], device),
        predicted_P=_longs([token for _, token in learnt], device),
        answering_A=_longs(asking, device),
        answered_A=_longs([answer.right for _, answer in answers], device),
        ranked_A=torch.tensor(
            [-1.0 if answer.rank is None else answer.rank for _, answer in answers], device=device
        ),
        groups_A=_longs([index * 1000 + answer.group for index, answer in answers], device),
        names_A=_longs([answer.label for _, answer in answers], device),
        rows_N=_longs([index for index, row in enumerate(rows) for _ in row.labels], device),
        labels_N=_longs([label for row in rows for label in row.labels], device),
    )


def pack(rows: Sequence[Row], most_tokens: int) -> list[list[Row]]:
    """Groups of rows of like length, each of at most `most_tokens` once filled up."""
    groups: list[list[Row]] = []
    for row in sorted(rows, key=len, reverse=True):
        grown = [*groups[-1], row] if groups else [row]
        if groups and Plan.of(grown).length * len(grown) <= most_tokens:
            groups[-1] = grown
        else:
            groups.append([row])
    return groups


@dataclass(frozen=True)
class Plan:
    """Where the tokens of some rows stand once these are filled up."""

    blocks: Blocks
    starts: list[list[int]]  #: of each row's branches
    length: int  #: of a filled-up row

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Plan:
        """Trunks of one length and, for each row, as many blocks as the fullest needs; of the sizes
        of block the one that fills up least."""
        trunk = filled_up(max(row.trunk for row in rows))
        lengths = [row.branch_lengths() for row in rows]
        longest = filled_up(max((length for each in lengths for length in each), default=0))
        sizes = range(max(longest, LEAST_BLOCK), max(longest, MOST_BLOCK) + 1, LENGTH_STEP)
        plans = (cls.in_blocks(lengths, Blocks(trunk, size)) for size in sizes)
        return min(plans, key=lambda plan: plan.length)

    @classmethod
    def in_blocks(cls, lengths: Sequence[Sequence[int]], blocks: Blocks) -> Plan:
        """For branches of these lengths of each row."""
        filled = [fill_blocks(each, blocks.size) for each in lengths]
        starts = [[blocks.trunk + start for start in each] for each, _ in filled]
        return cls(blocks, starts, blocks.trunk + blocks.size * max(count for _, count in filled))

    def places(self, row: Row, index: int) -> list[int]:
        """Of each token of the `index`th row."""
        places = list(range(row.trunk))
        for start, length in zip(self.starts[index], row.branch_lengths(), strict=True):
            places += range(start, start + length)
        return places

    def layout(self, positions_BT: Tensor, branches_BT: Tensor) -> Layout:
        """Trunks alone simply follow on."""
        if self.length == self.blocks.trunk:
            return Layout(positions_BT)
        return Layout(positions_BT, branches_BT=branches_BT, blocks=self.blocks)


def fill_blocks(lengths: Sequence[int], size: int) -> tuple[list[int], int]:
    """The start of each branch and the number of blocks: the longest branches first, each into the
    first block that has room."""
    starts, used = [0] * len(lengths), list[int]()
    for branch in sorted(range(len(lengths)), key=lambda branch: -lengths[branch]):
        length = lengths[branch]
        block = next((n for n, tokens in enumerate(used) if tokens + length <= size), len(used))
        if block == len(used):
            used.append(0)
        starts[branch] = block * size + used[block]
        used[block] += length
    return starts, len(used)


def filled_up(length: int) -> int:
    """To the next multiple of the step."""
    return -(-length // LENGTH_STEP) * LENGTH_STEP


def _longs(values: list[int], device: torch.device | str) -> Tensor:
    return torch.tensor(values, dtype=torch.long, device=device)
