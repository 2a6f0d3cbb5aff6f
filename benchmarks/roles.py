"""`python -m benchmarks.roles`: when does it pay to deploy roles apart, on one machine?

The whole application at work, three times on fresh data: one worker of all roles, two of all roles,
and one of each role. Scans, which have to be recognised, are submitted just before listings, whose
photos have to be encoded, so that somebody waits behind somebody else's scan. Told of each way: how
long all of it took, how long the median and the last listing took, the CPU seconds of all
processes, and the memory that each worker held with all its processes, before the first job and at
most (PSS: what processes share counts once). Scans and photos are drawn from what is shipped; no
two are alike.

    python -m benchmarks.roles                            3 scans, 9 listings, nano, one thread each
    python -m benchmarks.roles --scans 8 --listings 40
    python -m benchmarks.roles --json                     the ways as JSON
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymupdf
from PIL import Image, ImageDraw

from mmapp.config import ALL_ROLES, REPOSITORY, Settings, load_settings
from mmapp.jobs import Jobs
from mmapp.stack import Stack
from mmapp.types import Job, Listing, Role, Status, SummarizeParams, TaskName
from model.progress import Progress

READY_S = 600.0
#: Seconds between two looks at memory and jobs.
LOOK_S = 0.2
PHOTOS = REPOSITORY / "samples" / "photos"
TITLES = ("Yellow bananas", "Red bell peppers", "新鲜的橙子", "黑色外套")
#: Each way, and the roles of its workers.
WAYS: dict[str, tuple[str, ...]] = {
    "one worker of all roles": (ALL_ROLES,),
    "two workers of all roles": (ALL_ROLES, ALL_ROLES),
    "one worker of each role": tuple(Role),
}


@dataclass(frozen=True)
class Way:
    """What one way of deploying workers did."""

    name: str
    #: Seconds until everything was done, and until each listing was, the first to end first.
    wall_s: float
    listings_s: list[float]
    cpu_s: float
    #: What each worker held before its first job, and at most, by its roles.
    memory_mb: dict[str, list[tuple[float, float]]]

    def as_json(self) -> dict[str, Any]:
        return {
            "way": self.name,
            "wall_seconds": round(self.wall_s, 2),
            "listing_median_seconds": round(statistics.median(self.listings_s), 2),
            "listing_last_seconds": round(max(self.listings_s), 2),
            "cpu_seconds": round(self.cpu_s, 2),
            "memory_mb": {
                roles: [{"ready": round(ready), "most": round(most)} for ready, most in each]
                for roles, each in self.memory_mb.items()
            },
        }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roles")
    parser.add_argument("--scans", type=int, default=3, help="pages to recognise, each a document")
    parser.add_argument("--listings", type=int, default=9, help="each with a photo of its own")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each worker")
    parser.add_argument("--json", action="store_true", help="the ways as JSON on stdout")
    arguments = parser.parse_args(argv)
    if arguments.listings < 1:
        parser.error("--listings has to be at least 1: their waiting is what is told")
    tell = Progress("working", lambda done, total: f"{done}/{total} jobs")
    ways = [
        _measured(name, roles, arguments.scans, arguments.listings, arguments.threads, tell)
        for name, roles in WAYS.items()
    ]
    found = [way.as_json() for way in ways]
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if arguments.json else table(found))
    return 0


def table(found: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"{way['way']:<26} all done {way['wall_seconds']:>7.1f} s, listings: median"
        f" {way['listing_median_seconds']:>6.1f} s, last {way['listing_last_seconds']:>6.1f} s,"
        f" {way['cpu_seconds']:>7.1f} CPU s, memory when ready and at most "
        + ", ".join(
            f"{roles}: {one['ready']:,} and {one['most']:,} MB"
            for roles, each in way["memory_mb"].items()
            for one in each
        )
        for way in found
    ]
    return "\n".join(lines) + "\n"


def _measured(
    name: str, roles: Sequence[str], scans: int, listings: int, threads: int, tell: Progress
) -> Way:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        settings = load_settings(
            data_dir=Path(folder), threads=threads, database_url="", redis_url=""
        )
        # Redis and the database; the workers are ours.
        stack = running.enter_context(Stack(settings, workers=0))
        jobs = running.enter_context(Jobs.open(stack.settings))
        workers = [running.enter_context(_worker(stack.settings, one)) for one in roles]
        _wait_ready(jobs, len(roles))
        watch = running.enter_context(_Watch([worker.pid for worker in workers]))
        files = _added(jobs, scans, listings)
        before, ready_mb = watch.cpu_s(), dict(watch.most_mb)
        began = time.monotonic()
        submitted = _submitted(jobs, *files)
        ended = _followed(jobs, submitted, began, tell)
        wall, cpu = time.monotonic() - began, watch.cpu_s() - before
        memory: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for of, worker in zip(roles, workers, strict=True):
            memory[of].append((ready_mb[worker.pid], watch.most_mb[worker.pid]))
        waited = sorted(ended[job.id] for job in submitted if job.task is TaskName.CHECK_LISTING)
        return Way(name, wall, waited, cpu, dict(memory))


@contextmanager
def _worker(settings: Settings, roles: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "MMAPP_DATA_DIR": str(settings.data_dir),
        "MMAPP_REDIS_URL": settings.redis_url,
        "MMAPP_THREADS": str(settings.threads),
        "MMAPP_ROLES": roles,
    }
    with (settings.data_dir / "workers.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers"],
            cwd=REPOSITORY,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _wait_ready(jobs: Jobs, count: int) -> None:
    deadline = time.monotonic() + READY_S
    while sum(worker.ready for worker in jobs.workers()) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} workers were not ready after {READY_S:.0f} s")
        time.sleep(LOOK_S)


def _added(jobs: Jobs, scans: int, listings: int) -> tuple[list[str], list[str]]:
    """Documents and photos, by their hashes."""
    documents = [jobs.add_document(f"scan-{n}.png", _scan(n)).sha256 for n in range(scans)]
    photos = [jobs.add_document(f"photo-{n}.png", _photo(n)).sha256 for n in range(listings)]
    return documents, photos


def _submitted(jobs: Jobs, documents: Sequence[str], photos: Sequence[str]) -> list[Job]:
    """The scans first."""
    return [
        *(jobs.submit(TaskName.SUMMARIZE, SummarizeParams(sha256, 1)) for sha256 in documents),
        *(
            jobs.submit(TaskName.CHECK_LISTING, Listing((sha256,), TITLES[number % len(TITLES)]))
            for number, sha256 in enumerate(photos)
        ),
    ]


def _followed(
    jobs: Jobs, submitted: Sequence[Job], began: float, tell: Progress
) -> dict[str, float]:
    """Seconds until each job had ended; raises when one had no result."""
    ended: dict[str, float] = {}
    for job in jobs.watch([job.id for job in submitted], poll_s=LOOK_S):
        if job.status.is_final:
            if job.status is not Status.SUCCEEDED:
                raise RuntimeError(f"{job.label}: {job.error}")
            ended[job.id] = time.monotonic() - began
            tell(len(ended), len(submitted))
    return ended


def _scan(number: int) -> bytes:
    """A page of this project's own words, as a picture at 150 dots per inch."""
    words = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8").split()
    with pymupdf.open() as made:  # type: ignore[no-untyped-call]
        page = made.new_page()
        text = f"Report {number}. " + " ".join(words[200 * number : 200 * number + 200])
        page.insert_textbox((60, 60, 535, 780), text, fontsize=11)
        return bytes(page.get_pixmap(dpi=150).tobytes("png"))


def _photo(number: int) -> bytes:
    """A shipped photo with a mark in a corner, so that none is another's."""
    paths = sorted(PHOTOS.glob("*.jpg"))
    with Image.open(paths[number % len(paths)]) as photo:
        marked = photo.convert("RGB")
    ImageDraw.Draw(marked).text((4, 4), str(number), fill="black")
    out = io.BytesIO()
    marked.save(out, "PNG")
    return out.getvalue()


class _Watch:
    """Looks at the processes below some, until it is left: their memory and CPU time."""

    def __init__(self, pids: Sequence[int]) -> None:
        self.most_mb = dict.fromkeys(pids, 0.0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_often, daemon=True)
        #: By process and its start, the ticks that it has used: what has ended counts too.
        self._ticks: dict[tuple[int, str], int] = {}

    def __enter__(self) -> _Watch:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def cpu_s(self) -> float:
        """Of all these processes since they started."""
        self._look()
        return sum(self._ticks.values()) / os.sysconf("SC_CLK_TCK")

    def _look_often(self) -> None:
        while not self._stop.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        children = _children()
        for root in self.most_mb:
            found = [root]
            for pid in found:
                found += children.get(pid, ())
            held = 0.0
            for pid in found:
                with contextlib.suppress(OSError):
                    held += _pss_mb(pid)
                    began, ticks = _times(pid)
                    self._ticks[pid, began] = ticks
            self.most_mb[root] = max(self.most_mb[root], held)


def _children() -> dict[int, list[int]]:
    """By process, those that it started and that live."""
    found: dict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            found[parent].append(int(stat.parent.name))
    return found


def _pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1e3
    return 0.0


def _times(pid: int) -> tuple[str, int]:
    """When a process began, and the ticks of CPU time that it has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[19], int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    sys.exit(main())
