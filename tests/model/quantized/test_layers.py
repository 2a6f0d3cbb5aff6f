"""Products with weights in few bits, against the same weights as floats."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from model.moe import Experts
from model.quantized import layers
from model.quantized.layers import (
    FLOAT8,
    Quantized,
    QuantizedExperts,
    dequantize,
    float8_as_bfloat16,
    is_packed,
    packed_product,
    product,
    product_by_blocks,
    stack,
)
from tests.model.quantized.conftest import random_matrix

KINDS = [("8", False), ("8", True), ("4", False), ("4", True), ("fp8", False)]


@pytest.mark.parametrize("block", [100, 2**22], ids=["many blocks", "one block"])
@pytest.mark.parametrize(("kind", "zeros"), KINDS)
def test_a_product_is_that_of_the_floats(
    kind: str, zeros: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "BLOCK_WEIGHTS", block)
    weight = random_matrix(kind, 12, 32, 8, zeros=zeros)
    x = torch.randn(2, 5, 32)
    expected = functional.linear(x, dequantize(weight, torch.float32))
    torch.testing.assert_close(product(x, weight), expected)
    torch.testing.assert_close(product(x[0, 0], weight), expected[0, 0])


def test_columns_sorted_by_group_meet_their_inputs() -> None:
    weight = random_matrix("4", 6, 16, 4, zeros=True)
    sorted_ = dequantize(weight, torch.float32)
    order = torch.randperm(16)
    weight = weight._replace(order_I=order)
    plain = torch.empty_like(sorted_)
    plain[:, order] = sorted_
    torch.testing.assert_close(dequantize(weight, torch.float32), plain)
    x = torch.randn(3, 16)
    torch.testing.assert_close(product(x, weight), x @ plain.T)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 5, layers.FEW_ROWS])
def test_the_packed_product_is_the_plain_one_in_bfloat16(rows: int, dtype: torch.dtype) -> None:
    weight = random_matrix("8", 24, 128, 128, zeros=False)
    x = torch.randn(rows, 128).to(dtype)
    assert is_packed(x, weight)
    plain = product_by_blocks(x.float(), weight)
    assert (packed_product(x, weight).float() - plain).abs().max() < 0.01 * plain.abs().max()
    assert torch.equal(product(x, weight), packed_product(x, weight))


def test_the_packed_product_is_kept_from_what_it_cannot_do() -> None:
    x = torch.randn(1, 64)
    assert not is_packed(x[:, :32], random_matrix("8", 4, 32, 32, zeros=False))
    assert not is_packed(x, random_matrix("8", 4, 64, 32, zeros=False))
    assert not is_packed(x, random_matrix("8", 4, 64, 64, zeros=True))
    assert not is_packed(x, random_matrix("fp8", 4, 64, 64, zeros=False))
    assert not is_packed(x.double(), random_matrix("8", 4, 64, 64, zeros=False))
    many = x.expand(layers.FEW_ROWS + 1, -1)
    assert not is_packed(many, random_matrix("8", 4, 64, 64, zeros=False))


def test_every_8_bit_float_is_moved_exactly() -> None:
    codes = torch.arange(256, dtype=torch.uint8).view(FLOAT8)
    numbers = codes[~codes.float().isnan()]
    assert len(numbers) == 254
    assert torch.equal(float8_as_bfloat16(numbers).float(), numbers.float())


@pytest.mark.parametrize(("kind", "zeros"), KINDS)
def test_experts_compute_what_experts_of_floats_do(kind: str, zeros: bool) -> None:
    gate_up = [random_matrix(kind, 2 * 12, 16, 8, zeros=zeros) for _ in range(3)]
    down = [random_matrix(kind, 16, 12, 4, zeros=zeros) for _ in range(3)]
    plain = Experts(3, 16, 12)
    for name, matrices in (("gate_up", gate_up), ("down", down)):
        floats = torch.stack([dequantize(matrix, torch.float32).T for matrix in matrices])
        setattr(plain, name, torch.nn.Parameter(floats))
    x = torch.randn(7, 16)
    expected = plain(x, [4, 0, 3])
    found = QuantizedExperts(stack(gate_up), stack(down))(x, [4, 0, 3])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_bits_shape_and_group_are_told_by_the_tensors() -> None:
    weight = random_matrix("4", 6, 32, 8, zeros=False)
    assert (weight.bits, weight.shape, weight.group) == (4, (6, 32), 8)
    weight = Quantized(torch.zeros(6, 32, dtype=torch.int8), torch.ones(6, 1))
    assert (weight.bits, weight.shape, weight.group) == (8, (6, 32), 32)
