"""What workers saw in pictures, beside the blobs in their bucket, for workers on other machines.

A cache, and no file that anybody waits for: the bucket is asked once and shortly, and when it fails
it is left alone for a minute, in which nothing is found and nothing kept, so that pictures are
encoded where they are needed. The log says so; nothing is raised. What lies there is not believed:
more than features can be is not read, and `model.features` holds the rest to a format and a
checksum. Called by `workers.models`, and by `jobs.retention`, which removes what is old.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.store import S3Store

from mmapp.config import FEATURES, Settings
from mmapp.errors import StorageProblem
from mmapp.logs import get_logger
from mmapp.storage.blobs import Stored
from mmapp.storage.bucket import Patience, is_bucket_missing, listed, open_store, told

#: Features come in milliseconds; whoever waits longer for them had better encode.
PATIENCE = Patience(connect_s=2, silence_s=3, longest_s=10, retry_s=1)
PAUSE_S = 60.0

#: Of a picture of Llama 3.2 Vision 90B, 4 tiles of 1,601 features of 8,192 float32, 210 MB.
LARGEST_BYTES = 2**28

NAME = re.compile(r"[0-9a-f]{64}\.features\.safetensors")

T = TypeVar("T")

log = get_logger(__name__)


class BucketShelf:
    """Files of features by their names; not for several threads."""

    def __init__(self, store: S3Store, place: str) -> None:
        self.place = place
        self._store = store
        self._rests_until = 0.0

    def fetch(self, name: str) -> bytes | None:
        """The bytes; None: there are none, far too many, or they can't be had now."""
        return self._asked("read from", lambda: self._read(name))

    def put(self, name: str, data: bytes) -> None:
        """In the place of what is there."""
        self._asked("written to", lambda: obstore.put(self._store, name, data, use_multipart=False))

    def stored(self) -> Iterator[Stored]:
        """Every file of features; raises `StorageProblem`."""
        for name, size, written_at in listed(self._store, self.place, NAME):
            yield Stored(name, None, size, written_at)

    def remove(self, names: Iterable[str]) -> None:
        """Those that are gone are passed over; raises `StorageProblem`."""
        with told(self.place, "removed from"):
            obstore.delete(self._store, list(names))

    def _read(self, name: str) -> bytes | None:
        try:
            answer = obstore.get(self._store, name)
        except FileNotFoundError as error:
            if is_bucket_missing(error):
                raise
            return None
        if answer.meta["size"] > LARGEST_BYTES:
            return None
        return answer.bytes().to_bytes()

    def _asked(self, what: str, ask: Callable[[], T]) -> T | None:
        """The bucket's answer; None: something went wrong, now or shortly before."""
        if time.monotonic() < self._rests_until:
            return None
        try:
            with told(self.place, what):
                return ask()
        except StorageProblem as problem:
            self._rests_until = time.monotonic() + PAUSE_S
            log.warning(
                "pictures that others saw are encoded anew for a while",
                seconds=PAUSE_S,
                reason=str(problem),
            )
            return None


def open_shelf(settings: Settings) -> BucketShelf | None:
    """The shelf in the bucket of `MMAPP_BLOBS_URL`; None where blobs are in a folder."""
    url = urlsplit(settings.blobs_url)
    if url.scheme != "s3":
        return None
    # No blob has such a name, so neither store takes the other's files for its own.
    prefix = f"{unquote(url.path)}/{FEATURES}".strip("/")
    place = f"{settings.blobs_url.rstrip('/')}/{FEATURES}"
    return BucketShelf(open_store(url.netloc, prefix, settings, PATIENCE), place)
