"""The vision encoder alone: what it keeps in a folder, an engine finds there and sees nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

import model
from model.checkpoint import CheckpointError, load_transformer, tensor_bytes, weights_bytes
from model.engine import EngineError
from model.features import SUFFIX, FeatureFolder, FeatureStore
from model.prompt import Part
from tests.model.test_cross_engine import folder as cross_checkpoint  # noqa: F401  (a fixture)
from tests.model.test_engine import CONTINUATIONS, picture

BUDGET = 10**6
#: One tile, and several with the whole picture as one more.
PHOTOS = [picture(16, 16, 1), picture(40, 20, 2)]
PARTS: list[Part] = ["one ", PHOTOS[0], " and ", PHOTOS[1], " so"]


@pytest.fixture
def features(tmp_path: Path) -> Path:
    return tmp_path / "features"


@pytest.fixture(params=["fusion", "cross-attention"])
def folder(request: pytest.FixtureRequest, tiny_checkpoint: Path) -> Path:
    """Of both ways of seeing."""
    if request.param == "fusion":
        return tiny_checkpoint
    cross: Path = request.getfixturevalue("cross_checkpoint")
    return cross


def encoder(folder: Path, features: Path, dtype: str = "float32") -> model.Encoder:
    return model.load_encoder(folder, dtype, "cpu", features=features, disk_bytes=BUDGET)


def scores(folder: Path, features: Path | None = None) -> list[float]:
    engine = model.load(folder, "float32", "cpu")
    if features is not None:
        engine.share_features(features)
    return engine.score(engine.prefill(PARTS), CONTINUATIONS)


def files(features: Path) -> list[Path]:
    return sorted(features.glob("*" + SUFFIX))


def refuse(*_: object) -> Tensor:
    raise AssertionError("the encoder ran")


def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on nothing can be encoded."""
    for name in ("encode", "encode_image"):
        monkeypatch.setattr(f"model.transformer.Transformer.{name}", refuse)


def test_an_engine_finds_what_an_encoder_saw_and_answers_alike(
    folder: Path, features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = scores(folder)
    encoder(folder, features).encode(PHOTOS)
    assert features.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in files(features)} == {0o600}
    blind(monkeypatch)
    assert scores(folder, features) == expected
    encoder(folder, features).encode(PHOTOS)
    with pytest.raises(AssertionError, match="the encoder ran"):
        scores(folder)


def test_it_holds_its_own_weights_alone(folder: Path, features: Path) -> None:
    alone = encoder(folder, features)
    sizes = tensor_bytes(alone._transformer.config, torch.float32)
    own = ("vision.", "projector.", "cross_vision.")
    assert alone.nbytes == sum(size for name, size in sizes.items() if name.startswith(own))
    assert alone.nbytes < weights_bytes(folder, torch.float32)
    assert not any(weight.device.type == "meta" for weight in load_transformer(folder).parameters())


def test_what_others_made_of_a_picture_is_not_taken(folder: Path, features: Path) -> None:
    encoder(folder, features, "bfloat16").encode(PHOTOS)
    kept = len(files(features))
    assert scores(folder, features) == scores(folder)
    # Those of other numbers stand beside them.
    encoder(folder, features).encode(PHOTOS)
    assert len(files(features)) == 2 * kept


def spoil(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    "spoilt",
    [
        spoil,
        lambda file: file.write_bytes(file.read_bytes()[:-9]),
        lambda file: file.write_bytes(b""),
    ],
    ids=["another bit", "cut short", "empty"],
)
def test_a_broken_file_is_as_if_it_had_never_been(
    tiny_checkpoint: Path, features: Path, spoilt: Callable[[Path], object]
) -> None:
    encoder(tiny_checkpoint, features).encode(PHOTOS)
    before = files(features)
    for file in before:
        spoilt(file)
    assert scores(tiny_checkpoint, features) == scores(tiny_checkpoint)
    assert files(features) == []  # an engine keeps nothing
    encoder(tiny_checkpoint, features).encode(PHOTOS)
    assert files(features) == before


def test_what_cannot_be_kept_is_told_and_made_again(tiny_checkpoint: Path, features: Path) -> None:
    seeing = encoder(tiny_checkpoint, features)
    shutil.rmtree(features)
    seeing.encode(PHOTOS)
    kept = seeing.eyes.features.shared
    assert isinstance(kept, FeatureFolder)
    assert str(features) in kept.trouble
    assert scores(tiny_checkpoint, features) == scores(tiny_checkpoint)


def numbers(places: Sequence[int]) -> list[Tensor]:
    return [torch.full((100,), float(place)) for place in places]


def test_the_folder_keeps_to_its_budget_and_those_used_last_stay(features: Path) -> None:
    folder = FeatureFolder(features, "maker", 5000)
    store = FeatureStore(0, folder)
    half = features / f"half{SUFFIX}.1234"
    half.write_bytes(b"half")
    os.utime(half, (0, 0))
    for number in range(40):
        key = bytes([number])
        store.of([key], numbers)
        os.utime(folder._file(key), (number + 1, number + 1))
        assert sum(file.stat().st_size for file in features.iterdir()) <= 5000
        # Read again, so that it is never the one used longest ago.
        assert folder.find(b"\0", torch.device("cpu")) is not None
    assert not half.exists()
    assert [folder._file(bytes([n])).exists() for n in (0, 1, 39)] == [True, False, True]


def test_an_encoder_without_eyes_or_with_half_a_checkpoint_is_refused(
    text_checkpoint: Path, tiny_checkpoint: Path, features: Path, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match="reads text only"):
        encoder(text_checkpoint, features)
    from safetensors.torch import load_file, save_file

    half = tmp_path / "half"
    shutil.copytree(tiny_checkpoint, half)
    weights = load_file(half / "model.safetensors")
    for name in ("language_model.model.norm.weight", "multi_modal_projector.linear_1.weight"):
        save_file({n: w for n, w in weights.items() if n != name}, half / "model.safetensors")
        with pytest.raises(CheckpointError, match=f"{name} is missing"):
            encoder(half, features)
