"""The memory of this machine, and how many GPUs a model would need. Called by `describe`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

USABLE = 0.9  #: of a device's memory; the rest is for what is computed
GPU_GIGABYTES = (80, 141)  #: of those that people rent: A100 and H100; H200

CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")  #: bytes, or "max" (cgroup v2)


@dataclass(frozen=True)
class Device:
    """Something with memory of its own."""

    name: str
    memory_bytes: int  #: all of it, used or not

    def fits(self, need_bytes: int) -> bool:
        return need_bytes <= USABLE * self.memory_bytes


def devices() -> list[Device]:
    """The processor, each GPU, and all GPUs together if there are several."""
    gpus = [
        Device(f"cuda:{n} {found.name}", found.total_memory)
        for n in range(torch.cuda.device_count())
        for found in [torch.cuda.get_device_properties(n)]
    ]
    together = Device(f"{len(gpus)} GPUs together", sum(gpu.memory_bytes for gpu in gpus))
    return [Device("cpu", _machine_bytes()), *gpus, *([together] if len(gpus) > 1 else [])]


def gpus_needed(need_bytes: int, gigabytes: int) -> int:
    """How many GPUs of this size hold so much between them."""
    return -int(-need_bytes // (USABLE * gigabytes * 10**9))


def _machine_bytes() -> int:
    """Memory of the machine, or of the container if that is less."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if CONTAINER_LIMIT.exists() and (limit := CONTAINER_LIMIT.read_text().strip()).isdecimal():
        return min(machine, int(limit))
    return machine
