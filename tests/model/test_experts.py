"""Which experts tokens are sent to: counted against the routers' own logits."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from PIL import Image

from model.__main__ import main
from model.engine import load
from model.experts import ExpertUse, expert_use, plot, table
from model.prompt import open_turn
from model.transformer import Layout


def test_text_and_images_are_counted_apart(tiny_checkpoint: Path) -> None:
    engine = load(tiny_checkpoint, "float32", piece_tokens=16)
    parts = ["the cat sat on the mat", Image.new("RGB", (40, 16), "red")]
    uses = {(use.layer, use.kind): use for use in expert_use(engine, [parts])}
    assert uses.keys() == {(layer, kind) for layer in (1, 3) for kind in ("text", "image")}
    prompt = open_turn(parts, engine.tokenizer, engine.image_processor)
    log: list[tuple[int, torch.Tensor]] = []
    ids = torch.tensor([prompt.token_ids])
    with torch.no_grad():
        x = engine.transformer.embed(ids, prompt.tiles_N3SS)
        engine.transformer(x, Layout.consecutive(0, ids.shape[1]), router_log=log)
    is_image = ids[0] == engine.transformer.config.image_token_index
    for layer, logits in log:
        for kind, chosen in (("image", is_image), ("text", ~is_image)):
            expected = logits[chosen].argmax(-1).bincount(minlength=4) / chosen.sum()
            assert uses[layer, kind].tokens == chosen.sum()
            assert uses[layer, kind].shares_E == pytest.approx(expected.tolist())


def test_several_documents_are_added_up(text_checkpoint: Path) -> None:
    engine = load(text_checkpoint, "float32")
    one, two, both = (
        expert_use(engine, documents)
        for documents in ([["a cat"]], [["the mat"]], [["a cat"], ["the mat"]])
    )
    for first, second, all_ in zip(one, two, both, strict=True):
        assert all_.kind == "text"
        assert all_.tokens == first.tokens + second.tokens
        added = [
            (first.tokens * a + second.tokens * b) / all_.tokens
            for a, b in zip(first.shares_E, second.shares_E, strict=True)
        ]
        assert all_.shares_E == pytest.approx(added)


def test_as_many_experts_are_in_use_as_are_hard_to_foretell() -> None:
    assert ExpertUse(0, "text", 9, (0.5, 0.5, 0.0)).experts_in_use == pytest.approx(2)
    assert ExpertUse(0, "text", 9, (1.0, 0.0, 0.0)).experts_in_use == pytest.approx(1)


def test_the_plot_is_darker_where_an_expert_is_used_more() -> None:
    drawn = plot([ExpertUse(3, "image", 9, (0.75, 0.25, 0.0, 0.0))], "a <name>")
    tree = ET.fromstring(drawn)
    shades = [element.get("fill-opacity") for element in tree.iter() if element.get("fill-opacity")]
    assert shades == ["1.000", "0.500", "0.000", "0.000"]
    assert "a <name>" in "".join(tree.itertext())


def test_the_command_tells_and_draws(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, photo, drawn = tmp_path / "a.txt", tmp_path / "a.png", tmp_path / "a.svg"
    text.write_text("the cat sat")
    Image.new("RGB", (40, 16), "red").save(photo)
    words = ["experts", str(tiny_checkpoint), str(text), str(photo), "--plot", str(drawn)]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["experts"]
    assert [(row["layer"], row["kind"]) for row in told] == [
        (layer, kind) for layer in (1, 3) for kind in ("text", "image")
    ]
    assert drawn.read_text().startswith("<svg")
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["layer", "kind", "tokens", "in", "use", "0", "1", "2", "3"]
    assert len(lines) == 5
    assert table([ExpertUse(1, "text", 2, (1.0,))]).splitlines()[1].split()[-1] == "100.0"
    assert main(["experts", str(tiny_checkpoint), str(tmp_path / "nowhere")]) == 2
    assert "nowhere cannot be read" in capsys.readouterr().err
