"""What people say of verdicts: kept beside the model's, in order, and what to look at next."""

from __future__ import annotations

import io

import pytest

from mmapp import exports, reviews
from mmapp.batches import write_results
from mmapp.errors import BadInput, NotFound, NotPossible
from mmapp.jobs import BatchRow, Jobs
from mmapp.types import Job, Label, Listing, SummarizeParams, TaskName
from tests.jobs.conftest import AddPhoto, AddText
from tests.jobs.scenes import TEXT, engine


def checked(jobs: Jobs, photo: str, title: str = "Blue shirt", words: str = "Cracks.") -> Job:
    job = jobs.submit(TaskName.CHECK_LISTING, Listing((photo,), title, words))
    jobs.run(job.id, engine(), "w")
    return jobs.get(job.id)


def test_the_newest_review_counts_and_the_result_stays_as_it_was(
    jobs: Jobs, add_photo: AddPhoto
) -> None:
    job = checked(jobs, add_photo("blue").sha256)
    before = jobs.result(job.id)
    model = reviews.model_label(before.payload, 2)
    jobs.review(job.id, claim=2, by="Ann")
    jobs.review(job.id, claim=2, label=Label.REFUTED, note="a  seam\0, 没有裂纹", by=" 李 雷 ")
    jobs.review(job.id, label=Label.NOT_ENOUGH_INFO, by="Ann")
    after = jobs.result(job.id)
    assert (after.payload, after.record) == (before.payload, before.record)
    assert [one.label for one in after.reviews] == [model, Label.REFUTED, Label.NOT_ENOUGH_INFO]
    counting = reviews.counting(after.reviews)
    assert list(counting) == [None, 2]
    assert (counting[2].by, counting[2].note) == ("李 雷", "a  seam, 没有裂纹")
    assert reviews.verdict(counting[None]) == "uncertain"
    assert [(row.review.claim, row.counts) for row in jobs.reviews()] == [
        (None, True),
        (2, True),
        (2, False),
    ]
    assert "says 李 雷" in exports.markdown(job, after)


def test_who_asks_for_the_same_again_sees_the_review(jobs: Jobs, add_photo: AddPhoto) -> None:
    first = checked(jobs, add_photo("blue").sha256)
    jobs.review(first.id, label=Label.REFUTED, by="Ann")
    again = jobs.submit(
        TaskName.CHECK_LISTING, Listing(first.params["photos"], "Blue shirt", "Cracks.")
    )
    assert again.id != first.id
    (review,) = jobs.result(again.id).reviews
    assert review.job_id == first.id
    jobs.review(again.id, label=Label.SUPPORTED, by="Bo")
    assert [one.by for one in jobs.result(first.id).reviews] == ["Ann", "Bo"]


def test_the_least_certain_listing_comes_first_until_it_is_reviewed(
    jobs: Jobs, add_photo: AddPhoto
) -> None:
    photo = add_photo("blue").sha256
    titles = ["Blue shirt", "Cracks", "A million cracks", "Blue shirt"]
    rows = [BatchRow({"title": title}, Listing((photo,), title, "Red.")) for title in titles]
    batch = jobs.submit_batch("shirts.csv", TaskName.CHECK_LISTING, rows)
    for job in jobs.list(batch_id=batch.id):
        jobs.run(job.id, engine(), "w")
    doubts = [abs(row.result.payload["score"] - 0.5) for row in jobs.to_review() if row.result]
    assert len(doubts) == 3, "the same listing twice is one thing to review"
    assert doubts == sorted(doubts)
    first, *rest = jobs.to_review(batch.id)
    jobs.review(first.job.id, claim=1, by="Ann")
    assert jobs.to_review(batch.id)[0].job == first.job, "a claim is not yet the listing"
    jobs.review(first.job.id, by="Ann")
    assert [row.job for row in jobs.to_review(batch.id)] == [row.job for row in rest]
    assert [row.job for row in jobs.to_review(batch.id, limit=1)] == [rest[0].job]


def test_the_results_of_a_batch_end_with_what_people_say(jobs: Jobs, add_photo: AddPhoto) -> None:
    listing = Listing((add_photo("blue").sha256,), "Blue shirt", "Cracks.")
    rows = [BatchRow({"title": "a"}, listing), BatchRow({"title": "b"}, error="no photo")]
    batch = jobs.submit_batch("shirts.csv", TaskName.CHECK_LISTING, rows)
    (job,) = jobs.list(batch_id=batch.id)
    jobs.run(job.id, engine(), "w")
    assert not jobs.is_reviewed(batch.id)
    jobs.review(job.id, label=Label.REFUTED, note="=1+1", by="Ann")
    jobs.review(job.id, claim=1, label=Label.SUPPORTED, by="Ann")
    assert jobs.is_reviewed(batch.id)
    out = io.StringIO()
    write_results(jobs.batch_rows(batch.id), batch.task, out, is_reviewed=True)
    head, first, second = out.getvalue().splitlines()
    assert head.endswith("error,reviewed,reviewed_by,review_note,reviewed_claims")
    assert ",inconsistent,Ann,'=1+1," in first
    assert '""verdict"": ""SUPPORTED""' in first
    assert second.endswith(",no photo,,,,")


def test_what_can_not_be_reviewed_is_refused(
    jobs: Jobs, add_photo: AddPhoto, add_text: AddText
) -> None:
    job = checked(jobs, add_photo("blue").sha256)
    count = len(jobs.result(job.id).payload["claims"])
    for claim in (0, count + 1):
        with pytest.raises(BadInput, match=f"claims 1 to {count}; {claim} is none"):
            jobs.review(job.id, claim=claim, by="Ann")
    with pytest.raises(BadInput, match="say who reviews"):
        jobs.review(job.id, by=" \n")
    with pytest.raises(BadInput, match="shorten"):
        jobs.review(job.id, by="Ann", note="x" * 2001)
    summary = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(TEXT).sha256))
    with pytest.raises(NotFound, match="queued and has no verdict"):
        jobs.review(summary.id, by="Ann")
    jobs.run(summary.id, engine(), "w")
    with pytest.raises(NotPossible, match="no check of a listing"):
        jobs.review(summary.id, by="Ann")
    with pytest.raises(NotFound):
        jobs.review("nothing", by="Ann")
    with pytest.raises(NotFound):
        jobs.to_review("nothing")
    assert jobs.reviews() == []
