"""The cache holds no more than it must, and a clone lives its own life."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.cache import LEAST_ROOM, Cache, LayerCache, cache_bytes
from model.checkpoint import load_transformer
from model.pages import CACHE_DTYPES, PageShape
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


def layer_cache(dtype: torch.dtype = torch.float32, limit: int | None = None) -> LayerCache:
    return LayerCache(PageShape(1, 2, 8, dtype, torch.device("cpu")), limit)


def keys_and_values(tokens: int) -> tuple[Tensor, Tensor]:
    return torch.randn(1, 2, tokens, 8), torch.randn(1, 2, tokens, 8)


def held(cache: LayerCache) -> Tensor:
    """Keys and values (2, B, K, S, W) of all pages."""
    read = [torch.stack(segment.read(torch.float32)) for segment in cache.segments()]
    return torch.cat(read, dim=3)


def test_what_is_held_is_what_was_given_whatever_the_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.cache.PAGE_TOKENS", 300)
    cache, given = layer_cache(), []
    for tokens in (1, 1, 297, 1, 1, 700, 299):
        given.append(torch.stack(keys_and_values(tokens)))
        cache.extend(*given[-1])
        assert torch.equal(held(cache), torch.cat(given, dim=3))
    assert [page.filled for page in cache.pages] == [300] * 4 + [100]


def test_growing_never_touches_full_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.cache.PAGE_TOKENS", 10)
    cache = layer_cache()
    cache.extend(*keys_and_values(25))
    before = list(cache.pages)
    for _ in range(40):
        cache.extend(*keys_and_values(1))
    assert [page is old for page, old in zip(cache.pages[:2], before[:2], strict=True)] == [
        True
    ] * 2


@pytest.mark.parametrize("dtype", CACHE_DTYPES.values(), ids=CACHE_DTYPES)
@pytest.mark.parametrize("tokens", [6_001, 20_000, 70_003])
def test_memory_is_that_of_the_formula(
    transformer: Transformer, dtype: torch.dtype, tokens: int
) -> None:
    text = transformer.config.text
    cache = Cache(text, 1, dtype, "cpu")
    piece_BKTW = torch.zeros(1, text.num_key_value_heads, 1_000, text.head_dim)
    for layer in cache:
        left = tokens if layer.limit is None else tokens % layer.limit
        for done in range(0, left, 1_000):
            part_BKTW = piece_BKTW[:, :, : left - done]
            layer.extend(part_BKTW, part_BKTW)
    really = sum(
        tensor.nbytes
        for layer in cache
        for page in layer.pages
        for tensor in (page.values_2BKSW, page.scales_2BKS1)
        if tensor is not None
    )
    assert cache.nbytes == really
    assert really == pytest.approx(cache_bytes(text, tokens, dtype), rel=0.05)


def test_the_formula_for_all_layers_in_full_counts_every_token(transformer: Transformer) -> None:
    text = transformer.config.text
    assert cache_bytes(text, 1_000, torch.float32, in_full=True) == 1_000 * 4 * 2 * 2 * 8 * 4
    assert cache_bytes(text, 1_000, torch.float32) == (1_000 + 3 * 16) * 2 * 2 * 8 * 4


def test_a_clone_shares_pages_and_copies_one_when_both_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("model.cache.PAGE_TOKENS", 10)
    cache = layer_cache()
    cache.extend(*keys_and_values(25))
    clone, before = cache.clone(), held(cache)
    assert clone.pages == cache.pages
    first, second = (torch.stack(keys_and_values(3)) for _ in range(2))
    clone.extend(*first)  # there is room behind what both hold
    assert clone.pages == cache.pages
    cache.extend(*second)
    assert cache.pages[:2] == clone.pages[:2]
    assert cache.pages[2] is not clone.pages[2]
    assert torch.equal(held(clone), torch.cat([before, first], dim=3))
    assert torch.equal(held(cache), torch.cat([before, second], dim=3))


def test_the_last_page_has_little_room_to_spare() -> None:
    cache = layer_cache()
    cache.extend(*keys_and_values(5))
    assert cache.pages[0].capacity == 5 + LEAST_ROOM


@pytest.mark.parametrize(
    ("name", "step"), [("int8", 1 / 127), ("fp8", 1 / 8), ("bfloat16", 1 / 128)]
)
def test_what_is_kept_in_fewer_bits_is_off_by_half_a_step(name: str, step: float) -> None:
    """Of the largest number of the head for int8, of each number for floats."""
    cache = layer_cache(CACHE_DTYPES[name])
    given = torch.stack(keys_and_values(50)) * torch.logspace(-6, 3, 50)[:, None]
    cache.extend(*given)
    size = given.abs().amax(-1, keepdim=True) if name == "int8" else given.abs()
    tiny = 1e-3 * given.abs().amax(-1, keepdim=True)  # fp8 has no small exponents
    assert ((held(cache) - given).abs() <= 0.55 * step * size + tiny).all()
    assert not torch.equal(held(cache), given)


def test_heads_of_zeros_are_zeros_in_every_dtype() -> None:
    for dtype in CACHE_DTYPES.values():
        cache = layer_cache(dtype)
        cache.extend(torch.zeros(1, 2, 3, 8), torch.zeros(1, 2, 3, 8))
        assert not held(cache).any()


def test_a_local_layers_memory_is_bounded_by_its_chunk(transformer: Transformer) -> None:
    text = transformer.config.text
    cache = new_cache(transformer)
    read(transformer, cache, torch.ones(1, 20 * text.attention_chunk_size + 3, dtype=torch.long))
    bytes_per_token = 2 * text.num_key_value_heads * text.head_dim * 4
    for layer, layer_cache in enumerate(cache):
        if text.uses_rope(layer):
            assert layer_cache.nbytes <= text.attention_chunk_size * bytes_per_token
    assert cache.nbytes >= cache.length * bytes_per_token


def test_a_chunk_takes_no_more_than_its_tokens() -> None:
    cache = layer_cache(limit=16)
    with pytest.raises(ValueError, match="17 tokens do not fit in the cache of a chunk of 16"):
        cache.extend(*keys_and_values(17))


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
