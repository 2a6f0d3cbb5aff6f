"""What is told of a checkpoint without loading it is what the model itself tells."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from mmapp.shapes import NUMBER_BYTES, Shape, shape_of
from model.cache import cache_bytes
from model.image import ImageProcessor
from model.presets import preset
from model.tokenizer import Tokenizer
from tests.e2e.checkpoint import seeing_checkpoint

NANO = Path(__file__).resolve().parent.parent / "checkpoints" / "nano"
NAMES = ["llama-4-scout", "llama-4-maverick", "llama-3.1-8b", "llama-3.2-11b-vision"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tokens", [1, 8_192, 8_193, 100_000])
def test_memory_is_that_of_the_model_s_own_formula(name: str, tokens: int) -> None:
    text = preset(name).text
    shape = Shape(text, Tokenizer.from_folder(NANO), (0, 0))
    for dtype in NUMBER_BYTES:
        expected = cache_bytes(text, tokens, getattr(torch, dtype))
        assert shape.cache_bytes(tokens, dtype) == expected
    assert shape.cache_bytes(tokens, "remote") == cache_bytes(text, tokens, torch.float32)


@pytest.mark.parametrize("most_tiles", [1, 4])
def test_no_image_has_more_tokens_than_are_told(tmp_path: Path, most_tiles: int) -> None:
    folder = seeing_checkpoint(tmp_path / "seeing")
    path = folder / "preprocessor_config.json"
    path.write_text(path.read_text().replace('"max_patches": 1', f'"max_patches": {most_tiles}'))
    processor = ImageProcessor.from_folder(folder)
    sizes = [(16, 16), (600, 600), (2_000, 100), (100, 2_000)]
    grids = [processor(Image.new("RGB", size)).grid for size in sizes]
    told = shape_of(folder)
    assert told is not None
    tokens = [len(processor.image_tokens(grid)) for grid in grids]
    assert told.image_tokens == (min(tokens), max(tokens))


def test_a_folder_that_can_not_be_read_has_no_shape(tmp_path: Path) -> None:
    assert shape_of(tmp_path) is None
    (tmp_path / "config.json").write_text('{"model_type": "something else"}')
    (tmp_path / "tokenizer.json").write_text("{}")
    assert shape_of(tmp_path) is None
