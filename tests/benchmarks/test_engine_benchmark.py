"""The benchmark of engines: what it counts, which way ratios point, and that ours runs in it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import torch

from benchmarks.engine import ROOT, WORKS, Turns, compare, machine, table, used_weights
from benchmarks.plot import ratios_svg
from benchmarks.runners import Ours, do, peak_bytes
from benchmarks.shapes import SHAPES, text_config, vision_config
from model.checkpoint import Uninitialised
from model.config import ModelConfig
from model.convert.gguf import CHUNK, refuse_other_mathematics
from model.transformer import Transformer
from tests.checkpoints import tiny_checkpoint

BY_NAME = {work.name: work for work in WORKS}


def ratio(name: str, ours: Turns, theirs: Turns) -> float:
    work = BY_NAME[name]
    [row] = compare([work], {name: {"ours": ours, "peer": theirs}})
    assert row["peer"] == "peer"
    return float(row["ratio"])


@pytest.mark.parametrize("name", ["prefill 512", "decode 8 after 128", "load to first token"])
def test_half_the_time_is_a_ratio_of_two(name: str) -> None:
    assert ratio(name, Turns(cpu=[1.0, 2.0, 9.0]), Turns(cpu=[4.0, 4.0, 4.0])) == 2


def test_half_the_memory_is_a_ratio_of_a_half() -> None:
    ours, theirs = Turns(peak_bytes=[2.0**30]), Turns(peak_bytes=[2.0**31])
    assert ratio("peak memory, prefill 512", ours, theirs) == 0.5


def test_the_weights_that_a_token_uses_are_those_of_the_model() -> None:
    text = text_config("tiny")
    with torch.device("meta"), Uninitialised():
        one_expert = Transformer(ModelConfig(replace(text, num_local_experts=1)))
    beside = ("embedding", "norm", "router")
    counted = sum(
        weight.numel()
        for name, weight in one_expert.named_parameters()
        if not any(part in name for part in beside) or name.startswith("unembedding")
    )
    assert sum(used_weights(text)) == counted


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_one_that_llama_cpp_computes_too_with_its_chunk(shape: str) -> None:
    text = text_config(shape)
    refuse_other_mathematics(text_config(shape, chunk=CHUNK))
    assert vision_config(text.hidden_size).tokens_per_tile == 144
    assert all(w.tokens + w.behind < text.max_position_embeddings for w in WORKS)


def test_rows_become_a_table_and_a_picture() -> None:
    rows = [
        {"work": "a < b", "peer": "transformers sdpa", "ours": 5.0, "theirs": 2.0, "ratio": 2.5},
        {"work": "c", "peer": "this machine", "ours": 1.0, "theirs": 900.0, "ratio": 0.001},
    ]
    assert len(table(rows).splitlines()) == 3
    texts = [element.text for element in ET.fromstring(ratios_svg(rows)).iter()]
    assert "a < b, transformers sdpa" in texts
    assert "2.5" in texts


def test_our_engine_does_every_work(tmp_path: Path) -> None:
    runner = Ours(tiny_checkpoint(tmp_path), "float32", context=0)
    taken = do(runner, {"kind": "prefill", "tokens": 100})
    assert min(taken.values()) > 0
    assert do(runner, {"kind": "begin", "behind": 70, "batch": 2}) == {}
    do(runner, {"kind": "decode", "steps": 5})
    assert runner.cache.length == 75
    assert runner.next_B1.shape == (2, 1)


def test_the_machine_is_told() -> None:
    told = machine()
    assert told["packages"]["torch"] == torch.__version__
    assert told["cores"] > 0


def test_the_memory_of_whoever_starts_an_engine_is_not_counted() -> None:
    held = bytearray(b"x" * 2**30)
    program = "from benchmarks.runners import peak_bytes; print(peak_bytes())"
    peak = int(subprocess.check_output([sys.executable, "-c", program], cwd=ROOT))
    assert 10 * 2**20 < peak < len(held) < peak_bytes()
