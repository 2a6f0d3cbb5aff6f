"""The cache holds no more than it must, and a clone lives its own life."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.cache import Cache
from model.checkpoint import load_transformer
from model.transformer import Layout, Transformer


@pytest.fixture(scope="module")
def transformer(tiny_checkpoint: Path) -> Transformer:
    return load_transformer(tiny_checkpoint)


def new_cache(transformer: Transformer, batch: int = 1) -> Cache:
    return Cache(transformer.config.text, batch, torch.float32, "cpu")


@torch.no_grad()
def read(transformer: Transformer, cache: Cache, ids: Tensor) -> Tensor:
    layout = Layout.consecutive(cache.length, ids.shape[1], len(ids))
    return transformer(transformer.embed(ids), layout, cache)


def test_a_local_layer_never_holds_more_than_its_chunk(transformer: Transformer) -> None:
    text = transformer.config.text
    chunk = text.attention_chunk_size
    cache = new_cache(transformer)
    for piece in (chunk - 1, 1, 1, 3 * chunk, 2, chunk // 2):
        read(transformer, cache, torch.ones(1, piece, dtype=torch.long))
        for layer, held in enumerate(layer_cache.held for layer_cache in cache):
            assert held == (cache.length % chunk if text.uses_rope(layer) else cache.length)


def test_a_local_layers_memory_is_bounded_by_its_chunk(transformer: Transformer) -> None:
    text = transformer.config.text
    cache = new_cache(transformer)
    read(transformer, cache, torch.ones(1, 20 * text.attention_chunk_size + 3, dtype=torch.long))
    bytes_per_token = 2 * text.num_key_value_heads * text.head_dim * 4
    for layer, layer_cache in enumerate(cache):
        if text.uses_rope(layer):
            assert layer_cache.nbytes <= text.attention_chunk_size * bytes_per_token
    assert cache.nbytes >= cache.length * bytes_per_token


def test_a_clone_goes_on_without_the_original(transformer: Transformer) -> None:
    torch.manual_seed(0)
    ids = torch.randint(20, 200, (1, 40))
    cache = new_cache(transformer)
    read(transformer, cache, ids[:, :25])
    clone = cache.clone()
    other = read(transformer, clone, ids[:, 30:])
    assert (cache.length, clone.length) == (25, 35)
    again = read(transformer, cache, ids[:, 30:])
    torch.testing.assert_close(again, other, atol=0, rtol=0)


def test_reading_without_extending_leaves_the_cache_as_it_was(transformer: Transformer) -> None:
    torch.manual_seed(0)
    chunk = transformer.config.text.attention_chunk_size
    ids = torch.randint(20, 200, (1, 3 * chunk + 2))
    cache = new_cache(transformer)
    read(transformer, cache, ids[:, : chunk + 3])
    with torch.no_grad():
        layout = Layout.consecutive(chunk + 3, 2 * chunk - 1)
        rest = transformer.embed(ids[:, chunk + 3 :])
        seen = transformer(rest, layout, cache, extend_cache=False)
    assert cache.length == chunk + 3
    torch.testing.assert_close(seen, read(transformer, cache, ids[:, chunk + 3 :]))


def test_a_cache_refuses_another_batch_size(transformer: Transformer) -> None:
    with pytest.raises(ValueError, match="for a batch of 2, the tokens for 1"):
        read(transformer, new_cache(transformer, batch=2), torch.ones(1, 3, dtype=torch.long))
