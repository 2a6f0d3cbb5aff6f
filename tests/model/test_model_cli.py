"""`python -m model`: what people see of a checkpoint without the application."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from model.__main__ import in_tokens, main
from model.describe import describe
from model.progress import Progress


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.new("RGB", (40, 16), "red").save(path)
    return path


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "document.txt"
    path.write_text("the cat sat. 文件", encoding="utf-8")
    return path


def run_json(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    assert main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def error_of(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([str(word) for word in words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_generate_writes_an_answer_on_stdout(
    tiny_checkpoint: Path, photo: Path, document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["generate", tiny_checkpoint, "--document", document, "--image", photo]
    words += ["--prompt", "cat?", "--allowed", "yes", "--allowed", "no"]
    assert main([str(word) for word in words]) == 0
    spoken = capsys.readouterr().out
    assert spoken in {"yes\n", "no\n"}
    assert run_json(capsys, *words)["text"] + "\n" == spoken


def test_generate_json_says_what_wrote_it(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--prompt", "a", "--max-tokens", 5, "--temperature", 1, "--seed", 4]
    first = run_json(capsys, "generate", tiny_checkpoint, *words)
    again = run_json(capsys, "generate", tiny_checkpoint, *words)
    assert first["text"] == again["text"]
    assert first["model"]["name"] == "tiny"
    assert len(first["model"]["weights_sha256"]) == 64
    assert first["tokens"]["prefix"] > 0
    assert set(first["seconds"]) == {"prefill", "generate"}


def test_score_gives_a_log_probability_for_each_continuation(
    tiny_checkpoint: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["score", tiny_checkpoint, "--image", photo, "--prompt", "cat?"]
    words += ["--continuation", "y", "--continuation", "n"]
    scores = run_json(capsys, *words)["scores"]
    assert [score["continuation"] for score in scores] == ["y", "n"]
    assert sum(math.exp(score["log_probability"]) for score in scores) < 1
    assert main([str(word) for word in words]) == 0
    assert capsys.readouterr().out.splitlines()[0].split()[-1] == "y"


def test_score_without_a_prompt_continues_the_text_itself(
    tiny_checkpoint: Path, document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["score", tiny_checkpoint, "--document", document, "--continuation", " the mat"]
    plain = run_json(capsys, *words)
    asked = run_json(capsys, *words, "--prompt", "")
    assert plain["scores"] != asked["scores"]


def test_describe_counts_parameters_layers_and_memory(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from model.checkpoint import load_transformer

    loaded = load_transformer(tiny_checkpoint, torch.float32)
    told = run_json(capsys, "describe", tiny_checkpoint, "--dtype", "float32", "--context", 100)
    total = sum(parameter.numel() for parameter in loaded.parameters())
    expert = 3 * 32 * 32  # gate, up and down of one expert
    assert told["parameters"] == total
    assert told["weights_bytes"] == 4 * total
    assert told["parameters_active"] == total - told["parameters_vision"] - 2 * 3 * expert
    assert told["layers"] == [
        "chunks of 16 (RoPE), dense",
        "chunks of 16 (RoPE), 4 experts",
        "chunks of 16 (RoPE), dense",
        "global, 4 experts",
    ]
    assert told["cache_bytes"] == (3 * 16 + 100) * 2 * 2 * 8 * 4
    assert told["tokens_per_tile"] == 4


def test_describe_tells_what_chunks_and_fewer_bits_save(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = run_json(capsys, "describe", Path("llama-4-scout"), "--cache-dtype", "int8")
    million = told["contexts"][2]
    token = 2 * 8 * (128 + 2)  # keys and values: a byte for each number, two for each scale
    assert (told["cache_dtype"], million["tokens"]) == ("int8", 1_000_000)
    assert million["cache_bytes"] == (12 * 1_000_000 + 36 * 8_192) * token
    assert million["cache_bytes_in_full"] == 48 * 1_000_000 * token
    assert [context["tokens"] for context in told["contexts"]][-1] == told["context_length"]


def test_describe_is_readable_without_json(
    text_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["describe", str(text_checkpoint)]) == 0
    told = capsys.readouterr().out
    assert "reads text only" in told
    assert "  3: global, 4 experts\n" in told


def test_describe_reads_no_weights(tiny_checkpoint: Path, tmp_path: Path) -> None:
    import torch

    (tmp_path / "config.json").write_bytes((tiny_checkpoint / "config.json").read_bytes())
    assert describe(tmp_path, torch.float32, None).cache_tokens == 400


def test_errors_are_one_line_that_names_the_subject(
    tiny_checkpoint: Path,
    text_checkpoint: Path,
    photo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ask = ["--prompt", "a"]
    nowhere = tmp_path / "nowhere"
    assert "nowhere" in error_of(capsys, "describe", nowhere)
    assert "nowhere" in error_of(capsys, "generate", nowhere, *ask)
    generate = ["generate", tiny_checkpoint, *ask]
    assert "cannot be read as an image" in error_of(capsys, *generate, "--image", __file__)
    assert "nowhere cannot be read" in error_of(capsys, *generate, "--document", nowhere)
    assert "not UTF-8" in error_of(capsys, *generate, "--document", photo)
    assert "context of 400" in error_of(capsys, *generate, "--max-tokens", 1000)
    assert "temperature must be" in error_of(capsys, *generate, "--temperature", -1)
    assert "dtype 'x'" in error_of(capsys, *generate, "--dtype", "x")
    blind = ["generate", text_checkpoint, *ask, "--image", photo]
    assert "reads text only" in error_of(capsys, *blind)


@pytest.mark.parametrize("words", [[], ["sing"], ["generate"], ["describe", "x", "--context", "0"]])
def test_bad_usage_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_an_interrupt_exits_with_130(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "__call__", interrupted)
    assert main(["generate", str(tiny_checkpoint), "--prompt", "a"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_progress_is_silent_for_a_moment_and_then_tells_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr("model.__main__.time.monotonic", lambda: now[0])
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    progress = Progress("reading", in_tokens)
    progress(0, 1000)
    now[0] += 1
    progress(100, 1000)
    assert capsys.readouterr().err == ""
    now[0] += 4
    progress(500, 1000)
    told = capsys.readouterr().err
    assert "500/1,000 tokens, 5 s left" in told
    progress(1000, 1000)
    assert capsys.readouterr().err == "\r\033[K"


def test_the_module_runs_as_a_program(tiny_checkpoint: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "model", "describe", str(tiny_checkpoint), "--json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert json.loads(done.stdout)["name"] == "tiny"
    assert done.stderr == ""


def test_training_has_its_own_help() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "model", "train", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "python -m model train" in done.stdout
