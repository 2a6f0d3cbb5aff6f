"""`python -m benchmarks.leaks --jobs 300`: what one worker has more of, job by job.

A stack of its own with one worker and a checkpoint; each job is about a document of its own.
After each job the resident memory of the worker's child, its open files and its sockets are read
from /proc. The first jobs warm it up; through the rest a line is fitted (least squares). Exit
status 1 when memory grows by more than 0.1 MB a job, or files or sockets grow.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mmapp.config import REPOSITORY, load_settings
from mmapp.jobs import Jobs
from mmapp.stack import Stack
from mmapp.types import Status, SummarizeParams, TaskName
from model.progress import Progress

#: A job may cost so much memory for ever.
MOST_MB_A_JOB = 0.1
READY_S = 600.0
#: Of each document.
SENTENCES = 12


@dataclass(frozen=True)
class Sample:
    """A worker's child after a job."""

    resident_mb: float
    files: int
    sockets: int


def sample(pid: int) -> Sample:
    status = Path(f"/proc/{pid}/statm").read_text().split()
    targets = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            targets.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    sockets = sum(1 for target in targets if target.startswith("socket:"))
    resident = int(status[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return Sample(resident, len(targets) - sockets, sockets)


def slope(values: Sequence[float]) -> float:
    """The slope of the line of least squares, in units a job."""
    return float(np.polyfit(np.arange(len(values)), np.array(values), 1)[0])


def run(jobs: Jobs, count: int) -> list[Sample]:
    (worker,) = [one for one in jobs.workers() if one.ready]
    samples = []
    progress = Progress("Running jobs", lambda done, total: f"{done} of {total}")
    for number in range(count):
        text = " ".join(
            f"In port {number}, ship {i} unloaded {i * 7} crates." for i in range(SENTENCES)
        )
        document = jobs.add_document(f"{number}.txt", text.encode())
        job = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 1))
        *_, ended = jobs.watch([job.id], poll_s=0.05)
        if ended.status is not Status.SUCCEEDED:
            raise SystemExit(f"job {number} {ended.status}: {ended.error}")
        samples.append(sample(worker.process.pid))
        progress(number + 1, count)
    return samples


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=300, help="how many jobs")
    parser.add_argument("--warm-up", type=int, default=60, help="jobs that are not counted")
    parser.add_argument(
        "--checkpoint", type=Path, default=REPOSITORY / "checkpoints" / "nano", help="its folder"
    )
    parser.add_argument("--json", action="store_true", help="print every sample")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="leaks-") as folder:
        settings = load_settings(
            data_dir=Path(folder),
            checkpoint=options.checkpoint,
            database_url="",
            redis_url="",
            threads=1,
        )
        with Stack(settings) as stack, Jobs.open(stack.settings) as jobs:
            stack.wait_ready(READY_S)
            samples = run(jobs, options.jobs)
    counted = samples[options.warm_up :]
    memory = slope([one.resident_mb for one in counted])
    files, sockets = (
        slope([getattr(one, name) for one in counted]) for name in ("files", "sockets")
    )
    report = {
        "jobs": len(counted),
        "mb_a_job": round(memory, 4),
        "files_a_job": round(files, 4),
        "sockets_a_job": round(sockets, 4),
        "first": asdict(counted[0]),
        "last": asdict(counted[-1]),
    }
    if options.json:
        report["samples"] = [asdict(one) for one in samples]
    print(json.dumps(report, indent=2))
    # A tenth of a file for each ten jobs is a connection that was opened once, not a leak.
    return int(memory > MOST_MB_A_JOB or max(files, sockets) > 0.02)


if __name__ == "__main__":
    sys.exit(main())
