"""Compiled reading against the transformer's own, token by token and many at once, and when it is
not taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

import model
from model import kernels
from model.cache import Cache
from model.config import ModelConfig, TextConfig
from model.decoding import MOST_STEPS, Decoder, DecoderOf
from model.quantized.quantize import quantize
from model.quantized.rounding import Precision
from model.transformer import Layout, Transformer

TOLERANCE = 2e-5
STEPS = 7
LENGTHS = (1, 6, 13, 8)  #: before the steps: some end a chunk of 8 on the way

pytestmark = pytest.mark.skipif(kernels.library() is None, reason="no C compiler")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def llama4(**changes: object) -> TextConfig:
    """Every kind of layer: with experts and dense, in chunks and global; odd widths."""
    settings = {
        "vocab_size": 50, "hidden_size": 36, "intermediate_size": 20, "intermediate_size_mlp": 28,
        "num_hidden_layers": 5, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 10,
        "num_local_experts": 4, "num_experts_per_tok": 2, "interleave_moe_layer_step": 2,
        "attention_chunk_size": 8, "floor_scale": 4,
    }  # fmt: skip
    return TextConfig(**{**settings, **changes})  # type: ignore[arg-type]


def transformer_of(config: TextConfig, dtype: torch.dtype = torch.float32) -> Transformer:
    transformer = Transformer(ModelConfig(config))
    for parameter in transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return transformer.to(dtype).eval()


def cache_of(transformer: Transformer, length: int, batch: int = 1, kind: str = "float32") -> Cache:
    cache = Cache(transformer.config.text, batch, getattr(torch, kind), "cpu")
    ids_BT = torch.randint(0, 50, (batch, length))
    transformer(transformer.embed(ids_BT), Layout.consecutive(0, length, batch), cache)
    return cache


@torch.no_grad()
def assert_steps_are_those_of(
    transformer: Transformer,
    plain: Transformer,
    caches: list[Cache],
    tolerance: float = TOLERANCE,
    lengths: Sequence[int] = (1,) * STEPS,
) -> None:
    """So many tokens of each at a time, and in what the caches hold afterwards."""
    decoder = Decoder.of(transformer)
    assert decoder is not None
    others = [cache.clone() for cache in caches]
    rows = [cache.layers[0].shape.batch for cache in caches]
    for length in lengths:
        assert length > 1 or decoder.serves(caches, [length for _ in caches])
        new = [transformer.embed(torch.randint(0, 50, (batch, length))) for batch in rows]
        for x_BTD, h_BTD, other in zip(new, decoder.read(new, caches), others, strict=True):
            expected_BTD = plain(x_BTD, Layout.consecutive(other.length, length, len(x_BTD)), other)
            torch.testing.assert_close(h_BTD, expected_BTD, atol=tolerance, rtol=tolerance)
    for cache, other in zip(caches, others, strict=True):
        assert cache.length == other.length
        for layer, same in zip(cache.layers, other.layers, strict=True):
            assert layer.held == same.held
            for segment, one in zip(layer.segments(), same.segments(), strict=True):
                for found, held in zip(
                    segment.read(torch.float32), one.read(torch.float32), strict=True
                ):
                    torch.testing.assert_close(found, held, atol=tolerance, rtol=tolerance)


NAMES = ("llama4", "maverick", "dense")
CONFIGS = (
    llama4(),
    llama4(use_qk_norm=False, attn_temperature_tuning=False, num_experts_per_tok=1),
    TextConfig.dense(
        vocab_size=50, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=8, num_key_value_heads=1, head_dim=4,
    ),
)  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
@torch.no_grad()
def test_a_step_is_the_transformers(config: TextConfig) -> None:
    transformer = transformer_of(config)
    alone = [cache_of(transformer, 5)]
    assert_steps_are_those_of(transformer, transformer, alone)
    several = [cache_of(transformer, length) for length in LENGTHS]
    assert_steps_are_those_of(transformer, transformer, several)
    assert_steps_are_those_of(transformer, transformer, [cache_of(transformer, 6, batch=5)])


@pytest.mark.parametrize("factor", [0.0, 30.0, 1000.0])
@torch.no_grad()
def test_gates_and_scores_may_be_of_any_size(factor: float) -> None:
    """Exponentials of what is far from 0 are 0, or so large that only their quotient is wanted."""
    transformer = transformer_of(CONFIGS[2])
    for block in transformer.blocks:
        block.attention.query.weight *= factor
        block.feed_forward.gate.weight *= factor
    assert_steps_are_those_of(
        transformer, transformer, [cache_of(transformer, 9)], 1e-3, lengths=(1, 21)
    )


@torch.no_grad()
def test_what_is_not_a_number_stays_none() -> None:
    transformer = transformer_of(CONFIGS[2])
    decoder = Decoder.of(transformer)
    assert decoder is not None
    x_1TD = transformer.embed(torch.randint(0, 50, (1, 20)))
    x_1TD[0, 11] = torch.nan
    [h_1TD] = decoder.read([x_1TD], [Cache(transformer.config.text, 1, torch.float32, "cpu")])
    assert h_1TD[0, 11:].isnan().all()


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
@torch.no_grad()
def test_many_tokens_are_read_as_the_transformer_reads_them(
    config: TextConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From nothing and onwards, over ends of chunks and pages; alone and side by side."""
    monkeypatch.setattr("model.cache.PAGE_TOKENS", 16)
    transformer = transformer_of(config)
    for caches in (
        [Cache(config, 1, torch.float32, "cpu")],
        [cache_of(transformer, length) for length in LENGTHS],
        [cache_of(transformer, 6, batch=3)],
    ):
        assert_steps_are_those_of(transformer, transformer, caches, 1e-4, lengths=(13, 1, 40, 2))


@torch.no_grad()
def test_more_keys_than_are_seen_at_once() -> None:
    """Slices of 512 keys, and blocks of queries whose tokens see different slices."""
    transformer = transformer_of(llama4(attention_chunk_size=4096, num_hidden_layers=4))
    caches = [Cache(transformer.config.text, 1, torch.float32, "cpu")]
    assert_steps_are_those_of(transformer, transformer, caches, 1e-3, lengths=(500, 700, 1))


@torch.no_grad()
def test_sequences_of_several_lengths_side_by_side() -> None:
    transformer = transformer_of(llama4())
    caches, lengths = [cache_of(transformer, length) for length in LENGTHS], (1, 30, 9, 1)
    decoder, others = Decoder.of(transformer), [cache.clone() for cache in caches]
    assert decoder is not None
    new = [transformer.embed(torch.randint(0, 50, (1, length))) for length in lengths]
    for x_BTD, h_BTD, other in zip(new, decoder.read(new, caches), others, strict=True):
        layout = Layout.consecutive(other.length, x_BTD.shape[1])
        torch.testing.assert_close(h_BTD, transformer(x_BTD, layout, other), atol=1e-4, rtol=1e-4)
    assert [cache.length for cache in caches] == [other.length for other in others]


@torch.no_grad()
def test_a_bfloat16_model_is_computed_in_float32() -> None:
    transformer = transformer_of(llama4(), torch.bfloat16)
    exact = transformer_of(llama4())
    exact.load_state_dict(transformer.state_dict())
    caches = [cache_of(exact, 5, kind="bfloat16") for _ in range(2)]
    decoder, others = Decoder.of(transformer), [cache.clone() for cache in caches]
    assert decoder is not None
    new = list(exact.embed(torch.randint(0, 50, (2, 1, 1))))
    for x_BTD, h_BTD, other in zip(new, decoder.read(new, caches), others, strict=True):
        expected = exact(x_BTD, Layout.consecutive(5, 1), other)
        torch.testing.assert_close(h_BTD, expected, atol=0.02, rtol=0.02)  # the cache is rounded


@pytest.mark.parametrize(
    "precision", [Precision("8", 16), Precision("4", 16), Precision("fp8")], ids=str
)
@torch.no_grad()
def test_quantized_weights_are_read_as_they_are_stored(precision: Precision) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 32, "intermediate_size_mlp": 48, "head_dim": 8}
    transformer = transformer_of(llama4(**sizes))
    quantize(transformer, precision, None, lambda _done, _all: None)
    caches = [cache_of(transformer, length) for length in LENGTHS]
    assert_steps_are_those_of(transformer, transformer, caches, 1e-3)


@torch.no_grad()
def test_long_texts_are_seen_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.cache.PAGE_TOKENS", 4)
    transformer = transformer_of(llama4(attention_chunk_size=16))
    caches = [cache_of(transformer, length) for length in (15, 21)]
    assert_steps_are_those_of(transformer, transformer, caches)


@torch.no_grad()
def test_weights_that_move_are_followed() -> None:
    transformer = transformer_of(llama4())
    decoder_of, caches = DecoderOf(transformer), [cache_of(transformer, 3)]
    first = decoder_of(caches, [1])
    assert first is not None
    transformer.norm.weight.mul_(2)
    assert decoder_of(caches, [1]) is first, "weights that change in place are read as they are"
    for move in (
        lambda: transformer.blocks[1].attention.double().float(),
        lambda: transformer.blocks[0].load_state_dict(
            transformer_of(llama4()).blocks[0].state_dict(), assign=True
        ),
        lambda: setattr(transformer, "norm", transformer_of(llama4()).norm),
    ):
        before = decoder_of(caches, [1])
        move()
        assert decoder_of(caches, [1]) is not before
        assert_steps_are_those_of(transformer, transformer, caches)


@torch.no_grad()
def test_what_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    transformer = transformer_of(llama4())
    decoder, cache = Decoder.of(transformer), cache_of(transformer, 3)
    assert decoder is not None
    assert not decoder.serves([cache_of(transformer, 3, kind="int8")], [1]), "a cache of eight bits"
    monkeypatch.setattr(kernels, "multiplies", lambda: True)
    assert decoder.serves([cache], [MOST_STEPS + 1])
    monkeypatch.setattr(kernels, "multiplies", lambda: False)
    assert not decoder.serves([cache], [MOST_STEPS + 1])
    assert not decoder.serves([cache_of(transformer, 3, batch=MOST_STEPS + 1)], [1])
    torch.set_num_threads(2)
    assert decoder.serves([cache], [1])
    monkeypatch.setattr(kernels, "THREAD_WEIGHTS", 100)
    assert not decoder.serves([cache], [1]), "large for one thread"
    monkeypatch.undo()
    hook = transformer.blocks[0].register_forward_pre_hook(lambda *_: None)
    assert not decoder.serves([cache], [1]), "somebody watches"
    hook.remove()
    assert decoder.serves([cache], [1])
    assert Decoder.of(transformer_of(llama4(), torch.float16)) is None


@torch.no_grad()
def test_many_tokens_with_weights_in_few_bits_are_left_to_the_transformer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernels, "multiplies", lambda: True)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "intermediate_size_mlp": 48, "head_dim": 8}
    transformer = transformer_of(llama4(**sizes))
    caches = [cache_of(transformer, 3)]
    quantize(transformer, Precision("8", 16), None, lambda _done, _all: None)
    decoder = Decoder.of(transformer)
    assert decoder is not None
    assert decoder.serves(caches, [MOST_STEPS])
    assert not decoder.serves(caches, [MOST_STEPS + 1])


@torch.no_grad()
def test_answers_are_those_of_a_machine_without_compiler(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [("why?", 0.0), ("is it a cat?", 1.0)]

    def answers() -> list[str]:
        engine = model.load(tiny_checkpoint, "float32", "cpu")
        prefix = engine.prefill(["the cat sat on the mat"])
        return [
            engine.generate(prefix, prompt, max_tokens=24, temperature=temperature, seed=3)
            for prompt, temperature in asked
        ]

    compiled = answers()
    monkeypatch.setattr(kernels, "library", lambda: None)
    assert answers() == compiled
