"""Strict reading: what is wrong with a folder is named. And what is written is read back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.checkpoint import (
    INDEX,
    WEIGHTS,
    CheckpointError,
    load_config,
    load_transformer,
    save_checkpoint,
    weights_sha256,
)
from model.config import ConfigError

NORM = "language_model.model.norm.weight"


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_checkpoint, tmp_path / "copy")


def rewrite(folder: Path, change: dict[str, Tensor | None]) -> None:
    weights = {**load_file(folder / WEIGHTS), **change}
    kept = {name: tensor for name, tensor in weights.items() if tensor is not None}
    save_file(kept, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({NORM: None}, rf"tensor {NORM} is missing$"),
        ({"extra.weight": torch.ones(2)}, r"tensor extra\.weight is not a weight of this model$"),
        ({NORM: torch.ones(33)}, rf"{NORM} has shape \(33,\), the config asks for \(32,\)"),
        ({NORM: torch.ones(32).to(torch.int8)}, rf"{NORM} is stored as torch\.int8, not as"),
    ],
    ids=["missing", "extra", "misshapen", "not a float"],
)
def test_a_wrong_tensor_is_named(
    change: dict[str, Tensor | None], message: str, folder: Path
) -> None:
    rewrite(folder, change)
    with pytest.raises(CheckpointError, match=message):
        load_transformer(folder)


def test_tensors_of_another_config_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["moe_layers"] = [3]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"layers\.1\.feed_forward\..* \(and \d+ more\)"):
        load_transformer(folder)


@pytest.mark.parametrize("shard_bytes", [10**9, 20_000], ids=["one file", "shards"])
def test_what_is_saved_is_read_back(shard_bytes: int, folder: Path, tmp_path: Path) -> None:
    transformer = load_transformer(folder)
    save_checkpoint(transformer, tmp_path / "saved", max_shard_bytes=shard_bytes)
    assert (tmp_path / "saved" / INDEX).exists() == (shard_bytes == 20_000)
    again = load_transformer(tmp_path / "saved")
    assert again.config == load_config(tmp_path / "saved")
    for (name, weight), other in zip(
        transformer.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(weight, other), name


def test_saving_again_leaves_no_old_shards(folder: Path) -> None:
    transformer = load_transformer(folder)
    save_checkpoint(transformer, folder, max_shard_bytes=20_000)
    save_checkpoint(load_transformer(folder), folder)
    assert [path.name for path in folder.glob("model*")] == [WEIGHTS]


def test_a_missing_shard_is_named(folder: Path) -> None:
    save_checkpoint(load_transformer(folder), folder, max_shard_bytes=20_000)
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(CheckpointError, match=f"{shard.name} does not exist"):
        load_transformer(folder)


def test_a_tensor_that_two_shards_hold_is_named(folder: Path) -> None:
    save_checkpoint(load_transformer(folder), folder, max_shard_bytes=20_000)
    first, second = sorted(folder.glob("model-*.safetensors"))[:2]
    doubled = next(iter(load_file(first)))
    save_file({**load_file(second), doubled: torch.ones(1)}, second)
    with pytest.raises(CheckpointError, match=f"{doubled} is in .* and in"):
        load_transformer(folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "config.json does not exist"),
        ("config.json", "{", "config.json is not JSON"),
        ("config.json", "[]", "config.json holds a JSON list"),
        (WEIGHTS, None, f"{WEIGHTS} does not exist"),
        (WEIGHTS, "no weights", "not a readable safetensors file"),
        (INDEX, "{}", "has no weight_map"),
    ],
)
def test_a_broken_file_is_named(file: str, content: str | None, message: str, folder: Path) -> None:
    (folder / file).unlink(missing_ok=True)
    if content is not None:
        (folder / file).write_text(content)
    with pytest.raises(CheckpointError, match=message):
        load_transformer(folder)


def test_a_wrong_config_is_named_with_its_file(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "mistral"}')
    with pytest.raises(ConfigError, match=r"config\.json: model_type 'mistral'"):
        load_config(folder)


def test_weights_are_known_by_their_hash(folder: Path) -> None:
    before = weights_sha256(folder)
    assert len(before) == 64
    save_checkpoint(load_transformer(folder), folder)
    assert weights_sha256(folder) == before
    rewrite(folder, {NORM: torch.full((32,), 2.0)})
    assert weights_sha256(folder) != before


def test_weights_come_in_the_dtype_that_is_asked_for(folder: Path) -> None:
    dtypes = {weight.dtype for weight in load_transformer(folder, torch.bfloat16).parameters()}
    assert dtypes == {torch.bfloat16}


def test_loading_does_not_import_the_compiler(folder: Path) -> None:
    code = (
        "import sys; from model.checkpoint import load_transformer; "
        f"load_transformer({str(folder)!r}); print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
