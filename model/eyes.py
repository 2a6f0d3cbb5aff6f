"""What a model sees in pictures: each is encoded once, and known again by its pixels.

`Eyes` are the vision encoder with its projector, or the encoder that belongs to cross-attention,
beside a store of what they made. The whole engine has them, and so has an `Encoder`, which has
nothing else. Called by `engine` and `encoder`; refuses what the encoder refuses. Not for several
threads.

Shapes: N tiles, S side of a tile, 3 colours, V features, D width of the text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from model.config import ModelConfig
from model.cross_image import CrossImageProcessor
from model.features import FeatureStore
from model.image import ImageProcessor, Tiles
from model.prefixes import pixel_hash
from model.readings import code_sha256
from model.transformer import Transformer


class Eyes:
    """The part of a model that sees, with its memory."""

    def __init__(
        self,
        transformer: Transformer,
        device: torch.device,
        dtype: torch.dtype,
        features: FeatureStore,
    ) -> None:
        self.features = features
        self._transformer = transformer
        self._device, self._dtype = device, dtype

    def maker(self, weights_sha256: str) -> str:
        """All that decides what is made of a picture, apart from the picture."""
        config = json.dumps(self._transformer.config.to_hf(), sort_keys=True)
        return "\n".join([code_sha256(), weights_sha256, config, str(self._dtype)])

    def of_tiles(self, tiles_N3SS: Tensor) -> Tensor:
        """(V, D): the features of all tiles, one after another."""

        def encode(places: list[int]) -> Sequence[Tensor]:
            some_N3SS = tiles_N3SS[places].to(self._device, self._dtype)
            return self._transformer.encode(some_N3SS).chunk(len(places))

        return torch.cat(self.features.of([*map(pixel_hash, tiles_N3SS)], encode, self._device))

    def of_images(self, images: Sequence[Tiles]) -> list[Tensor]:
        """(V, D) of each, for cross-attention, which looks at whole images."""

        def encode(places: list[int]) -> Sequence[Tensor]:
            some = (images[place] for place in places)
            return [
                self._transformer.encode_image(Tiles(tiles_N3SS.to(self._device), grid))
                for tiles_N3SS, grid in some
            ]

        return self.features.of([*map(image_hash, images)], encode, self._device)


def image_hash(image: Tiles) -> bytes:
    """What an image that is looked at as a whole is known by."""
    return str(image.grid).encode() + pixel_hash(image.tiles_N3SS)


def processor_of(folder: Path, config: ModelConfig) -> ImageProcessor | None:
    """What cuts pictures into tiles; None for a checkpoint that reads text only."""
    if config.cross_vision is not None:
        return CrossImageProcessor.of_folder(folder, config.cross_vision)
    return ImageProcessor.from_folder(folder) if config.vision is not None else None
