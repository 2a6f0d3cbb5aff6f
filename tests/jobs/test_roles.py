"""Workers that do a part of each job: handed over, found by the next, lost at any of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from mmapp.checkpoints import CONFIG
from mmapp.config import Settings
from mmapp.jobs import Jobs
from mmapp.types import (
    AskParams,
    CompareParams,
    Document,
    FiguresParams,
    Job,
    Listing,
    Params,
    Priority,
    Role,
    Status,
    SummarizeParams,
    TaskName,
)
from tests.documents.scans import CHINESE, ENGLISH, encoded, picture, scanned, written
from tests.jobs.conftest import AddPhoto, AddText
from tests.jobs.scenes import TEXT, engine
from tests.jobs.test_figures import document as catalogue
from tests.jobs.test_figures import sees_colours
from tests.jobs.test_run import expire
from tests.jobs.test_scans import book
from tests.tasks.fakes import FakeEngine, likes

INGEST, ENCODE, GENERATE = Role

#: For what is slow and asks nothing particular of the database.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@dataclass(slots=True)
class FakeEncoder:
    """Remembers what it was shown."""

    profile: dict[str, Any] = field(default_factory=dict)
    name: str = "fake"
    weights_sha256: str = "0" * 64
    dtype: str = "float32"
    device: str = "cpu"
    seen: list[bytes] = field(default_factory=list)

    def encode(self, pictures: Sequence[Image.Image]) -> None:
        self.seen += [picture.tobytes() for picture in pictures]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The checkpoint has an encoder."""
    (settings.checkpoint / CONFIG).write_text('{"vision_config": {"image_size": 8}}')
    return settings


@contextmanager
def of(jobs: Jobs, *roles: Role, **changes: object) -> Iterator[Jobs]:
    """The jobs of a worker of these roles."""
    update = {"roles": ",".join(roles), **changes}
    with Jobs.open(jobs.settings.model_copy(update=update)) as opened:
        yield opened


def work(
    jobs: Jobs, role: Role, model: FakeEngine | FakeEncoder | None = None, ocr: str = "auto"
) -> None:
    """A worker of this role does whatever waits for it."""
    with of(jobs, role, ocr=ocr) as worker:
        worker.run_next("a message", model, f"w-{role}")


def half_read(jobs: Jobs) -> Document:
    """A document of which the second page shows words that no one may recognise."""
    unseen = scanned(picture(written(CHINESE)), CHINESE)
    return jobs.add_document("scan.pdf", book(written(ENGLISH).tobytes(), unseen))


@on_sqlite
def test_the_course_of_a_job_follows_from_what_it_is_about(
    jobs: Jobs, add_text: AddText, add_photo: AddPhoto
) -> None:
    text, other = add_text(TEXT).sha256, add_text("Nothing was closed.").sha256
    plain = jobs.add_document("plain.pdf", written(ENGLISH).tobytes()).sha256
    scan = jobs.add_document("scan.pdf", scanned(picture(written(CHINESE)))).sha256
    figures = jobs.add_document("catalogue.pdf", catalogue()).sha256
    listing = Listing((add_photo("red").sha256,), "Red mug")
    expected: list[tuple[TaskName, Params, tuple[Role, ...]]] = [
        (TaskName.SUMMARIZE, SummarizeParams(text, 1), (GENERATE,)),
        (TaskName.ASK, AskParams(plain, "What was closed?"), (GENERATE,)),
        (TaskName.SUMMARIZE, SummarizeParams(scan, 1), (INGEST, GENERATE)),
        (TaskName.COMPARE, CompareParams(text, other), (INGEST,)),
        (TaskName.FIGURES, FiguresParams(figures), (INGEST, ENCODE, GENERATE)),
        (TaskName.CHECK_LISTING, listing, (ENCODE, GENERATE)),
    ]
    for task, params, roles in expected:
        job = jobs.submit(task, params)
        assert (job.roles, job.role) == (roles, roles[0]), task
    # A checkpoint that reads text only, or a model at a server, sees by itself or not at all.
    (jobs.settings.checkpoint / CONFIG).write_text("{}")
    job = jobs.submit(TaskName.CHECK_LISTING, Listing(listing.photos, "Blue mug"))
    assert job.roles == (GENERATE,)
    with of(jobs, *Role, ocr="off") as believing:
        job = believing.submit(TaskName.SUMMARIZE, SummarizeParams(scan, 1))
        assert job.roles == (INGEST, GENERATE)  # to be drawn: it may be blank


@on_sqlite
def test_three_workers_make_what_one_makes(jobs: Jobs) -> None:
    params = FiguresParams(jobs.add_document("catalogue.pdf", catalogue()).sha256)
    with of(jobs, *Role, ocr="off") as one:
        whole = one.submit(TaskName.FIGURES, params)
        one.run(whole.id, engine(sees_colours), "w1")
    expected = jobs.result(whole.id)
    with jobs._database.transaction() as repository:
        for number in range(1, 7):
            repository.documents.set_page_image(params.document, number, "0" * 64)

    # With another setting, so that it is not answered by the stored result.
    with of(jobs, *Role, ocr="off", ocr_seconds=59.0) as other:
        job = other.submit(TaskName.FIGURES, params)
    encoder, generating = FakeEncoder(), engine(sees_colours)
    for role, model in ((INGEST, None), (ENCODE, encoder), (GENERATE, generating)):
        waiting = jobs.get(job.id)
        assert (waiting.role, waiting.status, waiting.attempts) == (role, Status.QUEUED, 0)
        work(jobs, role, model, ocr="off")
    done = jobs.get(job.id)
    assert (done.status, done.attempts, done.error) == (Status.SUCCEEDED, 1, "")
    found = jobs.result(job.id)
    assert found.payload == expected.payload
    assert found.record["durations_s"].keys() - expected.record["durations_s"].keys() == {
        *(INGEST, ENCODE)
    }
    assert found.record["durations_s"]["queued"] >= 0
    assert found.record["attempt"] == 1


def ramp(width: int) -> bytes:
    """A photo of which no two parts are alike."""
    return encoded(Image.linear_gradient("L").resize((width, 64)).rotate(20).convert("RGB"))


@on_sqlite
def test_an_encoder_is_shown_what_the_engine_will_see(jobs: Jobs) -> None:
    profile = {"framings": [{"share": 0.8}], "regions": True}
    photos = [jobs.add_document(f"{w}.png", ramp(w)).sha256 for w in (64, 96)]
    for shown, photo_count in ((photos[:1], 1), (photos, 2)):
        job = jobs.submit(TaskName.CHECK_LISTING, Listing(tuple(shown), "Red mug"))
        encoder, generating = FakeEncoder(profile), FakeEngine(likes("mug"), profile=profile)
        work(jobs, ENCODE, encoder)
        work(jobs, GENERATE, generating)
        assert jobs.get(job.id).error == ""
        seen = {
            part.tobytes()
            for prefix in generating.prefixes
            for part in prefix.parts
            if isinstance(part, Image.Image)
        }
        # Of several photos nobody knows before which one's parts will be looked at.
        assert seen == {*encoder.seen} if photo_count == 1 else seen > {*encoder.seen}
        assert len(encoder.seen) == (2 + 9 if photo_count == 1 else 4)


@on_sqlite
def test_what_could_not_be_read_is_told_as_if_one_worker_had_tried(jobs: Jobs) -> None:
    params = SummarizeParams(half_read(jobs).sha256, 2)
    with of(jobs, *Role, ocr_pages=0) as limited:
        whole = limited.submit(TaskName.SUMMARIZE, params)
        limited.run(whole.id, engine(likes("Costs")), "w1")
        expected = limited.result(whole.id).payload
    assert "raise MMAPP_OCR_PAGES" in expected["coverage"]["failed"][0]["reason"]
    with of(jobs, *Role, ocr_pages=0, ocr_seconds=59.0) as other:
        job = other.submit(TaskName.SUMMARIZE, params)
    with of(jobs, INGEST, ocr_pages=0) as ingesting:
        ingesting.run_next("a message", None, "w1")
    # This one would recognise the page, if nobody had tried before.
    work(jobs, GENERATE, engine(likes("Costs")))
    assert jobs.result(job.id).payload == expected


def test_a_comparison_asks_no_model_and_ends_with_ingest(jobs: Jobs, add_text: AddText) -> None:
    old, new = add_text(TEXT), add_text(TEXT.replace("4.2", "4.3"))
    job = jobs.submit(TaskName.COMPARE, CompareParams(old.sha256, new.sha256))
    work(jobs, GENERATE, engine())
    assert jobs.get(job.id).status is Status.QUEUED
    work(jobs, INGEST)
    assert (jobs.get(job.id).status, jobs.get(job.id).error) == (Status.SUCCEEDED, "")
    assert jobs.result(job.id).record["checkpoint"] == "no model, code alone"


@pytest.fixture
def scan(jobs: Jobs) -> Job:
    """A job that has to be ingested, and then generated."""
    blank = book(written(ENGLISH).tobytes(), written([]).tobytes())
    document = jobs.add_document("report.pdf", blank)
    job = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 1))
    assert job.roles == (INGEST, GENERATE)
    return job


def test_nobody_takes_what_needs_another_role(jobs: Jobs, scan: Job) -> None:
    for role in (ENCODE, GENERATE):
        with of(jobs, role) as worker:
            assert worker.take_next(scan.id, "w1") is None
            assert worker.take(scan.id, "w1") is None


@on_sqlite
def test_a_worker_of_several_roles_does_them_in_one_attempt(jobs: Jobs) -> None:
    params = FiguresParams(jobs.add_document("catalogue.pdf", catalogue()).sha256)
    job = jobs.submit(TaskName.FIGURES, params)
    encoder = FakeEncoder()
    with of(jobs, INGEST, ENCODE, ocr="off") as worker:
        worker.run_next("a message", encoder, "w1")
    assert encoder.seen
    assert jobs.get(job.id).role is GENERATE
    with of(jobs, INGEST, GENERATE, ocr="off") as worker:
        worker.run_next("a message", engine(sees_colours), "w2")
    assert jobs.get(job.id).status is Status.SUCCEEDED


def test_a_job_whose_worker_is_lost_is_done_again_at_the_role_where_it_was(
    jobs: Jobs, scan: Job
) -> None:
    most = jobs.settings.max_attempts
    for role, model in ((INGEST, None), (GENERATE, engine(likes("Costs")))):
        with of(jobs, role) as worker:
            lost = worker.take_next("a message", "w1")
            assert lost is not None
            expire(jobs, lost)
            assert jobs.sweep() == 1
            assert (jobs.get(scan.id).status, jobs.get(scan.id).role) == (Status.QUEUED, role)
            worker.run_next("a message", model, "w2")
    done = jobs.get(scan.id)
    # One lost at each role, and the one that succeeded; what was handed over is no try.
    assert (done.status, done.attempts) == (Status.SUCCEEDED, most)


def test_a_worker_that_was_overtaken_hands_nothing_over(jobs: Jobs, scan: Job) -> None:
    with of(jobs, INGEST) as worker:
        slow = worker.take_next("a message", "w1")
        assert slow is not None
        expire(jobs, slow)
        assert worker.take(scan.id, "w2") is not None
    with jobs._database.transaction() as repository:
        assert not repository.attempts.hand_over(scan.id, slow.number, GENERATE, {})
    assert (jobs.get(scan.id).status, jobs.get(scan.id).role) == (Status.RUNNING, INGEST)


@pytest.mark.parametrize("when", ["before", "in between", "while it is handed over"])
def test_a_cancelled_job_ends_at_every_role(jobs: Jobs, scan: Job, when: str) -> None:
    if when == "in between":
        work(jobs, INGEST)
        assert jobs.get(scan.id).role is GENERATE
    if when == "while it is handed over":
        with of(jobs, INGEST) as worker:
            attempt = worker.take_next("a message", "w1")
            assert attempt is not None
        jobs.cancel(scan.id)
        with jobs._database.transaction() as repository:
            assert repository.attempts.hand_over(scan.id, attempt.number, GENERATE, {})
    else:
        jobs.cancel(scan.id)
    assert jobs.get(scan.id).status is Status.CANCELLED
    again = jobs.retry(scan.id)
    # What was drawn stays drawn.
    assert again.role is (GENERATE if when == "in between" else INGEST)
    jobs.run(scan.id, engine(likes("Costs")), "w1")
    assert jobs.get(scan.id).status is Status.SUCCEEDED


def test_progress_of_one_role_stays_until_the_next_tells_its_own(jobs: Jobs, scan: Job) -> None:
    work(jobs, INGEST)
    between = jobs.get(scan.id).progress
    assert (between.phase, between.total) == ("drawing", 1)
    with of(jobs, GENERATE) as worker:
        taken = worker.take_next("a message", "w1")
        assert taken is not None
        assert jobs.get(scan.id).progress == between
        expire(jobs, taken)
        assert worker.take(scan.id, "w2") is not None
    assert jobs.get(scan.id).progress.phase == ""


def test_who_has_one_role_serves_persons_first_and_users_in_turn(
    jobs: Jobs, add_text: AddText
) -> None:
    def submit(owner: str, number: int, priority: Priority = Priority.INTERACTIVE) -> str:
        text = add_text(f"{number} ships sailed. Some sank.")
        params = SummarizeParams(text.sha256, 1)
        return jobs.submit(TaskName.SUMMARIZE, params, priority=priority, owner=owner).id

    submit("anna", 0, Priority.BATCH)
    order = [submit("anna", 1), submit("anna", 2), submit("bo", 3)]
    found = []
    with of(jobs, GENERATE, ENCODE) as worker:
        while attempt := worker.take_next("a message", "w1"):
            found.append(attempt.job.id)
            with jobs._database.transaction() as repository:
                repository.attempts.fail(attempt.job.id, attempt.number, "ended", "job_failed")
    assert found[:3] == [order[0], order[2], order[1]]
    assert len(found) == 4


def test_each_role_has_its_queue_and_what_it_forgets_is_sent_again(
    queued_jobs: Jobs, scan: Job, add_text: AddText
) -> None:
    del scan  # known to the database alone: `jobs` has no broker
    broker = queued_jobs._broker
    assert queued_jobs.sweep() == 1
    queued_jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(TEXT).sha256, 1))

    def depths() -> list[int]:
        return [broker.depth([role]) for role in Role]

    assert depths() == [1, 0, 1]
    with of(queued_jobs, INGEST) as worker:
        worker.run_next("a message", None, "w1")
        assert worker.waiting_messages() == 1
    assert depths() == [1, 0, 2]
    broker._connected_redis().flushall()
    with of(queued_jobs, *Role, sweep_seconds=0.0) as sweeper:
        assert sweeper.sweep() == 2
    assert depths() == [0, 0, 2]


@pytest.mark.parametrize(
    ("told", "roles"),
    [("generate, ingest", (INGEST, GENERATE)), ("encode,,encode", (ENCODE,))],
)
def test_roles_are_told_in_any_order(tmp_path: Path, told: str, roles: tuple[Role, ...]) -> None:
    assert Settings(data_dir=tmp_path, roles=told, _env_file=None).worker_roles == roles


@pytest.mark.parametrize("told", ["", ",", "all", "ingest,decode"])
def test_what_is_no_role_is_refused(tmp_path: Path, told: str) -> None:
    with pytest.raises(ValidationError, match="ingest,encode,generate"):
        Settings(data_dir=tmp_path, roles=told, _env_file=None)
