"""What answers: a checkpoint folder's name and weights, without loading them, or a server's model.

The hash is the engine's own (`model.checkpoint.weights_sha256`): the one file's, or that of the
shards' hashes by name. It is kept in the data folder by path, size and time of change, because
large weights take minutes to read. Called by `jobs` (same input, same weights: the stored result
answers) and by `mmapp doctor`; refuses a folder without config or weights.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmapp import calibrations
from mmapp.errors import CheckpointProblem

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PROFILE = "profile.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint folder, identified."""

    name: str
    weights_sha256: str
    #: Thresholds and calibration that came with the weights; empty when none did.
    profile: Mapping[str, Any]
    #: It sees pictures with an encoder of its own, which can run apart from the rest.
    has_encoder: bool = False


def identify(folder: Path, data_dir: Path) -> Checkpoint:
    """The folder's name and weights; raises `CheckpointProblem` when they are not there."""
    folder = folder.resolve()
    if not (folder / CONFIG).is_file():
        raise CheckpointProblem(
            f"{folder} is no checkpoint: it has no {CONFIG}; set MMAPP_CHECKPOINT to a folder in"
            " Hugging Face layout"
        )
    cache = data_dir / "checkpoints.json"
    hashes = [_file_sha256(path, cache) for path in _weight_files(folder)]
    joined = hashes[0] if len(hashes) == 1 else _sha256("".join(hashes))
    profile = folder / PROFILE
    return Checkpoint(
        name=folder.name,
        weights_sha256=joined,
        profile=_read_json(profile) if profile.is_file() else {},
        has_encoder=bool(_read_json(folder / CONFIG).get("vision_config")),
    )


def identify_remote(url: str, model: str) -> Checkpoint:
    """A model at a server: its weights can't be read, so its address and name stand for them."""
    if not model:
        raise CheckpointProblem(
            f"MMAPP_ENGINE_URL is {url} and MMAPP_ENGINE_MODEL is not set: name the model that the "
            "server shall answer with"
        )
    return Checkpoint(name=model, weights_sha256=_sha256(f"{url.rstrip('/')} {model}"), profile={})


def answering(folder: Path, data_dir: Path, engine_url: str, engine_model: str) -> Checkpoint:
    """What answers with these settings: the model at the server if there is one, else the folder's,
    as reviews have calibrated it.

    Raises `CheckpointProblem` when neither can.
    """
    found = identify_remote(engine_url, engine_model) if engine_url else identify(folder, data_dir)
    stored = calibrations.read(data_dir, found.weights_sha256)
    return replace(found, profile=calibrations.applied(found.profile, stored))


def _weight_files(folder: Path) -> list[Path]:
    """The one file, or the shards that the index names."""
    files = [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        shards = _read_json(folder / INDEX).get("weight_map", {})
        files = [folder / name for name in sorted(set(shards.values()))]
    for file in files:
        if not file.is_file():
            raise CheckpointProblem(f"{file} does not exist: the weights are incomplete")
    if not files:
        raise CheckpointProblem(f"{folder / INDEX} names no weights")
    return files


def _file_sha256(path: Path, cache: Path) -> str:
    state = path.stat()
    key = f"{path}|{state.st_size}|{state.st_mtime_ns}"
    known = _read_cache(cache)
    if key not in known:
        with path.open("rb") as file:
            known[key] = hashlib.file_digest(file, "sha256").hexdigest()
        _write_cache(cache, known)
    return known[key]


def _read_cache(cache: Path) -> dict[str, str]:
    try:
        known: dict[str, str] = json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}
    return known


def _write_cache(cache: Path, known: Mapping[str, str]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    # Several may do this at once; the last one wins, and none is read half.
    fresh = cache.with_suffix(f".{secrets.token_hex(4)}")
    fresh.write_text(json.dumps(known, indent=1))
    fresh.replace(cache)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointProblem(f"{path} is not JSON: {error}") from error
    return content


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
