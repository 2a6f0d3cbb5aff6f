"""What every loaded part of a checkpoint tells of itself: its name, its weights, and where it
computes.

The whole engine is one, and so is a vision encoder alone. Whoever loads it has read the folder, so
nothing is refused here. Called by `engine` and `encoder`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from model.checkpoint import weights_sha256
from model.eyes import Eyes
from model.features import FeatureFolder, FeatureShelf, FeatureStore, Shelf
from model.transformer import Transformer


class Loaded:
    """A checkpoint in memory, or the part of it that sees."""

    def __init__(
        self,
        folder: Path,
        profile: Mapping[str, Any],
        transformer: Transformer,
        device: torch.device,
        dtype: torch.dtype,
        features: FeatureStore,
    ) -> None:
        self.folder = folder
        self.profile = profile
        self._transformer = transformer
        self._device, self._dtype = device, dtype
        self.eyes = Eyes(transformer, device, dtype, features)

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

    def share_features(self, place: Path | str | Shelf, disk_bytes: int = 0) -> None:
        """From now on finds in a folder, or on a shelf, what other processes made of pictures, and
        keeps there what it makes itself, in a folder under a budget of bytes; 0: keeps nothing.
        OSError: the folder can't be made."""
        maker = self.eyes.maker(self.weights_sha256)
        self.eyes.features.shared = (
            FeatureFolder(place, maker, disk_bytes)
            if isinstance(place, Path | str)
            else FeatureShelf(place, maker, keeps=disk_bytes > 0)
        )
