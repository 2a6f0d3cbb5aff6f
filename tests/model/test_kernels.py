"""Products of the compiled library against torch's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from model import kernels
from model.quantized.layers import dequantize, product
from tests.model.quantized.conftest import random_matrix

has_compiler = pytest.mark.skipif(kernels.library() is None, reason="no C compiler")


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@has_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, kernels.FEW_ROWS])
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 32), (37, 300), (3, 5), (130, 2100)])
@torch.no_grad()
def test_products_of_few_rows(rows: int, inputs: int, outputs: int, dtype: torch.dtype) -> None:
    x_ND = torch.randn(rows, inputs)
    weight_FD = torch.randn(outputs, inputs).to(dtype)
    weight_DF = weight_FD.t().contiguous()
    assert kernels.serve(x_ND, weight_FD, weight_DF)
    expected = x_ND @ weight_FD.float().t()
    torch.testing.assert_close(kernels.linear(x_ND, weight_FD), expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(kernels.times(x_ND, weight_DF), expected, atol=1e-4, rtol=1e-5)
    narrow = kernels.linear(x_ND.bfloat16()[None], weight_FD)
    assert (narrow.dtype, narrow.shape) == (torch.bfloat16, (1, rows, outputs))


@has_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [9, 12, 100])
@pytest.mark.parametrize(("inputs", "outputs"), [(37, 300), (520, 80), (1030, 67), (3, 5)])
@torch.no_grad()
def test_products_of_many_rows(rows: int, inputs: int, outputs: int, dtype: torch.dtype) -> None:
    """Blocks, bands, panels and tiles that are whole, and that are not."""
    x_ND = torch.randn(rows, inputs)
    weight_FD = torch.randn(outputs, inputs).to(dtype)
    weight_DF = weight_FD.t().contiguous()
    expected = (x_ND.double() @ weight_FD.double().t()).float()
    torch.testing.assert_close(kernels.linear(x_ND, weight_FD), expected, atol=2e-4, rtol=1e-5)
    torch.testing.assert_close(kernels.times(x_ND, weight_DF), expected, atol=2e-4, rtol=1e-5)


@has_compiler
@torch.no_grad()
def test_a_row_is_computed_alike_among_however_many() -> None:
    x_ND, weight_DF = torch.randn(120, 600), torch.randn(600, 50).bfloat16()
    whole = kernels.times(x_ND, weight_DF)
    assert torch.equal(kernels.times(x_ND[40:57], weight_DF), whole[40:57])


@has_compiler
@pytest.mark.parametrize("scales", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("kind", "zeros"), [("8", False), ("4", False), ("4", True), ("fp8", False)]
)
@torch.no_grad()
def test_products_with_weights_in_few_bits(
    kind: str, zeros: bool, scales: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = random_matrix(kind, 12, 96, 24, zeros=zeros)
    weight = weight._replace(scales_OG=weight.scales_OG.to(scales))
    x_NI = torch.randn(5, 96)
    expected = functional.linear(x_NI, dequantize(weight, torch.float32))
    monkeypatch.setattr("model.quantized.layers.product_by_blocks", None)  # it is not taken
    torch.testing.assert_close(product(x_NI, weight), expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(product(x_NI[0], weight), expected[0], atol=1e-4, rtol=1e-5)


@has_compiler
@pytest.mark.parametrize(
    ("inputs", "group"), [(96, 32), (512, 512), (1408, 1408), (2048, 128), (40, 40)]
)
@pytest.mark.parametrize("rows", [1, 4, 7])
@torch.no_grad()
def test_activations_lose_less_than_weights_of_eight_bits(
    inputs: int, group: int, rows: int
) -> None:
    """Also where one activation is a thousand times as large as the others."""
    weight = random_matrix("8", 50, inputs, group, zeros=False)
    x_NI = torch.randn(rows, inputs)
    x_NI[:, -1] = 1000
    expected = functional.linear(x_NI, dequantize(weight, torch.float32))
    found = product(x_NI, weight)
    lost = (found - expected).square().mean() / expected.var()
    assert lost < 1e-7, "rounding weights to eight bits loses some 1e-5"
    x_NI[0, 0] = torch.nan
    found = product(x_NI, weight)
    assert found[0].isnan().all()
    assert found[1:].isfinite().all()


@has_compiler
@pytest.mark.parametrize("rows", [2, 30])
@torch.no_grad()
def test_threads_share_a_large_product(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "THREAD_WEIGHTS", 100)
    torch.set_num_threads(3)
    x_ND, weight_FD = torch.randn(rows, 64), torch.randn(50, 64).bfloat16()
    assert kernels.threads_for(weight_FD.numel()) == 3
    expected = x_ND @ weight_FD.float().t()
    torch.testing.assert_close(kernels.linear(x_ND, weight_FD), expected, atol=1e-4, rtol=1e-5)
    weight_DF = weight_FD.t().contiguous()
    torch.testing.assert_close(kernels.times(x_ND, weight_DF), expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("compilers", [(), ("false",)], ids=["none", "one that fails"])
def test_without_a_compiler_nothing_is_served(
    compilers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kernels, "COMPILERS", compilers)
    kernels.library.cache_clear()
    try:
        with torch.no_grad():
            assert not kernels.serve(torch.randn(1, 8), torch.randn(3, 8).bfloat16())
        assert list(tmp_path.rglob("*.so*")) == []
    finally:
        kernels.library.cache_clear()


@has_compiler
def test_training_and_what_torch_does_as_well_are_left_to_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weight_FD = torch.randn(5, 16).bfloat16()
    assert not kernels.serve(torch.randn(1, 16), weight_FD)
    with torch.no_grad():
        assert kernels.serve(torch.randn(1, 16), weight_FD)
        assert not kernels.serve(torch.randn(1, 16), weight_FD.half())
        assert not kernels.serve(torch.randn(1, 16), weight_FD.t().contiguous().t())
        many = torch.randn(kernels.FEW_ROWS + 1, 16)
        monkeypatch.setattr(kernels, "multiplies", lambda: True)
        assert kernels.serve(many, weight_FD)
        assert not kernels.serve(many, weight_FD.float())
        assert not kernels.serve(many, weight_FD.to(torch.int8))
        monkeypatch.setattr(kernels, "multiplies", lambda: False)
        assert not kernels.serve(many, weight_FD), "wider registers"
