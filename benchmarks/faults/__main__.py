"""`python -m benchmarks.faults`: hundreds of jobs while workers, Redis, database and disks fail.

    python -m benchmarks.faults --database sqlite               300 jobs, about five minutes
    python -m benchmarks.faults --database postgresql           the same on PostgreSQL
    python -m benchmarks.faults --jobs 20 --seconds 20 --quick  short leases, for a first look
    python -m benchmarks.faults --json --out faults.json        figures for programs

Prints how many jobs ended how, what must never be seen (0 each), and how long harmed jobs waited
until they ran again. The exit status is 1 when something was seen that must never be.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
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
from benchmarks.faults.scene import Plan, Scene, blobs_of, processes_of, set_up
from benchmarks.faults.witness import Harm, Witness
from mmapp.types import Status
from model.progress import Progress

#: Leases and pauses that fit into a test.
QUICK = {"lease_s": 3.0, "sweep_s": 1.0, "stall_s": 6.0, "pause_s": 1.5}

#: Jobs of each kind that something is done to: see `load.Load.submit_special`.
SPECIALS = ("raises", "hangs", "kills", "raises")

#: How they have to end.
ENDS = {"raises": Status.FAILED, "hangs": Status.SUCCEEDED, "kills": Status.FAILED}

#: Errors with which a job may end under these faults.
KNOWN = {"worker_lost", "out_of_memory", "storage", "stalled", "database_not_ready", "job_failed"}

#: Seconds within which a job of a killed worker has to run again.
BOUND_S = 30.0


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    plan = Plan(
        jobs=arguments.jobs,
        workers=arguments.workers,
        database=arguments.database,
        seed=arguments.seed,
        seconds=arguments.seconds,
        checkpoint=arguments.checkpoint.resolve(),
        **(QUICK if arguments.quick else {}),
    )
    figures = measure(plan)
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(figures, indent=2) + "\n" if arguments.json else table(figures))
    return 1 if figures["broken"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--jobs", type=int, default=Plan.jobs, help="jobs to submit (default %(default)s)")
    add("--workers", type=int, default=Plan.workers, help="workers (default %(default)s)")
    add("--seconds", type=float, default=Plan.seconds, help="of faults (default %(default)s)")
    add("--database", choices=("sqlite", "postgresql"), default="sqlite", help="which database")
    add("--seed", type=int, default=0, help="of documents and faults; times differ all the same")
    add("--checkpoint", type=Path, default=Plan.checkpoint, help="what the workers load")
    add("--quick", action="store_true", help="leases of 3 s instead of 20 s, and more faults")
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
            witness.look()
        figures = _figures(witness, specials, mischief)
        figures["orphaned blobs"] = len(blobs_of(folder) - witness.known_blobs())
        scene.stack.stop()
        figures["orphaned processes"] = len(processes_of(folder))
    figures["seconds"] = round(time.monotonic() - began)
    figures["plan"] = {**dataclasses.asdict(plan), "checkpoint": plan.checkpoint.name}
    figures["broken"] = broken(figures)
    return figures


def _run(scene: Scene, witness: Witness) -> tuple[list[Special], Mischief]:
    plan = scene.plan
    load = Load(scene, random.Random(plan.seed))
    mischief = Mischief(scene, witness, random.Random(plan.seed + 1))
    specials = [load.submit_special(kind) for kind in SPECIALS]
    for special in specials:
        if special.kind == "kills":
            mischief.kill_whoever_runs(special)
        if special.kind == "hangs":
            mischief.unhang(special)
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
    wrong = [
        f"{special.kind}: {witness.seen[special.job_id].status}"
        for special in specials
        if witness.seen[special.job_id].status is not ENDS[special.kind]
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
        "seconds until a killed job runs again": spread(
            [harm for harm in witness.harms if "killed" in harm.fault]
        ),
        "seconds until a frozen job runs again": spread(
            [harm for harm in witness.harms if "frozen" in harm.fault]
        ),
        "seconds until a cancelled job ends": _spread(mischief.cancels_s),
    }


def spread(harms: Sequence[Harm]) -> dict[str, float]:
    return _spread([harm.seconds for harm in harms if harm.seconds is not None])


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {"n": 0}
    return {
        "n": len(seconds),
        "p50": round(statistics.median(seconds), 2),
        "max": round(max(seconds), 2),
    }


def broken(figures: dict[str, Any]) -> list[str]:
    """What was seen and must never be."""
    never = (
        *("lost", "with two results", "progress going backwards", "ended and changed"),
        *("ended otherwise than due", "orphaned blobs", "orphaned processes"),
    )
    found = [name for name in never if figures[name]]
    found += [f"failed with {code}" for code in set(figures["failed with"]) - KNOWN]
    longest = figures["seconds until a killed job runs again"].get("max", 0.0)
    if longest > BOUND_S:
        found.append(f"a killed job waited {longest} s")
    return found


def table(figures: dict[str, Any]) -> str:
    plan = figures["plan"]
    lines = [
        f"{plan['workers']} workers with {plan['checkpoint']}, {plan['database']},"
        f" lease {plan['lease_s']:g} s, sweep {plan['sweep_s']:g} s, seed {plan['seed']}:"
        f" {figures['seconds']} s",
    ]
    for name, value in figures.items():
        if name not in ("plan", "seconds", "broken"):
            lines.append(f"{name:<40} {_shown(value)}")
    lines.append("all promises kept" if not figures["broken"] else f"BROKEN: {figures['broken']}")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(value) or "none"
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
