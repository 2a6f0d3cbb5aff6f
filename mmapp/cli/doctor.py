"""`mmapp doctor`: does this machine have what mmapp needs, and if not, what to do about it.

Each check looks at one thing and changes nothing, except that the data folder is made, and a small
file written to a store of files and removed again.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from mmapp.cli.outputs import write_json
from mmapp.cli.session import needed_roles, read_settings, ready_workers
from mmapp.errors import MmappError
from mmapp.types import Role

if TYPE_CHECKING:
    from mmapp.config import Settings
    from mmapp.jobs import Statistics, WorkerInfo

#: Less free space than this is worth a word: files, page pictures and the database grow.
LOW_SPACE = 2_000_000_000

#: Seconds that importing torch may take on a slow disk.
TORCH_S = 120

#: Clocks that differ by more make leases and heartbeats look older or younger than they are.
MOST_SKEW_S = 5.0

#: What text recognition is asked to read.
OCR_WORDS = "Invoice 2026"

TORCH_SCRIPT = (
    "import torch; print(torch.__version__, torch.cuda.get_device_name(0)"
    " if torch.cuda.is_available() else f'CPU, {torch.get_num_threads()} threads')"
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    #: What to do; empty when all is well.
    remedy: str = ""


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Write JSON, and nothing else, to stdout")
    ] = False,
) -> int:
    """Check what this machine has, each with its remedy; 1 when something is missing."""
    settings = read_settings()
    found = list(checks(settings))
    if as_json:
        write_json([asdict(check) for check in found])
    else:
        _show(found)
    return 0 if all(check.ok for check in found) else 1


def checks(settings: Settings) -> Iterator[Check]:
    from mmapp.display import working

    looks: dict[str, Callable[[Settings], tuple[str, str]]] = {
        "Python": _python,
        "data folder": _data_folder,
        "files": _files,
        "database": _database,
        "Redis": _redis,
        "document reader": _reader,
        "text recognition": _ocr,
        "torch": _torch,
        "checkpoint": _checkpoint,
        "web": _web,
        "workers": _workers,
    }
    for name, look in looks.items():
        with working(f"Checking: {name}"):
            try:
                found, remedy = look(settings)
            except MmappError as error:
                found, remedy = str(error), "Do what the line says"
            except Exception as error:
                found, remedy = f"{type(error).__name__}: {error}", "Run ./setup again"
        yield Check(name, not remedy, " ".join(found.split()), remedy)


def _python(_settings: Settings) -> tuple[str, str]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return f"{version}, {sys.executable}", "" if fits else "Use Python 3.11, 3.12 or 3.13"


def _data_folder(settings: Settings) -> tuple[str, str]:
    folder = settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"{folder}: {error.strerror}", "Set MMAPP_DATA_DIR to a folder that you may write"
    if not os.access(folder, os.W_OK):
        return f"{folder} is read-only", "Set MMAPP_DATA_DIR to a folder that you may write"
    free = shutil.disk_usage(folder).free
    remedy = "Free some space, or set MMAPP_DATA_DIR to a larger disk" if free < LOW_SPACE else ""
    return f"{folder}, {free / 1e9:.1f} GB free", remedy


def _files(settings: Settings) -> tuple[str, str]:
    """A small file is written, read and removed, unless files are kept in the data folder."""
    from mmapp.jobs import Jobs

    if not settings.blobs_url:
        return "in the data folder", ""
    with Jobs(settings) as jobs:
        began = time.monotonic()
        try:
            jobs.check_blobs()
        except MmappError as error:
            return str(error), "Start the store, or correct what begins with MMAPP_BLOBS_"
    seconds = time.monotonic() - began
    return f"one written to, read from and removed from {settings.blobs_url} in {seconds:.2f} s", ""


def _database(settings: Settings) -> tuple[str, str]:
    from mmapp.db import HEAD, Database

    if not settings.database_url and not (settings.data_dir / "mmapp.sqlite3").exists():
        return "SQLite in the data folder; made on first use", ""
    database = Database(settings.sqlalchemy_url)
    try:
        revision = database.revision()
        if revision != HEAD:
            found = f"at migration {revision or 'none'}, this version needs {HEAD}"
            return found, "Run `mmapp migrate`"
        skew_s = database.skew_s()
    except Exception as error:
        cause = getattr(error, "orig", None) or error
        return f"does not answer ({cause})", "Start it, or correct MMAPP_DATABASE_URL"
    finally:
        database.close()
    kind = settings.sqlalchemy_url.partition(":")[0]
    if abs(skew_s) > MOST_SKEW_S:
        found = f"its clock and this machine's differ by {abs(skew_s):.0f} s"
        return found, "Let NTP set both clocks: the age of jobs and workers is told by them"
    return f"{kind}, at migration {HEAD}", ""


def _redis(settings: Settings) -> tuple[str, str]:
    from mmapp.jobs import Jobs
    from mmapp.stack import Stack, redis_server

    running = Stack.running(settings)
    if running is None and is_open(settings.redis_url):
        return (
            "MMAPP_REDIS_URL has no password, and its Redis is on another machine",
            "Set `requirepass` there, and write redis://:PASSWORD@HOST in MMAPP_REDIS_URL",
        )
    url = running.redis_url if running else settings.redis_url
    if not url:
        return f"started when needed: {redis_server()}", ""
    with Jobs(settings.model_copy(update={"redis_url": url})) as jobs:
        try:
            jobs.check_broker()
        except MmappError as error:
            return str(error), "Start Redis, or correct MMAPP_REDIS_URL"
    return "that of `mmapp up` answers" if running else "MMAPP_REDIS_URL answers", ""


def is_open(redis_url: str) -> bool:
    """Whether whoever reaches the machine may give orders to the workers."""
    address = urlsplit(redis_url)
    if address.scheme not in ("redis", "rediss") or address.password:
        return False
    return address.hostname not in (None, "localhost", "127.0.0.1", "::1")


def _reader(settings: Settings) -> tuple[str, str]:
    from mmapp.documents import Reader

    with Reader(settings) as reader:
        reader.read("doctor.txt", b"A line to read.")
    return f"reads in its own process, PyMuPDF {metadata.version('pymupdf')}", ""


def _ocr(settings: Settings) -> tuple[str, str]:
    """Reads its own words in a picture."""
    from PIL import Image, ImageDraw

    from mmapp.documents.ocr import Ocr

    if settings.ocr == "off":
        return "off (MMAPP_OCR)", ""
    picture = Image.new("RGB", (640, 160), "white")
    ImageDraw.Draw(picture).text((40, 50), OCR_WORDS, fill="black", font_size=48)
    out = io.BytesIO()
    picture.save(out, "PNG")
    with Ocr(settings) as ocr:
        began = time.monotonic()
        read = " ".join(line.text for line in ocr.read(out.getvalue()).lines)
    if read != OCR_WORDS:
        return f"reads “{read}” where “{OCR_WORDS}” is written", "Run ./setup again"
    seconds = time.monotonic() - began
    return (
        f"starts and reads in {seconds:.1f} s, RapidOCR {metadata.version('rapidocr')}",
        "",
    )


def _torch(_settings: Settings) -> tuple[str, str]:
    """In a process of its own: this one stays free of torch."""
    command = [sys.executable, "-c", TORCH_SCRIPT]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TORCH_S, check=False)
    except subprocess.TimeoutExpired:
        return f"not imported within {TORCH_S} s", "Look at the disk and at what else runs"
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no output"]
        return last[0], "Run ./setup again"
    return done.stdout.strip(), ""


def _checkpoint(settings: Settings) -> tuple[str, str]:
    from mmapp.checkpoints import identify, identify_remote

    try:
        if settings.engine_url:
            return (
                f"{identify_remote(settings.engine_url, settings.engine_model).name} at a server",
                "",
            )
        checkpoint = identify(settings.checkpoint.expanduser(), settings.data_dir)
    except MmappError as error:
        return str(error), "Set MMAPP_CHECKPOINT to a checkpoint folder"
    found = f"{checkpoint.name}, weights {checkpoint.weights_sha256[:12]}"
    size = sum(file.stat().st_size for file in settings.checkpoint.glob("*.safetensors"))
    free = free_memory()
    on_cpu = settings.device == "cpu" or not Path("/dev/nvidiactl").exists()
    if on_cpu and free is not None and size > free and not _is_loaded(settings):
        found += f", {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory are free"
        return found, "Stop what needs memory, or make it smaller: `python -m model quantize`"
    return found, ""


def _is_loaded(settings: Settings) -> bool:
    """Whether a worker of this machine holds the checkpoint already."""
    from mmapp.jobs import Jobs

    with contextlib.suppress(MmappError), Jobs.open(settings) as jobs:
        return any(worker.ready and worker.process.lives_here for worker in jobs.workers())
    return False


def free_memory(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes that a new process could have; None where the system does not tell."""
    with contextlib.suppress(OSError):
        found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else None
    return None


def _web(settings: Settings) -> tuple[str, str]:
    from mmapp.stack import Stack

    running = Stack.running(settings)
    if running is not None and running.web_url:
        return f"`mmapp up` serves {running.web_url}", ""
    with socket.socket() as probe:
        if probe.connect_ex((settings.host, settings.port)) == 0:
            return f"port {settings.port} is taken; the next free one will be used", ""
    return f"port {settings.port} of {settings.host} is free", ""


def _workers(settings: Settings) -> tuple[str, str]:
    from mmapp.jobs import Jobs

    if not settings.database_url and not (settings.data_dir / "mmapp.sqlite3").exists():
        return "none; started when needed", ""
    with Jobs.open(settings) as jobs:
        infos = jobs.workers()
        if ready := ready_workers(jobs):
            return _team(ready, jobs.statistics(), needed_roles(settings))
    errors = [worker.error for worker in infos if worker.error]
    if errors:
        log_path = settings.data_dir / "logs" / "worker.log"
        return f"failed to start: {errors[-1]}", f"See {log_path}, then start it again"
    loading = [worker.name for worker in infos if worker.state == "loading"]
    if loading:
        return f"{', '.join(loading)}: loading the checkpoint", "Wait, then look again"
    if settings.redis_url:
        return "none is ready: jobs wait", "Start one where MMAPP_REDIS_URL is set: `mmapp worker`"
    return "none; started when needed", ""


def _team(
    ready: Sequence[WorkerInfo], statistics: Statistics, needed: set[Role]
) -> tuple[str, str]:
    """The workers that are ready, and whether together they can do whatever comes."""
    told = "; ".join(_worker(one) for one in ready)
    missing = sorted(needed - statistics.had)
    if missing:
        waiting = sum(queue.waiting for queue in statistics.unserved)
        found = f"{told}; none has the role {', '.join(missing)}, for which {waiting:,} jobs wait"
        return found, f"Start one: `mmapp worker --role {' --role '.join(missing)}`"
    encoders = [one for one in ready if Role.ENCODE in one.roles and Role.GENERATE not in one.roles]
    engines = [one for one in ready if Role.GENERATE in one.roles and Role.ENCODE not in one.roles]
    if not (encoders and engines):
        return told, ""
    if {one.weights_sha256 for one in encoders} - {one.weights_sha256 for one in engines}:
        found = f"{told}; what encodes and what generates have other weights"
        return found, "Give both the same MMAPP_CHECKPOINT: else pictures are encoded twice"
    if {one.dtype for one in encoders} - {one.dtype for one in engines}:
        found = f"{told}; what encodes and what generates compute with other numbers"
        return found, "Give both the same MMAPP_DTYPE: else pictures are encoded twice"
    return told, ""


def _worker(one: WorkerInfo) -> str:
    doing = f"{one.checkpoint} on {one.device}" if one.checkpoint else one.device
    return (
        f"{one.name}: {doing}"
        if one.has_all_roles
        else f"{one.name}: {doing} ({', '.join(one.roles)})"
    )


def _show(found: list[Check]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from mmapp.display import clean, show

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "Check", "Found", "What to do"):
        table.add_column(column, overflow="fold")
    for check in found:
        mark = Text("✓", "green") if check.ok else Text("✗", "bold red")
        table.add_row(mark, check.name, Text(clean(check.found)), Text(clean(check.remedy)))
    show(table)
