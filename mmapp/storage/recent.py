"""Blobs that were read or written last, kept in memory, so that a distant store is asked once.

A page is drawn from the bytes of its whole document, and the next page from the same. Called by
`bucket`; a folder needs none, the system remembers its files.
"""

from __future__ import annotations

import threading
from collections import OrderedDict


class Recent:
    """Up to a budget of bytes, and the very last blob whatever its size; safe for threads."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._held = 0
        self._blobs: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, sha256: str) -> bytes | None:
        with self._lock:
            if sha256 in self._blobs:
                self._blobs.move_to_end(sha256)
            return self._blobs.get(sha256)

    def keep(self, sha256: str, data: bytes) -> None:
        with self._lock:
            self._drop(sha256)
            self._blobs[sha256] = data
            self._held += len(data)
            while self._held > self._budget and len(self._blobs) > 1:
                self._drop(next(iter(self._blobs)))

    def forget(self, sha256: str) -> None:
        with self._lock:
            self._drop(sha256)

    def _drop(self, sha256: str) -> None:
        self._held -= len(self._blobs.pop(sha256, b""))
