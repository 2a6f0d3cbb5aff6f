"""Calibrations that reviews have fitted: kept in the data folder, put over a checkpoint's own.

One file for each checkpoint, by the hash of its weights; what came with the weights is never
changed. `applied` puts the constants into a profile under `KEY`, where `tasks` reads them. So they
are part of what a stored result depends on, and its record says which they were. Called by
`checkpoints`, by workers before each job, and by `mmapp calibrate`. Refuses a file that is none.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmapp.errors import CheckpointProblem

FOLDER = "calibrations"
#: Where a profile holds them.
KEY = "reviewed"


def file_of(data_dir: Path, weights_sha256: str) -> Path:
    return data_dir / FOLDER / f"{weights_sha256}.json"


def read(data_dir: Path, weights_sha256: str) -> dict[str, Any] | None:
    """What was fitted for these weights: `id`, `check_listing` and how it came about."""
    path = file_of(data_dir, weights_sha256)
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CheckpointProblem(
            f"{path} is no calibration ({error}); run `mmapp calibrate --reset`"
        ) from error
    return stored


def write(data_dir: Path, weights_sha256: str, constants: Mapping[str, float], **about: Any) -> str:
    """Keeps constants for `check_listing`; the id that results will name."""
    id_ = _id_of(constants)
    stored = {"id": id_, "weights_sha256": weights_sha256, "check_listing": dict(constants)}
    path = file_of(data_dir, weights_sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{secrets.token_hex(4)}")
    fresh.write_text(json.dumps({**stored, **about}, indent=2) + "\n", encoding="utf-8")
    fresh.replace(path)
    return id_


def reset(data_dir: Path, weights_sha256: str) -> bool:
    """Goes back to what came with the weights; whether there was anything else."""
    path = file_of(data_dir, weights_sha256)
    was_there = path.exists()
    path.unlink(missing_ok=True)
    return was_there


def applied(profile: Mapping[str, Any], stored: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The profile with what was fitted in it, or without anything fitted."""
    plain = {name: value for name, value in profile.items() if name != KEY}
    if stored is None:
        return plain
    return {**plain, KEY: {"id": stored["id"], "check_listing": stored["check_listing"]}}


def in_record(profile: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What a result's record says: the id (None: what came with the weights) and the constants."""
    fitted = profile.get(KEY, {})
    return {
        "id": fitted.get("id") if task in fitted else None,
        **profile.get("calibration", {}).get(task, {}),
        **fitted.get(task, {}),
    }


def _id_of(constants: Mapping[str, float]) -> str:
    return hashlib.sha256(json.dumps(dict(constants), sort_keys=True).encode()).hexdigest()[:12]
