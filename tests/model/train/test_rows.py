"""Rows in blocks: every token keeps its row's text, and attention gives what it gives unpacked."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from model.config import ModelConfig, TextConfig
from model.train.rows import Answer, Plan, Row, collate, fill_blocks, filled_up, pack
from model.transformer import Layout, Transformer

VOCABULARY = 50
UNLIKE = [(40, (9, 30, 50, 12, 41)), (7, (3, 5)), (70, (64,)), (33, ())]


def random_row(trunk: int, branches: tuple[int, ...], chance: random.Random) -> Row:
    """Every branch has an answer after its last token but one, and every successor is learnt."""
    row = Row([chance.randrange(1, VOCABULARY) for _ in range(trunk)])
    row.predictions += range(trunk - 1)
    for length in branches:
        start = row.add_branch([chance.randrange(1, VOCABULARY) for _ in range(length)])
        end = start + length - 1
        row.answers.append(Answer(end - 1, row.token_ids[end]))
        row.predictions += range(start, end)
    return row


def random_rows(*shapes: tuple[int, tuple[int, ...]]) -> list[Row]:
    chance = random.Random(3)
    return [random_row(trunk, branches, chance) for trunk, branches in shapes]


@pytest.mark.parametrize("shapes", [UNLIKE, UNLIKE[3:], [(5, (300, 2))]])
def test_a_batch_says_what_its_rows_say(shapes: list[tuple[int, tuple[int, ...]]]) -> None:
    rows = random_rows(*shapes)
    batch = collate(rows)
    flat, real = batch.token_ids_BT.flatten(), batch.real_BT.flatten()
    for tokens_T, real_T, row in zip(batch.token_ids_BT, batch.real_BT, rows, strict=True):
        assert sorted(tokens_T[real_T].tolist()) == sorted(row.token_ids)
        assert tokens_T[: row.trunk].tolist() == row.token_ids[: row.trunk]
    assert bool(real[batch.predicting_P].all())
    assert bool(real[batch.answering_A].all())
    assert flat[batch.predicting_P + 1].equal(batch.predicted_P)
    assert flat[batch.answering_A + 1].equal(batch.answered_A)
    assert len(batch.answering_A) == sum(len(row.answers) for row in rows)


def test_branches_keep_their_positions_and_no_block_cuts_them() -> None:
    rows = random_rows(*UNLIKE)
    layout = collate(rows).layout
    assert layout.blocks is not None
    assert layout.branches_BT is not None
    for index, row in enumerate(rows):
        for branch, length in enumerate(row.branch_lengths(), start=1):
            (places,) = torch.nonzero(layout.branches_BT[index] == branch, as_tuple=True)
            positions = layout.positions_BT[index, places]
            assert positions.tolist() == list(range(row.trunk, row.trunk + length))
            assert len(set(((places - layout.blocks.trunk) // layout.blocks.size).tolist())) == 1
            assert all(later == place + 1 for place, later in pairwise(places.tolist()))


def test_trunks_alone_need_no_branches() -> None:
    layout = collate(random_rows((9, ()), (40, ()))).layout
    assert layout.branches_BT is None
    assert layout.positions_BT.shape == (2, filled_up(40))


def test_blocks_are_filled_with_whole_branches() -> None:
    assert fill_blocks([3, 7, 5, 2], 8) == ([13, 0, 8, 16], 3)
    assert fill_blocks([], 8) == ([], 0)


def test_a_pass_is_bounded_with_its_filling() -> None:
    rows = random_rows(*UNLIKE * 3)
    groups = pack(rows, 1000)
    assert sorted(map(id, rows)) == sorted(id(row) for group in groups for row in group)
    assert all(len(g) == 1 or collate(g).token_ids_BT.numel() <= 1000 for g in groups)
    assert max(map(len, groups)) > 1


@pytest.mark.parametrize("chunk", [16, 48, 1000])
def test_blocks_change_neither_outputs_nor_gradients(chunk: int) -> None:
    rows, transformer = random_rows(*UNLIKE), small(chunk)
    batch, plan = collate(rows), Plan.of(rows)
    assert batch.layout.blocks == plan.blocks
    in_blocks_BTD = transformer(transformer.embedding(batch.token_ids_BT), batch.layout)
    together = [in_blocks_BTD[index, plan.places(row, index)] for index, row in enumerate(rows)]
    alone = [read_alone(row, transformer) for row in rows]
    torch.testing.assert_close(torch.cat(together), torch.cat(alone), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        gradients(together, transformer), gradients(alone, transformer), atol=1e-5, rtol=0
    )


def small(chunk: int) -> Transformer:
    """Three local layers and a global one; weights large enough for attention to matter."""
    torch.manual_seed(0)
    config = TextConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=16,
        intermediate_size_mlp=16,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=4,
        num_local_experts=2,
        attention_chunk_size=chunk,
        floor_scale=4,
    )
    transformer = Transformer(ModelConfig(config))
    for parameter in transformer.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(10)
    return transformer


def read_alone(row: Row, transformer: Transformer) -> Tensor:
    """One row as it was written, every token masked against every other."""
    layout = Layout(torch.tensor([row.positions]), branches_BT=torch.tensor([row.branches]))
    h_BTD: Tensor = transformer(transformer.embedding(torch.tensor([row.token_ids])), layout)
    return h_BTD[0]


def gradients(outputs: list[Tensor], transformer: Transformer) -> dict[str, Tensor]:
    """Of a loss that asks something else of every number."""
    h_RD = torch.cat(outputs)
    loss = (h_RD * torch.linspace(-1, 1, h_RD.numel()).sin().view_as(h_RD)).mean()
    names, parameters = zip(*transformer.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return {name: g for name, g in zip(names, found, strict=True) if g is not None}
