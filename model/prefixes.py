"""A store of prompts that were read, so that a beginning that two have in common is read once.

A `PrefixStore` is given to `load`; `Engine.prefill` then goes on from the longest beginning that
the store knows. What a prompt is known by is its tokens, the pixels of its tiles, and what they
were read with: weights, config and dtypes. Layers that attend in chunks hold the current chunk
alone, so a reading can be joined only where a piece of it ended: prefixes are kept there, which
costs little because they share pages.

Readings are kept in memory under a budget of bytes; the least recently used one goes first, to a
folder if there is one, under a budget of its own. Several processes may share a folder: each looks,
whenever it seeks or writes, whether files came or went. A file that is broken, gone, too large or
could not be written is a reading that was never kept; `trouble` says why the last one was not.

What is kept of a document can be told from nobody's files but these, which none but their owner may
open. `clear`, or removing the folder, removes all of it, and from the memory of the processes that
share the folder as soon as they are asked again: they know it by a mark in it. A reading of fewer
than `least_tokens` is not kept: it is made again sooner than found.
Called by `engine`, and by the application's worker, which makes the store. Not for several threads.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from model.readings import (
    SUFFIX,
    Filed,
    Prefix,
    Reading,
    discard,
    file_of,
    filed,
    open_reading,
    sweep,
    write,
)

MARK = "mark"  #: the file by which a folder is known to be the one that it was


@dataclass(frozen=True)
class Identity:
    """What a prompt, and each beginning of it, is known by."""

    reader: str  #: weights, config and dtypes that it is read with
    token_ids: Sequence[int]
    tiles: Mapping[int, bytes]  #: by the place from which on it is seen, a hash of its pixels

    def digests(self, lengths: Iterable[int]) -> dict[int, str]:
        """A hash of each beginning of so many tokens; longer ones than the prompt are left out."""
        wanted, hashed = {*lengths}, hashlib.sha256(self.reader.encode())
        found: dict[int, str] = {}
        begin = 0
        for place in sorted(wanted | self.tiles.keys()):
            if place > len(self.token_ids):
                break
            hashed.update(array("q", self.token_ids[begin:place]).tobytes())
            if place in wanted:
                found[place] = hashed.copy().hexdigest()
            if place in self.tiles:
                hashed.update(self.tiles[place])
            begin = place
        return found


def pixel_hash(tiles: Tensor) -> bytes:
    return hashlib.sha256(tiles.contiguous().view(torch.uint8).numpy().tobytes()).digest()


class PrefixStore:
    """Readings that were kept, in memory and in a folder."""

    def __init__(
        self,
        memory_bytes: int,
        folder: Path | str | None = None,
        disk_bytes: int = 0,
        *,
        least_tokens: int = 0,
    ) -> None:
        """OSError: the folder cannot be made."""
        self.memory_bytes = memory_bytes
        self.folder = Path(folder) if folder is not None else None
        self.disk_bytes = disk_bytes
        self.least_tokens = least_tokens
        self.trouble = ""  #: why the last reading that should have been filed was not
        self._readings: dict[str, Reading] = {}  # by name, the one used last at the end
        self._filed: dict[str, Filed] = {}  # by the names of files, in the same order
        self._mark = ""  # of the folder, when it was looked into
        self._changed_ns = 0  # when the folder had been changed last
        if self.folder is not None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sweep(self.folder)
            self._look(self.folder)

    @property
    def nbytes(self) -> int:
        """Memory of what is kept there; pages that readings share count once."""
        pages: dict[int, int] = {}
        for reading in self._readings.values():
            pages |= reading.page_bytes
        return sum(pages.values())

    def find(self, identity: Identity, device: torch.device) -> list[Prefix]:
        """Known beginnings of a prompt, shortest first: those of the reading that shares most with
        it. They are not to be extended; clones of them are."""
        self._look_again()
        known = {p.length for r in self._readings.values() for p in r.prefixes.values()}
        filed = {n for file in self._filed.values() for n in file.lengths.values()}
        digests = identity.digests(known | filed)
        best: list[Prefix] = []
        for reading in self._readings.values():
            best = max(best, reading.beginnings(digests), key=_tokens)
        for file in sorted(self._filed.values(), key=lambda file: -file.longest(digests)):
            if file.longest(digests) <= _tokens(best):
                break
            if opened := self._open(file, device):
                self._hold(opened)
                return opened.beginnings(digests)
        return best

    def keep(self, identity: Identity, prefixes: Sequence[Prefix]) -> None:
        """Keeps beginnings of a prompt, given shortest first. Of many, only those at which little
        is held besides what the last one holds: the first in each chunk, and the last three."""
        if prefixes[-1].length < self.least_tokens:
            return
        some = {prefix.length: prefix for prefix in _worth_keeping(prefixes)}
        digests = identity.digests(some)
        self._hold(Reading({digests[length]: prefix for length, prefix in some.items()}))

    def flush(self) -> None:
        """Writes what is new in memory to the folder, for other processes and the next one."""
        self.trouble = ""
        self._look_again()
        for reading in self._readings.values():
            if not reading.was_filed:
                self._file(reading)

    def clear(self) -> None:
        """Forgets everything, here, in the folder, and in the processes that share it."""
        self._readings.clear()
        if self.folder is not None:
            clear(self.folder)
            self._look_again()

    def _hold(self, reading: Reading) -> None:
        """In memory, as the one used last: in place of its beginnings, or in a longer one."""
        longer = (name for name, held in self._readings.items() if reading.name in held.prefixes)
        if name := next(longer, None):
            reading = self._readings[name]
        for name in reading.prefixes.keys() & self._readings.keys():
            del self._readings[name]
        self._readings[reading.name] = reading
        while self._readings and self.nbytes > self.memory_bytes:
            self._file(self._readings.pop(next(iter(self._readings))))

    def _file(self, reading: Reading) -> None:
        """Writes a reading to the folder, if there is one and it has the room, in place of its
        beginnings; the files used longest ago make room."""
        if self.folder is None or reading.filed_bytes > self.disk_bytes:
            return
        if any(reading.name in file.lengths for file in self._filed.values()):
            return
        try:
            file = write(reading, file_of(reading, self.folder))
        except (OSError, SafetensorError) as error:
            self.trouble = f"{self.folder}: {error}"
            return
        reading.was_filed = True
        if file.nbytes > self.disk_bytes:
            discard(file)
            return
        for name in [*self._filed]:
            if name.removesuffix(SUFFIX) in reading.prefixes:
                self._forget(self._filed[name])
        self._filed[file.path.name] = file
        while self._filed_bytes > self.disk_bytes:
            self._forget(next(iter(self._filed.values())))

    @property
    def _filed_bytes(self) -> int:
        return sum(file.nbytes for file in self._filed.values())

    def _look_again(self) -> None:
        """Learns what other processes wrote into the folder or removed from it."""
        if self.folder is None:
            return
        try:
            if not self.folder.exists():
                self.folder.mkdir(mode=0o700, parents=True)
            if self.folder.stat().st_mtime_ns != self._changed_ns:
                self._look(self.folder)
        except OSError as error:
            self.trouble = f"{self.folder}: {error}"
            self._filed.clear()

    def _look(self, folder: Path) -> None:
        mark = _mark(folder)
        if mark != self._mark:
            self._readings.clear()
        self._mark = mark
        self._changed_ns = folder.stat().st_mtime_ns
        self._filed = {file.path.name: file for file in filed(folder, self._filed)}

    def _open(self, file: Filed, device: torch.device) -> Reading | None:
        """None, and no file any more, if it is not whole."""
        try:
            reading = open_reading(file.path, device)
            os.utime(file.path)
        except (OSError, SafetensorError, KeyError, ValueError):
            self._forget(file)
            return None
        self._filed[file.path.name] = self._filed.pop(file.path.name)
        return reading

    def _forget(self, file: Filed) -> None:
        del self._filed[file.path.name]
        discard(file)


def clear(folder: Path) -> None:
    """Removes the readings of a folder; processes that share it forget theirs when they see it."""
    for path in [folder / MARK, *folder.glob("*" + SUFFIX + "*")]:
        path.unlink(missing_ok=True)


def _mark(folder: Path) -> str:
    """What tells this folder from one of the same name that was removed."""
    with suppress(FileExistsError), (folder / MARK).open("x", encoding="ascii") as file:
        file.write(secrets.token_hex(8))
    return (folder / MARK).read_text(encoding="ascii")


def _tokens(prefixes: Sequence[Prefix]) -> int:
    return prefixes[-1].length if prefixes else 0


def _worth_keeping(prefixes: Sequence[Prefix]) -> Iterator[Prefix]:
    before = 0
    for place, prefix in enumerate(prefixes):
        local = (layer.held for layer in prefix.cache if layer.limit is not None)
        begins_chunk = max(local, default=0) < prefix.length - before
        if begins_chunk or place >= len(prefixes) - 3:
            yield prefix
        before = prefix.length
