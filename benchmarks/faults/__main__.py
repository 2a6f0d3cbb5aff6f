"""`python -m benchmarks.faults`: hundreds of jobs while workers, Redis, database and disks fail.

    python -m benchmarks.faults --database sqlite               300 jobs, about five minutes
    python -m benchmarks.faults --database postgresql           the same on PostgreSQL
    python -m benchmarks.faults --roles                         with roles apart
    python -m benchmarks.faults --jobs 20 --seconds 20 --quick  short leases, for a first look
    python -m benchmarks.faults --json --out faults.json        figures for programs

Prints how many jobs ended how, what must never be seen (0 each), and how long harmed jobs waited
until they ran again. The exit status is 1 when something was seen that must never be.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.faults.load import Load, Special
from benchmarks.faults.mischief import Mischief
from benchmarks.faults.quiet import Quiet
from benchmarks.faults.scene import Plan, Scene, blobs_of, processes_of, set_up
from benchmarks.faults.witness import Harm, Witness
from mmapp.types import Status
from model.progress import Progress

#: Leases and pauses that fit into a test.
QUICK: dict[str, Any] = {
    "lease_s": 3.0,
    "sweep_s": 1.0,
    "stall_s": 6.0,
    "pause_s": 1.5,
    "quiet_kills": 2,
    "quiet_cancels": 5,
}

#: How these have to end, unless other faults hit them as often as a job is tried.
ENDS = {"raises": Status.FAILED, "hangs": Status.SUCCEEDED, "kills": Status.FAILED}

#: Errors of jobs that faults hit as often as a job is tried.
PASSING = {"worker_lost", "out_of_memory", "storage", "stalled", "database_not_ready"}

#: Seconds within which a job of a killed worker has to run again, and a cancelled one to end.
BOUND_S = 30.0
CANCEL_BOUND_S = 2.0

#: Measured at the end, when workers wait for jobs.
QUIET_KILL = "in quiet: seconds until a killed job runs again"
QUIET_CANCEL = "in quiet: seconds until a cancelled job ends"


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    plan = Plan(
        jobs=arguments.jobs,
        workers=arguments.workers,
        roles_apart=arguments.roles,
        database=arguments.database,
        seed=arguments.seed,
        seconds=arguments.seconds,
        checkpoint=arguments.checkpoint.resolve(),
        keep=arguments.keep and arguments.keep.resolve(),
        **(QUICK if arguments.quick else {}),
    )
    figures = measure(plan)
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(figures, indent=2) + "\n" if arguments.json else table(figures))
    return 1 if figures["broken"] or figures["late"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--jobs", type=int, default=Plan.jobs, help="jobs to submit (default %(default)s)")
    add("--workers", type=int, default=Plan.workers, help="workers (default %(default)s)")
    add("--roles", action="store_true", help="a role for each worker: ingest, encode, generate")
    add("--seconds", type=float, default=Plan.seconds, help="of faults (default %(default)s)")
    add("--database", choices=("sqlite", "postgresql"), default="sqlite", help="which database")
    add("--seed", type=int, default=0, help="of documents and faults; times differ all the same")
    add("--checkpoint", type=Path, default=Plan.checkpoint, help="what the workers load")
    add("--quick", action="store_true", help="leases of 3 s instead of 20 s, and more faults")
    add("--keep", type=Path, help="a new folder in which data and logs stay")
    add("--json", action="store_true", help="figures as JSON on stdout")
    add("--out", type=Path, help="write the figures to this file too")
    return parser


def measure(plan: Plan) -> dict[str, Any]:
    """One run; the figures that the table shows."""
    began = time.monotonic()
    with set_up(plan) as scene:
        folder = scene.settings.data_dir
        with Witness(scene.settings.sqlalchemy_url) as witness:
            specials, mischief = _run(scene, witness)
            quiet = _measure_in_quiet(scene)
            witness.look()
        figures = _figures(witness, specials, mischief) | quiet
        figures["orphaned blobs"] = len(blobs_of(folder) - witness.known_blobs())
        scene.stack.stop()
        figures["orphaned processes"] = len(processes_of(folder))
    figures["seconds"] = round(time.monotonic() - began)
    kept = {"checkpoint": plan.checkpoint.name, "keep": str(plan.keep or "")}
    figures["plan"] = dataclasses.asdict(plan) | kept
    figures["broken"] = broken(figures)
    figures["late"] = late(figures)
    return figures


def _run(scene: Scene, witness: Witness) -> tuple[list[Special], Mischief]:
    plan = scene.plan
    load = Load(scene, random.Random(plan.seed))
    mischief = Mischief(scene, witness, random.Random(plan.seed + 1))
    specials = [load.submit_special(kind) for kind in plan.specials]
    for special in specials:
        if special.kind == "kills":
            mischief.kill_whoever_runs(special)
        if special.kind == "hangs":
            mischief.unhang(special)
    mischief.spared = {special.job_id for special in specials}
    load.submit_batch(plan.jobs // 2)
    rest = plan.jobs - len(load.ids)
    show = Progress("jobs", "{:,} of {:,} ended".format)
    steps = 20
    for step in range(steps):
        for _ in range(rest * step // steps, rest * (step + 1) // steps):
            load.submit_one()
        mischief.go_on(plan.seconds / steps)
        _show(witness, show)
    mischief.stop()
    _wait(witness, plan.patience_s, show)
    return specials, mischief


def _measure_in_quiet(scene: Scene) -> dict[str, Any]:
    """With workers that wait for jobs, one fault at a time."""
    load = Load(scene, random.Random(scene.plan.seed + 2))
    quiet = Quiet(scene, load)
    return {
        QUIET_KILL: spread([quiet.kill() for _ in range(scene.plan.quiet_kills)]),
        QUIET_CANCEL: spread([quiet.cancel() for _ in range(scene.plan.quiet_cancels)]),
    }


def _wait(witness: Witness, seconds: float, show: Progress) -> None:
    deadline = time.monotonic() + seconds
    while witness.open_jobs() and time.monotonic() < deadline:
        time.sleep(0.5)
        _show(witness, show)


def _show(witness: Witness, show: Progress) -> None:
    total = len(witness.seen)
    show(total - len(witness.open_jobs()), total)


def _figures(witness: Witness, specials: Sequence[Special], mischief: Mischief) -> dict[str, Any]:
    by_status = Counter(job.status for job in witness.seen.values())
    failed = Counter(job.error_code for job in witness.seen.values() if job.status is Status.FAILED)
    ends = [(special.kind, witness.seen[special.job_id]) for special in specials]
    wrong = [
        f"{kind}: {job.status} {job.error_code}"
        for kind, job in ends
        if job.status is not ENDS[kind] and job.error_code not in PASSING
    ]
    attempts = sum(job.attempt for job in witness.seen.values())
    return {
        "submitted": len(witness.seen),
        **{status.value: by_status[status] for status in Status if status.is_final},
        "failed with": dict(failed),
        "lost": by_status[Status.QUEUED] + by_status[Status.RUNNING],
        "with two results": len(witness.twice),
        "progress going backwards": len(witness.backwards),
        "ended and changed": len(witness.revived),
        "ended otherwise than due": wrong,
        "seen wrong": (witness.twice + witness.backwards + witness.revived)[:20],
        "attempts": attempts,
        "faults": dict(mischief.done),
        **_recoveries(witness.harms, "killed"),
        **_recoveries(witness.harms, "frozen"),
        "seconds until a cancelled job ends": spread(mischief.cancels_s),
    }


def _recoveries(harms: Sequence[Harm], kind: str) -> dict[str, dict[str, float]]:
    meant = [harm for harm in harms if kind in harm.fault]
    return {
        f"seconds until a {kind} job is queued again": spread([harm.noticed_s for harm in meant]),
        f"seconds until a {kind} job runs again": spread([harm.taken_s for harm in meant]),
    }


def spread(times: Sequence[float | None]) -> dict[str, float]:
    """How many, the middle and the longest; what is not known is left out."""
    seconds = [one for one in times if one is not None]
    if not seconds:
        return {"n": 0}
    return {
        "n": len(seconds),
        "p50": round(statistics.median(seconds), 2),
        "p95": round(sorted(seconds)[math.ceil(0.95 * len(seconds)) - 1], 2),
        "max": round(max(seconds), 2),
    }


def broken(figures: dict[str, Any]) -> list[str]:
    """What was seen and must never be."""
    never = (
        *("lost", "with two results", "progress going backwards", "ended and changed"),
        *("ended otherwise than due", "orphaned blobs", "orphaned processes"),
    )
    found = [name for name in never if figures[name]]
    raising = figures["plan"]["specials"].count("raises")
    found += [
        f"failed with {code}"
        for code, count in figures["failed with"].items()
        if code not in PASSING and (code != "job_failed" or count > raising)
    ]
    return found


def late(figures: dict[str, Any]) -> list[str]:
    """What took longer than promised."""
    limits = {QUIET_KILL: BOUND_S, QUIET_CANCEL: CANCEL_BOUND_S}
    return [
        f"{name}: {figures[name]['max']} s"
        for name, limit in limits.items()
        if figures[name].get("max", 0.0) > limit
    ]


def table(figures: dict[str, Any]) -> str:
    plan = figures["plan"]
    lines = [
        f"{plan['workers']} workers{' of one role each' * plan['roles_apart']} with"
        f" {plan['checkpoint']}, {plan['database']},"
        f" lease {plan['lease_s']:g} s, sweep {plan['sweep_s']:g} s, seed {plan['seed']}:"
        f" {figures['seconds']} s",
    ]
    for name, value in figures.items():
        if name not in ("plan", "seconds", "broken", "late"):
            lines.append(f"{name:<40} {_shown(value)}")
    lines.append("all promises kept" if not figures["broken"] else f"BROKEN: {figures['broken']}")
    if figures["late"]:
        lines.append(f"LATE: {figures['late']}")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(value) or "none"
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
