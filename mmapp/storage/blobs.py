"""What a store of blobs does, whatever holds them, and the one that the settings name.

Every store promises the same. Writing is whole or not at all, and idempotent, so any process may be
killed at any moment and several may write the same bytes at once. What is read is what was written:
its hash is computed again, and a store that gives other bytes is told. A blob has the same name in
every store, so that files can be moved from one to another by any program that copies files.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from mmapp.config import Settings
from mmapp.errors import BadInput, DamagedFile, NotFound

SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in a store."""

    name: str
    #: The blob's hash; None: half of a file, which a killed process left.
    sha256: str | None
    size_bytes: int
    #: When it was written, in seconds since 1970.
    written_at: float


class Blobs(Protocol):
    """A store of blobs; safe for threads and processes."""

    #: How people name the store.
    place: str

    def put(self, data: bytes) -> str:
        """Stores `data` and returns its sha256; what is there already is not written again.

        Raises `StorageProblem`.
        """

    def get(self, sha256: str) -> bytes:
        """Raises `NotFound`, `DamagedFile` for other bytes than were stored, `StorageProblem`."""

    def has(self, sha256: str) -> bool: ...

    def delete(self, sha256: str) -> None:
        """Removes the blob; nothing happens when there is none."""

    def stored(self) -> Iterator[Stored]:
        """Every file of ours; those that vanish meanwhile are passed over."""

    def remove(self, names: Iterable[str]) -> None:
        """Removes files that `stored` named; those that are gone are passed over."""


def open_blobs(settings: Settings) -> Blobs:
    """The store that `MMAPP_BLOBS_URL` names; without one, a folder in the data folder."""
    from mmapp.storage.folder import Folder

    url = urlsplit(settings.blobs_url)
    if not settings.blobs_url:
        return Folder(settings.data_dir / "blobs")
    if url.scheme == "file" and not url.netloc and url.path.startswith("/"):
        return Folder(Path(unquote(url.path)))
    if url.scheme == "s3" and url.netloc and not url.query:
        from mmapp.storage.bucket import Bucket

        return Bucket.from_settings(url.netloc, unquote(url.path).strip("/"), settings)
    raise BadInput(
        f"MMAPP_BLOBS_URL is {settings.blobs_url!r}; write s3://BUCKET/PREFIX or file:///FOLDER"
    )


def check(blobs: Blobs) -> None:
    """Writes, reads and removes a small blob; raises what is wrong."""
    sha256 = blobs.put(b"mmapp doctor " + os.urandom(16))
    try:
        blobs.get(sha256)
    finally:
        blobs.delete(sha256)


def name_of(sha256: str) -> str:
    """The file of a blob, in one of 256 folders by the first two digits."""
    if not SHA256.fullmatch(sha256):
        raise NotFound(f"{sha256[:80]!r} is not a sha256, so no file is stored under it.")
    return f"{sha256[:2]}/{sha256[2:]}"


def verified(sha256: str, data: bytes, file: str) -> bytes:
    """`data`, when it is what was stored in `file`."""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise damaged(file)
    return data


def damaged(file: str) -> DamagedFile:
    return DamagedFile(
        f"{file} does not hold what was stored there; remove it, then add its document again"
    )


def missing(sha256: str, place: str) -> NotFound:
    return NotFound(f"The stored file {sha256[:12]}… is missing from {place}. Add it again.")
