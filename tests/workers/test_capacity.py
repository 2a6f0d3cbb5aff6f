"""A worker reads no more at a time than its memory holds: in parts, or not at all, and lives on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mmapp.config import REPOSITORY, Settings
from mmapp.db import migrate
from mmapp.jobs import Jobs
from mmapp.jobs.estimating import LEAST_KEPT
from mmapp.stack import Stack
from mmapp.types import (
    AskParams,
    Estimate,
    ExtractParams,
    Job,
    Listing,
    Params,
    Priority,
    Progress,
    Status,
    SummarizeParams,
    TaskName,
)
from tests.checkpoints import tiny_checkpoint
from tests.jobs.scenes import photo_bytes
from tests.stack.conftest import READY_S
from workers.capacity import MB, Room, context_that_fits
from workers.child import Child
from workers.readings import LEAST_TOKENS

#: What a process does that the kernel holds to 40 MB more than it has with its engine: without a
#: bound of its own, then with one. Each time a document that does not fit, then a short one.
LIMITED = """
import json, resource, sys
from pathlib import Path
from mmapp.config import Settings
from mmapp.db import migrate
from mmapp.jobs import Jobs
from mmapp.types import AskParams, TaskName
from tests.workers.test_capacity import long_text, parts
from workers.child import Child

settings = Settings(
    data_dir=Path(sys.argv[1]), checkpoint=Path(sys.argv[2]), threads=1, max_attempts=1,
    dtype="float32", prefix_memory_mb=0, prefix_disk_mb=0, _env_file=None,
)
settings.data_dir.mkdir()
migrate(settings.sqlalchemy_url)
bounded = settings.model_copy(update={"engine_memory_mb": 8})
children = [Child.start(settings), Child.start(bounded)]
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 40 * 10**6, resource.RLIM_INFINITY))
told = []
with Jobs.open(settings) as jobs:
    for number, child in enumerate(children):
        for name, sentences in ((f"Long {number}", 35), (f"Short {number}", 1)):
            document = jobs.add_document(name, long_text(name, sentences).encode())
            job = jobs.submit(TaskName.ASK, AskParams(document.sha256, "Who sailed?"))
            child.run(job.id)
            ended = jobs.get(job.id)
            told.append([ended.error, 0 if ended.error else parts(jobs, job.id)])
print(json.dumps(told))
"""


def long_text(name: str, sentences: int) -> str:
    """Some 350 letters in each sentence."""
    ports = " and ".join(f"the port of call {port}" for port in range(15))
    return "\n\n".join(f"{name} {number} sailed to {ports}." for number in range(sentences))


def asking_checkpoint(folder: Path, **shape: int) -> Path:
    """It is asked about one passage alone, so that reading is all the work."""
    tiny_checkpoint(folder, **shape)
    (folder / "profile.json").write_text('{"calibration": {"ask": {"closest": 1}}}')
    return folder


def parts(jobs: Jobs, job_id: str) -> int:
    """In how many parts the document was read."""
    runs = jobs.result(job_id).payload["coverage"]["map"]
    return max(part for run in runs for part in run["parts"])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asking_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny")


@dataclass(frozen=True)
class Nano:
    """A worker with the shipped checkpoint."""

    jobs: Jobs
    child: Child

    def done(self, task: TaskName, params: Params) -> tuple[Job, dict[str, int]]:
        """The job as it was submitted, and the tokens that it took."""
        job = self.jobs.submit(task, params)
        self.child.run(job.id)
        return job, self.jobs.result(job.id).record["tokens"]


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nano]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), threads=1, _env_file=None)
    migrate(settings.sqlalchemy_url)
    with Jobs.open(settings) as jobs:
        yield Nano(jobs, Child.start(settings))


def test_a_worker_says_what_it_holds_and_how_fast_it_reads(nano: Nano) -> None:
    (told,) = [worker.capacity for worker in nano.jobs.workers()]
    assert told is not None
    assert told.context_tokens == 32_768
    assert (told.cache_bytes or 0) > MB
    assert (told.tokens_per_s or 0) > 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_tokens_of_a_short_document_are_told_as_they_are_read(
    nano: Nano, language: str
) -> None:
    text = {
        "en": " ".join(f"The ship {n} left the port of Emden with grain." for n in range(40)),
        "zh": "".join(f"第{n}艘船装着粮食离开了埃姆登港。" for n in range(40)),
    }[language]
    sha256 = nano.jobs.add_document("ships.txt", text.encode()).sha256
    asked: list[tuple[TaskName, Params]] = [
        (TaskName.SUMMARIZE, SummarizeParams(sha256)),
        (TaskName.ASK, AskParams(sha256, "Which ship left? 哪艘船离开了？")),
        (TaskName.EXTRACT, ExtractParams(sha256, ("ship", "船名"))),
    ]
    for task, params in asked:
        job, tokens = nano.done(task, params)
        assert job.estimate is not None
        assert job.estimate.tokens == pytest.approx(tokens["read"] + tokens["scored"], rel=0.03)


def test_a_second_question_is_estimated_without_the_reading_that_is_remembered(
    nano: Nano, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmapp.jobs.estimating.FRESH_S", 0.0)
    assert LEAST_KEPT == LEAST_TOKENS
    sha256 = nano.jobs.add_document("two.txt", long_text("Two", 12).encode()).sha256
    first, read = nano.done(TaskName.ASK, AskParams(sha256, "Who sailed?"))
    second, remembered = nano.done(TaskName.ASK, AskParams(sha256, "Where to?"))
    assert first.estimate is not None
    assert second.estimate is not None
    assert (first.estimate.remembered, read["remembered"]) == (0, 0)
    assert second.estimate.remembered == pytest.approx(remembered["remembered"], rel=0.03)
    assert second.estimate.work == pytest.approx(
        second.estimate.tokens - second.estimate.remembered  # type: ignore[operator]
    )


def test_a_listing_takes_no_more_than_is_told(nano: Nano) -> None:
    photos = tuple(
        nano.jobs.add_document(f"{colour}.png", photo_bytes(colour)).sha256
        for colour in ("red", "blue")
    )
    job, tokens = nano.done(TaskName.CHECK_LISTING, Listing(photos, "Red cup, blue plate"))
    assert job.estimate is not None
    assert sum(tokens.values()) <= (job.estimate.tokens or 0) <= 2 * sum(tokens.values())


def test_photos_that_pass_the_context_end_with_a_known_error(nano: Nano) -> None:
    """Nobody had told what its worker holds when it was submitted."""
    photos = tuple(
        nano.jobs.add_document(f"{colour}.png", photo_bytes(colour)).sha256
        for colour in ("green", "white", "black")
    )
    listing = Listing(photos, "Red cup")
    job = nano.jobs.submit(TaskName.CHECK_LISTING, listing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nano.child._room, "_at_most", 60)
        nano.child.run(job.id)
    ended = nano.jobs.get(job.id)
    assert ended.status is Status.FAILED
    assert "do not fit the context of 60 tokens" in ended.error
    assert "give it fewer photos" in ended.error


def test_a_job_whose_smallest_part_does_not_fit_now_is_given_back(nano: Nano) -> None:
    document = nano.jobs.add_document("fleet.txt", long_text("Fleet", 4).encode())
    job = nano.jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Room, "bytes_now", 10_000)
        nano.child.run(job.id)
    back = nano.jobs.get(job.id)
    assert (back.status, back.attempts) == (Status.QUEUED, 1)
    nano.jobs.run(job.id, nano.child._loaded, "w")
    assert nano.jobs.get(job.id).status is Status.SUCCEEDED


def test_a_document_beyond_a_worker_s_memory_is_read_in_parts_and_the_next_job_runs(
    tmp_path: Path, checkpoint: Path
) -> None:
    """Through the real queue: a megabyte holds some 7,000 of the checkpoint's 100,000 tokens."""
    settings = Settings(
        data_dir=tmp_path / "data",
        checkpoint=checkpoint,
        dtype="float32",
        threads=1,
        engine_memory_mb=1,
        _env_file=None,  # type: ignore[call-arg]
    )
    with Stack(settings, workers=1) as stack, Jobs.open(stack.settings) as jobs:
        stack.wait_ready(READY_S)
        submitted = []
        for name, sentences in (("Emden", 40), ("Leer", 3)):
            document = jobs.add_document(f"{name}.txt", long_text(name, sentences).encode())
            params = AskParams(document.sha256, "Who sailed?")
            submitted.append(jobs.submit(TaskName.ASK, params))
        ended = {job.id: job for job in jobs.watch([job.id for job in submitted])}
        assert [job.error for job in ended.values()] == ["", ""]
        long, short = submitted
        assert long.estimate is not None
        assert long.estimate.parts == parts(jobs, long.id) > 1
        assert parts(jobs, short.id) == 1


def test_a_process_at_its_limit_says_so_and_lives_and_one_with_a_bound_reads_in_parts(
    tmp_path: Path,
) -> None:
    deep = asking_checkpoint(tmp_path / "deep", layers=16, kv_heads=4, head_dim=32)
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "data"), str(deep)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    (unbounded, _), after_it, (bounded, many), after_that = json.loads(done.stdout.splitlines()[-1])
    assert "more memory than its worker can get" in unbounded
    assert after_it == after_that == ["", 1]
    assert (bounded, many > 1) == ("", True)


def test_less_memory_cuts_the_context_in_steps_and_only_for_the_job(checkpoint: Path) -> None:
    import model

    engine = model.load(checkpoint, dtype="float32")
    sizes = [context_that_fits(engine, room, 100_000) for room in range(0, 14 * MB, 100_000)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) < 50
    for room, tokens in zip(range(0, 14 * MB, 100_000), sizes, strict=True):
        assert engine.cache_bytes(tokens) <= room
    settings = Settings(engine_memory_mb=2, _env_file=None)  # type: ignore[call-arg]
    room = Room(settings, engine)
    assert engine.context_length == context_that_fits(engine, 2 * MB, 100_000) < 100_000
    least = Estimate(1, 1, 0, 0, tokens=9_000, reading_tokens=9_000, least_tokens=200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Room, "bytes_now", MB // 2)
        room.admit(_job(least))
        assert engine.context_length == context_that_fits(engine, MB // 2, 100_000)
    room.admit(_job(replace(least, reading_tokens=300)))
    assert engine.context_length == context_that_fits(engine, 2 * MB, 100_000)


def _job(estimate: Estimate) -> Job:
    return Job(
        *("j1", TaskName.SUMMARIZE, Status.RUNNING, Priority.BATCH, "ships.txt", {}, 1),
        Progress(),
        datetime.now(UTC),
        estimate=estimate,
    )
