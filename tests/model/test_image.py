"""The image processor: geometry is proved by rebuilding pictures, pixels by other arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.config import VisionConfig
from model.image import ImageConfigError, ImageProcessor, Size, resize

NEVER_ENLARGED = ImageProcessor(tile_size=16, tokens_per_tile=4)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels)


def rebuild(tiles: torch.Tensor, grid: Size) -> np.ndarray:
    """Grey levels of the canvas, from the tiles without the whole-image one."""
    rows = [
        torch.cat([tiles[row * grid.width + column] for column in range(grid.width)], dim=2)
        for row in range(grid.height)
    ]
    canvas = torch.cat(rows, dim=1).permute(1, 2, 0)
    return np.rint((canvas.numpy() * 0.5 + 0.5) * 255)


def triangle_resize(levels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Antialiased bilinear resampling written as two matrix products, in double precision."""

    def weights(old: int, new: int) -> np.ndarray:
        support = max(old / new, 1.0)
        centres = (np.arange(new) + 0.5) * old / new
        distance = np.abs(np.arange(old)[None, :] + 0.5 - centres[:, None]) / support
        triangle = np.clip(1 - distance, 0, None)
        return triangle / triangle.sum(axis=1, keepdims=True)

    down = weights(levels.shape[0], height)
    across = weights(levels.shape[1], width)
    return np.einsum("ij,jkc,lk->ilc", down, levels.astype(float), across)


@pytest.mark.parametrize("size", [(16, 16), (32, 48), (64, 64), (16, 256), (256, 16)])
def test_a_picture_that_fills_its_grid_is_rebuilt_from_its_tiles(size: tuple[int, int]) -> None:
    width, height = size
    picture = noise(width, height)
    tiles, grid = NEVER_ENLARGED(picture)
    assert grid == (height // 16, width // 16)
    assert np.array_equal(rebuild(tiles, grid), np.asarray(picture))


def test_a_picture_that_does_not_fill_its_grid_is_padded_right_and_below_with_black() -> None:
    picture = noise(40, 20)
    tiles, grid = NEVER_ENLARGED(picture)
    canvas = rebuild(tiles, grid)
    assert grid == (2, 3)
    assert np.array_equal(canvas[:20, :40], np.asarray(picture))
    assert not canvas[20:].any()
    assert not canvas[:, 40:].any()
    assert tiles[:6].min() == -1  # black after normalising: the padding came first


def test_several_tiles_are_followed_by_the_whole_picture() -> None:
    picture = noise(48, 32)
    tiles, grid = NEVER_ENLARGED(picture)
    expected = np.rint(triangle_resize(np.asarray(picture), 16, 16))
    assert tiles.shape == (grid.height * grid.width + 1, 3, 16, 16)
    assert np.abs(rebuild(tiles[-1:], Size(1, 1)) - expected).max() <= 1


@pytest.mark.parametrize("size", [Size(40, 1), Size(1, 40), Size(1, 1)])
def test_a_column_or_row_of_pixels_is_what_stands_there(size: Size) -> None:
    picture = noise(2, 100) if size.height > 1 else noise(100, 2)
    pixels_3HW = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    expected = np.rint(triangle_resize(np.asarray(picture), *size))
    resized = resize(pixels_3HW, size).permute(1, 2, 0).numpy().astype(float)
    assert np.abs(resized - expected).max() <= 1


def test_one_tile_stands_alone() -> None:
    tiles, grid = NEVER_ENLARGED(noise(16, 12))
    assert grid == (1, 1)
    assert tiles.shape == (1, 3, 16, 16)


@pytest.mark.parametrize(
    ("picture", "grid"),
    [
        (Size(200, 300), Size(1, 1)),  # fits one tile
        (Size(336, 336), Size(1, 1)),
        (Size(337, 336), Size(2, 1)),  # a pixel too high for one tile
        (Size(672, 672), Size(2, 2)),
        (Size(100, 5000), Size(1, 15)),  # the smallest row that holds it undiminished
        (Size(3000, 3000), Size(4, 4)),  # too large for any grid: shrunk least
        (Size(6000, 1000), Size(8, 2)),
    ],
)
def test_the_grid_keeps_most_detail_with_least_padding(picture: Size, grid: Size) -> None:
    assert ImageProcessor().choose_grid(picture) == grid


def test_the_grid_agrees_with_trying_every_canvas_in_exact_fractions() -> None:
    from fractions import Fraction

    processor = ImageProcessor(tile_size=20, max_patches=6)
    canvases = [(r, c) for r in range(1, 7) for c in range(1, 7) if r * c <= 6]
    for height in range(1, 150, 7):
        for width in range(1, 150, 7):
            scale = {
                (r, c): min(Fraction(20 * r, height), Fraction(20 * c, width)) for r, c in canvases
            }
            holding = [s for s in scale.values() if s >= 1]
            best = min(holding) if holding else max(scale.values())
            smallest = min((r * c, (r, c)) for (r, c) in canvases if scale[r, c] == best)[1]
            assert processor.choose_grid(Size(height, width)) == smallest, (height, width)


def test_a_small_picture_grows_to_one_tile_and_no_further() -> None:
    processor = ImageProcessor(tile_size=16, max_patches=4)
    assert processor.fitted_size(Size(4, 8), Size(16, 16)) == (8, 16)
    assert processor.fitted_size(Size(18, 4), Size(32, 16)) == (18, 4)


def test_a_small_picture_fills_the_largest_canvas_when_the_configuration_says_so() -> None:
    processor = ImageProcessor(tile_size=16, max_patches=4, resize_to_max_canvas=True)
    tiles, grid = processor(noise(8, 8))
    assert grid == (2, 2)
    assert (tiles[:4] > -1).any(dim=(1, 2, 3)).all()


def test_a_sliver_keeps_at_least_one_pixel() -> None:
    tiles, grid = ImageProcessor(tile_size=16, max_patches=1)(noise(2000, 1))
    assert tiles.shape == (1, 3, 16, 16)
    assert grid == (1, 1)


@pytest.mark.parametrize("size", [(50, 70), (200, 90), (7, 9)])
def test_resizing_agrees_with_an_independent_computation(size: tuple[int, int]) -> None:
    levels = np.asarray(noise(*size))
    resized = resize(torch.from_numpy(levels.copy()).permute(2, 0, 1), Size(32, 24))
    expected = triangle_resize(levels, 32, 24)
    assert np.abs(resized.permute(1, 2, 0).numpy() - expected).max() <= 0.51


def test_normalising_rounds_to_bfloat16_at_each_step() -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("RGB")
    tiles, _ = NEVER_ENLARGED(ramp)
    rounded = (torch.arange(256) * (1 / 255)).bfloat16().float()
    centred = (rounded - 0.5).bfloat16().float() / 0.5
    assert torch.equal(tiles[0, 0].flatten(), centred)


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "CMYK", "LA"])
def test_every_colour_mode_is_read_as_rgb(mode: str) -> None:
    tiles, _ = NEVER_ENLARGED(noise(16, 16).convert("RGB").convert(mode))
    assert tiles.shape == (1, 3, 16, 16)


def test_an_image_of_several_tiles_is_written_row_by_row_and_then_whole() -> None:
    patch, x, y = ["<|patch|>"] * 4, "<|tile_x_separator|>", "<|tile_y_separator|>"
    row = [*patch, x, *patch, y]
    assert NEVER_ENLARGED.image_tokens(Size(2, 2)) == [
        "<|image_start|>", *row, *row, "<|image|>", *patch, "<|image_end|>",
    ]  # fmt: skip
    one = ["<|image_start|>", "<|image|>", *patch, "<|image_end|>"]
    assert NEVER_ENLARGED.image_tokens(Size(1, 1)) == one


def test_there_are_as_many_patch_tokens_as_the_encoder_makes_of_the_tiles() -> None:
    for size in [(16, 16), (17, 16), (40, 100), (300, 300)]:
        tiles, grid = NEVER_ENLARGED(noise(*size))
        assert NEVER_ENLARGED.image_tokens(grid).count("<|patch|>") == 4 * len(tiles)


def folder_with(path: Path, processor: ImageProcessor, vision: VisionConfig) -> Path:
    (path / "config.json").write_text(json.dumps({"vision_config": vision.to_hf()}))
    (path / "preprocessor_config.json").write_text(json.dumps(processor.to_hf()))
    return path


def encoder_of(pixels: int, patch: int) -> VisionConfig:
    return VisionConfig(
        intermediate_size=4 * 768, vision_output_dim=4096, image_size=pixels, patch_size=patch
    )


def test_the_configuration_survives_a_round_trip(tmp_path: Path) -> None:
    processor = ImageProcessor(tile_size=144, tokens_per_tile=36, max_patches=3)
    folder = folder_with(tmp_path, processor, encoder_of(144, 12))
    assert ImageProcessor.from_folder(folder) == processor


def test_the_configuration_may_stand_in_the_processors_own_file(tmp_path: Path) -> None:
    processor = ImageProcessor(tile_size=144, tokens_per_tile=36, max_patches=3)
    folder = folder_with(tmp_path, processor, encoder_of(144, 12))
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(
        json.dumps({"image_processor": processor.to_hf()})
    )
    assert ImageProcessor.from_folder(folder) == processor


def test_tiles_that_the_encoder_does_not_read_are_refused_with_both_sizes(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, ImageProcessor(), encoder_of(448, 14))
    with pytest.raises(ImageConfigError, match=r"336 px.*448 px"):
        ImageProcessor.from_folder(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"do_resize": False},
        {"resample": 3},
        {"size": {"height": 336, "width": 448}},
        {"image_mean": [0.5]},
    ],
)
def test_a_configuration_that_asks_for_other_arithmetic_is_refused(
    values: dict[str, object],
) -> None:
    with pytest.raises(ImageConfigError, match=next(iter(values))):
        ImageProcessor.from_hf(values, tokens_per_tile=144)


def test_a_folder_without_an_image_processor_says_what_to_do(tmp_path: Path) -> None:
    folder_with(tmp_path, ImageProcessor(), encoder_of(336, 14))
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(ImageConfigError, match=r"preprocessor_config\.json; copy it"):
        ImageProcessor.from_folder(tmp_path)
