"""The verb: what it saves again, what it replaces and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from model.__main__ import main
from tests.model.convert.conftest import DENSE, LLAMA4


@pytest.fixture
def checkpoint(make_model: Any, write_checkpoint: Any, tmp_path: Path) -> Path:
    folder: Path = write_checkpoint(make_model(LLAMA4), tmp_path / "checkpoint")
    return folder


def test_a_checkpoint_is_saved_again_with_its_tokenizer(
    checkpoint: Path, tmp_path: Path, load: Any
) -> None:
    out = tmp_path / "out"
    assert main(["convert", str(checkpoint), str(out), "--to", "hf"]) == 0
    before, after = load(checkpoint).state_dict(), load(out).state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert (out / "tokenizer.json").read_bytes() == (checkpoint / "tokenizer.json").read_bytes()


def test_a_checkpoint_is_saved_smaller(checkpoint: Path, tmp_path: Path, load: Any) -> None:
    assert main(["convert", str(checkpoint), str(tmp_path / "out"), "--dtype", "bf16"]) == 0
    assert load(tmp_path / "out").embedding.weight.dtype == torch.bfloat16


def test_what_exists_is_replaced_only_when_told(
    checkpoint: Path, tmp_path: Path, make_model: Any, write_checkpoint: Any, load: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = write_checkpoint(make_model(DENSE), tmp_path / "out")
    assert main(["convert", str(checkpoint), str(out)]) == 2
    assert "exists: name another OUT, or replace it with --force" in capsys.readouterr().err
    assert load(out).config.text.is_dense
    assert main(["convert", str(checkpoint), str(out), "--force"]) == 0
    assert not load(out).config.text.is_dense


def test_a_folder_of_something_else_is_never_replaced(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    assert main(["convert", str(checkpoint), str(tmp_path / "home"), "--force"]) == 2
    assert "is no checkpoint: not replaced" in capsys.readouterr().err
    assert main(["convert", str(checkpoint), str(tmp_path), "--force"]) == 2
    assert "contains the source" in capsys.readouterr().err
    assert (tmp_path / "home" / "letter.txt").read_text() == "dear"


def test_a_folder_without_weights_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "neither config.json nor Meta's consolidated.00.pth" in capsys.readouterr().err


def test_a_broken_checkpoint_leaves_nothing_behind(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / "model.safetensors").write_bytes(b"no")
    assert main(["convert", str(checkpoint), str(tmp_path / "out")]) == 2
    assert "not a readable safetensors file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
