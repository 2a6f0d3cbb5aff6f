"""Folders and files that a command writes: whole or not at all, and over nothing unasked.

Called by the commands that write a model, `convert` and `quantize`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.checkpoint import CONFIG

#: What a checkpoint folder has beside its weights and config, and keeps.
COMPANIONS = (
    "tokenizer*.json", "special_tokens_map.json", "chat_template.*", "*processor_config.json",
    "generation_config.json", "profile.json", "README.md", "LICENSE*", "USE_POLICY*",
)  # fmt: skip


class OutputError(ValueError):
    """The output cannot be written there; the message says why and what to do."""


def refuse_output(source: Path, out: Path, *, is_file: bool, force: bool) -> None:
    """Before anything is computed: `force` allows only a checkpoint, or a file, to be replaced."""
    if out.resolve() == source.resolve():
        raise OutputError(f"{out} is the source itself: name another OUT")
    if source.resolve().is_relative_to(out.resolve()):
        raise OutputError(f"{out} contains the source: name another OUT")
    if not out.exists():
        return
    if not force:
        raise OutputError(f"{out} exists: name another OUT, or replace it with --force")
    is_ours = out.is_file() if is_file else (out / CONFIG).is_file() or _is_empty(out)
    if not is_ours:
        raise OutputError(f"{out} is no {'file' if is_file else 'checkpoint'}: not replaced")


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """The path to write to. It becomes `out` at the end; if that is not reached, it is removed."""
    partial = out.with_name(out.name + ".partial")
    _remove(partial)
    try:
        yield partial
        _remove(out)
        partial.rename(out)
    finally:
        _remove(partial)


def copy_companions(source: Path, out: Path) -> None:
    """The tokenizer and all else that is not weights and config."""
    for pattern in COMPANIONS:
        for path in source.glob(pattern):
            shutil.copyfile(path, out / path.name)


def refuse_full_disk(folder: Path, needed: int) -> None:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise OutputError(f"{there} has {in_bytes(free)} free, about {in_bytes(needed)} are needed")


def bytes_of(path: Path) -> int:
    """Of a file, or of the files in a folder."""
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def in_bytes(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.2f} MiB"


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
