"""Where a worker keeps what it has read: the budgets of its `PrefixStore`, and the store's folder.

The second question about a document, from whatever task, job, worker of this machine or life of a
worker, goes on from the first reading of it. The folder stands in the data folder, so that whoever
removes that removes all readings. Called by `workers.models` and `workers.evaluation` when the
engine is loaded; refuses nothing: what cannot be kept on disk is kept in memory, and the log says
so.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from mmapp.config import READINGS, Settings
from mmapp.logs import get_logger
from model import PrefixStore
from model.memory import free_bytes

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
    memory = _memory_bytes(settings, device)
    if settings.prefix_disk_mb:
        data_dir = settings.data_dir.expanduser().resolve()
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            disk = _disk_bytes(settings, data_dir)
            return PrefixStore(memory, data_dir / READINGS, disk, least_tokens=LEAST_TOKENS)
        except OSError as error:
            log.warning("readings are not kept on disk", reason=str(error))
    return PrefixStore(memory, least_tokens=LEAST_TOKENS) if memory else None


def _memory_bytes(settings: Settings, device: str) -> int:
    """Of the device; of the machine's where the device does not tell what is free."""
    if settings.prefix_memory_mb >= 0:
        return settings.prefix_memory_mb * MB
    return int(SHARE * min(free_bytes(torch.device(name)) for name in (device, "cpu")))


def _disk_bytes(settings: Settings, data_dir: Path) -> int:
    if settings.prefix_disk_mb >= 0:
        return settings.prefix_disk_mb * MB
    return min(MOST_DISK_BYTES, int(SHARE * shutil.disk_usage(data_dir).free))
