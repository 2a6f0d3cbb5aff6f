"""The memory of loading: refused before it is tried, and no more than the weights and a shard."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.checkpoint import (
    WEIGHTS,
    CheckpointError,
    Uninitialised,
    load_transformer,
    save_checkpoint,
)
from model.config import ModelConfig, TextConfig
from model.memory import free_bytes, what_fits
from model.transformer import Transformer

GIB = 2**30


def sparse_checkpoint(folder: Path, vocabulary: int) -> Path:
    """Of a model with an enormous embedding, which takes no place on the disk."""
    config = ModelConfig(
        TextConfig.dense(
            vocab_size=64, hidden_size=64, intermediate_size=64, num_hidden_layers=1,
            num_attention_heads=2, tie_word_embeddings=True,
        )
    )  # fmt: skip
    save_checkpoint(Transformer(config).to(torch.bfloat16), folder)
    path = folder / WEIGHTS
    stored = path.read_bytes()
    length = int.from_bytes(stored[:8], "little")
    header = json.loads(stored[8 : 8 + length])
    end = max(told["data_offsets"][1] for name, told in header.items() if name != "__metadata__")
    header["model.embed_tokens.weight"] = {
        "dtype": "BF16",
        "shape": [vocabulary, 64],
        "data_offsets": [0, vocabulary * 128],
    }
    moved = vocabulary * 128
    for name, told in header.items():
        if name not in ("__metadata__", "model.embed_tokens.weight"):
            size = told["data_offsets"][1] - told["data_offsets"][0]
            told["data_offsets"] = [moved, moved + size]
            moved += size
    assert moved > end
    words = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(words).to_bytes(8, "little") + words)
        file.truncate(8 + len(words) + moved)
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**told, "vocab_size": vocabulary}))
    return folder


def test_weights_that_do_not_fit_are_refused_with_what_would(tmp_path: Path) -> None:
    vocabulary = int(free_bytes(torch.device("cpu")) * 1.5 / 128)
    folder = sparse_checkpoint(tmp_path, vocabulary)
    with pytest.raises(CheckpointError, match=r"the weights need .* GiB, cpu has .* GiB free: it "):
        load_transformer(folder, torch.bfloat16)


def test_what_would_fit_is_the_least_change_that_helps() -> None:
    floats = 50 * GIB  # numbers: 100 GiB in bfloat16
    told = what_fits(4 * floats, 120 * GIB, floats, 0)
    assert "dtype bfloat16 (100.0 GiB), 8 bits" in told
    told = what_fits(2 * floats, 60 * GIB, floats, 0)
    assert "bfloat16" not in told
    assert "8 bits (python -m model quantize) (50.0 GiB)" in told
    assert what_fits(2 * floats, 10 * GIB, floats, 0) == (
        "it would fit with 2 GPUs of 80 GB, 1 GPUs of 141 GB"
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_loading_takes_no_more_than_the_weights_and_a_shard(dtype: str, tmp_path: Path) -> None:
    config = ModelConfig(
        TextConfig.dense(
            vocab_size=1024, hidden_size=1024, intermediate_size=4096, num_hidden_layers=4,
            num_attention_heads=8, tie_word_embeddings=True,
        )
    )  # fmt: skip
    with Uninitialised():
        transformer = Transformer(config).to(torch.bfloat16)
    save_checkpoint(transformer, tmp_path, max_shard_bytes=40 * 2**20)
    shard = max(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    weights = sum(p.numel() for p in transformer.parameters()) * getattr(torch, dtype).itemsize
    code = (
        "import sys, torch; from model.checkpoint import load_transformer;"
        "peak = lambda: int(next(line for line in open('/proc/self/status') "
        "if line.startswith('VmHWM')).split()[1]) * 1024;"
        "before = peak();"
        "loaded = load_transformer(sys.argv[1], getattr(torch, sys.argv[2]));"
        "total = sum(float(p.float().sum()) for p in loaded.parameters());"
        "print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), dtype],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    few = 40 * 2**20  # one matrix as float32 for the sum, and the interpreter's own
    assert int(done.stdout) < weights + shard + few
    shutil.rmtree(tmp_path)
