"""`python -m model quantize`, what it writes, and quantized checkpoints as others publish them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.__main__ import main
from model.attention import Layout, look
from model.checkpoint import (
    CONFIG,
    WEIGHTS,
    CheckpointError,
    load_config,
    load_transformer,
    save_checkpoint,
)
from model.config import ConfigError, ModelConfig, TextConfig
from model.engine import load
from model.quantized.awq import importance, matrices_of, shift_errors, watched
from model.quantized.layers import (
    FLOAT8,
    QuantizedExperts,
    QuantizedLinear,
    QuantizedWeight,
    dequantize,
)
from model.quantized.quantize import quantize
from model.quantized.rounding import Precision, RoundingError, round_matrix
from model.transformer import Block, Transformer

KINDS = {"8": [], "4": ["--group", "16"], "fp8": []}
IDS = torch.arange(20, 60)[None]  # no control tokens


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat, no, yes 文件 圖片. " * 40, encoding="utf-8")
    return path


def logits(transformer: Transformer) -> Tensor:
    with torch.no_grad():
        x_BTD = transformer.embed(IDS)
        return transformer.unembed(transformer(x_BTD, Layout.consecutive(0, IDS.shape[1])))


def quantized(folder: Path, out: Path, kind: str) -> Path:
    assert main(["quantize", str(folder), str(out), "--bits", kind, *KINDS[kind]]) == 0
    return out


def small_model(**changes: Any) -> ModelConfig:
    sizes = {
        "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "intermediate_size_mlp": 48,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
        "num_local_experts": 2,
    }  # fmt: skip
    return ModelConfig(TextConfig(**{**sizes, **changes}))


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_quantized_checkpoint_works_and_differs_little(
    kind: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    out = quantized(tiny_checkpoint, tmp_path / "out", kind)
    transformer = load_transformer(out, torch.float32)
    kinds = {type(m) for m in transformer.modules()}
    assert {QuantizedLinear, QuantizedExperts} <= kinds
    assert not any(isinstance(m, QuantizedWeight) for m in transformer.vision.modules())
    plain = logits(load_transformer(tiny_checkpoint, torch.float32))
    lost = (logits(transformer) - plain).square().mean() / plain.var()
    assert 0 < lost < {"8": 0.001, "fp8": 0.02, "4": 0.2}[kind]
    assert (out / WEIGHTS).stat().st_size < 0.6 * (tiny_checkpoint / WEIGHTS).stat().st_size
    engine = load(out)
    assert engine.generate(engine.prefill(["the cat"]), "sat?", max_tokens=2, allowed=["yes"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_quantized_model_is_saved_as_it_is(
    kind: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    out = quantized(tiny_checkpoint, tmp_path / "out", kind)
    save_checkpoint(load_transformer(out), tmp_path / "again", max_shard_bytes=20_000)
    first, again = load_transformer(out), load_transformer(tmp_path / "again")
    for (name, weight), other in zip(
        first.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(weight, other), name


@pytest.mark.parametrize("kind", KINDS)
def test_the_unembedding_is_rounded_when_asked_for(kind: str, tmp_path: Path) -> None:
    plain_folder, out = tmp_path / "plain", tmp_path / "out"
    torch.manual_seed(0)
    save_checkpoint(Transformer(small_model()), plain_folder)
    words = ["quantize", str(plain_folder), str(out), "--bits", kind, *KINDS[kind]]
    assert main([*words, "--unembedding"]) == 0
    transformer = load_transformer(out, torch.float32)
    assert isinstance(transformer.unembedding, QuantizedLinear)
    plain = logits(load_transformer(plain_folder, torch.float32))
    lost = (logits(transformer) - plain).square().mean() / plain.var()
    assert 0 < lost < {"8": 0.001, "fp8": 0.02, "4": 0.2}[kind]
    ignored = json.loads((out / CONFIG).read_text())["quantization_config"]["ignore"]
    assert not any("lm_head" in name for name in ignored)


def test_an_unembedding_that_is_the_embedding_is_not_rounded() -> None:
    transformer = Transformer(small_model(tie_word_embeddings=True))
    with pytest.raises(RoundingError, match="leave out --unembedding"):
        quantize(transformer, Precision("8"), None, lambda *_: None, with_unembedding=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_dense_model_keeps_its_heads_in_order(kind: str, tmp_path: Path) -> None:
    """Queries and keys are stored with their rows in another order."""
    config = TextConfig.dense(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4,
    )  # fmt: skip
    torch.manual_seed(0)
    transformer = Transformer(ModelConfig(config))
    for parameter in transformer.parameters():
        parameter.data.mul_(8 if parameter.ndim > 1 else 1)
    save_checkpoint(transformer, tmp_path / "plain")
    out = quantized(tmp_path / "plain", tmp_path / "out", kind)
    plain, found = logits(transformer), logits(load_transformer(out, torch.float32))
    assert (found - plain).square().mean() / plain.var() < 0.2
    names = load_file(out / WEIGHTS)
    assert any(name.startswith("model.layers.0.mlp.down_proj.weight") for name in names)


def test_the_perplexity_before_and_after_is_told(
    tiny_checkpoint: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["quantize", str(tiny_checkpoint), str(tmp_path / "out"), "--bits", "4"]
    words += ["--group", "16", "--calibrate", str(text)]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["perplexity"]["before"] > 1
    assert told["perplexity"]["after"] != told["perplexity"]["before"]
    assert told["bytes"] < told["bytes_before"]
    plain = load_transformer(tiny_checkpoint).blocks[0].attention_norm.weight
    moved = load_transformer(tmp_path / "out").blocks[0].attention_norm.weight
    assert not torch.equal(plain, moved)  # the sample was used


def test_describe_tells_the_bytes_of_quantized_weights(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = quantized(tiny_checkpoint, tmp_path / "out", "8")
    capsys.readouterr()
    assert main(["describe", str(out), "--dtype", "float32", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    loaded = load_transformer(out, torch.float32).state_dict().values()
    shapes = 2 * 8 * sum(n.endswith("weight_shape") for n in load_file(out / WEIGHTS))
    assert told["weights_bytes"] == sum(tensor.nbytes for tensor in loaded) + shapes


def test_what_cannot_be_quantized_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    def error_of(*words: object) -> str:
        assert main(["quantize", *map(str, words)]) == 2
        assert not list(tmp_path.glob("*.partial"))
        return capsys.readouterr().err

    assert "choose a --group" in error_of(tiny_checkpoint, out, "--bits", 4)
    assert "leave --group out" in error_of(tiny_checkpoint, out, "--bits", "fp8", "--group", 8)
    few = tmp_path / "few.txt"
    few.write_text("a cat")
    assert "at least 512" in error_of(tiny_checkpoint, out, "--bits", 8, "--held-out", few)
    quantized(tiny_checkpoint, out, "8")
    capsys.readouterr()
    assert "is quantized already" in error_of(out, tmp_path / "again", "--bits", 4)
    assert "exists" in error_of(tiny_checkpoint, out, "--bits", 8)


@pytest.mark.parametrize("fused", [False, True], ids=["one by one", "fused"])
def test_8_bit_floats_are_read_as_published_for_llama_4(
    fused: bool, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
    weights, floats = load_file(folder / WEIGHTS), dict[str, Tensor]()
    for name in [name for name in weights if ".experts." in name]:
        weight_EIO = weights.pop(name)
        floats[name] = as_float8(weights, name, weight_EIO, fused)
    save_file(weights, folder / WEIGHTS)
    scheme = {"quant_method": "fbgemm_fp8" if fused else "compressed-tensors"}
    edit_config(folder, quantization_config=scheme)
    found = logits(load_transformer(folder, torch.float32))
    save_file({**load_file(tiny_checkpoint / WEIGHTS), **floats}, folder / WEIGHTS)
    edit_config(folder, quantization_config=None)
    torch.testing.assert_close(
        found, logits(load_transformer(folder, torch.float32)), atol=1e-4, rtol=0
    )


def as_float8(weights: dict[str, Tensor], name: str, weight_EIO: Tensor, fused: bool) -> Tensor:
    """Adds the experts to `weights`, and returns what they mean."""
    scale_E1O = weight_EIO.abs().amax(1, keepdim=True) / 448
    low_EIO = (weight_EIO / scale_E1O).to(FLOAT8)
    if fused:
        weights[name], weights[f"{name}_scale"] = low_EIO, scale_E1O
    else:
        stem = name.removesuffix(".gate_up_proj").removesuffix(".down_proj")
        kinds = ("gate", "up") if "gate_up" in name else ("down",)
        for expert, (low_IO, scale_1O) in enumerate(zip(low_EIO, scale_E1O, strict=True)):
            parts = zip(low_IO.T.chunk(len(kinds)), scale_1O.T.chunk(len(kinds)), strict=True)
            for kind, (low_OI, scale_O1) in zip(kinds, parts, strict=True):
                theirs = f"{stem}.{expert}.{kind}_proj"
                weights[f"{theirs}.weight"] = low_OI.contiguous()
                weights[f"{theirs}.weight_scale"] = scale_O1.contiguous()
                weights[f"{theirs}.input_scale"] = torch.ones(1)
    return low_EIO.float() * scale_E1O


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ({"quant_method": "bitsandbytes"}, "quant_method 'bitsandbytes' is not known"),
        ({"quant_method": "awq", "version": "gemv"}, "version 'gemv' is not known"),
        ({"quant_method": "gptq", "bits": 3}, "bits 3 is not known"),
        ({"config_groups": {}, "format": "marlin-24"}, "format 'marlin-24' is not known"),
        ({"config_groups": {}, "kv_cache_scheme": {"num_bits": 8}}, "kv_cache_scheme"),
    ],
)
def test_other_ways_to_quantize_are_named(
    scheme: dict[str, Any], message: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copy(tiny_checkpoint / CONFIG, tmp_path)
    edit_config(tmp_path, quantization_config=scheme)
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path)


@pytest.mark.parametrize("lost", ["experts.2.up_proj.weight_scale", "q_proj.weight_scale"])
def test_a_missing_tensor_is_named(lost: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    out = quantized(tiny_checkpoint, tmp_path / "out", "8")
    weights = load_file(out / WEIGHTS)
    del weights[next(name for name in weights if name.endswith(lost))]
    save_file(weights, out / WEIGHTS)
    module, part = lost.rsplit(".", 1)
    with pytest.raises(CheckpointError, match=rf"{module}: {part} is missing"):
        load_transformer(out)


def test_experts_that_are_not_all_there_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    out = quantized(tiny_checkpoint, tmp_path / "out", "8")
    weights = load_file(out / WEIGHTS)
    save_file({n: t for n, t in weights.items() if "experts.3.up_proj" not in n}, out / WEIGHTS)
    with pytest.raises(CheckpointError, match="not all experts are there"):
        load_transformer(out)


class TestShiftedErrors:
    """A block with some inputs that are much larger than others, as large models have."""

    @pytest.fixture
    def block(self, tiny_checkpoint: Path) -> Block:
        block = load_transformer(tiny_checkpoint, torch.float32).blocks[1]
        assert isinstance(block, Block)
        loud = torch.ones(32).index_fill(0, torch.tensor([3, 17]), 30.0)
        for norm in (block.attention_norm, block.feed_forward_norm):
            norm.weight.data = norm.weight.data * loud
        return block

    @torch.no_grad()
    def run(self, block: Block, tiny_checkpoint: Path) -> Tensor:
        torch.manual_seed(1)
        text = load_config(tiny_checkpoint).text
        sight = look(text, Layout.consecutive(0, 64), None, keep=False)
        return block(torch.randn(1, 64, 32), sight, None)[0]

    @torch.no_grad()
    def test_the_block_computes_the_same_and_rounds_better(
        self, block: Block, tiny_checkpoint: Path
    ) -> None:
        with watched(block) as inputs:
            before = self.run(block, tiny_checkpoint)
        precision = Precision("4", 16)
        plain = self.error(block, inputs, precision)
        shift_errors(block, inputs, precision)
        after = self.run(block, tiny_checkpoint)
        torch.testing.assert_close(after, before, atol=1e-4 * before.abs().max().item(), rtol=0)
        assert self.error(block, inputs, precision) < 0.7 * plain

    @staticmethod
    def error(block: Block, inputs: dict[str, Tensor], precision: Precision) -> float:
        """Of what the queries, keys and values would be."""
        total = 0.0
        for name, weight_OI in matrices_of(block).items():
            if name.startswith("attention.") and "output" not in name:
                rounded = round_matrix(
                    weight_OI, precision, torch.float32, importance(inputs[name])
                )
                difference_OI = dequantize(rounded, torch.float32) - weight_OI
                total += (inputs[name] @ difference_OI.T).square().sum().item()
        return total


@pytest.mark.parametrize(("kind", "most"), [("8", 0.006), ("4", 0.1), ("fp8", 0.04)])
def test_rounding_errs_little(kind: str, most: float) -> None:
    torch.manual_seed(0)
    weight = torch.randn(8, 64)
    rounded = round_matrix(weight, Precision(kind, None if kind == "fp8" else 16), torch.float32)
    difference = dequantize(rounded, torch.float32) - weight
    assert 0 < difference.square().mean().sqrt() < most


def test_a_row_of_zeros_stays_zero() -> None:
    for kind in KINDS:
        rounded = round_matrix(torch.zeros(4, 16), Precision(kind), torch.bfloat16)
        assert torch.equal(dequantize(rounded, torch.float32), torch.zeros(4, 16))


def test_a_precision_that_is_not_known_is_refused() -> None:
    with pytest.raises(RoundingError, match="use 8, 4 or fp8"):
        Precision("3")
