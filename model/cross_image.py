"""Images in, for Llama 3.2 Vision: the same canvas, resizing and tiles as in `image`, but at most
four tiles, no tile of the whole image, other colours, and one token in the text for each image.

It refuses what `image` refuses, and another number of tiles than the encoder was made for.
Called by `engine` and `convert`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from model.config import CrossVisionConfig
from model.image import (
    BILINEAR,
    ImageConfigError,
    ImageProcessor,
    Size,
    read_common,
    read_processor,
)
from model.tokenizer import IMAGE


@dataclass(frozen=True)
class CrossImageProcessor(ImageProcessor):
    """Turns pictures into tiles for cross-attention. Means are those of CLIP's training pictures,
    as published."""

    adds_whole: ClassVar[bool] = False

    tile_size: int = 560
    tokens_per_tile: int = 0  #: in the text: features stand beside it
    max_patches: int = 4  #: "max_image_tiles"
    image_mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    image_std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    @staticmethod
    def of_folder(folder: str | Path, vision: CrossVisionConfig) -> CrossImageProcessor:
        """Reads the processor configuration that stands beside an encoder's."""
        processor = CrossImageProcessor.of_hf(read_processor(Path(folder)))
        for key, ours, theirs in (
            ("size", processor.tile_size, vision.image_size),
            ("max_image_tiles", processor.max_patches, vision.max_num_tiles),
        ):
            if ours != theirs:
                raise ImageConfigError(
                    f"{folder}: {key} is {ours} in preprocessor_config.json and {theirs} in "
                    "vision_config: correct one of them"
                )
        return processor

    @staticmethod
    def of_hf(values: Mapping[str, Any]) -> CrossImageProcessor:
        """Reads the keys of preprocessor_config.json."""
        return CrossImageProcessor(
            max_patches=int(values.get("max_image_tiles", 4)),
            **read_common(values, CrossImageProcessor()),
        )

    def to_hf(self) -> dict[str, Any]:
        """The content of preprocessor_config.json."""
        return {
            "image_processor_type": "MllamaImageProcessor",
            "processor_class": "MllamaProcessor",
            "do_convert_rgb": True,
            "do_resize": True,
            "do_pad": True,
            "do_rescale": True,
            "do_normalize": True,
            "resample": BILINEAR,
            "size": {"height": self.tile_size, "width": self.tile_size},
            "max_image_tiles": self.max_patches,
            "image_mean": list(self.image_mean),
            "image_std": list(self.image_std),
            "rescale_factor": self.rescale_factor,
        }

    def image_tokens(self, grid: Size) -> list[str]:  # noqa: ARG002 - the same for every grid
        return [IMAGE]

    def _normalise(self, pixels_3HW: Tensor) -> Tensor:
        mean_311 = torch.tensor(self.image_mean)[:, None, None]
        std_311 = torch.tensor(self.image_std)[:, None, None]
        return (pixels_3HW.float() * self.rescale_factor - mean_311) / std_311
