"""LLaMA 1, Llama 2, 3, 3.1, 3.2 and 3.3 in small: our logits against those of transformers, in
float32, from its checkpoints and from ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.checkpoint import load_transformer, save_checkpoint

LENGTH = 45  # tokens

LLAMA_31_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,  # far less than is read
}
FAMILY = {
    "LLaMA 1": {"rms_norm_eps": 1e-6},
    "Llama 2 7B": {"rms_norm_eps": 1e-5},
    "Llama 2 70B": {"rms_norm_eps": 1e-5, "num_attention_heads": 8, "num_key_value_heads": 2},
    "Llama 3": {
        "rms_norm_eps": 1e-5,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
    },
    "Llama 3.1": {
        "rms_norm_eps": 1e-5,
        "num_key_value_heads": 2,
        "rope_parameters": LLAMA_31_ROPE,
    },
    "Llama 3.2": {
        "rms_norm_eps": 1e-5,
        "num_key_value_heads": 1,
        "head_dim": 16,  # times the heads, it is not the hidden size
        "rope_parameters": {**LLAMA_31_ROPE, "factor": 32.0},
        "tie_word_embeddings": True,
    },
    "linear scaling": {
        "rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}
    },
}
each_of_the_family = pytest.mark.parametrize("config", FAMILY.values(), ids=FAMILY.keys())


@each_of_the_family
def test_logits_agree_in_one_pass_in_pieces_and_decoded(
    config: dict[str, Any], make_dense_pair: Any, close: Any, random_ids: Callable[..., Tensor]
) -> None:
    pair = make_dense_pair(**config)
    ids = random_ids(LENGTH)
    theirs = pair.their_logits(ids)
    close("one pass", pair.our_logits(ids), theirs)
    close("in pieces", pair.our_logits(ids, pieces=(3, 17, 1, 24)), theirs)
    close("decoded", pair.our_logits(ids, pieces=(5, *[1] * (LENGTH - 5))), theirs)


@each_of_the_family
def test_transformers_loads_what_we_save(
    config: dict[str, Any],
    make_dense_pair: Any,
    close: Any,
    random_ids: Callable[..., Tensor],
    tmp_path: Path,
) -> None:
    pair = make_dense_pair(**config)
    saved = tmp_path / "saved"
    save_checkpoint(pair.ours, saved, max_shard_bytes=20_000)
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(
        saved, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert type(theirs).__name__ == "LlamaForCausalLM"
    assert {kind: list(names) for kind, names in report.items() if names} == {}
    for name, weight in pair.theirs.state_dict().items():
        assert torch.equal(theirs.state_dict()[name], weight), name
    ids = random_ids(LENGTH)
    with torch.no_grad():
        close("saved by us", pair.our_logits(ids), theirs(input_ids=ids).logits)


def test_scaling_and_grouping_act(make_dense_pair: Any, random_ids: Callable[..., Tensor]) -> None:
    ids = random_ids(LENGTH)
    scaled = make_dense_pair(rope_parameters=LLAMA_31_ROPE).our_logits(ids)
    plain = make_dense_pair(rope_parameters={"rope_theta": 500_000.0}).our_logits(ids)
    assert (scaled - plain).abs().max() > 0.1


def test_transformers_decodes_what_we_decode(
    make_dense_pair: Any, random_ids: Callable[..., Tensor]
) -> None:
    pair = make_dense_pair(**FAMILY["Llama 3.1"])
    ids = random_ids(20, batch=1)
    generated = pair.theirs.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=12,
        do_sample=False,
        eos_token_id=None,
    )
    greedy = ids
    for _ in range(12):
        best = pair.our_logits(greedy)[:, -1:].argmax(-1)
        greedy = torch.cat([greedy, best], dim=1)
    assert generated.tolist() == greedy.tolist()


def test_an_old_release_is_read(
    make_dense_pair: Any, close: Any, random_ids: Callable[..., Tensor]
) -> None:
    """Keys of early transformers: no head_dim, null for what is absent, RoPE's frequencies beside
    the weights."""
    pair = make_dense_pair()
    config = json.loads((pair.folder / "config.json").read_text())
    for key in ("head_dim", "rope_parameters", "mlp_bias", "attention_bias"):
        del config[key]
    config |= {"rope_scaling": None, "num_key_value_heads": None, "max_sequence_length": 64}
    (pair.folder / "config.json").write_text(json.dumps(config))
    weights = load_file(pair.folder / "model.safetensors")
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    save_file(weights, pair.folder / "model.safetensors")
    old = load_transformer(pair.folder)
    ids = random_ids(LENGTH)
    assert old.config == pair.ours.config
    close("old release", type(pair)(None, old, pair.folder).our_logits(ids), pair.their_logits(ids))
