"""The mixture of experts against a loop over tokens, and the work that it does not do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.config import TextConfig
from model.moe import MoE


def mixture(experts: int, chosen: int) -> MoE:
    torch.manual_seed(0)
    moe = MoE(
        TextConfig(
            hidden_size=8,
            intermediate_size=12,
            num_local_experts=experts,
            num_experts_per_tok=chosen,
        )
    )
    for parameter in moe.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return moe


def one_by_one(moe: MoE, x_ND: Tensor) -> Tensor:
    rows = []
    for x_D in x_ND:
        row_D = moe.shared(x_D)
        logits_E = moe.router.weight @ x_D
        for expert in logits_E.argsort(descending=True)[: moe.chosen_per_token]:
            weighted_D = torch.sigmoid(logits_E[expert]) * x_D
            gate_F, up_F = (weighted_D @ moe.experts.gate_up[expert]).chunk(2)
            row_D = row_D + (functional.silu(gate_F) * up_F) @ moe.experts.down[expert]
        rows.append(row_D)
    return torch.stack(rows)


@pytest.mark.parametrize(("experts", "chosen"), [(1, 1), (4, 1), (16, 1), (4, 2), (3, 3)])
def test_sorted_tokens_give_what_each_token_gives_alone(experts: int, chosen: int) -> None:
    moe = mixture(experts, chosen)
    x_ND = torch.randn(23, 8)
    y_ND, logits_NE = moe(x_ND)
    assert logits_NE.shape == (23, experts)
    torch.testing.assert_close(y_ND, one_by_one(moe, x_ND), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("experts", "chosen"), [(1, 1), (4, 1), (4, 2), (3, 3)])
@torch.no_grad()
def test_one_token_takes_a_short_way_to_the_same(experts: int, chosen: int) -> None:
    moe = mixture(experts, chosen)
    for x_1D in torch.randn(7, 8).split(1):
        y_1D, logits_1E = moe(x_1D)
        assert logits_1E.shape == (1, experts)
        torch.testing.assert_close(y_1D, one_by_one(moe, x_1D), atol=1e-5, rtol=0)


def test_experts_that_no_token_chose_are_not_computed() -> None:
    moe = mixture(4, 1)
    x_ND = torch.randn(1, 8).repeat(5, 1)
    chosen = int((moe.router.weight @ x_ND[0]).argmax())
    with torch.no_grad():
        for unchosen in {0, 1, 2, 3} - {chosen}:
            moe.experts.gate_up[unchosen] = torch.nan
    y_ND, _ = moe(x_ND)
    assert y_ND.isfinite().all()


def test_gradients_reach_router_experts_and_shared_expert() -> None:
    moe = mixture(4, 1)
    x_ND = torch.randn(50, 8, requires_grad=True)
    moe(x_ND)[0].square().sum().backward()
    assert x_ND.grad is not None
    for name, parameter in moe.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_routing_is_the_same_in_bfloat16_autocast() -> None:
    moe = mixture(16, 1)
    x_ND = torch.randn(64, 8)
    _, logits_NE = moe(x_ND)
    with torch.autocast("cpu", torch.bfloat16):
        y_ND, cast_logits_NE = moe(x_ND)
    assert y_ND.dtype == torch.bfloat16
    torch.testing.assert_close(cast_logits_NE, logits_NE, atol=0, rtol=0)
