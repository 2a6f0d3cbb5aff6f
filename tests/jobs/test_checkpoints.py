"""What identifies a checkpoint, and that it is the engine's own idea of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmapp.checkpoints import identify
from mmapp.errors import CheckpointProblem
from tests.jobs.scenes import checkpoint_folder


def shards(folder: Path) -> Path:
    for name, content in [("b.safetensors", b"2"), ("a.safetensors", b"1")]:
        (folder / name).write_bytes(content)
    weight_map = {"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


@pytest.mark.parametrize("is_sharded", [False, True])
def test_the_hash_is_that_of_the_engine(tmp_path: Path, is_sharded: bool) -> None:
    from model.checkpoint import weights_sha256

    folder = checkpoint_folder(tmp_path / "c")
    if is_sharded:
        shards(folder)
    found = identify(folder, tmp_path / "data")
    assert found.weights_sha256 == weights_sha256(folder)
    assert (found.name, found.profile) == ("c", {})


def test_the_hash_is_kept_until_the_file_changes(tmp_path: Path) -> None:
    folder = checkpoint_folder(tmp_path / "c")
    first = identify(folder, tmp_path / "data")
    kept = tmp_path / "data" / "checkpoints.json"
    kept.write_text(kept.read_text().replace(first.weights_sha256, "f" * 64))
    assert identify(folder, tmp_path / "data").weights_sha256 == "f" * 64
    checkpoint_folder(folder, b"changed")
    assert identify(folder, tmp_path / "data").weights_sha256 not in (
        "f" * 64,
        first.weights_sha256,
    )


def test_the_profile_comes_along(tmp_path: Path) -> None:
    folder = checkpoint_folder(tmp_path / "c")
    (folder / "profile.json").write_text('{"threshold": 0.5}')
    assert identify(folder, tmp_path / "data").profile == {"threshold": 0.5}


@pytest.mark.parametrize(
    ("missing", "message"),
    [("config.json", "no config.json; set MMAPP_CHECKPOINT"), ("model.safetensors", "incomplete")],
)
def test_an_incomplete_folder_is_refused_by_name(
    tmp_path: Path, missing: str, message: str
) -> None:
    folder = checkpoint_folder(tmp_path / "c")
    (folder / missing).unlink()
    with pytest.raises(CheckpointProblem, match=message):
        identify(folder, tmp_path / "data")
