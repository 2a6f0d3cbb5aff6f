"""A picture that is seen again is not encoded again, and gives what it gave before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import model
from model.features import FeatureStore
from model.prompt import Part
from tests.model.test_engine import CONTINUATIONS, TOLERANCE, picture


class Encoder:
    """Makes of each key ten numbers of its first byte, and counts."""

    def __init__(self, keys: list[bytes]) -> None:
        self.keys = keys
        self.encoded: list[list[bytes]] = []

    def __call__(self, places: list[int]) -> list[Tensor]:
        self.encoded.append([self.keys[place] for place in places])
        return list(torch.tensor([[self.keys[place][0]] * 10 for place in places]).float())


def asked(store: FeatureStore, *keys: bytes) -> list[bytes]:
    """What had to be encoded; the features must be those of the keys whatever was."""
    encoder = Encoder([*keys])
    found = store.of(keys, encoder)
    assert [features.tolist() for features in found] == [[float(key[0])] * 10 for key in keys]
    return [key for keys in encoder.encoded for key in keys]


def test_each_is_encoded_once() -> None:
    store = FeatureStore(1000)
    assert asked(store, b"a", b"b", b"a") == [b"a", b"b"]
    assert asked(store, b"b", b"c", b"c", b"a") == [b"c"]
    assert asked(store, b"c", b"a") == []
    assert store.nbytes == 120


def test_the_budget_holds_and_the_last_used_stay() -> None:
    store = FeatureStore(80)
    asked(store, b"a", b"b")
    asked(store, b"a")
    assert asked(store, b"c") == [b"c"]
    assert store.nbytes == 80
    assert asked(store, b"a") == []
    assert asked(store, b"b") == [b"b"]
    assert asked(store, *(bytes([n]) for n in range(9))) == [bytes([n]) for n in range(9)]
    assert store.nbytes == 80
    assert (asked(FeatureStore(0), b"a"), FeatureStore(0).nbytes) == ([b"a"], 0)


def test_a_photo_of_several_prompts_is_encoded_once(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = model.load(tiny_checkpoint, "float32", "cpu")
    encode = engine.transformer.encode
    tiles: list[int] = []

    def counting(some: Tensor) -> Tensor:
        tiles.append(len(some))
        return encode(some)

    monkeypatch.setattr(engine.transformer, "encode", counting)
    photos = [picture(16, 16, seed) for seed in (1, 2)]
    prompts: list[list[Part]] = [["Photo: ", photos[0]], ["Photo: ", photos[1], " and ", photos[0]]]
    first = [engine.score(engine.prefill(parts), CONTINUATIONS) for parts in prompts]
    assert tiles == [1, 1]
    plain = model.load(tiny_checkpoint, "float32", "cpu", feature_bytes=0)
    for parts, scores in zip(prompts, first, strict=True):
        expected = plain.score(plain.prefill(parts), CONTINUATIONS)
        assert scores == pytest.approx(expected, abs=TOLERANCE)
    assert [engine.score(engine.prefill(parts), CONTINUATIONS) for parts in prompts] == first
    assert tiles == [1, 1]
