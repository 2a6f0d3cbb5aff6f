"""Models on several devices: plans of every shape, and the same numbers wherever the weights lie.

The devices are simulated (`Machine`); where there are two GPUs, they are tried too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import model
from model.__main__ import main
from model.checkpoint import (
    CheckpointError,
    Uninitialised,
    load_config,
    load_transformer,
    save_checkpoint,
    stored_tensor_bytes,
    tensor_bytes,
)
from model.config import ModelConfig, TextConfig
from model.engine import Continuation, EngineError
from model.memory import Device, devices_named
from model.placement import WAYS, PlacementError, Plan, advice, dealt, divided, plan
from model.presets import preset
from model.prompt import Part
from model.transformer import Transformer
from tests.model.machine import Machine

GIB = 2**30
DTYPE = torch.bfloat16
CONTEXT = 100_000


def devices(count: int, gigabytes: float = 80) -> list[Device]:
    return [Device(f"GPU {number}", int(gigabytes * GIB)) for number in range(count)]


@cache
def shape(name: str) -> tuple[TextConfig, Mapping[str, int]]:
    """Of a model of the family, and the bytes of its tensors."""
    config = preset(name)
    return config.text, tensor_bytes(config, DTYPE)


def planned(name: str, count: int, way: str) -> Plan:
    return plan(*shape(name), devices(count), CONTEXT, DTYPE, way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["llama-4-scout", "llama-4-maverick", "llama-3.2-11b-vision"])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_every_tensor_has_one_place(name: str, count: int, way: str) -> None:
    text, sizes = shape(name)
    if text.is_dense and way == "experts":
        pytest.skip("a dense model has no experts")
    made = planned(name, count, way)
    held = [0] * count
    for tensor, size in sizes.items():
        pieces = list(made.pieces(tensor))
        for piece in pieces:
            whole = piece.first is None or piece.end is None
            share = 1.0 if whole else (piece.end - piece.first) / text.num_local_experts  # type: ignore[operator]
            held[piece.device] += round(size * share)
        if pieces[0].first is not None:
            ends = [0, *(piece.end for piece in pieces)]
            assert [piece.first for piece in pieces] == ends[:-1]
            assert ends[-1] == text.num_local_experts
    assert held == [load.weights_bytes for load in made.loads]
    assert sum(held) == sum(sizes.values())


def test_no_run_of_layers_could_be_lighter() -> None:
    sizes, used = [5, 1, 1, 1, 5, 3, 3], [2, 0, 0]
    runs = divided(sizes, used, devices(3))
    fullest = max(sum(sizes[a:b]) + own for (a, b), own in zip(runs, used, strict=True))
    every = [
        max(2 + sum(sizes[:a]), sum(sizes[a:b]), sum(sizes[b:]))
        for a in range(8)
        for b in range(a, 8)
    ]
    assert fullest == min(every)
    assert [place for run in runs for place in range(*run)] == list(range(7))


def test_larger_devices_are_given_more() -> None:
    runs = divided([1] * 30, [0, 0], [Device("small", 10 * GIB), Device("large", 20 * GIB)])
    assert runs == [(0, 10), (10, 30)]


def test_left_over_experts_go_to_other_devices_in_each_layer() -> None:
    by_layer = [dealt(16, layer, 3) for layer in range(3)]
    assert all(sum(counts) == 16 for counts in by_layer)
    assert [sum(counts) for counts in zip(*by_layer, strict=True)] == [16, 16, 16]
    assert sum(dealt(2, 5, 8)) == 2


def test_experts_apart_are_balanced_better_than_large_layers() -> None:
    by_layers, by_experts = (planned("llama-4-behemoth", 64, way) for way in WAYS)
    assert not by_layers.fits
    assert by_experts.fits


@pytest.mark.parametrize("way", WAYS)
def test_what_does_not_fit_is_told_with_what_would(way: str) -> None:
    name = "llama-4-scout"
    assert not planned(name, 2, way).fits
    told = advice(*shape(name), devices(2), CONTEXT, DTYPE, way)
    needed = int(told.split("with ")[1].split(" of")[0])
    assert planned(name, needed, way).fits
    assert not planned(name, needed - 1, way).fits
    told = advice(*shape(name), devices(4), 10**7, DTYPE, way)
    shorter = int(told.split(" or ")[1].split(" tokens")[0].replace(",", ""))
    assert plan(*shape(name), devices(4), shorter, DTYPE, way).fits
    assert not plan(*shape(name), devices(4), 2 * shorter, DTYPE, way).fits


def test_senseless_plans_are_refused() -> None:
    dense = shape("llama-3.2-1b")
    with pytest.raises(PlacementError, match="at least one device"):
        plan(*dense, [], CONTEXT, DTYPE)
    with pytest.raises(PlacementError, match="place it by layers"):
        plan(*dense, devices(2), CONTEXT, DTYPE, "experts")
    with pytest.raises(PlacementError, match="use layers or experts"):
        plan(*dense, devices(2), CONTEXT, DTYPE, "rows")


def test_devices_are_named_by_number_and_memory() -> None:
    found = devices_named("2x141GB, 1.5GiB")
    assert [device.memory_bytes for device in found] == [141 * 10**9, 141 * 10**9, 3 * 2**29]
    for words in ("8x80", "0x80GiB", "GiB", "", "8x80GiB,"):
        with pytest.raises(ValueError, match="say 8x80GiB"):
            devices_named(words)


def test_describe_divides_a_model_among_devices(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["describe", "llama-4-scout", "--dtype", "bfloat16", "--context", "100000"]
    assert main([*asked, "--devices", "8x80GiB", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    shares = told["division"]["shares"]
    assert told["division"]["fits"]
    assert sum(share["weights_bytes"] for share in shares) == told["weights_bytes"]
    assert sum(share["cache_bytes"] for share in shares) == told["cache_bytes"]
    assert main([*asked, "--devices", "2x80GiB", "--way", "experts"]) == 0
    told = capsys.readouterr().out
    assert "on 2 devices, by experts, with 100,000 tokens: does not fit: it would fit with" in told
    assert told.count("; too much") == 2
    assert main(["describe", "llama-3.2-1b", "--devices", "2x80GiB", "--way", "experts"]) == 2
    assert "place it by layers" in capsys.readouterr().err


def answers(folder: Path, device: str, way: str = "layers") -> list[Any]:
    """What an engine says to questions of every kind."""
    engine = model.load(folder, "float32", device, piece_tokens=64, way=way)
    picture = Image.linear_gradient("L").resize((20, 30)).convert("RGB")
    parts: list[Part] = ["the cat sat on the mat " * 4, picture, "no, yes"]
    prefix = engine.prefill(parts)
    asked: list[Continuation] = [("what sat?", "the cat"), ("what sat?", "the mat"), "yes"]
    scores = engine.score(prefix, asked)
    text = engine.generate(prefix, "go on", max_tokens=5)
    many = engine.score_many([(prefix, asked), (["文件"], asked)])
    logits = engine.logits(engine.tokenizer.encode("the cat sat on the mat, no, yes"))
    return [text, torch.tensor(scores), *map(torch.tensor, many), logits]


@pytest.mark.parametrize(
    ("count", "way"), [(2, "layers"), (3, "layers"), (2, "experts"), (3, "experts")]
)
def test_answers_do_not_depend_on_where_weights_lie(
    tiny_checkpoint: Path, count: int, way: str
) -> None:
    alone = answers(tiny_checkpoint, "cpu")
    names = [f"cpu:{number}" for number in range(count)]
    with Machine() as machine:
        apart = answers(tiny_checkpoint, ",".join(names), way)
    assert apart[0] == alone[0]
    # One device computes with compiled functions, whose sums are in another order.
    torch.testing.assert_close(apart[1:], alone[1:], atol=1e-5, rtol=1e-5)
    assert {str(device) for device in machine.computed} >= set(names)


def test_what_was_remembered_in_a_file_is_gone_on_with_on_all_devices(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    parts = ["the cat sat on the mat " * 6]
    said = []
    for device in ("cpu", "cpu:0,cpu:1"):
        for _ in range(2):  # reads; then finds what was read
            with Machine():
                store = model.PrefixStore(2**24, tmp_path / device, 2**24)
                engine = model.load(tiny_checkpoint, "float32", device, prefixes=store)
                said.append(engine.score(engine.prefill(parts), ["yes", "the mat"]))
                store.flush()
    assert all(scores == pytest.approx(said[0], abs=1e-5) for scores in said)


def test_tensors_of_two_devices_are_not_computed_with(tiny_checkpoint: Path) -> None:
    with Machine():
        engine = model.load(tiny_checkpoint, "float32", "cpu:0,cpu:1")
        for block in engine.transformer.blocks:
            block._forward_pre_hooks.clear()
        with pytest.raises(RuntimeError, match=r"cpu:0.*cpu:1"):
            engine.prefill(["the cat"])


def test_experts_of_a_dense_checkpoint_are_refused(tmp_path: Path) -> None:
    shape = TextConfig.dense(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2,
    )  # fmt: skip
    save_checkpoint(Transformer(ModelConfig(shape)), tmp_path)
    with pytest.raises(EngineError, match="place it by layers"):
        model.load(tmp_path, device="cpu:0,cpu:1", way="experts")


def test_quantized_experts_stay_together(text_checkpoint: Path, tmp_path: Path) -> None:
    assert main(["quantize", str(text_checkpoint), str(tmp_path / "8"), "--bits", "8"]) == 0
    alone = model.load(tmp_path / "8", "float32", "cpu")
    asked = alone.tokenizer.encode("the cat sat on the mat")
    with pytest.raises(CheckpointError, match="share the model by layers"):
        model.load(tmp_path / "8", "float32", "cpu:0,cpu:1", way="experts")
    with Machine() as machine:
        apart = model.load(tmp_path / "8", "float32", "cpu:0,cpu:1")
        told = apart.logits(asked)
    assert torch.equal(told, alone.logits(asked))
    assert len(machine.computed) == 2


def test_a_device_that_is_too_small_is_named_before_anything_is_read(
    text_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, sizes = load_config(text_checkpoint).text, stored_tensor_bytes(text_checkpoint, None)
    made = plan(text, sizes, devices(2), 100, torch.float32)
    monkeypatch.setattr("model.checkpoint.free_bytes", lambda device: 100.0 * (device.index == 0))
    both = [torch.device("cpu:0"), torch.device("cpu:1")]
    with pytest.raises(CheckpointError, match=r"cpu:0 is to hold .* free: give it more devices"):
        load_transformer(text_checkpoint, torch.float32, both, made)


def test_loading_in_parts_takes_no_more_than_the_weights_and_a_shard(tmp_path: Path) -> None:
    config = ModelConfig(
        TextConfig(
            vocab_size=1024, hidden_size=512, intermediate_size=1024, intermediate_size_mlp=1024,
            num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=64,
            num_local_experts=8,
        )
    )  # fmt: skip
    with Uninitialised():
        transformer = Transformer(config).to(torch.bfloat16)
    save_checkpoint(transformer, tmp_path, max_shard_bytes=30 * 2**20)
    shard = max(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    weights = sum(parameter.numel() for parameter in transformer.parameters()) * 4
    code = (
        "import sys, torch, model;"
        "peak = lambda: int(next(line for line in open('/proc/self/status') "
        "if line.startswith('VmHWM')).split()[1]) * 1024;"
        "before = peak();"
        "engine = model.load(sys.argv[1], 'float32', 'cpu:0,cpu:1,cpu:2', way='experts');"
        "print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    few = 40 * 2**20  # the interpreter's own, and a matrix on its way
    assert int(done.stdout) < weights + shard + few


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("way", WAYS)
def test_two_gpus_answer_as_one_processor(tiny_checkpoint: Path, way: str) -> None:
    alone, apart = (answers(tiny_checkpoint, device, way) for device in ("cpu", "cuda:0,cuda:1"))
    for ours, theirs in zip((alone[0], alone[3]), (apart[0], apart[3]), strict=True):
        assert torch.allclose(torch.tensor(ours), torch.tensor(theirs), atol=1e-3)
