"""Llama 3.2 Vision's image processor against that of transformers, which resizes with Pillow here:
the same grid, and the same pixels to within a grey level of rounding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil

from model.config import CrossVisionConfig
from model.cross_image import CrossImageProcessor
from model.image import ImageConfigError, Size

SIDE = 28
OURS = CrossImageProcessor(tile_size=SIDE)
VISION = CrossVisionConfig(image_size=SIDE, patch_size=14)
SIZES = [(28, 28), (9, 7), (60, 20), (20, 61), (56, 56), (200, 30), (31, 140), (90, 91), (1, 300)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_tiles_and_grid_agree(width: int, height: int) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(levels)
    # With the keys that our own folders are written with.
    values = OURS.to_hf()
    theirs = MllamaImageProcessorPil(**{k: v for k, v in values.items() if "_type" not in k})
    read = theirs(images=[image], return_tensors="pt")
    tiles_N3SS, grid = OURS(image)
    assert int(read["aspect_ratio_ids"][0, 0]) == VISION.shape_number(grid)
    assert int(read["aspect_ratio_mask"].sum()) == len(tiles_N3SS) == grid.height * grid.width
    expected = read["pixel_values"][0, 0, : len(tiles_N3SS)]
    std = torch.tensor(OURS.image_std)[:, None, None]
    levels_apart = ((tiles_N3SS - expected).abs() * std * 255).max()
    assert levels_apart < 1.01
    assert not read["pixel_values"][0, 0, len(tiles_N3SS) :].any()


def test_every_grid_is_chosen_as_transformers_does() -> None:
    from transformers.models.mllama.image_processing_pil_mllama import get_optimal_tiled_canvas

    processor = CrossImageProcessor()
    for height in range(100, 3000, 137):
        for width in range(100, 3000, 171):
            canvas = get_optimal_tiled_canvas(height, width, 4, 560)
            grid = processor.choose_grid(Size(height, width))
            assert (grid.height * 560, grid.width * 560) == canvas, (height, width)


def test_published_settings_are_read(tmp_path: Path) -> None:
    published = CrossImageProcessor().to_hf()
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(published))
    vision = CrossVisionConfig(image_size=560)
    assert CrossImageProcessor.of_folder(tmp_path, vision) == CrossImageProcessor()
    with pytest.raises(ImageConfigError, match=r"size is 560 in preprocessor_config.json and 448"):
        CrossImageProcessor.of_folder(tmp_path, CrossVisionConfig())


def test_a_grid_without_an_embedding_is_refused() -> None:
    with pytest.raises(ValueError, match=r"an image of 2 x 3 tiles: .* has only 1 x 1, 1 x 2"):
        VISION.shape_number(Size(2, 3))
