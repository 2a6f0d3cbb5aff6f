"""Recall by length and depth: what a perfect reader, one that forgets, and a real engine get."""

from __future__ import annotations

import json
import lzma
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import pytest

from model.checkpoint import save_checkpoint
from model.config import ModelConfig, TextConfig
from model.train import cli
from model.train.heat import heat_map
from model.train.measure.recall import BEYOND, DEPTHS, Recall, lengths, measure_recall
from model.transformer import Transformer

LANGUAGES = ("en", "zh")


class Reader:
    """Reads letters as tokens and remembers those of the last `span` characters."""

    context_length = 3_000
    trained_length = 2_000

    def __init__(self, span: int = 10**9) -> None:
        self.span = span
        self.read: list[str] = []

    def count_tokens(self, text: str) -> int:
        return len(text)

    def prefill(self, parts: Sequence[str]) -> str:
        self.read.append("".join(parts))
        return self.read[-1][-self.span :]

    def score(self, prefix: str, pairs: Sequence[tuple[str, str]]) -> list[float]:
        return [-len(answer) * (1.0 if answer in prefix else 2.0) for _, answer in pairs]


def quiet(what: str, done: int, total: int) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with enough text for a thousand letters."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "documents").mkdir()
    said = {"en": "The printer is on the third floor. ", "zh": "打印机在三楼的办公室里。"}
    rows = [
        {"id": f"{lang}{n}", "source": "s", "lang": lang, "summary": "", "text": said[lang] * 40}
        for lang in LANGUAGES
        for n in range(4)
    ]
    with lzma.open(folder / "documents" / "val.jsonl.xz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


@pytest.mark.parametrize("lang", LANGUAGES)
def test_who_remembers_everything_is_right_everywhere(text: Path, lang: str) -> None:
    reader = Reader()
    found = measure_recall(reader, text, [300, 900], lang=lang, each=2, report=quiet)
    assert [(cell.tokens, cell.depth) for cell in found] == [
        (tokens, depth) for tokens in (300, 900) for depth in DEPTHS
    ]
    assert {(cell.asked, cell.share) for cell in found} == {(2, 1.0)}
    for tokens, read in zip((300, 300, 900, 900), reader.read, strict=True):
        assert 0.8 * tokens < len(read) < 2 * tokens + 400  # the facts come on top


def test_who_forgets_is_right_about_the_end_alone(text: Path) -> None:
    found = measure_recall(Reader(span=300), text, [1000], each=2, report=quiet)
    shares = {cell.depth: cell.share for cell in found}
    assert shares[1.0] == 1.0
    assert shares[0.0] == shares[0.25] == 0.0


def test_lengths_double_as_long_as_they_fit() -> None:
    assert lengths(Reader()) == [1_000, 2_000]


def test_lengths_that_do_not_fit_are_refused(text: Path) -> None:
    with pytest.raises(ValueError, match=r"2,900 tokens .* 412 shorter"):
        measure_recall(Reader(), text, [300, 2_900], report=quiet)


def test_a_checkpoint_is_measured_by_the_command(
    text_checkpoint: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "patient"
    shutil.copytree(text_checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1_900}))
    plot = tmp_path / "recall.svg"
    argv = ["recall", str(folder), "--data", str(text), "--each", "1", "--plot", str(plot)]
    assert cli.main("evaluate", [*argv, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["tokens"] for row in rows] == [1_000] * len(DEPTHS)
    assert all(row["share"] in (0.0, 1.0) for row in rows)
    assert len(ET.parse(plot).findall("{*}rect")) == len(DEPTHS)


def test_texts_longer_than_the_config_promises_are_read_and_marked(
    text_checkpoint: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "hasty"
    shutil.copytree(text_checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 900}))
    argv = ["recall", str(folder), "--data", str(text), "--each", "1"]
    argv += ["--tokens", "300", "--tokens", "700"]
    assert cli.main("evaluate", [*argv, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {(row["tokens"], row["is_beyond"]) for row in rows} == {(300, False), (700, True)}
    plot = tmp_path / "recall.svg"
    assert cli.main("evaluate", [*argv, "--plot", str(plot)]) == 0
    told = capsys.readouterr().out
    assert "700*" in told
    assert "300*" not in told
    assert f"* {BEYOND}" in told
    assert f"* {BEYOND}" in plot.read_text()


def test_positions_that_were_never_learned_are_refused(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = TextConfig.dense(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    save_checkpoint(Transformer(ModelConfig(shape)), tmp_path / "dense")
    argv = ["recall", str(tmp_path / "dense"), "--data", str(text), "--tokens", "100000"]
    assert cli.main("evaluate", argv) == 2
    assert "only models with layers that need none" in capsys.readouterr().err


def test_the_map_escapes_names() -> None:
    svg = heat_map([Recall(1_000, 0.5, 4, 0.25)], "a<b & c")
    assert "a&lt;b &amp; c" in svg
    assert "25%" in svg
    assert ET.fromstring(svg).tag.endswith("svg")
