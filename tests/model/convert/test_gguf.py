"""GGUF files, read back with llama.cpp's own Python package, and run by llama.cpp where it is."""

from __future__ import annotations

import json
import math
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from model.__main__ import main
from model.convert.gguf import rope_factors
from model.convert.tokenizer import LLAMA3_PIECES, LLAMA4_PIECES
from tests.model.convert.conftest import DENSE, LLAMA4, RANKS, VISION

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed (extra convert)")

NO_LLAMA_CPP = "llama.cpp is not installed: pip install xllamacpp"
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
MODELS = {
    "dense": DENSE,
    "dense, a key-value head for each query head": {**DENSE, "num_key_value_heads": 4},
    "dense, tied, scaled": {**DENSE, "tie_word_embeddings": True, "rope_parameters": LLAMA3_ROPE},
    "Llama 4": {**LLAMA4, "rope_parameters": LLAMA3_ROPE},
    "Llama 4, all mixtures": {**LLAMA4, "interleave_moe_layer_step": 1, "num_local_experts": 16},
}


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    reader = gguf.GGUFReader(path)
    keys = {name: field.contents() for name, field in reader.fields.items()}
    return keys, {tensor.name: tensor for tensor in reader.tensors}


def values(tensor: Any) -> torch.Tensor:
    return torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())


@pytest.fixture
def export(make_model: Any, write_checkpoint: Any, tmp_path: Path) -> Any:
    def run(config: dict[str, Any], dtype: str = "f32") -> tuple[Any, Path]:
        model = make_model(config)
        folder = write_checkpoint(model, tmp_path / "checkpoint")
        out = tmp_path / "out.gguf"
        assert main(["convert", str(folder), str(out), "--dtype", dtype]) == 0
        return model, out

    return run


def test_a_dense_model_has_llama_cpps_names_and_keys(export: Any) -> None:
    model, path = export(MODELS["dense, tied, scaled"])
    keys, tensors = read(path)
    wanted = {
        "general.architecture": "llama",
        "llama.block_count": 4,
        "llama.embedding_length": 64,
        "llama.feed_forward_length": 96,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.rope.dimension_count": 16,
        "llama.vocab_size": 320,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "llama-bpe",
    }
    assert {key: keys[key] for key in wanted} == wanted
    assert "output.weight" not in tensors
    query = model.blocks[1].attention.query.weight
    assert torch.equal(values(tensors["blk.1.attn_q.weight"]), query)
    factors = values(tensors["rope_freqs.weight"])
    assert torch.equal(factors, rope_factors(model.config.text.rope, 16))
    assert factors[0] == 1
    assert math.isclose(factors[-1], 8.0, rel_tol=1e-6)


def test_llama_4s_experts_are_turned_and_cut(export: Any) -> None:
    model, path = export(MODELS["Llama 4"])
    keys, tensors = read(path)
    wanted = {
        "general.architecture": "llama4",
        "llama4.expert_count": 4,
        "llama4.expert_used_count": 1,
        "llama4.expert_feed_forward_length": 96,
        "llama4.feed_forward_length": 128,
        "llama4.interleave_moe_layer_step": 2,
    }
    assert {key: keys[key] for key in wanted} == wanted
    experts = model.blocks[1].feed_forward.experts
    gate, up = experts.gate_up.chunk(2, dim=-1)
    assert torch.equal(values(tensors["blk.1.ffn_gate_exps.weight"]), gate.transpose(1, 2))
    assert torch.equal(values(tensors["blk.1.ffn_up_exps.weight"]), up.transpose(1, 2))
    down = experts.down.transpose(1, 2)
    assert torch.equal(values(tensors["blk.1.ffn_down_exps.weight"]), down)
    router = model.blocks[1].feed_forward.router.weight
    assert torch.equal(values(tensors["blk.1.ffn_gate_inp.weight"]), router)
    assert "blk.0.ffn_gate.weight" in tensors
    assert "blk.1.ffn_up_shexp.weight" in tensors


@pytest.mark.parametrize(("dtype", "error"), [("f16", 1e-3), ("bf16", 8e-3), ("q8_0", 1e-2)])
def test_smaller_types_stay_close(dtype: str, error: float, export: Any) -> None:
    model, path = export(MODELS["Llama 4"], dtype)
    _, tensors = read(path)
    stored = tensors["blk.1.ffn_down_exps.weight"]
    assert stored.tensor_type.name == dtype.upper()
    wanted = model.blocks[1].feed_forward.experts.down.transpose(1, 2)
    assert (values(stored) - wanted).abs().max() < error
    assert tensors["blk.1.ffn_gate_inp.weight"].tensor_type.name == "F32"
    assert tensors["blk.1.attn_norm.weight"].tensor_type.name == "F32"


def test_the_vocabulary_is_kept(export: Any) -> None:
    _, path = export(DENSE)
    keys, _ = read(path)
    tokens = keys["tokenizer.ggml.tokens"]
    assert len(tokens) == 320
    assert tokens[RANKS[b" the"]] == "Ġthe"
    assert tokens[len(RANKS)] == "<|begin_of_text|>"
    assert keys["tokenizer.ggml.bos_token_id"] == len(RANKS)
    types = keys["tokenizer.ggml.token_type"]
    assert [types[0], types[len(RANKS)], types[-1]] == [1, 3, 5]
    assert "Ġt he" not in keys["tokenizer.ggml.merges"]  # "he" is no token
    assert "t h" in keys["tokenizer.ggml.merges"]


def test_eyes_are_left_out_and_said_so(export: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, path = export({"model_type": "llama4", "text_config": LLAMA4, "vision_config": VISION})
    _, tensors = read(path)
    assert {name.split(".")[0] for name in tensors} == {
        "blk", "output", "output_norm", "token_embd"
    }  # fmt: skip
    assert "vision encoder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"no_rope_layers": [1, 0, 1, 0]},
        {"moe_layers": [0]},
        {"use_qk_norm": False},
        {"attention_chunk_size": 64},
        {"floor_scale": 32},
    ],
    ids=str,
)
def test_what_llama_cpp_computes_otherwise_is_refused(
    change: dict[str, Any], make_model: Any, write_checkpoint: Any, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = write_checkpoint(make_model({**LLAMA4, **change}), tmp_path / "checkpoint")
    assert main(["convert", str(folder), str(tmp_path / "out.gguf")]) == 2
    assert next(iter(change)) in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_computes_the_same(name: str, export: Any, logits_of: Any) -> None:
    llama_cpp = pytest.importorskip("xllamacpp", reason=NO_LLAMA_CPP)
    model, path = export(MODELS[name])
    ids = torch.randint(0, 256, (1, 48), generator=torch.Generator().manual_seed(5))
    ours = torch.log_softmax(logits_of(model, ids), dim=-1)[0]
    server = _serve(llama_cpp, path)
    difference = 0.0
    for length in (1, 2, 17, 48):
        theirs = _log_probabilities(server, ids[0, :length].tolist())
        known = torch.tensor(sorted(theirs))
        wanted = torch.tensor([theirs[number] for number in sorted(theirs)])
        difference = max(difference, (ours[length - 1, known] - wanted).abs().max().item())
        assert len(known) > 200
        assert wanted.std() > 0.5, "too flat to compare"
    print(f"{name}: largest difference {difference:.1e}")  # noqa: T201
    assert difference < 1e-3


@pytest.mark.parametrize("pieces", [LLAMA3_PIECES, LLAMA4_PIECES], ids=["Llama 3", "Llama 4"])
def test_llama_cpp_cuts_text_into_the_same_tokens(
    pieces: str, make_model: Any, write_checkpoint: Any, tmp_path: Path
) -> None:
    llama_cpp = pytest.importorskip("xllamacpp", reason=NO_LLAMA_CPP)
    folder = write_checkpoint(make_model(DENSE), tmp_path / "checkpoint", pieces)
    assert main(["convert", str(folder), str(tmp_path / "out.gguf")]) == 0
    server = _serve(llama_cpp, tmp_path / "out.gguf")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in ("the cat in the thing", "THE Cat's  12345…\n\n  文件 在 the 文", "x/y\r\n\tI'LL"):
        theirs = _ask(server, "/tokenize", {"content": text})["tokens"]
        assert theirs == tokenizer.encode(text, add_special_tokens=False).ids


def _serve(llama_cpp: Any, path: Path) -> Any:
    params = llama_cpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = 128
    params.n_parallel = 1
    params.warmup = False
    # By default keys and values are rounded to 16 bits.
    params.cache_type_k = params.cache_type_v = llama_cpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = llama_cpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    return llama_cpp.Server(params)


def _ask(server: Any, path: str, question: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        server.listening_address + path,
        json.dumps(question).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def _log_probabilities(server: Any, ids: list[int]) -> dict[int, float]:
    """Of the next token, by its id. The bias makes it write "a", since it tells nothing of half a
    character; what it tells is from before the bias."""
    asked = {
        "prompt": ids, "max_tokens": 1, "logprobs": 320, "temperature": -1, "cache_prompt": False,
        "logit_bias": [[ord("a"), 1000]],
    }  # fmt: skip
    answer = server.handle_completions(asked)
    found = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    return {each["id"]: each["logprob"] for each in found}
