"""Images in: a PIL image becomes the square tiles that the vision encoder reads.

What the image processor of Llama 4 does, step by step: choose the canvas (a grid of tiles) that
fits the picture best, resize without distortion, pad right and below, normalise, cut into tiles
row by row and, if there are several, add the whole picture as one last tile.

Refuses: a processor configuration that asks for other arithmetic than this, empty images.
Called by: prompt.py (tokens for an image), engine.py and the trainer.

Shapes: N tiles, H height, W width, S side of a tile; 3 colour channels come first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from model.config import VisionConfig

BILINEAR = 2  # PIL's number for the filter, as "resample" in preprocessor_config.json
BILINEAR_NAME = "bilinear"


class ImageConfigError(ValueError):
    """The image processor's configuration cannot be used; the message names file, key and value."""


class Size(NamedTuple):
    """Height and width in pixels, or rows and columns of tiles."""

    height: int
    width: int


class Tiles(NamedTuple):
    """One picture, ready for the encoder."""

    tiles_N3SS: Tensor
    grid: Size  #: rows and columns; the whole-image tile that follows several tiles is not counted


@dataclass(frozen=True)
class ImageProcessor:
    """Turns pictures into tiles, and says which tokens stand for them in the text."""

    adds_whole: ClassVar[bool] = True  #: several tiles are followed by one of the whole picture

    tile_size: int = 336  #: side of a tile in pixels ("size")
    tokens_per_tile: int = 144  #: vision tokens that the encoder makes of one tile
    max_patches: int = 16  #: most tiles for one picture, the whole-image tile not counted
    resize_to_max_canvas: bool = False  #: enlarge small pictures as far as the grid allows
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    rescale_factor: float = 1 / 255

    @staticmethod
    def from_folder(folder: str | Path) -> ImageProcessor:
        """Reads a checkpoint folder: its processor configuration beside its vision_config."""
        folder = Path(folder)
        values = _read_json(folder / "config.json").get("vision_config")
        if not isinstance(values, dict):
            raise ImageConfigError(
                f"{folder}: config.json has no vision_config; it reads text only"
            )
        vision = VisionConfig.from_hf(values)
        processor = ImageProcessor.from_hf(read_processor(folder), vision.tokens_per_tile)
        if processor.tile_size != vision.image_size:
            raise ImageConfigError(
                f"{folder}: the image processor cuts tiles of {processor.tile_size} px, the vision "
                f"encoder reads {vision.image_size} px; correct preprocessor_config.json or "
                "vision_config"
            )
        return processor

    @staticmethod
    def from_hf(values: Mapping[str, Any], tokens_per_tile: int) -> ImageProcessor:
        """Reads the keys of preprocessor_config.json; strict where they would change pixels."""
        return ImageProcessor(
            tokens_per_tile=tokens_per_tile,
            max_patches=int(values.get("max_patches", 16)),
            resize_to_max_canvas=bool(values.get("resize_to_max_canvas", False)),
            **read_common(values, ImageProcessor()),
        )

    def to_hf(self) -> dict[str, Any]:
        """The content of preprocessor_config.json."""
        return {
            "image_processor_type": "Llama4ImageProcessor",
            "processor_class": "Llama4Processor",
            "do_convert_rgb": True,
            "do_resize": True,
            "do_rescale": True,
            "do_normalize": True,
            "resample": BILINEAR,
            "size": {"height": self.tile_size, "width": self.tile_size},
            "max_patches": self.max_patches,
            "resize_to_max_canvas": self.resize_to_max_canvas,
            "image_mean": list(self.image_mean),
            "image_std": list(self.image_std),
            "rescale_factor": self.rescale_factor,
        }

    def __call__(self, image: Image.Image) -> Tiles:
        """Canvas, resize, pad, normalise, cut."""
        pixels_3HW = pixels(image)
        picture = Size(*pixels_3HW.shape[1:])
        grid = self.choose_grid(picture)
        canvas = self._canvas(grid)
        fitted_3HW = resize(pixels_3HW, self.fitted_size(picture, canvas))
        tiles_N3SS = self._cut(self._normalise(pad(fitted_3HW, canvas)), grid)
        if self.adds_whole and len(tiles_N3SS) > 1:
            whole_3SS = self._normalise(resize(pixels_3HW, self._canvas(Size(1, 1))))
            tiles_N3SS = torch.cat([tiles_N3SS, whole_3SS[None]])
        return Tiles(tiles_N3SS, grid)

    def choose_grid(self, picture: Size) -> Size:
        """The grid on which the picture keeps most detail with the least padding.

        If some canvas holds the picture at full size, the one that would enlarge it least (most,
        with resize_to_max_canvas), else the one that shrinks it least; of equals the smallest.
        """
        scales = {grid: _scale(picture, self._canvas(grid)) for grid in self._grids()}
        enlarging = [scale for scale in scales.values() if scale >= 1]
        if enlarging:
            best = max(enlarging) if self.resize_to_max_canvas else min(enlarging)
        else:
            best = max(scales.values())
        return min(
            (grid for grid in scales if scales[grid] == best), key=lambda g: g.height * g.width
        )

    def fitted_size(self, picture: Size, canvas: Size) -> Size:
        """The picture's size on the canvas: undistorted, not enlarged beyond one tile's side."""
        room = canvas
        if not self.resize_to_max_canvas:
            room = Size(
                min(max(picture.height, self.tile_size), canvas.height),
                min(max(picture.width, self.tile_size), canvas.width),
            )
        by_height, by_width = room.height / picture.height, room.width / picture.width
        if by_width < by_height:
            height = min(math.floor(picture.height * by_width), room.height)
            return Size(max(height, 1), room.width)
        width = min(math.floor(picture.width * by_height), room.width)
        return Size(room.height, max(width, 1))

    def image_tokens(self, grid: Size) -> list[str]:
        """The names of the tokens that stand for a picture of this grid, in reading order."""
        tile = ["<|patch|>"] * self.tokens_per_tile
        tokens = ["<|image_start|>"]
        if grid.height * grid.width > 1:
            for _ in range(grid.height):
                tokens += tile
                for _ in range(grid.width - 1):
                    tokens += ["<|tile_x_separator|>", *tile]
                tokens.append("<|tile_y_separator|>")
        return [*tokens, "<|image|>", *tile, "<|image_end|>"]

    def _grids(self) -> list[Size]:
        most = self.max_patches
        return [Size(r, c) for r in range(1, most + 1) for c in range(1, most // r + 1)]

    def _canvas(self, grid: Size) -> Size:
        return Size(grid.height * self.tile_size, grid.width * self.tile_size)

    def _normalise(self, pixels_3HW: Tensor) -> Tensor:
        """In bfloat16, as the model saw its pictures in training; the result is float32."""
        mean_311 = torch.tensor(self.image_mean, dtype=torch.bfloat16)[:, None, None]
        std_311 = torch.tensor(self.image_std, dtype=torch.bfloat16)[:, None, None]
        scaled_3HW = pixels_3HW.to(torch.bfloat16) * self.rescale_factor
        return ((scaled_3HW - mean_311) / std_311).float()

    def _cut(self, canvas_3HW: Tensor, grid: Size) -> Tensor:
        side = self.tile_size
        tiles = canvas_3HW.reshape(3, grid.height, side, grid.width, side)
        return tiles.permute(1, 3, 0, 2, 4).reshape(-1, 3, side, side)


def resize(pixels_3HW: Tensor, size: Size) -> Tensor:
    """Bilinear with antialiasing, to whole grey levels (uint8), as torchvision resizes tensors."""
    if tuple(pixels_3HW.shape[1:]) == tuple(size):
        return pixels_3HW
    if size.width == 1 < size.height:  # torch 2.13 is wrong about columns, and right about rows
        rows_3WH = resize(pixels_3HW.transpose(1, 2), Size(size.width, size.height))
        return rows_3WH.transpose(1, 2)
    resized_13HW = F.interpolate(
        pixels_3HW[None].float(), tuple(size), mode="bilinear", antialias=True, align_corners=False
    )
    return resized_13HW[0].round_().clamp_(0, 255).to(torch.uint8)


def pad(pixels_3HW: Tensor, canvas: Size) -> Tensor:
    """Black to the right and below, before normalising: padding becomes -1 and not 0."""
    height, width = pixels_3HW.shape[1:]
    return F.pad(pixels_3HW, (0, canvas.width - width, 0, canvas.height - height))


def pixels(image: Image.Image) -> Tensor:
    """Grey levels (3, H, W) of a picture."""
    if image.width == 0 or image.height == 0:
        raise ValueError(f"an image of {image.width}x{image.height} pixels has nothing to read")
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def _scale(picture: Size, canvas: Size) -> float:
    """How far the picture grows on this canvas; float32, so that ties fall as in the reference."""
    by_height = np.float32(canvas.height) / np.float32(picture.height)
    by_width = np.float32(canvas.width) / np.float32(picture.width)
    return float(min(by_height, by_width))


def read_common(values: Mapping[str, Any], default: ImageProcessor) -> dict[str, Any]:
    """What all processors of the family read of preprocessor_config.json, by our names."""
    for key in ("do_resize", "do_rescale", "do_normalize"):
        if values.get(key, True) is not True:
            raise ImageConfigError(f"{key} must be true for a Llama, not {values[key]!r}")
    if values.get("resample", BILINEAR) not in (BILINEAR, BILINEAR_NAME):
        raise ImageConfigError(f"resample must be 2 (bilinear), not {values['resample']!r}")
    return {
        "tile_size": _square_side(values.get("size", default.tile_size)),
        "image_mean": _three(values.get("image_mean", default.image_mean), "image_mean"),
        "image_std": _three(values.get("image_std", default.image_std), "image_std"),
        "rescale_factor": float(values.get("rescale_factor", default.rescale_factor)),
    }


def read_processor(folder: Path) -> dict[str, Any]:
    """preprocessor_config.json, or the same keys where newer folders keep them."""
    if (folder / "preprocessor_config.json").exists():
        return _read_json(folder / "preprocessor_config.json")
    if (folder / "processor_config.json").exists():
        values = _read_json(folder / "processor_config.json").get("image_processor")
        if isinstance(values, dict):
            return values
    raise ImageConfigError(
        f"{folder}: no preprocessor_config.json; copy it from where the checkpoint came from"
    )


def _square_side(size: Any) -> int:
    if isinstance(size, int):
        return size
    if isinstance(size, dict) and size.get("height") == size.get("width") is not None:
        return int(size["height"])
    raise ImageConfigError(f"size must have one height and the same width, not {size!r}")


def _three(value: Any, key: str) -> tuple[float, float, float]:
    """A number for each channel; one number stands for all three."""
    numbers = [float(value)] * 3 if isinstance(value, int | float) else [float(v) for v in value]
    if len(numbers) != 3:
        raise ImageConfigError(f"{key} must have 3 numbers, one for each colour, not {value!r}")
    return numbers[0], numbers[1], numbers[2]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ImageConfigError(f"{path} is missing; is this a checkpoint folder?") from None
    except json.JSONDecodeError as error:
        raise ImageConfigError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise ImageConfigError(f"{path} must hold an object")
    return values
