"""The published layouts, packed here number by number as their makers describe them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from model.quantized.layers import FLOAT8, dequantize
from model.quantized.layouts import LayoutError, read_fused_experts, read_matrix, write_matrix
from tests.model.quantized.conftest import random_matrix

ROWS, COLUMNS, GROUP = 16, 32, 8
SHAPE = (ROWS, COLUMNS)
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def packed(numbers: Tensor, bits: int, order: tuple[int, ...] | None = None) -> Tensor:
    """Each row's numbers in int32, from the lowest bits; `order` says which of eight comes when."""
    each = 32 // bits
    result = torch.zeros(numbers.shape[0], numbers.shape[1] // each, dtype=torch.int64)
    for row, column in torch.cartesian_prod(*map(torch.arange, result.shape)).tolist():
        for place in range(each):
            source = column * each + (order[place] if order else place)
            result[row, column] |= int(numbers[row, source]) << (bits * place)
    return torch.where(result >= 2**31, result - 2**32, result).to(torch.int32)


class Case:
    """Numbers, zeros and scales of a matrix, and what they mean."""

    def __init__(self, bits: int) -> None:
        groups = COLUMNS // GROUP
        self.numbers = torch.randint(0, 2**bits, SHAPE)
        self.zeros = torch.randint(1, 2**bits, (ROWS, groups))
        self.scales = torch.rand(ROWS, groups)
        self.group = torch.arange(COLUMNS) // GROUP

    def weights(self) -> Tensor:
        return (self.numbers - self.zeros[:, self.group]) * self.scales[:, self.group]


def floats(parts: dict[str, Tensor], method: str, **more: Any) -> Tensor:
    return dequantize(read_matrix(parts, SHAPE, method, **more), torch.float32)


@pytest.mark.parametrize("bits", [4, 8])
def test_compressed_tensors_is_read(bits: int) -> None:
    case = Case(bits)
    parts = {
        "weight_packed": packed(case.numbers, bits),
        "weight_scale": case.scales,
        "weight_shape": torch.tensor(SHAPE),
    }
    asymmetric = {**parts, "weight_zero_point": packed(case.zeros.T, bits).T.contiguous()}
    # zeros are packed down the columns: transposed, packed along rows, transposed again
    torch.testing.assert_close(floats(asymmetric, "compressed-tensors"), case.weights())
    case.zeros.fill_(2 ** (bits - 1))
    torch.testing.assert_close(floats(parts, "compressed-tensors"), case.weights())


def test_awq_is_read() -> None:
    case = Case(4)
    parts = {
        "qweight": packed(case.numbers.T, 4, AWQ_ORDER),
        "qzeros": packed(case.zeros.T, 4, AWQ_ORDER),
        "scales": case.scales.T,
    }
    torch.testing.assert_close(floats(parts, "awq"), case.weights())


@pytest.mark.parametrize("acts_in_order", [False, True])
@pytest.mark.parametrize("zero_offset", [0, 1])
@pytest.mark.parametrize("bits", [4, 8])
def test_gptq_is_read(bits: int, zero_offset: int, acts_in_order: bool) -> None:
    case = Case(bits)
    if acts_in_order:
        case.group = case.group[torch.randperm(COLUMNS)]
    parts = {
        "qweight": packed(case.numbers, bits).T,
        "qzeros": packed(case.zeros.T - zero_offset, bits),
        "scales": case.scales.T,
        "g_idx": case.group.to(torch.int32),
    }
    torch.testing.assert_close(floats(parts, "gptq", zero_offset=zero_offset), case.weights())


@pytest.mark.parametrize("scales", [(), (1,), (ROWS, 1), (2, 4)], ids=str)
def test_8_bit_floats_are_read_with_scales_of_any_extent(scales: tuple[int, ...]) -> None:
    weight, scale = torch.randn(SHAPE).to(FLOAT8), torch.rand(scales)
    each = scale.reshape(1, 1) if scale.ndim < 2 else scale
    each = each.repeat_interleave(ROWS // each.shape[0], 0)
    each = each.repeat_interleave(COLUMNS // each.shape[1], 1)
    name = "weight_scale_inv" if scales == (2, 4) else "weight_scale"
    found = floats({"weight": weight, name: scale}, "compressed-tensors")
    torch.testing.assert_close(found, weight.float() * each)


@pytest.mark.parametrize("scales", [(3, 1, ROWS), (3, ROWS, 1), (3, 1, 1), ()], ids=str)
def test_fused_experts_are_read(scales: tuple[int, ...]) -> None:
    weight = torch.randn(3, COLUMNS, ROWS).to(FLOAT8)
    scale = torch.rand(scales)
    read = read_fused_experts({"weight": weight, "weight_scale": scale}, (3, COLUMNS, ROWS))
    found = read.values_OJ.float() * read.scales_OG
    by_row = scale.transpose(1, 2) if scales == (3, ROWS, 1) else scale
    torch.testing.assert_close(found, (weight.float() * by_row).transpose(1, 2))


@pytest.mark.parametrize(
    ("kind", "zeros"), [("8", False), ("8", True), ("4", False), ("4", True), ("fp8", False)]
)
@pytest.mark.parametrize(("rows", "columns"), [SHAPE, (6, 20)])
def test_what_is_written_is_read_back(kind: str, zeros: bool, rows: int, columns: int) -> None:
    weight = random_matrix(kind, rows, columns, 4 if kind != "fp8" else columns, zeros=zeros)
    again = read_matrix(write_matrix(weight), (rows, columns), "compressed-tensors")
    for old, new in zip(weight, again, strict=True):
        assert (old is None) == (new is None)
        assert old is None or torch.equal(old.view(torch.uint8), new.view(torch.uint8))


@pytest.mark.parametrize("kind", ["8", "4"])
@pytest.mark.parametrize("zeros", [False, True])
def test_compressed_tensors_reads_what_is_written(kind: str, zeros: bool) -> None:
    peer = pytest.importorskip("compressed_tensors.compressors.pack_quantized.base")
    schemes = pytest.importorskip("compressed_tensors.quantization")
    weight = random_matrix(kind, ROWS, COLUMNS, GROUP, zeros=zeros)
    weights = schemes.QuantizationArgs(
        num_bits=int(kind), symmetric=not zeros, strategy="group", group_size=GROUP
    )
    scheme = schemes.QuantizationScheme(targets=["Linear"], weights=weights)
    parts = peer.PackedQuantizationCompressor.decompress(write_matrix(weight), scheme)
    torch.testing.assert_close(parts["weight"], dequantize(weight, torch.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_scale": None}, "weight_scale is missing"),
        ({"weight_shape": torch.tensor([16, 64])}, r"weight_shape is \(16, 64\)"),
        ({"weight_packed": torch.zeros(16, 3, dtype=torch.int32)}, "only 4 and 8 bits"),
        ({"weight_packed": torch.zeros(16, 4)}, "packed numbers are torch.float32"),
        ({"weight_scale": torch.ones(16, 5)}, r"scales of shape \(16, 5\) for 16 rows of 32"),
        ({"weight_scale": torch.ones(3, 1)}, "3 rows of scales do not divide 16"),
        ({"weight_g_idx": torch.tensor([1, 0] + [0] * 30)}, "different numbers of columns"),
    ],
)
def test_what_does_not_fit_together_is_named(
    change: dict[str, Tensor | None], message: str
) -> None:
    parts = {**write_matrix(random_matrix("4", *SHAPE, GROUP, zeros=False)), **change}
    kept = {name: tensor for name, tensor in parts.items() if tensor is not None}
    with pytest.raises(LayoutError, match=message):
        read_matrix(kept, SHAPE, "compressed-tensors")
