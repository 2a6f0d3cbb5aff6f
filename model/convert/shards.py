"""Weights written one by one into safetensors shards, so that no model need fit into memory.

Called by `meta`. One shard at a time is held; what is written has the names and the index that
`checkpoint` reads. It refuses nothing: the caller has checked names and shapes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from model.checkpoint import INDEX, MAX_SHARD_BYTES, WEIGHTS

OnBytes = Callable[[int, int], None]  #: bytes done, bytes in all


def write_shards(
    folder: Path,
    weights: Iterator[tuple[str, Tensor]],
    total: int,
    on_bytes: OnBytes,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write the weights in their order; `total` is their size in bytes."""
    written: list[list[str]] = []
    shard: dict[str, Tensor] = {}
    done = held = 0
    for name, tensor in weights:
        if shard and held + tensor.nbytes > max_shard_bytes:
            written.append(_write(folder, len(written), shard))
            shard, held = {}, 0
        shard[name] = tensor.contiguous()
        held += tensor.nbytes
        done += tensor.nbytes
        on_bytes(done, total)
    written.append(_write(folder, len(written), shard))
    _name(folder, written, done)


def _write(folder: Path, number: int, shard: dict[str, Tensor]) -> list[str]:
    save_file(shard, _numbered(folder, number), metadata={"format": "pt"})
    return list(shard)


def _name(folder: Path, shards: list[list[str]], total: int) -> None:
    """The names of the files say how many there are, which is known only now."""
    if len(shards) == 1:
        _numbered(folder, 0).rename(folder / WEIGHTS)
        return
    weight_map = {}
    for number, names in enumerate(shards):
        file = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        _numbered(folder, number).rename(folder / file)
        weight_map.update(dict.fromkeys(names, file))
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _numbered(folder: Path, number: int) -> Path:
    return folder / f"shard-{number}.safetensors"
