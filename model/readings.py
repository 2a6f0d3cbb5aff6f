"""Readings: a prompt that was read, with beginnings of it, in memory and as a file.

A `Prefix` is what the model remembers of a prompt. A `Reading` is some of the beginnings of one
prompt; they share pages. A file of one is safetensors: each page once, what predicts the token
after each prefix, and in its metadata which pages each prefix holds. It is written whole, brought
to the disk and then renamed, so that a machine that loses its power has all of it or nothing.
Called by `engine` and `prefixes`; it refuses, with an error, a file that is not whole or of another
layout.

Letters: B batch, K key-value heads, S tokens, W head width, D model width.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.cache import Cache, LayerCache
from model.gaze import Gaze
from model.pages import CACHE_DTYPES, Page, PageShape

SUFFIX = ".prefix.safetensors"
FORMAT = "1"  #: a file of another layout is not read
STALE_S = 3600  #: seconds after which half a file was left by a process that was killed


@cache
def code_sha256() -> str:
    """Hash of the modules beside this one: what other code has read is read again."""
    hashed = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        hashed.update(path.read_bytes())
    return hashed.hexdigest()


class Prefix:
    """A prefilled prompt: what the model remembers of it. A clone shares what both remember."""

    def __init__(self, cache: Cache, last_D: Tensor) -> None:
        self.cache = cache
        self.last_D = last_D  #: what predicts the token after the prefix

    @property
    def length(self) -> int:
        """Tokens read."""
        return self.cache.length

    @property
    def nbytes(self) -> int:
        return self.cache.nbytes

    def clone(self) -> Prefix:
        return Prefix(self.cache.clone(), self.last_D)


class Reading:
    """Beginnings of one prompt, shortest first, which share pages; each with its digest."""

    def __init__(self, prefixes: dict[str, Prefix]) -> None:
        self.prefixes = prefixes
        self.was_filed = False  #: though its file may have made room for others since

    @property
    def name(self) -> str:
        """The digest of all of it."""
        return next(reversed(self.prefixes))

    @property
    def filed_bytes(self) -> int:
        """About as many as its file has: of each page what is held of it, and not its room."""
        held = self.held
        return sum(page.nbytes * held[id(page)] // page.capacity for page in self.pages)

    @property
    def held(self) -> dict[int, int]:
        """Of each page, the tokens that a prefix holds."""
        held = {id(page): 0 for page in self.pages}
        for prefix in self.prefixes.values():
            for segment in (one for layer in prefix.cache for one in layer.segments()):
                held[id(segment.page)] = max(held[id(segment.page)], segment.end)
        return held

    @cached_property
    def page_bytes(self) -> dict[int, int]:
        """Of each page, by what is the same for a page that two readings share."""
        return {id(page): page.nbytes for page in self.pages}

    @cached_property
    def pages(self) -> list[Page]:
        """All pages, each once, with no order that means anything."""
        caches = (prefix.cache for prefix in self.prefixes.values())
        pages = (page for cache in caches for layer in cache for page in layer.pages)
        return list({id(page): page for page in pages}.values())

    def beginnings(self, digests: Mapping[int, str]) -> list[Prefix]:
        """Those among a prompt's, shortest first."""
        return [p for digest, p in self.prefixes.items() if digests.get(p.length) == digest]


@dataclass(frozen=True)
class Filed:
    """A reading in a file: as much of it as is needed to know whether it is worth opening."""

    path: Path
    nbytes: int
    lengths: Mapping[str, int]  #: of its beginnings, by digest

    def longest(self, digests: Mapping[int, str]) -> int:
        """Tokens of the longest beginning that a prompt shares; 0: none."""
        shared = (n for digest, n in self.lengths.items() if digests.get(n) == digest)
        return max(shared, default=0)


def filed(folder: Path, known: Mapping[str, Filed]) -> Iterator[Filed]:
    """The readings of a folder, the one used last at the end; `known` ones, by the names of their
    files, are not opened again."""
    used = {path: _used(path) for path in folder.glob("*" + SUFFIX)}
    for path in sorted(used, key=used.__getitem__):
        if path.name in known:
            yield known[path.name]
            continue
        with suppress(OSError, SafetensorError, KeyError, ValueError), _opened(path) as file:
            kept = _described(file)["prefixes"]
            lengths = {one["digest"]: one["length"] for one in kept}
            yield Filed(path, path.stat().st_size, lengths)


def sweep(folder: Path) -> None:
    """Removes halves of files that killed processes left."""
    for path in folder.glob("*" + SUFFIX + ".*"):
        if _used(path) < time.time() - STALE_S:
            with suppress(OSError):
                path.unlink()


def _used(path: Path) -> float:
    """When a file was used last; long ago if it is gone."""
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def file_of(reading: Reading, folder: Path) -> Path:
    return folder / (reading.name + SUFFIX)


def open_reading(path: Path, device: torch.device) -> Reading:
    """The reading of a file. OSError, SafetensorError, KeyError or ValueError: it is not whole."""
    with _opened(path, str(device)) as file:
        described = _described(file)
        batch, heads, width, dtype = described["shape"]
        shape = PageShape(batch, heads, width, CACHE_DTYPES[dtype], device)
        names = {*file.keys()}
        pages = []
        for number in range(described["pages"]):
            values_2BKSW = file.get_tensor(f"values.{number}")
            has_scales = f"scales.{number}" in names
            scales_2BKS1 = file.get_tensor(f"scales.{number}") if has_scales else None
            pages.append(Page(shape, values_2BKSW, scales_2BKS1, filled=values_2BKSW.shape[3]))
        prefixes = {}
        for place, one in enumerate(described["prefixes"]):
            layers = [
                LayerCache.of(shape, limit, [pages[number] for number in held_by], held, read)
                for limit, held, read, held_by in one["layers"]
            ]
            last_D = file.get_tensor(f"last.{place}")
            cache = Cache.of(layers, one["length"], Gaze(*one["gaze"]))
            prefixes[one["digest"]] = Prefix(cache, last_D)
        reading = Reading(prefixes)
        reading.was_filed = True
        return reading


def write(reading: Reading, path: Path) -> Filed:
    """Pages, each once and no longer than it is held, and for each prefix which pages it holds."""
    numbers = {id(page): number for number, page in enumerate(reading.pages)}
    tensors = _tensors(reading)
    described = {
        "shape": _shape(reading),
        "pages": len(reading.pages),
        "prefixes": [
            {
                "digest": digest,
                "length": prefix.length,
                "gaze": prefix.cache.gaze,
                "layers": [
                    [layer.limit, layer.held, layer.read, [numbers[id(p)] for p in layer.pages]]
                    for layer in prefix.cache
                ],
            }
            for digest, prefix in reading.prefixes.items()
        ],
    }
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        save_file(tensors, fresh, {"format": FORMAT, "reading": json.dumps(described)})
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    lengths = {digest: prefix.length for digest, prefix in reading.prefixes.items()}
    return Filed(path, path.stat().st_size, lengths)


def discard(file: Filed) -> None:
    with suppress(OSError):
        file.path.unlink()


def _shape(reading: Reading) -> tuple[int, int, int, str]:
    """Batch, heads, width and the name of the dtype."""
    first = next(iter(next(iter(reading.prefixes.values())).cache)).shape
    dtype = next(name for name, dtype in CACHE_DTYPES.items() if dtype == first.dtype)
    return first.batch, first.heads, first.width, dtype


def _tensors(reading: Reading) -> dict[str, Tensor]:
    held = reading.held
    tensors: dict[str, Tensor] = {}
    for number, page in enumerate(reading.pages):
        end = held[id(page)]
        tensors[f"values.{number}"] = page.values_2BKSW[:, :, :, :end].contiguous()
        if page.scales_2BKS1 is not None:
            tensors[f"scales.{number}"] = page.scales_2BKS1[:, :, :, :end].contiguous()
    for place, prefix in enumerate(reading.prefixes.values()):
        tensors[f"last.{place}"] = prefix.last_D.clone()  # its memory may be another one's too
    return tensors


def _opened(path: Path, device: str = "cpu") -> Any:
    return safe_open(path, framework="pt", device=device)


def _described(file: Any) -> dict[str, Any]:
    """What a file says of itself. ValueError: it is of another layout."""
    metadata = file.metadata() or {}
    if metadata.get("format") != FORMAT:
        raise ValueError("a reading of another layout")
    described: dict[str, Any] = json.loads(metadata["reading"])
    return described
