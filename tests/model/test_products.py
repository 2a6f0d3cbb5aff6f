"""The products of machines without bfloat16 units against the plain ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model import kernels, products
from model.config import TextConfig
from model.moe import MoE

BFLOAT16_STEP = 2**-8  #: relative


@pytest.fixture(autouse=True)
def _no_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CPU without bfloat16 units, whatever this one has, and without a compiler where
    there are more rows than a few."""
    monkeypatch.setattr(kernels, "multiplies", lambda: False)
    monkeypatch.setattr(products, "computes_bfloat16", lambda: False)


def assert_rounded(found: Tensor, exact: Tensor) -> None:
    """Equal but for one rounding to bfloat16."""
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact.float(), rtol=BFLOAT16_STEP, atol=1e-3)


@pytest.mark.parametrize("rows", [1, 2, 3, 40])
@pytest.mark.parametrize("slice_weights", [1, 48, 2**21])
@torch.no_grad()
def test_widened_weights_give_the_exact_product(
    rows: int, slice_weights: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "SLICE_WEIGHTS", slice_weights)
    x_BTD, weight_FD = torch.randn(2, rows, 16).bfloat16(), torch.randn(9, 16).bfloat16()
    exact = x_BTD.double() @ weight_FD.double().t()
    assert_rounded(products.linear(x_BTD, weight_FD), exact)
    wide = products.widened(x_BTD.float(), weight_FD.t())
    torch.testing.assert_close(wide.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tokens", [1, 23])
@torch.no_grad()
def test_experts_without_bfloat16_units_differ_by_rounding(tokens: int) -> None:
    torch.manual_seed(0)
    moe = MoE(TextConfig(hidden_size=8, intermediate_size=12, num_local_experts=4))
    for parameter in moe.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x_ND = torch.randn(tokens, 8).bfloat16()
    moe = moe.bfloat16()
    found, _ = moe(x_ND)
    exact, _ = moe.float()(x_ND.float())
    torch.testing.assert_close(found.float(), exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_layers_of_the_image_encoder_are_widened_too(bias: bool) -> None:
    layer = products.BiasedLinear(16, 9, bias=bias).bfloat16()
    x_NPD = torch.randn(2, 5, 16).bfloat16()
    exact = layer.float()(x_NPD.float())
    found = layer.bfloat16()(x_NPD)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, rtol=2 * BFLOAT16_STEP, atol=1e-2)


def test_training_takes_the_plain_product() -> None:
    x_TD, weight_FD = torch.randn(5, 16).bfloat16(), torch.randn(9, 16).bfloat16()
    assert not products.is_slow(x_TD)
    with torch.no_grad():
        assert products.is_slow(x_TD)
        assert not products.is_slow(weight_FD.float())
