"""Features of images that were encoded, so that a photo that is seen again is not encoded again.

The same photo stands in several listings, in several framings of a prompt, and beside others of
which a part is hidden. What is kept is known by a hash of its pixels, as the encoder is given them;
the features used longest ago make room under a budget of bytes. They can also be shared, so that
one process encodes for another: in a folder (`FeatureFolder`), or on a shelf that machines reach
which have no disk in common (`FeatureShelf`). Each is a file, safetensors with a checksum, under a
name that tells what made it of which pixels. A file that is broken is as if it had never been;
`FeatureFolder.trouble` says why the last one could not be written. None but their owner may open
those in a folder. Called by `eyes`; refuses nothing. Not for several threads.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

#: Encodes what is at these places, in their order.
Encode = Callable[[list[int]], Sequence[Tensor]]

SUFFIX = ".features.safetensors"
FORMAT = "1"  #: a file of another layout is not read
STALE_S = 3600  #: seconds after which half a file was left by a process that was killed
LOOK_SHARE = 0.05  #: of the budget is written before the folder is measured again


class Shared(Protocol):
    """Where processes find what others made."""

    def find(self, key: bytes, device: torch.device) -> Tensor | None:
        """Features that some process kept; None: they are not there, or not whole."""

    def keep(self, key: bytes, features: Tensor) -> None:
        """Keeps what was not found, whole or not at all."""


class Shelf(Protocol):
    """Files by their names, beyond this machine. Nothing that goes wrong there is raised, because
    nothing is lost by it."""

    def fetch(self, name: str) -> bytes | None:
        """What was put there under the name; None: nothing, or it can't be had now."""

    def put(self, name: str, data: bytes) -> None:
        """In the place of what is there, whole or not at all."""


class FeatureStore:
    """Features by what they are of, the ones used last at the end."""

    def __init__(self, budget_bytes: int, shared: Shared | None = None) -> None:
        self.budget_bytes = budget_bytes
        self.shared = shared
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
        """Those that others made."""
        if self.shared is None:
            return {}
        read = {key: self.shared.find(key, device) for key in keys}
        return {key: features for key, features in read.items() if features is not None}

    def _write(self, made: dict[bytes, Tensor]) -> None:
        if self.shared is not None:
            for key, features in made.items():
                self.shared.keep(key, features)


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
        path = self._file(key)
        try:
            features = _unpacked(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError:
            features = None
        if features is None:
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
        data = _packed(features)
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            # No fsync: what a machine that loses its power leaves half fails its checksum.
            fresh.write_bytes(data)
            fresh.chmod(0o600)
            fresh.replace(path)
        except OSError as error:
            self.trouble = f"{self.path}: {error}"
            fresh.unlink(missing_ok=True)
            return
        self._unmeasured += len(data)
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
        return self.path / _name(self._maker, key)

    def _remove(self, path: Path) -> None:
        with suppress(OSError):
            path.unlink()


class FeatureShelf:
    """Features on a shelf, which machines share; whoever has the shelf removes what is old."""

    def __init__(self, shelf: Shelf, maker: str, *, keeps: bool) -> None:
        """`maker` as for `FeatureFolder`; without `keeps` features are looked for alone."""
        self._shelf = shelf
        self._maker = maker
        self._keeps = keeps

    def find(self, key: bytes, device: torch.device) -> Tensor | None:
        data = self._shelf.fetch(_name(self._maker, key))
        features = None if data is None else _unpacked(data)
        return None if features is None else features.to(device)

    def keep(self, key: bytes, features: Tensor) -> None:
        """What was not found is put there, so a broken file is replaced by a whole one."""
        if self._keeps:
            self._shelf.put(_name(self._maker, key), _packed(features))


def _name(maker: str, key: bytes) -> str:
    return hashlib.sha256(maker.encode() + b"\0" + key).hexdigest() + SUFFIX


def _packed(features: Tensor) -> bytes:
    kept = features.detach().cpu().contiguous()
    return save({"features": kept}, {"format": FORMAT, "sha256": _sha256(kept)})


def _unpacked(data: bytes) -> Tensor | None:
    """None: the bytes are not those of whole features."""
    try:
        features = load(data)["features"]
        # The library gives metadata of files alone: a length, then so many bytes of JSON.
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, AssertionError, LookupError, RuntimeError, ValueError):
        return None  # whatever bytes make the library raise
    metadata = header.get("__metadata__") or {}
    if metadata.get("format") != FORMAT or metadata.get("sha256") != _sha256(features):
        return None
    return features


def _sha256(features: Tensor) -> str:
    """Of the numbers, their shape and their type."""
    numbers = features.reshape(-1).view(torch.uint8).numpy().tobytes()
    told = f"{features.dtype} {tuple(features.shape)} ".encode()
    return hashlib.sha256(told + numbers).hexdigest()
