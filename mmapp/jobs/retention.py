"""Retention: what is older than somebody wants to keep is removed: rows, blobs, readings.

Called by the verbs. Rows go in one transaction, files after its commit: killed in between, the next
call finds them. What a job that has not ended needs is never touched, however old it is.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from mmapp.db import Database
from mmapp.storage import Blobs, BucketShelf, Stored

#: Bytes are stored before the row that refers to them; so long nobody takes them for left over.
GRACE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, or would be."""

    batches: int
    jobs: int
    documents: int
    #: Files of documents and pictures of pages.
    blobs: int
    #: What workers kept of documents that they had read, and of pictures that they had seen.
    readings: int
    #: Of blobs and readings.
    bytes: int


class _Undo(Exception):
    """Ends a transaction that was a rehearsal."""


class Retention:
    """Removes what is old."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        readings: Sequence[Path],
        shelf: BucketShelf | None,
    ) -> None:
        """`readings`: the folders of what workers read of documents, and of what they saw in
        pictures; `shelf`: where machines share what they saw."""
        self._database = database
        self._blobs = blobs
        self._readings = readings
        self._shelf = shelf

    def prune(self, age: timedelta, *, keep_results: bool, dry_run: bool) -> Pruned:
        """`keep_results`: rows stay, and only files go; `dry_run`: nothing goes."""
        batches = jobs = documents = 0
        # Before the transaction, which lets nobody else write: a distant store lists slowly.
        settled, seen = list(self._settled()), self._old_seen(age)
        with contextlib.suppress(_Undo), self._database.transaction() as repository:
            before = repository.now() - age
            if not keep_results:
                batches = repository.retention.remove_batches(before)
                jobs = repository.retention.remove_jobs(before)
                documents = repository.retention.remove_documents(before)
            kept = repository.retention.blobs(before if keep_results else None)
            if dry_run:
                raise _Undo
        unused = [file for file in settled if file.sha256 not in kept]
        old = list(self._old_readings(age))
        if not dry_run:
            self._blobs.remove(file.name for file in unused)
            for path, _ in old:
                path.unlink(missing_ok=True)
            if self._shelf is not None:
                self._shelf.remove(file.name for file in seen)
        freed = sum(file.size_bytes for file in unused + seen) + sum(size for _, size in old)
        return Pruned(batches, jobs, documents, len(unused), len(old) + len(seen), freed)

    def _settled(self) -> Iterator[Stored]:
        """Files that no process is about to refer to."""
        return (file for file in self._blobs.stored() if file.written_at < time.time() - GRACE_S)

    def _old_seen(self, age: timedelta) -> list[Stored]:
        """A bucket tells when a file was written and never when it was read."""
        oldest = time.time() - age.total_seconds()
        stored = () if self._shelf is None else self._shelf.stored()
        return [file for file in stored if file.written_at < oldest]

    def _old_readings(self, age: timedelta) -> Iterator[tuple[Path, int]]:
        """They are touched when they are used."""
        oldest = time.time() - age.total_seconds()
        for path in (file for folder in self._readings for file in folder.glob("*.safetensors*")):
            with contextlib.suppress(FileNotFoundError):
                state = path.stat()
                if state.st_mtime < oldest:
                    yield path, state.st_size
