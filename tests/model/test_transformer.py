"""The whole model: early fusion, training in lower precision, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.checkpoint import load_transformer
from model.transformer import Layout, RouterLog, Transformer


@pytest.fixture
def transformer(tiny_checkpoint: Path) -> Transformer:
    return load_transformer(tiny_checkpoint)


def with_patches(transformer: Transformer, patches: int) -> torch.Tensor:
    ids = torch.randint(20, 200, (1, patches + 10))
    ids[0, 4 : 4 + patches] = transformer.config.image_token_index
    return ids


def test_image_features_stand_in_the_places_of_patch_tokens(transformer: Transformer) -> None:
    vision = transformer.config.vision
    assert vision is not None
    tiles = torch.randn(2, 3, vision.image_size, vision.image_size)
    patches = 2 * vision.tokens_per_tile
    ids = with_patches(transformer, patches)
    with torch.no_grad():
        x_BTD = transformer.embed(ids, tiles)
        torch.testing.assert_close(x_BTD[0, 4 : 4 + patches], transformer.encode(tiles))
        torch.testing.assert_close(x_BTD[0, :4], transformer.embedding(ids[0, :4]))


def test_tiles_do_not_see_each_other(transformer: Transformer) -> None:
    assert transformer.config.vision is not None
    size = transformer.config.vision.image_size
    tiles = torch.randn(40, 3, size, size)  # more than are encoded at once
    with torch.no_grad():
        alone = torch.cat([transformer.encode(tile[None]) for tile in tiles])
        torch.testing.assert_close(transformer.encode(tiles), alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("patches", "tiles"), [(3, 1), (0, 1), (4, 0)])
def test_a_mismatch_of_text_and_images_names_both_counts(
    patches: int, tiles: int, transformer: Transformer
) -> None:
    assert transformer.config.vision is not None
    size = transformer.config.vision.image_size
    features = tiles * transformer.config.vision.tokens_per_tile
    pixels = torch.zeros(tiles, 3, size, size) if tiles else None
    with pytest.raises(ValueError, match=rf"{patches} patch tokens .* {features} features"):
        transformer.embed(with_patches(transformer, patches), pixels)


def test_a_text_only_model_refuses_tiles(text_checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="2 image tiles for a text-only model"):
        load_transformer(text_checkpoint).embed(torch.ones(1, 3).long(), torch.zeros(2, 3, 16, 16))


def test_every_weight_learns_in_bfloat16_autocast(transformer: Transformer) -> None:
    vision = transformer.config.vision
    assert vision is not None
    ids = with_patches(transformer, vision.tokens_per_tile)
    tiles = torch.randn(1, 3, vision.image_size, vision.image_size)
    router_log: RouterLog = []
    with torch.autocast("cpu", torch.bfloat16):
        layout = Layout.consecutive(0, ids.shape[1])
        h_BTD = transformer(transformer.embed(ids, tiles), layout, router_log=router_log)
        logits = transformer.unembed(h_BTD)
        loss = torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:])
    loss.backward()
    silent = [name for name, weight in transformer.named_parameters() if weight.grad is None]
    assert silent == []
    assert [layer for layer, _ in router_log] == [1, 3]
    experts = transformer.config.text.num_local_experts
    assert all(logits.shape == (ids.shape[1], experts) for _, logits in router_log)


def test_bfloat16_weights_give_nearly_the_same_logits(tiny_checkpoint: Path) -> None:
    logits = []
    for dtype in (torch.float32, torch.bfloat16):
        model = load_transformer(tiny_checkpoint, dtype)
        assert model.config.vision is not None
        torch.manual_seed(0)
        ids = with_patches(model, model.config.vision.tokens_per_tile)
        tiles = torch.randn(1, 3, model.config.vision.image_size, model.config.vision.image_size)
        layout = Layout.consecutive(0, ids.shape[1])
        with torch.no_grad():
            logits.append(model.unembed(model(model.embed(ids, tiles), layout)))
    assert logits[1].dtype == torch.float32
    agree = (logits[0].argmax(-1) == logits[1].argmax(-1)).float().mean()
    assert agree > 0.8
