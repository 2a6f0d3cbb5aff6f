"""`python -m benchmarks.hostile`: thousands of broken and hostile files through reader and queue.

    python -m benchmarks.hostile                       2,000 mutants of the samples
    python -m benchmarks.hostile --data FOLDER         and every PDF below a folder, as it is
    python -m benchmarks.hostile --count 100 --json    fewer, with figures for programs

Each file is added as a person adds it; what can be read becomes a job for a real worker. Prints how
each kind ended and what must never be (0 each): an error that is not a known one, a reading beyond
its limit of time, a worker that died, a job that did not end, a temporary file that stayed. The
exit status is 1 when there was any.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymupdf

from benchmarks.mutants import Mutant, mutants
from mmapp import samples
from mmapp.config import REPOSITORY, Settings
from mmapp.errors import BadInput, MmappError
from mmapp.jobs import Jobs
from mmapp.stack import Stack
from mmapp.types import Document, Listing, Priority, Status, SummarizeParams, TaskName
from model.progress import Progress

#: Limits of one file here, tighter than an installation's, so that bombs end sooner.
PARSE_S = 6.0
PARSE_BYTES = 700_000_000

#: Seconds over the limit in which the reader has to have given up, on a busy machine.
SLACK_S = 15.0

#: Seconds for the jobs to end after the last file.
PATIENCE_S = 3600.0


@dataclass(slots=True)
class Outcome:
    """What became of all files."""

    #: Kind of file -> how many ended in each way.
    ends: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    unknown: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    longest_s: float = 0.0
    jobs: dict[str, str] = field(default_factory=dict)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hostile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=2_000, help="mutants (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the mutants")
    parser.add_argument("--data", type=Path, help="a folder of PDFs to add, unchanged")
    parser.add_argument("--json", action="store_true", help="figures as JSON on stdout")
    parser.add_argument("--out", type=Path, help="write the figures to this file too")
    arguments = parser.parse_args(argv)
    files = mutants(seeds(), arguments.count, arguments.seed)
    figures = measure([*_unchanged(arguments.data), *files])
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(figures, indent=2) + "\n" if arguments.json else table(figures))
    return 1 if figures["broken"] else 0


def seeds() -> list[tuple[str, bytes]]:
    """Good files: the first page of each sample document, and the photos of the listings."""
    shipped = samples.load()
    found = []
    for document in shipped.documents:
        with pymupdf.open(document.path) as whole:  # type: ignore[no-untyped-call]
            whole.select([0])
            found.append((document.path.name, whole.tobytes(garbage=3)))
    photos = {photo for listing in shipped.listings for photo in listing.photos}
    return found + [(photo.name, photo.read_bytes()) for photo in sorted(photos)]


def _unchanged(folder: Path | None) -> Iterator[Mutant]:
    for path in sorted(folder.rglob("*.pdf")) if folder else ():
        yield Mutant("unchanged", path.name, path.read_bytes())


def measure(files: Sequence[Mutant]) -> dict[str, Any]:
    """All files through a stack of one worker; the figures that the table shows."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        temporary = Path(folder) / "tmp"
        temporary.mkdir()
        settings = Settings(
            data_dir=Path(folder) / "data",
            checkpoint=REPOSITORY / "checkpoints" / "nano",
            threads=1,
            parse_seconds=PARSE_S,
            parse_memory=PARSE_BYTES,
            _env_file=None,  # type: ignore[call-arg]
        )
        # The reader's processes and the workers are told where temporary files belong.
        before = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = str(temporary)
        try:
            figures = _through(settings, files)
        finally:
            os.environ.pop("TMPDIR") if before is None else os.environ.update(TMPDIR=before)
        stayed = [path.name for path in temporary.rglob("*")]
        stayed += [path.name for path in (settings.data_dir / "blobs").rglob(".new-*")]
        stayed += [path.name for path in (settings.data_dir / "tmp").rglob("*")]
    figures["temporary files that stayed"] = stayed
    figures["seconds"] = round(time.monotonic() - began)
    never = (
        *("unknown errors", "readings beyond their limit", "workers that died"),
        *("jobs without an end", "temporary files that stayed"),
    )
    figures["broken"] = [name for name in never if figures[name]]
    return figures


def _through(settings: Settings, files: Sequence[Mutant]) -> dict[str, Any]:
    outcome, show = Outcome(), Progress("files", "{:,} of {:,} read".format)
    with Stack(settings, workers=1) as stack, Jobs.open(stack.settings) as jobs:
        stack.wait_ready(300)
        [worker] = jobs.workers()
        for number, file in enumerate(files):
            add(jobs, file, outcome)
            show(number + 1, len(files))
        _wait(jobs, outcome)
        died = [one.name for one in jobs.workers()] != [worker.name]
        without_end = _collect(jobs, outcome)
    return {
        "files": len(files),
        "jobs": len(outcome.jobs),
        "ends": {kind: dict(ends) for kind, ends in outcome.ends.items()},
        "longest reading, s": round(outcome.longest_s, 1),
        "unknown errors": outcome.unknown,
        "readings beyond their limit": outcome.slow,
        "workers that died": int(died),
        "jobs without an end": without_end,
    }


def add(jobs: Jobs, file: Mutant, outcome: Outcome) -> None:
    """Adds a file; submits a job about it when it can be read."""
    began = time.monotonic()
    try:
        job_id = _submit(jobs, jobs.add_document(file.name, file.data))
    except MmappError as error:
        outcome.ends[file.kind][error.code] += 1
        # Only what the file itself is to blame for: a person can do something about it.
        if not isinstance(error, BadInput):
            outcome.unknown.append(f"{file.kind}, {file.name}: {error}")
    except Exception as error:
        outcome.unknown.append(f"{file.kind}, {file.name}: {type(error).__name__}: {error}")
    else:
        outcome.jobs[job_id] = file.kind
    seconds = time.monotonic() - began
    outcome.longest_s = max(outcome.longest_s, seconds)
    if seconds > PARSE_S + SLACK_S:
        outcome.slow.append(f"{file.kind}, {file.name}: {seconds:.0f} s")


def _submit(jobs: Jobs, document: Document) -> str:
    if document.media_type.is_image:
        listing = Listing((document.sha256,), f"Fruit {document.sha256[:8]}")
        return jobs.submit(TaskName.CHECK_LISTING, listing, priority=Priority.BATCH).id
    params = SummarizeParams(document.sha256, 1)
    return jobs.submit(TaskName.SUMMARIZE, params, priority=Priority.BATCH).id


def _wait(jobs: Jobs, outcome: Outcome) -> None:
    show = Progress("jobs", "{:,} of {:,} ended".format)
    deadline = time.monotonic() + PATIENCE_S
    open_ids = set(outcome.jobs)
    while open_ids and time.monotonic() < deadline:
        time.sleep(1.0)
        open_ids -= {job_id for job_id in open_ids if jobs.get(job_id).status.is_final}
        show(len(outcome.jobs) - len(open_ids), len(outcome.jobs))


def _collect(jobs: Jobs, outcome: Outcome) -> int:
    """Counts how jobs ended; how many did not."""
    without_end = 0
    for job_id, kind in outcome.jobs.items():
        job = jobs.get(job_id)
        without_end += not job.status.is_final
        outcome.ends[kind][str(job.status)] += 1
        if job.status is Status.FAILED and "unforeseen" in job.error:
            outcome.unknown.append(f"{kind}: {job.error}")
    return without_end


def table(figures: dict[str, Any]) -> str:
    lines = [
        f"{figures['files']:,} files, {figures['jobs']:,} jobs, {figures['seconds']:,} s;"
        f" the longest reading took {figures['longest reading, s']} s"
    ]
    for kind, ends in sorted(figures["ends"].items()):
        shown = ", ".join(f"{end} {count}" for end, count in sorted(ends.items()))
        lines.append(f"{kind:<20} {shown}")
    lines += [f"{name}: {_shown(figures[name])}" for name in _never(figures)]
    lines.append("all promises kept" if not figures["broken"] else f"BROKEN: {figures['broken']}")
    return "\n".join(lines) + "\n"


def _never(figures: dict[str, Any]) -> Iterable[str]:
    shown = ("files", "jobs", "ends", "seconds", "longest reading, s", "broken")
    return [name for name in figures if name not in shown]


def _shown(value: Any) -> str:
    return "; ".join(value[:10]) or "0" if isinstance(value, list) else str(value)


if __name__ == "__main__":
    sys.exit(main())
