"""The vision encoder of a checkpoint, loaded without the rest: it sees pictures for engines.

What it makes of a picture it keeps in a folder or on a shelf, where an engine of the same
checkpoint, computing in the same dtype, finds it and encodes nothing. Encoding can so have
processes and devices of its own, which hold the encoder's weights alone: of Llama 4 Scout 0.9 of
109 billion.

Refuses a checkpoint that reads text only. Called by the application's worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from model.checkpoint import load_config, load_transformer
from model.engine import EngineError, choose_devices, choose_dtype, read_profile
from model.eyes import processor_of
from model.features import FeatureStore, Shelf
from model.loaded import Loaded
from model.transformer import Transformer

#: How the names of all weights begin that make features of pictures.
WEIGHTS = ("vision.", "projector.", "cross_vision.")


def load_encoder(
    folder: str | Path,
    dtype: str = "auto",
    device: str = "auto",
    *,
    features: Path | str | Shelf,
    disk_bytes: int,
) -> Encoder:
    """Loads the vision encoder of a checkpoint folder in Hugging Face layout.

    `dtype` and `device` as for `load`; of several devices the first is taken. What it makes is kept
    at `features`, in a folder under a budget of bytes. OSError: that folder can't be made.
    """
    place = choose_devices(device)[0]
    config = load_config(folder)
    if config.vision is None and config.cross_vision is None:
        raise EngineError(
            f"{folder} reads text only, there is nothing to encode: leave out the role encode"
        )
    chosen = choose_dtype(dtype, place)
    transformer = load_transformer(folder, chosen, place, beginnings=WEIGHTS)
    encoder = Encoder(Path(folder), transformer, place, chosen)
    encoder.share_features(features, disk_bytes)
    return encoder


class Encoder(Loaded):
    """A vision encoder that keeps what it makes."""

    def __init__(
        self, folder: Path, transformer: Transformer, device: torch.device, dtype: torch.dtype
    ) -> None:
        # Nothing is held in memory: whoever needs it is another process.
        nothing = FeatureStore(0)
        super().__init__(folder, read_profile(folder), transformer, device, dtype, nothing)
        processor = processor_of(folder, transformer.config)
        assert processor is not None  # its config tells of an encoder
        self._processor = processor

    @property
    def nbytes(self) -> int:
        """Memory of the weights; those that were not read have none."""
        return sum(w.nbytes for w in self._transformer.parameters() if not w.is_meta)

    @torch.inference_mode()
    def encode(self, pictures: Sequence[Image.Image]) -> None:
        """Sees pictures, several in one step; those that are known are not encoded again."""
        images = [self._processor(picture) for picture in pictures]
        if not images:
            return
        if self._transformer.config.cross_vision is not None:
            self.eyes.of_images(images)
        else:
            self.eyes.of_tiles(torch.cat([image.tiles_N3SS for image in images]))
