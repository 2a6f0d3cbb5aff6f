"""The family by name: as large as it was published to be."""

from __future__ import annotations

import pytest
import torch

from model.config import ConfigError
from model.describe import describe
from model.memory import Device, devices, gpus_needed
from model.presets import preset

#: Billions of parameters, in all and for one token, as published.
PUBLISHED = {
    "llama-1-7b": (6.74, 6.74),
    "llama-1-13b": (13.02, 13.02),
    "llama-1-30b": (32.53, 32.53),
    "llama-1-65b": (65.29, 65.29),
    "llama-2-7b": (6.74, 6.74),
    "llama-2-13b": (13.02, 13.02),
    "llama-2-70b": (68.98, 68.98),
    "llama-3-8b": (8.03, 8.03),
    "llama-3-70b": (70.55, 70.55),
    "llama-3.1-8b": (8.03, 8.03),
    "llama-3.1-70b": (70.55, 70.55),
    "llama-3.1-405b": (405.9, 405.9),
    "llama-3.2-1b": (1.236, 1.236),
    "llama-3.2-3b": (3.21, 3.21),
    "llama-3.2-11b-vision": (10.67, 9.775),
    "llama-3.2-90b-vision": (88.59, 87.67),
    "llama-3.3-70b": (70.55, 70.55),
    "llama-4-scout": (108.6, 17.2),
    "llama-4-maverick": (401.6, 17.2),
    "llama-4-behemoth": (2000, 288),
}


@pytest.mark.parametrize(("name", "billions"), PUBLISHED.items(), ids=PUBLISHED.keys())
def test_a_preset_has_the_published_size(name: str, billions: tuple[float, float]) -> None:
    told = describe(name, torch.bfloat16, 8192)
    assert told.parameters / 1e9 == pytest.approx(billions[0], rel=0.02)
    assert told.parameters_active / 1e9 == pytest.approx(billions[1], rel=0.02)
    assert told.weights_bytes == 2 * told.parameters


def test_every_preset_is_checked() -> None:
    with pytest.raises(ConfigError, match=rf"one of {', '.join(PUBLISHED)}$"):
        preset("llama-5")


def test_the_cache_of_a_dense_model_grows_with_the_context() -> None:
    told = describe("llama-3.1-8b", torch.bfloat16, 131_072)
    assert told.cache_bytes == 16 * 2**30  # 32 layers x 8 heads x 128 x keys and values x 2 bytes
    assert told.experts == 0
    assert set(told.layers) == {"global (RoPE), dense"}


def test_images_have_a_cache_of_their_own() -> None:
    """Eight layers look at images and hold none of the text's tokens."""
    told = describe("llama-3.2-11b-vision", torch.bfloat16, 131_072)
    assert told.cache_bytes == 16 * 2**30  # as llama-3.1-8b, of which the text's layers are
    assert told.features_per_image == 4 * (40 * 40 + 1)
    assert told.cache_bytes_per_image == 8 * told.features_per_image * 8 * 128 * 2 * 2
    assert told.parameters == 10_670_220_835  # as published
    assert told.layers[3] == "images (cross-attention), dense"
    assert told.layers[4] == "global (RoPE), dense"


def test_a_tenth_of_the_memory_is_left_free() -> None:
    assert Device("gpu", 100).fits(90)
    assert not Device("gpu", 100).fits(91)
    assert gpus_needed(72 * 10**9, 80) == 1
    assert gpus_needed(73 * 10**9, 80) == 2
    told = describe("llama-3.1-405b", torch.bfloat16, 8192)
    assert told.gpus_needed == {"80 GB": 12, "141 GB": 7}


def test_this_machine_has_memory() -> None:
    processor = devices()[0]
    assert processor.name == "cpu"
    assert processor.memory_bytes > 2**28
    assert processor.fits(1)
