"""Where a worker keeps what it has read: the budgets of its `PrefixStore`, and the store's folder.

The second question about a document, from whatever task, job, worker of this machine or life of a
worker, goes on from the first reading of it. The folder stands in the data folder, so that whoever
removes that removes all readings. Called by `workers.child` and `workers.evaluation` when the
engine is loaded; refuses nothing: what cannot be kept on disk is kept in memory, and the log says
so.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from mmapp.config import Settings
from mmapp.logs import get_logger
from model import PrefixStore
from model.memory import free_bytes

FOLDER = "readings"
MB = 10**6
#: Of what is free, memory and disk alike, where the settings do not say.
SHARE = 0.1
#: However much of the disk is free.
MOST_DISK_BYTES = 10_000 * MB
#: Shorter prompts, as those about photos mostly are, are read again sooner than found.
LEAST_TOKENS = 1024

log = get_logger(__name__)


def open_store(settings: Settings, device: str) -> PrefixStore | None:
    """The store of an engine that is loaded on this device; None if it is switched off."""
    memory = _bytes(settings.prefix_memory_mb, SHARE * free_bytes(torch.device(device)))
    folder = settings.data_dir.expanduser().resolve() / FOLDER
    disk = _bytes(settings.prefix_disk_mb, _disk_share(settings.data_dir.expanduser()))
    if disk:
        try:
            return PrefixStore(memory, folder, disk, least_tokens=LEAST_TOKENS)
        except OSError as error:
            log.warning("readings are not kept on disk", folder=str(folder), reason=str(error))
    return PrefixStore(memory, least_tokens=LEAST_TOKENS) if memory else None


def _bytes(megabytes: int, otherwise: float) -> int:
    return int(otherwise) if megabytes < 0 else megabytes * MB


def _disk_share(data_dir: Path) -> float:
    return min(MOST_DISK_BYTES, SHARE * shutil.disk_usage(data_dir).free)
