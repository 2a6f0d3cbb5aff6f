"""Our logits against those of transformers, on its own random checkpoints, in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

CHUNK = 8  # as in conftest
PATCH = 90

LAYERS = {
    "all layers mixtures of experts": {},
    "dense and mixture layers in turn": {"interleave_moe_layer_step": 2},
    "one mixture, as listed": {"moe_layers": [2]},
    "dense layers only": {"moe_layers": []},
    "layers without RoPE as listed": {"no_rope_layers": [0, 1, 0, 1]},
    "every second layer without RoPE": {"no_rope_layer_interval": 2, "num_hidden_layers": 5},
    "one expert": {"num_local_experts": 1},
    "two experts": {"num_local_experts": 2},
    "sixteen experts": {"num_local_experts": 16},
    "three of eight experts for each token": {"num_local_experts": 8, "num_experts_per_tok": 3},
    "no query-key norm": {"use_qk_norm": False},
    "tied embeddings": {"tie_word_embeddings": True},
    "a key-value head for each query head": {"num_key_value_heads": 4},
    "one key-value head": {"num_key_value_heads": 1, "head_dim": 16},
    "RoPE scaled as in Llama 3": {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 10_000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        }
    },
    "RoPE scaled as in Scout, without a blend": {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500_000.0,
            "factor": 16.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 1.0,
            "original_max_position_embeddings": 64,
        }
    },
}


@pytest.mark.parametrize("text", LAYERS.values(), ids=LAYERS.keys())
def test_logits_agree_over_several_chunks(
    text: dict[str, Any], make_pair: Any, close: Any, random_ids: Callable[..., Tensor]
) -> None:
    pair = make_pair(**text)
    ids = random_ids(5 * CHUNK + 3)
    theirs = pair.their_logits(ids)
    close("one pass", pair.our_logits(ids), theirs)
    close("in pieces", pair.our_logits(ids, pieces=(3, 5, 1, 20, 14)), theirs)


@pytest.mark.parametrize("length", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_prompts_that_end_around_a_chunk_border_agree(
    length: int, make_pair: Any, close: Any, random_ids: Callable[..., Tensor]
) -> None:
    pair = make_pair()
    ids = random_ids(length)
    close(f"{length} tokens", pair.our_logits(ids), pair.their_logits(ids))


def test_temperature_tuning_acts_and_agrees(
    make_pair: Any, close: Any, random_ids: Callable[..., Tensor]
) -> None:
    ids = random_ids(4 * CHUNK)
    tuned = make_pair(floor_scale=3, attn_scale=0.7)
    plain = make_pair(floor_scale=3, attn_scale=0.7, attn_temperature_tuning=False)
    close("tuned", tuned.our_logits(ids), tuned.their_logits(ids))
    close("plain", plain.our_logits(ids), plain.their_logits(ids))
    assert (tuned.our_logits(ids) - plain.our_logits(ids)).abs().max() > 0.1


def test_the_scaled_rope_differs_from_the_plain_one(
    make_pair: Any, random_ids: Callable[..., Tensor]
) -> None:
    ids = random_ids(2 * CHUNK)
    scaled = make_pair(**LAYERS["RoPE scaled as in Scout, without a blend"])
    plain = make_pair()
    assert (scaled.our_logits(ids) - plain.our_logits(ids)).abs().max() > 0.1


@pytest.mark.parametrize("tiles_per_image", [[], [1], [1, 1, 1], [3], [5, 1, 3]], ids=str)
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_logits_agree_with_images(
    tiles_per_image: list[int],
    tied: bool,
    make_pair: Any,
    close: Any,
    random_ids: Callable[..., Tensor],
) -> None:
    pair = make_pair(vision={}, interleave_moe_layer_step=2, tie_word_embeddings=tied)
    ids, tiles = _with_images(random_ids, tiles_per_image, pair.ours.config.vision.tokens_per_tile)
    theirs = pair.their_logits(ids, tiles)
    close(f"{tiles_per_image} tiles", pair.our_logits(ids, tiles), theirs)
    pieces = (CHUNK + 3, ids.shape[1] - CHUNK - 3)
    close(f"{tiles_per_image} tiles in pieces", pair.our_logits(ids, tiles, pieces), theirs)


@pytest.mark.parametrize(
    "shape", [{"image_size": 16}, {"patch_size": 3, "num_attention_heads": 2}], ids=str
)
def test_image_features_agree(shape: dict[str, int], make_pair: Any, close: Any) -> None:
    pair = make_pair(vision=shape)
    size = shape.get("image_size", 24)
    tiles = torch.randn(3, 3, size, size)
    with torch.no_grad():
        features = pair.theirs.get_image_features(tiles).last_hidden_state
        close(
            str(shape),
            pair.ours.encode(tiles),
            pair.theirs.multi_modal_projector(features.flatten(0, 1)),
        )


def test_decoding_step_by_step_agrees_with_one_pass(
    make_pair: Any, close: Any, random_ids: Callable[..., Tensor]
) -> None:
    pair = make_pair(interleave_moe_layer_step=2)
    ids = random_ids(3 * CHUNK + 2)
    theirs = pair.their_logits(ids)
    close("every step", pair.our_logits(ids, pieces=(1,) * ids.shape[1]), theirs)


@pytest.mark.parametrize("prompt", [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_decoding_after_a_prompt_agrees_with_one_pass(
    prompt: int, make_pair: Any, close: Any, random_ids: Callable[..., Tensor]
) -> None:
    pair = make_pair()
    ids = random_ids(prompt + CHUNK + 2)
    pieces = (prompt, *[1] * (CHUNK + 2))
    close(f"after {prompt}", pair.our_logits(ids, pieces=pieces), pair.their_logits(ids))


@pytest.mark.parametrize(
    "pieces",
    [
        (7, 2, 7, 18),
        (8, 8, 8, 10),
        (9, 7, 1, 17),
        (5, 6, 23),
        (1, 33),
        (33, 1),
        (16, 17, 1),
        (4, 4, 26),
    ],
    ids=str,
)
def test_prefill_in_odd_pieces_agrees_with_one_pass(
    pieces: tuple[int, ...], make_pair: Any, close: Any, random_ids: Callable[..., Tensor]
) -> None:
    pair = make_pair()
    ids = random_ids(sum(pieces))
    close(str(pieces), pair.our_logits(ids, pieces=pieces), pair.their_logits(ids))


def test_transformers_decodes_what_we_decode(
    make_pair: Any, random_ids: Callable[..., Tensor]
) -> None:
    """Its own cache, token by token, within the first chunk, where its chunked cache is plain."""
    pair = make_pair()
    ids = random_ids(3, batch=1)
    generated = pair.theirs.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=4,
        do_sample=False,
        eos_token_id=None,
    )
    greedy = ids
    for _ in range(4):
        best = pair.our_logits(greedy)[:, -1:].argmax(-1)
        greedy = torch.cat([greedy, best], dim=1)
    assert generated.tolist() == greedy.tolist()


def _with_images(
    random_ids: Callable[..., Tensor], tiles_per_image: list[int], tokens_per_tile: int
) -> tuple[Tensor, Tensor | None]:
    """Two rows of text, images of so many tiles spread over the first, the same over the second."""
    text = random_ids(6 * (len(tiles_per_image) + 1) + 14)
    parts = [text[:, :5]]
    for number, tiles in enumerate(tiles_per_image):
        parts.append(torch.full((2, tiles * tokens_per_tile), PATCH))
        parts.append(text[:, 5 + 6 * number : 11 + 6 * number])
    parts.append(text[:, 5 + 6 * len(tiles_per_image) :])
    size = 24
    count = 2 * sum(tiles_per_image)
    generator = torch.Generator().manual_seed(2)
    tiles = torch.randn(count, 3, size, size, generator=generator) if count else None
    return torch.cat(parts, dim=1), tiles
