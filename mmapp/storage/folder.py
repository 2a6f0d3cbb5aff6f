"""Blobs in a folder: on this machine's disk, or on one that several machines share."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from mmapp.errors import StorageProblem
from mmapp.storage.blobs import SHA256, Stored, missing, name_of, verified


class Folder:
    """A folder of blobs; a blob is written beside its place and moved there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.place = str(root)

    def put(self, data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        target = self.path(sha256)
        if target.exists():
            return sha256
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=target.parent)
        except OSError as error:
            raise self._no_room(error) from error
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(target)
        except BaseException as error:
            Path(temporary).unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise self._no_room(error) from error
            raise
        return sha256

    def _no_room(self, error: OSError) -> StorageProblem:
        return StorageProblem(
            f"A file can't be written to {self.root} ({error.strerror or error}); make room there,"
            " then add it again"
        )

    def get(self, sha256: str) -> bytes:
        path = self.path(sha256)
        try:
            return verified(sha256, path.read_bytes(), str(path))
        except FileNotFoundError:
            raise missing(sha256, self.place) from None

    def has(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def path(self, sha256: str) -> Path:
        """Where the blob is, or would be."""
        return self.root / name_of(sha256)

    def delete(self, sha256: str) -> None:
        self.remove([name_of(sha256)])

    def stored(self) -> Iterator[Stored]:
        for path in self.root.glob("??/*"):
            sha256 = path.parent.name + path.name
            with contextlib.suppress(FileNotFoundError):
                state = path.stat()
                known = sha256 if SHA256.fullmatch(sha256) else None
                name = f"{path.parent.name}/{path.name}"
                yield Stored(name, known, state.st_size, state.st_mtime)

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self.root / name).unlink(missing_ok=True)
