"""Blobs: the bytes of documents and page pictures, each in a file named by its sha256.

Writing is atomic and idempotent, so any process may be killed at any moment and several may write
the same bytes at once. A name that is no sha256 is refused, so no path can leave the folder. Only
`jobs` calls it; what may be stored was decided in `documents`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmapp.errors import NotFound, StorageProblem

SHA256 = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """A folder of blobs, spread over 256 folders by the first two digits."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, data: bytes) -> str:
        """Store `data` and return its sha256; what is there already is not written again."""
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
        try:
            return self.path(sha256).read_bytes()
        except FileNotFoundError:
            raise NotFound(
                f"The stored file {sha256[:12]}… is missing from {self.root}. Add it again."
            ) from None

    def has(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def path(self, sha256: str) -> Path:
        """Where the blob is, or would be."""
        if not SHA256.fullmatch(sha256):
            raise NotFound(f"{sha256[:80]!r} is not a sha256, so no file is stored under it.")
        return self.root / sha256[:2] / sha256[2:]

    def delete(self, sha256: str) -> None:
        """Remove the blob; nothing happens when there is none."""
        self.path(sha256).unlink(missing_ok=True)

    def files(self) -> Iterator[BlobFile]:
        """Every file of the folder; those that vanish meanwhile are passed over."""
        for path in self.root.glob("??/*"):
            sha256 = path.parent.name + path.name
            with contextlib.suppress(FileNotFoundError):
                state = path.stat()
                name = sha256 if SHA256.fullmatch(sha256) else None
                yield BlobFile(path, name, state.st_size, state.st_mtime)


@dataclass(frozen=True, slots=True)
class BlobFile:
    """A file in the folder of blobs."""

    path: Path
    #: The blob's hash; None: half of a file, which a killed process left.
    sha256: str | None
    size_bytes: int
    #: When it was written, in seconds since 1970.
    written_at: float
