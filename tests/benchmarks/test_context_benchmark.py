"""The benchmark of long texts: the line through the costs, who reads how far, and that it runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import torch

from benchmarks import context
from benchmarks.context import STEP, Line, compare, fit, is_next, plot, simulate, table
from benchmarks.plot import Series, lines_svg
from benchmarks.readers import READERS, OutOfMemory, ReaderProcess, Taken
from benchmarks.shapes import text_config
from tests.checkpoints import tiny_checkpoint

CHUNK = 8192
FIRST, EACH = 2e-4, 5e-9  # CPU seconds


def taken(tokens: int, cpu_seconds: float = 1.0) -> Taken:
    return Taken(tokens, cpu_seconds, cpu_seconds, 2**20, 2**19)


def read_at(line: Line, tokens: int) -> list[Taken]:
    """What a reader tells whose costs lie on a line."""
    return [taken(end, line.whole(end)) for end in range(STEP, tokens + 1, STEP)]


def test_a_line_is_found_again() -> None:
    exact = Line(FIRST, EACH, 0.0)
    found = fit(read_at(exact, 8 * CHUNK), CHUNK)
    assert (found.first, found.each) == pytest.approx((FIRST, EACH))
    assert found.residual < 1e-6
    [_, million] = simulate(found)
    assert million["cpu_seconds"] == pytest.approx(FIRST * 2**20 + EACH * 2**39)


def test_what_the_line_misses_is_told() -> None:
    read = read_at(Line(FIRST, 0.0, 0.0), 4 * CHUNK)
    last = replace(read[-1], cpu_seconds=read[-1].cpu_seconds + FIRST * CHUNK)
    assert fit([*read[:-1], last], CHUNK).residual > 0.1


def test_peers_end_when_their_patience_does() -> None:
    assert is_next("ours", 2**20, [taken(STEP, 1e6)])
    assert is_next("transformers, in pieces", 3 * STEP, [taken(2 * STEP, 59)])
    assert not is_next("transformers, in pieces", 3 * STEP, [taken(2 * STEP, 61)])
    lengths = [n for n in range(1, 9) if is_next("transformers, in one pass", n * STEP, [])]
    assert lengths == [1, 2, 4, 8]


def test_a_process_reads_on_and_says_when_memory_is_too_little(tmp_path: Path) -> None:
    reader = ReaderProcess("ours", tiny_checkpoint(tmp_path), "float32", 1, 2**31)
    first, both = reader.read(100), reader.read(900)
    assert (first.tokens, both.tokens) == (100, 1000)
    assert both.cpu_seconds > first.cpu_seconds > 0
    assert both.cache_bytes > first.cache_bytes > 0
    with pytest.raises(OutOfMemory, match="memory"):
        reader.read(2**29)  # whose ids alone are 4 GiB


def test_readings_become_a_table_and_a_plot() -> None:
    line = Line(FIRST, EACH, 0.01)
    measured = {name: read_at(line, 4 * CHUNK) for name in READERS}
    rows = [*compare(measured, text_config("narrow", 2**20), torch.float32), *simulate(line)]
    assert {row["tokens"] for row in rows} >= {4096, 16_384, 32_768, 2**20}
    assert "misses whole chunks by 1.0 %" in table(rows, line)
    drawn = ET.fromstring(plot(measured, line))
    lines = drawn.findall("{*}polyline")
    assert [one.get("stroke-dasharray") is not None for one in lines] == [False] * 3 + [True]


def test_names_are_escaped_in_plots() -> None:
    svg = lines_svg([Series("a<b", [(1024, 1.0), (4096, 3.0)])], "x", "y")
    assert "a<b" in [element.text for element in ET.fromstring(svg).iter()]


def test_the_command_measures_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(context, "checkpoint", lambda dtype: tiny_checkpoint(tmp_path / dtype))
    others = [name for name in READERS if name != "ours"]
    asked = ["--tokens", "16384", "--json", "--dtype", "float32", "--out", str(tmp_path / "out")]
    assert context.main([*asked, "--without", *others]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["tokens"] for row in told["rows"]] == [4096, 16_384, 2**19, 2**20]
    assert told["line"]["each"] > 0
    assert ET.parse(tmp_path / "out" / "context.svg").getroot().tag.endswith("svg")
    kept = json.loads((tmp_path / "out" / "context.json").read_text())
    assert [turn["tokens"] for turn in kept["turns"]["ours"]] == [4096, 8192, 12_288, 16_384]
