"""The memory of this machine, and how many GPUs a model would need.

Called by `describe`, and by `checkpoint` before it loads.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch

USABLE = 0.9  #: of a device's memory; the rest is for what is computed
GPU_GIGABYTES = (80, 141)  #: of those that people rent: A100 and H100; H200
#: How people name devices: how many, and their memory.
DEVICES = re.compile(r"(?:(\d+)x)?(\d+(?:\.\d+)?) ?(GiB|GB)")
UNITS = {"GiB": 2**30, "GB": 10**9}

CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")  #: bytes, or "max" (cgroup v2)
CONTAINER_USED = Path("/sys/fs/cgroup/memory.current")  #: bytes
CONTAINER_STATISTICS = Path("/sys/fs/cgroup/memory.stat")
MEMORY_INFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Device:
    """Something with memory of its own."""

    name: str
    memory_bytes: int  #: all of it, used or not

    def fits(self, need_bytes: int) -> bool:
        return need_bytes <= USABLE * self.memory_bytes


def devices() -> list[Device]:
    """The processor, each GPU, and all GPUs together if there are several."""
    found = gpus()
    together = Device(f"{len(found)} GPUs together", sum(gpu.memory_bytes for gpu in found))
    return [Device("cpu", _machine_bytes()), *found, *([together] if len(found) > 1 else [])]


def gpus() -> list[Device]:
    """Of this machine."""
    return [
        Device(f"cuda:{n} {found.name}", found.total_memory)
        for n in range(torch.cuda.device_count())
        for found in [torch.cuda.get_device_properties(n)]
    ]


def devices_named(words: str) -> list[Device]:
    """Devices that need not be here: "8x80GiB", or "2x141GB,80GiB". Refuses (ValueError) others."""
    found = [(word, DEVICES.fullmatch(word.strip())) for word in words.split(",")]
    named: list[Device] = []
    for word, parts in found:
        if parts is None or not int(parts[1] or 1) or not float(parts[2]):
            raise ValueError(f"{word!r} is no memory of devices: say 8x80GiB, or 2x141GB,80GiB")
        size = int(float(parts[2]) * UNITS[parts[3]])
        named += [Device(f"{parts[2]} {parts[3]}", size)] * int(parts[1] or 1)
    return named


def device_of(device: torch.device) -> Device:
    """What this device is and how much it holds."""
    if device.type == "cuda":
        return Device(str(device), torch.cuda.get_device_properties(device).total_memory)
    return Device(str(device), _machine_bytes())


def gpus_needed(need_bytes: int, gigabytes: int) -> int:
    """How many GPUs of this size hold so much between them."""
    return -int(-need_bytes // (USABLE * gigabytes * 10**9))


def free_bytes(device: torch.device) -> float:
    """What can still be put on a device; without bound where nothing takes memory."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return _available_bytes() if device.type == "cpu" else float("inf")


def what_fits(need: int, free: float, floats: int, few_bits: int) -> str:
    """The ways to load weights that need more bytes than are free, as an advice.

    `floats` is how many numbers are not quantized, `few_bits` the bytes of what is.
    """
    ways = {
        "dtype bfloat16": 2 * floats + few_bits,
        "8 bits (python -m model quantize)": floats + few_bits,
        "4 bits (python -m model quantize)": floats * 0.53 + few_bits,
    }
    fitting = [
        f"{way} ({size / 2**30:,.1f} GiB)"
        for way, size in ways.items()
        if size <= min(free, 0.9 * need)
    ]
    gpus = [f"{gpus_needed(need, size)} GPUs of {size} GB" for size in GPU_GIGABYTES]
    return f"it would fit with {', '.join([*fitting, *gpus])}"


def _available_bytes() -> int:
    """Of the machine, or of the container if that is less."""
    told = MEMORY_INFO.read_text() if MEMORY_INFO.exists() else ""
    found = re.search(r"MemAvailable:\s+(\d+) kB", told)
    available = int(found[1]) * 1024 if found else _machine_bytes()
    limit = _container_limit()
    return available if limit is None else min(available, limit - _container_used())


def _container_used() -> int:
    """Without the files that are held in memory only while nothing else needs it."""
    if not CONTAINER_USED.exists():
        return 0
    told = CONTAINER_STATISTICS.read_text() if CONTAINER_STATISTICS.exists() else ""
    files = re.search(r"^inactive_file (\d+)$", told, re.MULTILINE)
    return int(CONTAINER_USED.read_text()) - (int(files[1]) if files else 0)


def _machine_bytes() -> int:
    """Memory of the machine, or of the container if that is less."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _container_limit()
    return machine if limit is None else min(machine, limit)


def _container_limit() -> int | None:
    told = CONTAINER_LIMIT.read_text().strip() if CONTAINER_LIMIT.exists() else ""
    return int(told) if told.isdecimal() else None
