"""What is accepted, and what the same work twice costs."""

from __future__ import annotations

import json

import pytest

from mmapp.checkpoints import PROFILE
from mmapp.config import Settings
from mmapp.errors import BadInput, NoText, NotFound, NotPossible
from mmapp.jobs import Jobs
from mmapp.types import AskParams, Listing, Priority, Status, SummarizeParams, TaskName
from tests.jobs.conftest import AddPhoto, AddText
from tests.jobs.scenes import TEXT, checkpoint_folder, engine


def summarize(jobs: Jobs, sha256: str, sentences: int = 2, **more: object):
    return jobs.submit(TaskName.SUMMARIZE, SummarizeParams(sha256, sentences), **more)


def test_a_submitted_job_waits_even_without_a_broker(jobs: Jobs, add_text: AddText) -> None:
    job = summarize(jobs, add_text(TEXT, "bridge.txt").sha256)
    assert (job.status, job.label, job.attempts) == (Status.QUEUED, "bridge.txt", 0)
    assert jobs.get(job.id) == job
    assert jobs.list() == [job]


def test_params_come_back_as_they_were_given(jobs: Jobs, add_photo: AddPhoto) -> None:
    photo = add_photo("red")
    listing = Listing((photo.sha256,), "红色 mug", "a\nb", {"colour": "red", "尺寸": "10 cm"})
    job = jobs.submit(TaskName.CHECK_LISTING, listing)
    assert job.label == "红色 mug"
    assert job.params == {
        "photos": [photo.sha256],
        "title": "红色 mug",
        "description": "a\nb",
        "attributes": {"colour": "red", "尺寸": "10 cm"},
        "threshold": None,
        "propose": False,
    }


@pytest.mark.parametrize("sentences", [0, 51])
def test_a_summary_has_one_to_fifty_sentences(
    jobs: Jobs, add_text: AddText, sentences: int
) -> None:
    with pytest.raises(BadInput, match=f"1 to 50 sentences; {sentences} "):
        summarize(jobs, add_text(TEXT).sha256, sentences)
    assert jobs.list() == []


def test_a_document_without_words_is_refused_with_its_name(jobs: Jobs, add_photo: AddPhoto) -> None:
    with pytest.raises(NoText, match=r"blue\.png"):
        summarize(jobs, add_photo("blue").sha256)


def test_an_unknown_document_is_refused(jobs: Jobs) -> None:
    with pytest.raises(NotFound, match="no document feed"):
        summarize(jobs, "feed")


def ask(jobs: Jobs, sha256: str, question: str):
    return jobs.submit(TaskName.ASK, AskParams(sha256, question))


def test_a_question_is_called_by_its_document_and_its_words(jobs: Jobs, add_text: AddText) -> None:
    sha256 = add_text(TEXT, "bridge.txt").sha256
    job = ask(jobs, sha256, "  What will\nit cost? ")
    assert job.label == "bridge.txt: What will it cost?"
    assert job.params["document"] == sha256
    assert jobs.list(task=TaskName.ASK) == [job]


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (" \n", "question is empty"),
        ("?" * 2001, "at most 2,000 characters; this one has 2,001"),
        ("Why\ud800?", "characters that are no text"),
    ],
)
def test_what_is_no_question_is_refused(
    jobs: Jobs, add_text: AddText, question: str, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        ask(jobs, add_text(TEXT).sha256, question)
    assert jobs.list() == []


def test_a_document_without_words_answers_nothing(jobs: Jobs, add_photo: AddPhoto) -> None:
    with pytest.raises(NoText, match=r"blue\.png"):
        ask(jobs, add_photo("blue").sha256, "Why?")


UNTRAINED = {"calibration": {"summarize": {}, "check_listing": {}}}


def test_a_question_to_a_checkpoint_that_was_not_trained_for_them_is_refused_at_once(
    settings: Settings, jobs: Jobs, add_text: AddText
) -> None:
    sha256 = add_text(TEXT).sha256
    failed = ask(jobs, sha256, "Why?")
    jobs.run(failed.id, engine(breaks), "w1")
    (settings.checkpoint / PROFILE).write_text(json.dumps(UNTRAINED))
    with pytest.raises(NotPossible, match="checkpoint fake was not trained to answer questions"):
        ask(jobs, sha256, "Who pays?")
    with pytest.raises(NotPossible, match="not trained to answer questions"):
        jobs.retry(failed.id)
    assert [job.id for job in jobs.list()] == [failed.id]
    assert summarize(jobs, sha256).status is Status.QUEUED


@pytest.mark.parametrize("profile", [{}, {"calibration": {"ask": {}}}])
def test_a_question_to_any_other_checkpoint_is_taken(
    settings: Settings, jobs: Jobs, add_text: AddText, profile: dict[str, object]
) -> None:
    (settings.checkpoint / PROFILE).write_text(json.dumps(profile))
    assert ask(jobs, add_text(TEXT).sha256, "Who pays?").status is Status.QUEUED


@pytest.mark.parametrize(
    ("colours", "title", "message"),
    [
        ([], "Mug", "1 to 12 photos; this one has 0"),
        (["red"] * 13, "Mug", "this one has 13"),
        (["red"], " \n", "no title"),
    ],
)
def test_a_listing_has_photos_and_a_title(
    jobs: Jobs, add_photo: AddPhoto, colours: list[str], title: str, message: str
) -> None:
    photos = tuple(add_photo(colour).sha256 for colour in colours)
    with pytest.raises(BadInput, match=message):
        jobs.submit(TaskName.CHECK_LISTING, Listing(photos, title))


def test_a_text_is_no_photo(jobs: Jobs, add_text: AddText) -> None:
    with pytest.raises(BadInput, match=r"report\.txt is text/plain, not a photo"):
        jobs.submit(TaskName.CHECK_LISTING, Listing((add_text(TEXT).sha256,), "Mug"))


def test_work_that_was_done_is_answered_at_once(jobs: Jobs, add_text: AddText) -> None:
    sha256 = add_text(TEXT).sha256
    first = summarize(jobs, sha256)
    jobs.run(first.id, engine(), "w1")
    again = summarize(jobs, sha256)
    assert again.status is Status.SUCCEEDED
    assert jobs.result(again.id).payload == jobs.result(first.id).payload
    assert jobs.result(again.id).job_id == again.id
    assert jobs.result(again.id).record["job"] == first.id


@pytest.mark.parametrize("change", ["sentences", "weights", "document"])
def test_other_work_is_done_anew(
    settings: Settings, jobs: Jobs, add_text: AddText, change: str
) -> None:
    sha256 = add_text(TEXT).sha256
    jobs.run(summarize(jobs, sha256).id, engine(), "w1")
    if change == "weights":
        checkpoint_folder(settings.checkpoint, b"other weights, and more of them")
    if change == "document":
        sha256 = add_text(TEXT + " More.").sha256
    again = summarize(jobs, sha256, 3 if change == "sentences" else 2)
    assert again.status is Status.QUEUED


def test_work_in_flight_is_followed_and_done_once(jobs: Jobs, add_text: AddText) -> None:
    sha256 = add_text(TEXT).sha256
    first, second, third = (summarize(jobs, sha256) for _ in range(3))
    assert jobs.take(second.id, "w2") is None
    working = engine()

    def look(*_: object) -> float:
        assert jobs.get(second.id).status is Status.RUNNING
        assert jobs.get(second.id).progress == jobs.get(first.id).progress
        assert [job.id for job in jobs.list(status=Status.RUNNING)] == [
            third.id,
            second.id,
            first.id,
        ]
        return 0.0

    working.rule = look
    jobs.run(first.id, working, "w1")
    assert {job.status for job in jobs.list()} == {Status.SUCCEEDED}
    assert jobs.result(third.id).record["job"] == first.id
    assert len(working.prefixes) == 1


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_followers_of_a_job_without_result_run_themselves(
    jobs: Jobs, add_text: AddText, end: str
) -> None:
    sha256 = add_text(TEXT).sha256
    first, second, third = (summarize(jobs, sha256) for _ in range(3))
    if end == "cancelled":
        jobs.cancel(first.id)
    else:
        jobs.run(first.id, engine(breaks), "w1")
    assert jobs.get(first.id).status == end
    assert jobs.get(second.id).status is Status.QUEUED
    assert jobs.take(third.id, "w1") is None
    jobs.run(second.id, engine(), "w1")
    assert [jobs.get(job.id).status for job in (second, third)] == [Status.SUCCEEDED] * 2
    assert jobs.result(third.id).record["job"] == second.id


def breaks(*_: object) -> float:
    raise ZeroDivisionError("by design")


def test_a_person_who_waits_hurries_the_batch_job_that_does_the_same(
    jobs: Jobs, add_text: AddText
) -> None:
    sha256 = add_text(TEXT).sha256
    slow = summarize(jobs, sha256, priority=Priority.BATCH)
    summarize(jobs, sha256)
    assert jobs.get(slow.id).priority is Priority.INTERACTIVE


def test_a_queued_job_is_cancelled_at_once_and_can_be_retried(
    jobs: Jobs, add_text: AddText
) -> None:
    job = summarize(jobs, add_text(TEXT).sha256)
    assert jobs.cancel(job.id).status is Status.CANCELLED
    assert jobs.take(job.id, "w1") is None
    with pytest.raises(NotPossible, match="already been cancelled"):
        jobs.cancel(job.id)
    again = jobs.retry(job.id)
    assert (again.status, again.cancel_requested) == (Status.QUEUED, False)
    jobs.run(job.id, engine(), "w1")
    assert jobs.get(job.id).status is Status.SUCCEEDED
    with pytest.raises(NotPossible, match="only a failed or cancelled job"):
        jobs.retry(job.id)


def test_a_retry_of_work_done_meanwhile_is_answered_at_once(jobs: Jobs, add_text: AddText) -> None:
    sha256 = add_text(TEXT).sha256
    job = summarize(jobs, sha256)
    jobs.cancel(job.id)
    jobs.run(summarize(jobs, sha256).id, engine(), "w1")
    assert jobs.retry(job.id).status is Status.SUCCEEDED


def test_without_a_checkpoint_here_jobs_wait_for_a_worker_that_has_one(
    settings: Settings, jobs: Jobs, add_text: AddText
) -> None:
    elsewhere = settings.model_copy(update={"checkpoint": settings.data_dir / "none"})
    sha256 = add_text(TEXT).sha256
    with Jobs.open(elsewhere) as web:
        job = summarize(web, sha256)
    jobs.run(job.id, engine(), "w1")
    assert jobs.get(job.id).status is Status.SUCCEEDED


def test_nul_characters_do_not_reach_the_database(jobs: Jobs, add_text: AddText) -> None:
    job = summarize(jobs, add_text(TEXT).sha256, label="a\0b\ud800")
    assert jobs.get(job.id).label == "ab?"
