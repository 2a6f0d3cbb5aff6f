"""Whose job is next, and how many may wait, on both databases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mmapp.config import Settings
from mmapp.errors import BadInput, TooManyWaiting
from mmapp.jobs import BatchRow, Jobs
from mmapp.types import Job, Priority, Status, SummarizeParams, TaskName
from tests.jobs.conftest import AddText
from tests.jobs.scenes import TEXT
from tests.jobs.test_run import expire

BATCH, PERSON = Priority.BATCH, Priority.INTERACTIVE
Submit = Callable[..., Job]


@pytest.fixture
def submit(jobs: Jobs, add_text: AddText) -> Submit:
    """Submits work that nobody has submitted before."""
    number = 0

    def do(owner: str, priority: Priority = PERSON) -> Job:
        nonlocal number
        number += 1
        document = add_text(f"{number} ships sailed. Some sank.")
        params = SummarizeParams(document.sha256, 1)
        return jobs.submit(TaskName.SUMMARIZE, params, priority=priority, owner=owner)

    return do


def served(jobs: Jobs, turns: int, *, at_once: int = 1) -> list[str]:
    """Owners in the order in which their jobs are taken; so many run at a time."""
    order: list[str] = []
    running: list[str] = []
    for _ in range(turns):
        attempt = jobs.take_next("a message", "w1")
        assert attempt is not None
        order.append(attempt.job.owner)
        running.append(attempt.job.id)
        if len(running) == at_once:
            end(jobs, running.pop(0))
    return order


def end(jobs: Jobs, job_id: str) -> None:
    with jobs._database.transaction() as repository:
        assert repository.attempts.fail(job_id, jobs.get(job_id).attempts, "ended", "job_failed")


def test_users_take_turns_and_each_ones_jobs_keep_their_order(jobs: Jobs, submit: Submit) -> None:
    many = [submit("anna") for _ in range(4)]
    submit("bo")
    submit("陈")
    submit("bo")
    assert served(jobs, 7) == ["anna", "bo", "陈", "anna", "bo", "anna", "anna"]
    started = [jobs.get(job.id).started_at for job in many]
    assert started == sorted(started)
    assert jobs.take_next("a message", "w1") is None


def test_a_person_goes_before_every_batch_whoevers_it_is(jobs: Jobs, submit: Submit) -> None:
    for _ in range(3):
        submit("anna", BATCH)
    served(jobs, 1)
    submit("bo", BATCH)
    person = submit("anna")
    attempt = jobs.take_next("a message", "w1")
    assert attempt is not None
    assert attempt.job.id == person.id
    assert served(jobs, 3) == ["bo", "anna", "anna"]


def test_who_has_fewer_running_is_next(jobs: Jobs, submit: Submit) -> None:
    """Turns alone would give whoever has short jobs one worker for each long job of another."""
    for _ in range(4):
        submit("anna", BATCH)
    held = [jobs.take_next("a message", "w1") for _ in range(2)]
    assert all(held)
    for _ in range(3):
        submit("bo", BATCH)
    assert served(jobs, 3, at_once=1) == ["bo", "bo", "bo"]
    assert served(jobs, 2) == ["anna", "anna"]


def test_a_lost_job_has_its_old_place(jobs: Jobs, submit: Submit) -> None:
    lost = submit("anna")
    submit("anna")
    attempt = jobs.take_next(lost.id, "w1")
    assert attempt is not None
    expire(jobs, attempt)
    jobs.sweep()
    again = jobs.take_next("a message", "w2")
    assert again is not None
    assert (again.job.id, again.number) == (lost.id, 2)


def test_what_is_set_aside_follows_or_is_cancelled_is_passed_over(
    jobs: Jobs, submit: Submit
) -> None:
    paused, cancelled, last = submit("anna"), submit("anna"), submit("bo")
    attempt = jobs.take(paused.id, "w1")
    assert attempt is not None
    with jobs._database.transaction() as repository:
        repository.attempts.put_back(paused.id, attempt.number, after_s=60)
    jobs.cancel(cancelled.id)
    params = SummarizeParams(last.params["document"], 1)
    follower = jobs.submit(TaskName.SUMMARIZE, params, owner="anna")
    taken = jobs.take_next("a message", "w1")
    assert taken is not None
    assert taken.job.id == last.id
    assert jobs.take_next("a message", "w1") is None
    assert jobs.get(follower.id).status is Status.RUNNING


def test_a_message_for_a_job_whose_lease_ran_out_takes_it_over(jobs: Jobs, submit: Submit) -> None:
    attempt = jobs.take_next(submit("anna").id, "w1")
    assert attempt is not None
    assert jobs.take_next(attempt.job.id, "w2") is None
    expire(jobs, attempt)
    again = jobs.take_next(attempt.job.id, "w2")
    assert again is not None
    assert again.number == 2


def test_a_limit_refuses_with_the_setting_and_leaves_nothing(
    settings: Settings, submit: Submit, add_text: AddText
) -> None:
    submit("anna")
    submit("bo")
    params = SummarizeParams(add_text(TEXT).sha256, 1)
    narrow = settings.model_copy(update={"max_waiting_per_user": 1})
    with Jobs.open(narrow) as limited:
        with pytest.raises(TooManyWaiting, match=r"1 jobs of anna wait .*MAX_WAITING_PER_USER"):
            limited.submit(TaskName.SUMMARIZE, params, owner="anna")
        assert limited.submit(TaskName.SUMMARIZE, params, owner="carl").owner == "carl"
        # Nobody works for it: the same is on its way.
        assert limited.submit(TaskName.SUMMARIZE, params, owner="carl").owner == "carl"
        assert len(limited.list()) == 4
    with Jobs.open(settings.model_copy(update={"max_waiting": 3})) as limited:
        more = SummarizeParams(add_text(TEXT + " More.").sha256, 1)
        with pytest.raises(TooManyWaiting, match=r"3 jobs wait already, .*\(MMAPP_MAX_WAITING\)"):
            limited.submit(TaskName.SUMMARIZE, more, owner="dora")


def test_rows_beyond_the_limit_say_so_and_the_others_run(
    settings: Settings, add_text: AddText
) -> None:
    rows = [
        BatchRow({}, SummarizeParams(add_text(f"{number} ships sailed.").sha256, 1))
        for number in range(4)
    ]
    with Jobs.open(settings.model_copy(update={"max_waiting_per_user": 3})) as limited:
        batch = limited.submit_batch("ships.csv", TaskName.SUMMARIZE, rows, owner="anna")
        assert batch.rejected == 1
        errors = [row.error for row in limited.batch_rows(batch.id)]
    assert errors[:3] == ["", "", ""]
    assert "3 jobs of anna wait already" in errors[3]


def test_a_users_name_is_that_of_the_settings_or_told_and_not_too_long(
    settings: Settings, submit: Submit
) -> None:
    assert submit("").owner == settings.user == "local"
    assert submit("  anna \n b ").owner == "anna b"
    with pytest.raises(BadInput, match="at most 128"):
        submit("a" * 129)
