"""`python -m benchmarks.lanes`: how long people wait while another's ten thousand rows are queued.

    python -m benchmarks.lanes                       10,000 rows, 20 questions, 20 rows of another
    python -m benchmarks.lanes --rows 500 --probes 5    a first look
    python -m benchmarks.lanes --json                   figures for programs

A batch of questions about one document is queued for real workers behind a real Redis, by the user
"many". Then "person" asks one question after another, each timed from its submission to its start,
and "few" sends a batch of his own. Promised: a person's job starts when one of the running jobs
ends, and "few" gets every second turn. The exit status is 1 when that did not hold.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.faults.scene import Plan, Scene, set_up
from mmapp.jobs import BatchRow
from mmapp.types import AskParams, Job, Status, TaskName
from model.progress import Progress

TEXT = "The ship carried 40 tons of grain. It left port late. 这艘船运了粮食。它晚点离港。"

#: Seconds that a worker needs between the end of a job and the start of the next: messages and SQL.
SLACK_S = 1.0

#: Seconds after which a job that did not start is taken for lost.
PATIENCE_S = 300.0


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    plan = Plan(
        workers=arguments.workers, database=arguments.database, checkpoint=arguments.checkpoint
    )
    with set_up(plan) as scene:
        figures = measure(scene, arguments.rows, arguments.probes)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n" if arguments.json else table(figures))
    return 0 if figures["kept"] else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lanes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rows", type=int, default=10_000, help="rows of the large batch (default %(default)s)")
    add("--probes", type=int, default=20, help="questions, and rows of the small batch")
    add("--workers", type=int, default=1, help="worker processes (default %(default)s)")
    add("--database", choices=("sqlite", "postgresql"), default="sqlite", help="which database")
    add("--checkpoint", type=Path, default=Plan.checkpoint, help="what the workers load")
    add("--json", action="store_true", help="figures as JSON on stdout")
    return parser


def measure(scene: Scene, rows: int, probes: int) -> dict[str, Any]:
    """One run; figures in seconds."""
    jobs = scene.jobs
    document = jobs.add_document("ship.txt", TEXT.encode()).sha256
    began = time.monotonic()
    large = jobs.submit_batch("many.csv", TaskName.ASK, _rows(document, rows, "many"), owner="many")
    submitting_s = time.monotonic() - began
    waits_s = _ask_one_by_one(scene, document, probes)
    small = jobs.submit_batch("few.csv", TaskName.ASK, _rows(document, probes, "few"), owner="few")
    _wait_for_batch(scene, small.id)
    few = _started(scene, small.id, probes)
    first, last = few[0].started_at, few[-1].started_at
    many = _started(scene, large.id, rows)
    between = [job for job in many if first <= job.started_at <= last]  # type: ignore[operator]
    longest_s = max(_ran_s(job) for job in many if job.finished_at)
    bound_s = longest_s + SLACK_S
    return {
        "rows": rows,
        "workers": scene.plan.workers,
        "database": scene.plan.database,
        "submitting a row": round(submitting_s / rows, 4),
        "rows still queued at the end": rows - len(many),
        "a job of the batch ran, longest": round(longest_s, 2),
        "a person's job waited, p50": round(statistics.median(waits_s), 2),
        "a person's job waited, longest": round(max(waits_s), 2),
        "jobs of few": len(few),
        "jobs of many that started between them": len(between),
        "kept": max(waits_s) <= bound_s and len(between) <= len(few) + scene.plan.workers,
    }


def _rows(document: str, count: int, who: str) -> Iterator[BatchRow]:
    for number in range(count):
        question = f"How much did ship {number} of {who} carry?"
        yield BatchRow({"id": str(number)}, AskParams(document, question))


def _ask_one_by_one(scene: Scene, document: str, probes: int) -> list[float]:
    """Seconds from the submission of each question to its start, by the database's clock."""
    show = Progress("questions", "{:,} of {:,} answered".format)
    waits_s = []
    for number in range(probes):
        params = AskParams(document, f"Who was on board of ship {number}?")
        job = scene.jobs.submit(TaskName.ASK, params, owner="person")
        ended = list(scene.jobs.watch([job.id], poll_s=0.05))[-1]
        if ended.status is not Status.SUCCEEDED or ended.started_at is None:
            raise RuntimeError(f"a question has {ended.status}: {ended.error}")
        waits_s.append((ended.started_at - ended.created_at).total_seconds())
        show(number + 1, probes)
    return waits_s


def _wait_for_batch(scene: Scene, batch_id: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while any(
        count and not status.is_final for status, count in scene.jobs.batch(batch_id).counts.items()
    ):
        if time.monotonic() > deadline:
            raise TimeoutError(f"batch {batch_id} did not end within {PATIENCE_S:.0f} s")
        time.sleep(0.2)


def _started(scene: Scene, batch_id: str, most: int) -> list[Job]:
    """The batch's jobs that have started, in the order in which they did."""
    found = scene.jobs.list(batch_id=batch_id, limit=most)
    return sorted(
        (job for job in found if job.started_at is not None),
        key=lambda job: job.started_at,  # type: ignore[arg-type,return-value]
    )


def _ran_s(job: Job) -> float:
    return (job.finished_at - job.started_at).total_seconds()  # type: ignore[operator]


def table(figures: dict[str, Any]) -> str:
    width = max(map(len, figures))
    return "".join(f"{name:<{width}}  {value}\n" for name, value in figures.items())


if __name__ == "__main__":
    sys.exit(main())
