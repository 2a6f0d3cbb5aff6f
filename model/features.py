"""Features of images that were encoded, so that a photo that is seen again is not encoded again.

The same photo stands in several listings, in several framings of a prompt, and beside others of
which a part is hidden. What is kept is known by a hash of its pixels, as the encoder is given them;
the features used longest ago make room under a budget of bytes. With a folder, they are also found
there, so that one process can encode for another: a file for each, safetensors with a checksum,
under a name that tells what made it of which pixels. A file that is broken is as if it had never
been; `FeatureFolder.trouble` says why the last one could not be written. None but their owner may
open them. Called by `eyes`; refuses nothing. Not for several threads.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

#: Encodes what is at these places, in their order.
Encode = Callable[[list[int]], Sequence[Tensor]]

SUFFIX = ".features.safetensors"
FORMAT = "1"  #: a file of another layout is not read
STALE_S = 3600  #: seconds after which half a file was left by a process that was killed
LOOK_SHARE = 0.05  #: of the budget is written before the folder is measured again


class FeatureStore:
    """Features by what they are of, the ones used last at the end."""

    def __init__(self, budget_bytes: int, folder: FeatureFolder | None = None) -> None:
        self.budget_bytes = budget_bytes
        self.folder = folder
        self.nbytes = 0
        self._kept: dict[bytes, Tensor] = {}

    def of(
        self,
        keys: Sequence[bytes],
        encode: Encode,
        device: torch.device | str = "cpu",
    ) -> list[Tensor]:
        """The features of each, on the device; `encode` is called once, for those that are not
        known, each once however often it is asked for."""
        places = {key: place for place, key in reversed([*enumerate(keys)])}
        found = {key: self._kept.pop(key) for key in places if key in self._kept}
        read = self._read([key for key in places if key not in found], torch.device(device))
        found |= read
        new = sorted(place for key, place in places.items() if key not in found)
        if new:
            encoded = zip((keys[place] for place in new), encode(new), strict=True)
            made = {key: features.clone() for key, features in encoded}  # not the whole batch
            self._write(made)
            found |= made
        self.nbytes += sum(found[keys[place]].nbytes for place in new)
        self.nbytes += sum(features.nbytes for features in read.values())
        self._kept |= found
        while self.nbytes > self.budget_bytes:
            self.nbytes -= self._kept.pop(next(iter(self._kept))).nbytes
        return [found[key] for key in keys]

    def _read(self, keys: Sequence[bytes], device: torch.device) -> dict[bytes, Tensor]:
        """Those that the folder knows."""
        if self.folder is None:
            return {}
        read = {key: self.folder.find(key, device) for key in keys}
        return {key: features for key, features in read.items() if features is not None}

    def _write(self, made: dict[bytes, Tensor]) -> None:
        if self.folder is not None:
            for key, features in made.items():
                self.folder.keep(key, features)


class FeatureFolder:
    """Features in files, which processes share; those used longest ago make room."""

    def __init__(self, folder: Path | str, maker: str, budget_bytes: int) -> None:
        """`maker`: weights, code and whatever else decides what is made of pixels. OSError: the
        folder can't be made."""
        self.path = Path(folder)
        self.budget_bytes = budget_bytes
        self.trouble = ""  #: why the last features that should have been kept were not
        self._maker = maker
        self._unmeasured = budget_bytes  # bytes written since the folder was measured; at first all
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def find(self, key: bytes, device: torch.device) -> Tensor | None:
        """Features that some process kept; None: they are not there, or not whole."""
        path = self._file(key)
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                metadata = file.metadata() or {}
                features: Tensor = file.get_tensor("features")
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError):
            self._remove(path)
            return None
        if metadata.get("format") != FORMAT or metadata.get("sha256") != _sha256(features):
            self._remove(path)
            return None
        with suppress(OSError):
            os.utime(path)
        return features.to(device)

    def keep(self, key: bytes, features: Tensor) -> None:
        """Writes features whole or not at all; nothing happens without a budget."""
        path = self._file(key)
        if not self.budget_bytes or path.exists():
            return
        kept = features.detach().cpu().contiguous()
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            # No fsync: what a machine that loses its power leaves half fails its checksum.
            save_file({"features": kept}, fresh, {"format": FORMAT, "sha256": _sha256(kept)})
            fresh.chmod(0o600)
            fresh.replace(path)
        except (OSError, SafetensorError) as error:
            self.trouble = f"{self.path}: {error}"
            fresh.unlink(missing_ok=True)
            return
        self._unmeasured += kept.nbytes
        if self._unmeasured > LOOK_SHARE * self.budget_bytes:
            self._make_room()

    def _make_room(self) -> None:
        """Measures the folder, to which others write too, and leaves room for what will be written
        before it is measured again."""
        files = sorted(self._measured())
        room = (1 - LOOK_SHARE) * self.budget_bytes
        total = sum(size for _, size, _ in files)
        for used, size, path in files:
            is_half = not path.name.endswith(SUFFIX)
            if is_half and used > time.time() - STALE_S:
                continue
            if total <= room and not is_half:
                break
            self._remove(path)
            total -= size
        self._unmeasured = 0

    def _measured(self) -> list[tuple[float, int, Path]]:
        """Of each file, when it was used last, and its bytes."""
        found = []
        for path in self.path.glob("*" + SUFFIX + "*"):
            with suppress(OSError):
                state = path.stat()
                found.append((state.st_mtime, state.st_size, path))
        return found

    def _file(self, key: bytes) -> Path:
        name = hashlib.sha256(self._maker.encode() + b"\0" + key).hexdigest()
        return self.path / (name + SUFFIX)

    def _remove(self, path: Path) -> None:
        with suppress(OSError):
            path.unlink()


def _sha256(features: Tensor) -> str:
    """Of the numbers, their shape and their type."""
    numbers = features.contiguous().view(torch.uint8).numpy().tobytes()
    told = f"{features.dtype} {tuple(features.shape)} ".encode()
    return hashlib.sha256(told + numbers).hexdigest()
