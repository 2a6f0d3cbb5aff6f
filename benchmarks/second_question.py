"""`python -m benchmarks.second_question`: what a second question about a document costs.

The whole application at work: a stack with Redis, a database and one worker in a folder of its own,
jobs submitted as every verb submits them. A long document is asked about, asked about again, and
asked about by a new worker that finds the reading on disk. CPU seconds are those of
the worker's two processes from the submission to the end of the job, with what it does for the next
one (filing the reading) counted to the job before. The text is this project's own.

    python -m benchmarks.second_question                      100,000 characters, nano
    python -m benchmarks.second_question --characters 20000   a shorter document
    python -m benchmarks.second_question --summary            and summarised, before that
    python -m benchmarks.second_question --json               rows of way, seconds, share, tokens
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from mmapp.config import REPOSITORY, Settings, load_settings
from mmapp.jobs import Jobs, WorkerInfo
from mmapp.stack import Stack
from mmapp.types import AskParams, Params, SummarizeParams, TaskName
from model.progress import Progress

CHARACTERS = 100_000
READY_S = 120.0
#: After a job, until what the worker does behind it is done too.
SETTLE_S = 1.0
FIRST, SECOND, THIRD = (
    "How is a lost worker noticed?",
    "Which library reads workbooks, and why?",
    "What happens when Redis is flushed?",
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.second_question")
    parser.add_argument("--characters", type=int, default=CHARACTERS, help="of the document")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the worker")
    parser.add_argument("--summary", action="store_true", help="of the same document too")
    parser.add_argument("--json", action="store_true", help="rows as JSON on stdout")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            data_dir=Path(folder), threads=arguments.threads, database_url="", redis_url=""
        )
        rows = measure(settings, arguments.characters, has_summary=arguments.summary)
    sys.stdout.write(json.dumps(rows, indent=2) + "\n" if arguments.json else table(rows))
    return 0


def measure(
    settings: Settings, characters: int, *, has_summary: bool = False
) -> list[dict[str, Any]]:
    tell = Progress("asking", lambda done, total: f"{done}/{total} jobs")
    rows: list[dict[str, Any]] = []
    for row in _asked(settings, characters, has_summary):
        rows.append({**row, "share": row["cpu_seconds"] / (rows or [row])[0]["cpu_seconds"]})
        tell(len(rows), 3 + has_summary)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"{row['way']:<42}{row['read']:>7,} tokens, {row['remembered']:>7,} remembered"
        f"{row['wall_seconds']:>8.2f} s{row['cpu_seconds']:>8.2f} CPU s{100 * row['share']:>7.1f} %"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _asked(settings: Settings, characters: int, has_summary: bool) -> Iterator[dict[str, Any]]:
    with Stack(settings, workers=1) as stack:
        stack.wait_ready(READY_S)
        with Jobs.open(stack.settings) as jobs:
            sha256 = jobs.add_document("project.md", _text(characters).encode()).sha256
            yield _row("first question", jobs, TaskName.ASK, AskParams(sha256, FIRST))
            yield _row("second question", jobs, TaskName.ASK, AskParams(sha256, SECOND))
            if has_summary:
                yield _row("summary", jobs, TaskName.SUMMARIZE, SummarizeParams(sha256))
    with Stack(settings, workers=1) as stack:
        stack.wait_ready(READY_S)
        with Jobs.open(stack.settings) as jobs:
            params = AskParams(sha256, THIRD)
            yield _row("question to a new worker, from disk", jobs, TaskName.ASK, params)


def _row(way: str, jobs: Jobs, task: TaskName, params: Params) -> dict[str, Any]:
    (worker,) = (worker for worker in jobs.workers() if worker.ready)
    cpu, wall = _cpu_seconds(worker), time.perf_counter()
    job = jobs.submit(task, params)
    *_, job = jobs.watch([job.id])
    wall = time.perf_counter() - wall
    time.sleep(SETTLE_S)
    record = jobs.result(job.id).record
    tokens = record["tokens"]
    return {
        "way": way,
        "read": tokens["read"],
        "remembered": tokens["remembered"],
        "scored": tokens["scored"],
        "wall_seconds": wall,
        "cpu_seconds": _cpu_seconds(worker) - cpu,
        "durations_s": record["durations_s"],
    }


def _cpu_seconds(worker: WorkerInfo) -> float:
    """Of the process that holds the engine and its parent, until now."""
    ticks = 0
    for pid in (worker.process.pid, worker.parent_pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _text(characters: int) -> str:
    """The documents of this project, again and again, until there is enough."""
    paths = [REPOSITORY / name for name in ("ARCHITECTURE.md", "README.md", "CHANGELOG.md")]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return "".join(islice((one for text in cycle(texts) for one in text), characters))


if __name__ == "__main__":
    sys.exit(main())
