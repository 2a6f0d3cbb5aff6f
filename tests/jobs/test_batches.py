"""Batches: rows in and out in order, bad rows kept, counts that add up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mmapp.broker import QUEUES
from mmapp.errors import NotFound
from mmapp.jobs import BatchRow, Jobs
from mmapp.types import Priority, Role, Status, SummarizeParams, TaskName
from tests.jobs.conftest import AddText
from tests.jobs.scenes import TEXT, engine


def rows(add_text: AddText, number: int) -> Iterator[BatchRow]:
    for i in range(number):
        sha256 = add_text(f"{TEXT} It is {i} o'clock.").sha256
        yield BatchRow({"id": str(i), "document": f"{i}.txt"}, SummarizeParams(sha256, 1))


def test_rows_come_back_in_input_order_with_what_became_of_them(
    jobs: Jobs, add_text: AddText
) -> None:
    good = list(rows(add_text, 3))
    bad = [
        BatchRow({"id": "x"}, error="no such file: x.txt"),
        BatchRow({"id": "y"}, SummarizeParams("feed", 1)),
        BatchRow({"id": "z"}, SummarizeParams(good[0].params.document, 99)),
        BatchRow({"id": "empty"}),
    ]
    batch = jobs.submit_batch(
        "mixed", TaskName.SUMMARIZE, [good[0], bad[0], good[1], bad[1], good[2], bad[2], bad[3]]
    )
    assert (batch.name, batch.rows, batch.rejected) == ("mixed", 7, 4)
    assert batch.counts[Status.QUEUED] == 3
    found = list(jobs.batch_rows(batch.id))
    assert [row.cells["id"] for row in found] == ["0", "x", "1", "y", "2", "z", "empty"]
    assert found[1].error == "no such file: x.txt"
    assert "feed" in found[3].error
    assert "99" in found[5].error
    jobs.run(found[0].job.id, engine(), "w1")
    jobs.cancel(found[2].job.id)
    found = list(jobs.batch_rows(batch.id))
    assert found[0].result.payload["summary"]
    assert (found[2].result, found[2].error) == (None, "The job was cancelled")
    counts = jobs.batch(batch.id).counts
    assert [counts[status] for status in Status] == [1, 0, 1, 0, 1]


def test_a_batch_waits_behind_people(jobs: Jobs, add_text: AddText) -> None:
    batch = jobs.submit_batch("b", TaskName.SUMMARIZE, rows(add_text, 2))
    found = jobs.list(batch_id=batch.id)
    assert [job.priority for job in found] == [Priority.BATCH] * 2
    assert sorted(job.batch_row for job in found) == [0, 1]


def test_a_large_batch_is_stored_and_read_in_pieces(jobs: Jobs, add_text: AddText) -> None:
    batch = jobs.submit_batch("large", TaskName.SUMMARIZE, rows(add_text, 230))
    assert [row.row for row in jobs.batch_rows(batch.id)] == list(range(230))
    assert jobs.batches(1)[0].counts[Status.QUEUED] == 230


def test_the_same_row_twice_runs_once(jobs: Jobs, add_text: AddText) -> None:
    row = next(rows(add_text, 1))
    batch = jobs.submit_batch("twice", TaskName.SUMMARIZE, [row, row])
    first, second = jobs.batch_rows(batch.id)
    assert jobs.take(second.job.id, "w1") is None
    jobs.run(first.job.id, engine(), "w1")
    assert jobs.batch(batch.id).counts[Status.SUCCEEDED] == 2


def test_messages_of_people_are_delivered_before_those_of_batches(
    queued_jobs: Jobs, add_text: AddText
) -> None:
    batch = queued_jobs.submit_batch("b", TaskName.SUMMARIZE, rows(add_text, 2))
    job = queued_jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(TEXT).sha256, 1))
    app = queued_jobs._broker._connected_app()
    name = QUEUES[Role.GENERATE]
    with app.connection_for_read() as connection, connection.SimpleQueue(name) as queue:
        delivered = [queue.get(timeout=5).payload[0][0] for _ in range(3)]
    assert delivered[0] == job.id
    assert sorted(delivered[1:]) == sorted(row.job.id for row in queued_jobs.batch_rows(batch.id))


def test_an_unknown_batch_is_refused(jobs: Jobs) -> None:
    with pytest.raises(NotFound):
        list(jobs.batch_rows("nothing"))


def test_after_a_crash_the_same_table_goes_on_and_checks_no_row_twice(
    jobs: Jobs, add_text: AddText, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmapp.jobs.submitting.BATCH_CHUNK", 2)
    monkeypatch.setattr("mmapp.jobs.verbs.ROWS_AT_ONCE", 2)
    given = list(rows(add_text, 5))

    def crashing() -> Iterator[BatchRow]:
        yield from given[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.submit_batch("catalogue.csv", TaskName.SUMMARIZE, crashing())
    (crashed,) = jobs.batches()
    worker = engine()
    done, _waiting = (row.job for row in jobs.batch_rows(crashed.id))
    jobs.run(done.id, worker, "w1")

    again = jobs.submit_batch("catalogue.csv", TaskName.SUMMARIZE, given)
    for job in reversed(jobs.list(status=Status.QUEUED)):
        jobs.run(job.id, worker, "w1")
    again = jobs.batch(again.id)
    assert (again.counts[Status.SUCCEEDED], again.reused) == (5, 2)
    assert len(worker.prefixes) == 5


def test_of_a_changed_table_only_changed_rows_are_done(jobs: Jobs, add_text: AddText) -> None:
    given = list(rows(add_text, 4))
    worker = engine()
    for job in jobs.list(batch_id=jobs.submit_batch("a", TaskName.SUMMARIZE, given).id):
        jobs.run(job.id, worker, "w1")
    given[2] = BatchRow({"id": "2"}, SummarizeParams(given[2].params.document, 2))
    changed = jobs.submit_batch("a", TaskName.SUMMARIZE, given)
    assert (changed.reused, changed.counts[Status.QUEUED]) == (3, 1)
    (job,) = jobs.list(batch_id=changed.id, status=Status.QUEUED)
    assert job.batch_row == 2
