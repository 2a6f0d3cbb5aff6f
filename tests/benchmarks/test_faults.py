"""A short run of each benchmark of faults: what it promises holds, and it can see what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults.__main__ import (
    QUICK,
    QUIET_CANCEL,
    QUIET_KILL,
    broken,
    late,
    measure,
    spread,
    table,
)
from benchmarks.faults.scene import Plan
from benchmarks.faults.witness import Witness
from benchmarks.hostile import Outcome, add, seeds
from benchmarks.mutants import CHANGES, INVENTIONS, mutants
from mmapp.config import Settings
from mmapp.jobs import Jobs
from tests.servers import migrated_sqlite

SHORT = Plan(
    **{**QUICK, "quiet_kills": 0, "quiet_cancels": 1},
    jobs=8,
    workers=2,
    seconds=4.0,
    specials=("raises",),
)


def test_no_job_is_lost_under_faults() -> None:
    figures = measure(SHORT)
    assert figures["broken"] == [], table(figures)
    assert figures["submitted"] >= SHORT.jobs
    assert sum(figures["faults"].values()) >= 2


def test_what_must_never_be_is_named() -> None:
    good = {
        "lost": 0,
        "with two results": 0,
        "progress going backwards": 0,
        "ended and changed": 0,
        "ended otherwise than due": [],
        "orphaned blobs": 0,
        "orphaned processes": 0,
        "failed with": {"job_failed": 2, "worker_lost": 1},
        "plan": {"specials": ("raises", "raises")},
    }
    assert broken(good) == []
    assert broken(good | {"lost": 1, "orphaned blobs": 2}) == ["lost", "orphaned blobs"]
    assert broken(good | {"failed with": {"job_failed": 3}}) == ["failed with job_failed"]
    assert broken(good | {"failed with": {"not_found": 1}}) == ["failed with not_found"]


def test_what_takes_longer_than_promised_is_named() -> None:
    kill, cancel = QUIET_KILL, QUIET_CANCEL
    assert late({kill: spread([4.0, None, 29.0]), cancel: spread([])}) == []
    assert late({kill: spread([31.0]), cancel: spread([2.5])}) == [
        f"{kill}: 31.0 s",
        f"{cancel}: 2.5 s",
    ]


def test_the_witness_sees_what_must_never_be(tmp_path: Path) -> None:
    def row(status: str, attempt: int, phase: str, done: int) -> dict[str, object]:
        progress = {"phase": phase, "done": done, "total": 10}
        given = {"id": "j", "worker": "w", "error": "", "error_code": ""}
        return given | {"status": status, "attempt": attempt, "progress": progress}

    witness = Witness(f"sqlite:///{tmp_path / 'none.sqlite3'}")
    for seen in (("reading", 5), ("checking", 2), ("reading", 7), ("checking", 4)):
        witness._see(row("running", 1, *seen))
    witness._see(row("running", 2, "reading", 1))
    assert (witness.backwards, witness.revived) == ([], [])
    witness._see(row("running", 2, "reading", 0))
    witness._see(row("running", 1, "reading", 8))
    assert len(witness.backwards) == 2
    witness._see(row("succeeded", 1, "", 0))
    witness._see(row("running", 2, "reading", 1))
    assert witness.revived == ["j: succeeded became running"]
    witness._see_result("j", "first")
    witness._see_result("j", "first")
    assert witness.twice == []
    witness._see_result("j", "second")
    assert witness.twice == ["j"]


@pytest.mark.parametrize("seed", [1])
def test_hostile_files_of_each_kind_end_with_known_errors(tmp_path: Path, seed: int) -> None:
    url = migrated_sqlite(tmp_path / "template.sqlite3", tmp_path / "jobs.sqlite3")
    settings = Settings(
        data_dir=tmp_path / "data",
        database_url=url,
        parse_seconds=2.0,
        parse_memory=700_000_000,
        _env_file=None,
    )
    outcome = Outcome()
    with Jobs.open(settings) as jobs:
        for file in mutants(seeds(), len(CHANGES) + len(INVENTIONS), seed):
            add(jobs, file, outcome)
    assert outcome.unknown == []
    assert outcome.slow == []
    assert sum(ends.total() for ends in outcome.ends.values()) + len(outcome.jobs) == 16
    assert list((tmp_path / "data" / "blobs").rglob(".new-*")) == []
