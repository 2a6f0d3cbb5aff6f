"""Who sees whom: found by asking which inputs each output depends on, not by reading masks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.attention import Blocks, Layout
from model.cache import Cache
from model.config import ModelConfig, TextConfig
from model.transformer import Transformer

CHUNK = 4
WIDTH = 16


def small(layers: int = 1, **text: int) -> Transformer:
    """One local layer; the fourth of four is global."""
    torch.manual_seed(0)
    config = TextConfig(
        vocab_size=20,
        hidden_size=WIDTH,
        intermediate_size=16,
        intermediate_size_mlp=16,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=4,
        num_local_experts=2,
        attention_chunk_size=CHUNK,
        floor_scale=4,
        **text,
    )
    transformer = Transformer(ModelConfig(config))
    for parameter in transformer.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(20)
    return transformer


def sees(transformer: Transformer, layout: Layout) -> Tensor:
    """Matrix (T, T): whether the output of each token depends on each input."""
    length = layout.positions_BT.shape[1]
    x_BTD = torch.randn(1, length, WIDTH, requires_grad=True)
    h_BTD = transformer(x_BTD, layout)
    rows = []
    for token in range(length):
        (gradient,) = torch.autograd.grad(h_BTD[0, token].sum(), x_BTD, retain_graph=True)
        rows.append(gradient[0].abs().sum(-1) > 0)
    return torch.stack(rows)


def test_a_local_layer_sees_the_earlier_tokens_of_its_chunk() -> None:
    length = 3 * CHUNK + 2
    expected = [[j <= i and i // CHUNK == j // CHUNK for j in range(length)] for i in range(length)]
    assert sees(small(), Layout.consecutive(0, length)).tolist() == expected


def test_a_global_layer_sees_all_earlier_tokens() -> None:
    length = 2 * CHUNK + 1
    expected = [[j <= i for j in range(length)] for i in range(length)]
    transformer = small(no_rope_layer_interval=1)
    assert sees(transformer, Layout.consecutive(0, length)).tolist() == expected


@pytest.mark.parametrize("interval", [1, 2], ids=["global", "local"])
def test_packed_segments_do_not_see_each_other(interval: int) -> None:
    lengths = (3, 6, 2)
    segments = [n for n, length in enumerate(lengths) for _ in range(length)]
    positions = [p for length in lengths for p in range(length)]
    layout = Layout(torch.tensor([positions]), segments_BT=torch.tensor([segments]))
    tokens = list(zip(segments, positions, strict=True))
    expected = [
        [
            one[0] == other[0]
            and other[1] <= one[1]
            and (interval == 1 or one[1] // CHUNK == other[1] // CHUNK)
            for other in tokens
        ]
        for one in tokens
    ]
    assert sees(small(no_rope_layer_interval=interval), layout).tolist() == expected


def test_a_branch_sees_the_trunk_and_itself() -> None:
    branches = [0, 0, 0, 1, 1, 2, 2]
    positions = [0, 1, 2, 3, 4, 3, 4]
    layout = Layout(torch.tensor([positions]), branches_BT=torch.tensor([branches]))
    seen = sees(small(no_rope_layer_interval=1), layout).tolist()
    assert [[j for j in range(7) if row[j]] for row in seen] == [
        [0],
        [0, 1],
        [0, 1, 2],
        [0, 1, 2, 3],
        [0, 1, 2, 3, 4],
        [0, 1, 2, 5],
        [0, 1, 2, 5, 6],
    ]


@pytest.mark.parametrize("interval", [1, 2], ids=["global", "local"])
def test_a_block_sees_what_its_branches_see(interval: int) -> None:
    filler = 9
    branches = [0, 0, 0, 0, 0, filler, 1, 1, 2, filler, 3, 3, 3, filler]
    positions = [0, 1, 2, 3, 4, 5, 5, 6, 5, 0, 5, 6, 7, 0]
    layout = Layout(torch.tensor([positions]), branches_BT=torch.tensor([branches]))
    transformer = small(no_rope_layer_interval=interval)
    in_blocks = replace(layout, blocks=Blocks(trunk=6, size=4))
    seen, expected = sees(transformer, in_blocks), sees(transformer, layout)
    real_T = torch.tensor(branches) != filler
    assert seen[real_T].tolist() == expected[real_T].tolist()
    assert not seen[real_T][:, ~real_T].any()


def test_packed_rows_give_what_each_segment_gives_alone() -> None:
    transformer = small(4)
    first, second = torch.randn(1, 11, WIDTH), torch.randn(1, 6, WIDTH)
    packed = Layout(
        torch.cat([torch.arange(11), torch.arange(6)])[None],
        segments_BT=torch.tensor([[7] * 11 + [9] * 6]),
    )
    h_BTD = transformer(torch.cat([first, second], dim=1), packed)
    alone = [transformer(x, Layout.consecutive(0, x.shape[1])) for x in (first, second)]
    torch.testing.assert_close(h_BTD, torch.cat(alone, dim=1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("trunk", [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 2])
@torch.no_grad()
def test_branches_on_a_cache_give_what_each_gives_after_the_trunk(trunk: int) -> None:
    transformer = small(4)
    trunk_BTD, branches = torch.randn(1, trunk, WIDTH), torch.randn(2, 6, WIDTH).split(1)
    cache = Cache(transformer.config.text, 1, torch.float32, "cpu")
    transformer(trunk_BTD, Layout.consecutive(0, trunk), cache)
    layout = Layout(
        torch.arange(trunk, trunk + 6).repeat(2)[None],
        branches_BT=torch.tensor([[1] * 6 + [2] * 6]),
    )
    h_BTD = transformer(torch.cat(branches, dim=1), layout, cache, extend_cache=False)
    assert cache.length == trunk
    for branch_BTD, read_BTD in zip(branches, h_BTD.split(6, dim=1), strict=True):
        whole = torch.cat([trunk_BTD, branch_BTD], dim=1)
        alone = transformer(whole, Layout.consecutive(0, trunk + 6))[:, trunk:]
        torch.testing.assert_close(read_BTD, alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_what_was_read_before_is_attended_to_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    transformer = small(4)
    x_BTD = torch.randn(2, 30, WIDTH)
    whole = transformer(x_BTD, Layout.consecutive(0, 30, 2))
    monkeypatch.setattr("model.cache.PAGE_TOKENS", 3)
    cache = Cache(transformer.config.text, 2, torch.float32, "cpu")
    parts = [
        transformer(x_BTD[:, :7], Layout.consecutive(0, 7, 2), cache),
        transformer(x_BTD[:, 7:29], Layout.consecutive(7, 22, 2), cache),
        transformer(x_BTD[:, 29:], Layout.consecutive(29, 1, 2), cache),
    ]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=0)


def test_a_cache_refuses_tokens_that_do_not_follow() -> None:
    transformer = small()
    cache = Cache(transformer.config.text, 1, torch.float32, "cpu")
    with pytest.raises(ValueError, match=r"a cache of 0 tokens .* positions 0, 1, .* branches"):
        transformer(torch.randn(1, 3, WIDTH), Layout.consecutive(5, 3), cache)


def test_blocks_refuse_a_cache() -> None:
    transformer = small()
    cache = Cache(transformer.config.text, 1, torch.float32, "cpu")
    layout = Layout(
        torch.tensor([[0, 1, 2, 2]]), branches_BT=torch.tensor([[0, 0, 1, 2]]), blocks=Blocks(2, 2)
    )
    with pytest.raises(ValueError, match="without cache"):
        transformer(torch.randn(1, 4, WIDTH), layout, cache, extend_cache=False)
