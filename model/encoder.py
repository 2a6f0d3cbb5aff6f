"""The vision encoder of a checkpoint, loaded without the rest: it sees pictures for engines.

What it makes of a picture it keeps in a folder, where an engine of the same checkpoint, computing
in the same dtype, finds it and encodes nothing. Encoding can so have processes and devices of its
own, which hold the encoder's weights alone: of Llama 4 Scout 0.9 of 109 billion.

Refuses a checkpoint that reads text only. Called by the application's worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from model.checkpoint import load_config, load_transformer, weights_sha256
from model.engine import EngineError, choose_devices, choose_dtype, read_profile
from model.eyes import Eyes, processor_of
from model.features import FeatureFolder, FeatureStore
from model.transformer import Transformer

#: How the names of all weights begin that make features of pictures.
WEIGHTS = ("vision.", "projector.", "cross_vision.")


def load_encoder(
    folder: str | Path,
    dtype: str = "auto",
    device: str = "auto",
    *,
    features: Path | str,
    disk_bytes: int,
) -> Encoder:
    """Loads the vision encoder of a checkpoint folder in Hugging Face layout.

    `dtype` and `device` as for `load`; of several devices the first is taken. What it makes is kept
    in the folder `features`, under a budget of bytes. OSError: that folder can't be made.
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


class Encoder:
    """A vision encoder that keeps what it makes."""

    def __init__(
        self, folder: Path, transformer: Transformer, device: torch.device, dtype: torch.dtype
    ) -> None:
        processor = processor_of(folder, transformer.config)
        assert processor is not None  # its config tells of an encoder
        self.folder = folder
        self.profile: Mapping[str, Any] = read_profile(folder)
        self._transformer, self._processor = transformer, processor
        self._device, self._dtype = device, dtype
        # Nothing is held in memory: whoever needs it is another process.
        self.eyes = Eyes(transformer, device, dtype, FeatureStore(0))

    @property
    def name(self) -> str:
        """The checkpoint folder's name."""
        return self.folder.resolve().name

    @cached_property
    def weights_sha256(self) -> str:
        """Hash of all weights of the checkpoint; read from disk when first asked for."""
        return weights_sha256(self.folder)

    @property
    def dtype(self) -> str:
        return str(self._dtype).removeprefix("torch.")

    @property
    def device(self) -> str:
        return str(self._device)

    @property
    def nbytes(self) -> int:
        """Memory of the weights; those that were not read have none."""
        return sum(w.nbytes for w in self._transformer.parameters() if not w.is_meta)

    def share_features(self, folder: Path | str, disk_bytes: int) -> None:
        """Keeps what it makes in a folder, under a budget of bytes. OSError: it can't be made."""
        maker = self.eyes.maker(self.weights_sha256)
        self.eyes.features.folder = FeatureFolder(folder, maker, disk_bytes)

    @torch.inference_mode()
    def encode(self, pictures: Sequence[Image.Image]) -> None:
        """Sees pictures, several in one step; those that the folder knows are not encoded again."""
        images = [self._processor(picture) for picture in pictures]
        if not images:
            return
        if self._transformer.config.cross_vision is not None:
            self.eyes.of_images(images)
        else:
            self.eyes.of_tiles(torch.cat([image.tiles_N3SS for image in images]))
