"""The other way round: transformers loads what we save, whole, and computes the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from model.checkpoint import save_checkpoint

IMAGE = 24  # pixels, as in conftest
PATCH = 90


@pytest.mark.parametrize("shard_bytes", [10**9, 30_000], ids=["one file", "shards"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("vision", [None, {}], ids=["text only", "with vision"])
def test_transformers_loads_what_we_save(
    vision: dict[str, Any] | None,
    tied: bool,
    shard_bytes: int,
    make_pair: Any,
    close: Any,
    random_ids: Callable[..., Tensor],
    tmp_path: Path,
) -> None:
    pair = make_pair(vision=vision, tie_word_embeddings=tied, interleave_moe_layer_step=2)
    saved = tmp_path / "saved"
    save_checkpoint(pair.ours, saved, max_shard_bytes=shard_bytes)
    family = (
        transformers.AutoModelForCausalLM
        if vision is None
        else transformers.AutoModelForImageTextToText
    )
    theirs, report = family.from_pretrained(
        saved, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert {kind: list(names) for kind, names in report.items() if names} == {}
    ids, tiles = random_ids(30), None
    if vision is not None:
        ids[:, 3 : 3 + pair.ours.config.vision.tokens_per_tile] = PATCH
        tiles = torch.randn(2, 3, IMAGE, IMAGE)
    with torch.no_grad():
        images = {} if tiles is None else {"pixel_values": tiles}
        logits = theirs(input_ids=ids, **images).logits
    close("saved by us", pair.our_logits(ids, tiles), logits)


def test_scaled_rope_survives_saving(
    make_pair: Any, close: Any, random_ids: Callable[..., Tensor], tmp_path: Path
) -> None:
    rope = {
        "rope_type": "llama3",
        "rope_theta": 10_000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }
    pair = make_pair(rope_parameters=rope, num_experts_per_tok=2, use_qk_norm=False)
    save_checkpoint(pair.ours, tmp_path / "saved")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "saved", dtype=torch.float32, attn_implementation="eager"
    )
    ids = random_ids(30)
    with torch.no_grad():
        close("saved by us", pair.our_logits(ids), theirs(input_ids=ids).logits)
