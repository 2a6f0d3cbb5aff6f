"""Meta's files become a checkpoint that computes the same, here and in transformers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from model.__main__ import main
from model.config import ModelConfig
from tests.model.convert.conftest import DENSE, LLAMA4, VISION

PARAMS = {
    "dim": 64,
    "n_layers": 4,
    "n_heads": 4,
    "n_kv_heads": 2,
    "norm_eps": 1e-5,
    "vocab_size": -1,
}
MOE = {"num_experts": 4, "top_k": 1, "interleave_moe_layer_step": 2}
LLAMA4_PARAMS = {
    **PARAMS,
    "rope_theta": 500_000.0,
    "nope_layer_interval": 4,
    "attention_chunk_size": 8192,
    "use_qk_norm": True,
    "use_scaled_rope": True,
    "moe_args": MOE,
}
SCOUT_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 16.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
}
VISION_ARGS = {
    "image_size": {"height": 24, "width": 24},
    "patch_size": {"height": 4, "width": 4},
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "mlp_ratio": 4.0,
    "output_dim": 40,
    "pixel_shuffle_ratio": 0.5,
}
IDS = torch.randint(0, 256, (2, 23), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("slices", [1, 2])
@pytest.mark.parametrize("old_embedding", [False, True], ids=["rows", "columns"])
def test_a_dense_model_computes_the_same(
    slices: int, old_embedding: bool, tmp_path: Path,
    make_model: Any, meta_state: Any, write_meta: Any, load: Any, logits_of: Any,
) -> None:  # fmt: skip
    model = make_model(DENSE)
    folder = write_meta(meta_state(model), PARAMS, tmp_path / "meta", slices, old_embedding)
    assert main(["convert", str(folder), str(tmp_path / "out")]) == 0
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    wanted = logits_of(model, IDS)
    assert torch.equal(logits_of(load(tmp_path / "out"), IDS), wanted)
    with torch.no_grad():
        assert (theirs(IDS).logits - wanted).abs().max() < 1e-4


@pytest.mark.parametrize("slices", [1, 2])
def test_llama_4_with_its_eyes_is_kept_weight_for_weight(
    slices: int, tmp_path: Path, make_model: Any, meta_state: Any, write_meta: Any, load: Any
) -> None:
    text = {**LLAMA4, "rope_parameters": SCOUT_ROPE, "attention_chunk_size": 8192}
    model = make_model({"model_type": "llama4", "text_config": text, "vision_config": VISION})
    state = {**meta_state(model), "layers.0.attention.wo._extra_state": torch.zeros(1)}
    params = {**LLAMA4_PARAMS, "vision_args": VISION_ARGS}
    folder = write_meta(state, params, tmp_path / "meta", slices)
    assert main(["convert", str(folder), str(tmp_path / "out")]) == 0
    ours = load(tmp_path / "out")
    for name, weight in model.state_dict().items():
        assert torch.equal(ours.state_dict()[name], weight), name
    assert ours.config.text.rope == model.config.text.rope
    assert ours.config.vision == model.config.vision
    assert (tmp_path / "out" / "preprocessor_config.json").is_file()
    transformers.AutoConfig.from_pretrained(tmp_path / "out")


def test_older_names_are_read(
    tmp_path: Path, make_model: Any, meta_state: Any, write_meta: Any, load: Any, logits_of: Any
) -> None:
    model = make_model({**LLAMA4, "rope_parameters": SCOUT_ROPE})
    state = meta_state(model)
    for n in range(4):
        start = f"layers.{n}."
        qkv = [state.pop(f"{start}attention.w{letter}.weight") for letter in "qkv"]
        state[f"{start}attention.wqkv.weight"] = torch.cat(qkv)
        norm = state.pop(f"{start}attention_norm.weight")
        state[f"{start}attention.wqkv.layer_norm_weight"] = norm
        norm = state.pop(f"{start}ffn_norm.weight")
        if f"{start}feed_forward.w1.weight" not in state:
            state[f"{start}feed_forward.norm.weight"] = norm
            continue
        state[f"{start}feed_forward.mlp.layer_norm_weight"] = norm
        gate_up = [state.pop(f"{start}feed_forward.w{number}.weight") for number in "13"]
        state[f"{start}feed_forward.mlp.fc1_weight"] = torch.cat(gate_up)
        down = state.pop(f"{start}feed_forward.w2.weight")
        state[f"{start}feed_forward.mlp.fc2_weight"] = down
    folder = write_meta(state, LLAMA4_PARAMS, tmp_path / "meta")
    assert main(["convert", str(folder), str(tmp_path / "out")]) == 0
    assert torch.equal(logits_of(load(tmp_path / "out"), IDS), logits_of(model, IDS))


def test_one_matrix_for_both_ends_is_noticed(
    tmp_path: Path, make_model: Any, meta_state: Any, write_meta: Any, load: Any
) -> None:
    state = meta_state(make_model({**DENSE, "tie_word_embeddings": True}))
    state["output.weight"] = state["tok_embeddings.weight"]
    params = {**PARAMS, "use_scaled_rope": True, "rope_theta": 500_000.0}
    folder = write_meta(state, params, tmp_path / "meta")
    assert main(["convert", str(folder), str(tmp_path / "out")]) == 0
    text = load(tmp_path / "out").config.text
    assert text.tie_word_embeddings
    assert (text.rope.factor, text.max_position_embeddings) == (32.0, 131_072)


def test_large_models_are_written_in_shards(
    tmp_path: Path, make_model: Any, meta_state: Any, write_meta: Any, load: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("model.convert.shards.write_shards.__defaults__", (100_000,))
    model = make_model(DENSE)
    folder = write_meta(meta_state(model), PARAMS, tmp_path / "meta")
    assert main(["convert", str(folder), str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").glob("model-*-of-*.safetensors"))) > 2
    ours = load(tmp_path / "out").state_dict()
    assert all(torch.equal(ours[name], weight) for name, weight in model.state_dict().items())


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("hostile-was-here",)


def test_a_pickle_with_code_is_refused_and_not_run(
    tmp_path: Path, make_model: Any, meta_state: Any, write_meta: Any,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    folder = write_meta(meta_state(make_model(DENSE)), PARAMS, tmp_path / "meta")
    torch.save({"norm.weight": Hostile()}, folder / "consolidated.00.pth")
    assert main(["convert", str(folder), str(tmp_path / "out")]) == 2
    assert "holds code beside the weights, and was not run" in capsys.readouterr().err
    assert not (tmp_path / "hostile-was-here").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["meta"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers.1.attention.wq.weight": None}, "layers.1.attention.wq.weight is missing"),
        ({"layers.1.extra": torch.ones(1)}, "layers.1.extra is not a weight of this model"),
        ({"norm.weight": torch.ones(63)}, "norm.weight has shape (63,)"),
        ({"norm.weight": torch.ones(64, dtype=torch.int8)}, "not as a plain float"),
    ],
    ids=["missing", "extra", "shape", "quantised"],
)
def test_wrong_weights_are_named(
    change: dict[str, Any], message: str, tmp_path: Path,
    make_model: Any, meta_state: Any, write_meta: Any, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    state = {**meta_state(make_model(DENSE)), **change}
    state = {name: weight for name, weight in state.items() if weight is not None}
    folder = write_meta(state, PARAMS, tmp_path / "meta")
    assert main(["convert", str(folder), str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_broken_file_is_named(
    tmp_path: Path, make_model: Any, meta_state: Any, write_meta: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = write_meta(meta_state(make_model(DENSE)), PARAMS, tmp_path / "meta")
    file = folder / "consolidated.00.pth"
    file.write_bytes(file.read_bytes()[:1000])
    assert main(["convert", str(folder), str(tmp_path / "out")]) == 2
    assert "consolidated.00.pth is not a whole weights file" in capsys.readouterr().err


def test_the_fixture_is_what_the_config_says(make_model: Any) -> None:
    assert make_model(DENSE).config == ModelConfig.from_hf(DENSE)


def test_llama_3_2_vision_is_refused_by_name(
    make_model: Any, meta_state: Any, write_meta: Any, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    params = {**PARAMS, "vision_num_cross_attention_layers": 2}
    folder = write_meta(meta_state(make_model(DENSE)), params, tmp_path / "meta")
    assert main(["convert", str(folder), str(tmp_path / "out")]) == 2
    assert "holds Llama 3.2 Vision" in capsys.readouterr().err
