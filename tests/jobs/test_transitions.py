"""Every event from every status, on both databases: what happens is what the table says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from mmapp.db.attempts import NewResult
from mmapp.errors import NotPossible
from mmapp.jobs import Jobs
from mmapp.jobs.transitions import TRANSITIONS
from mmapp.types import Job, Role, Status, SummarizeParams, TaskName
from tests.jobs.conftest import AddText
from tests.jobs.scenes import engine
from tests.jobs.test_run import expire, taken

Change = tuple[str, Status | None, Status]


class Scene:
    """One job after another, each brought into a situation."""

    def __init__(self, jobs: Jobs, add_text: AddText) -> None:
        self.jobs = jobs
        self._add_text = add_text
        self._number = 0

    def params(self) -> SummarizeParams:
        self._number += 1
        return SummarizeParams(self._add_text(f"{self._number} ships sailed. Some sank.").sha256, 1)

    def submit(self, params: SummarizeParams | None = None) -> Job:
        return self.jobs.submit(TaskName.SUMMARIZE, params or self.params())

    def running(self, *, attempts: int = 1, marked: bool = False, is_lost: bool = False) -> str:
        job_id = self.submit().id
        for number in range(1, attempts + 1):
            attempt = taken(self.jobs, job_id)
            if is_lost or number < attempts:
                expire(self.jobs, attempt)
        if marked:
            self.jobs.cancel(job_id)
        return job_id

    def ended(self, how: str, *, with_result: bool = False) -> str:
        params = self.params()
        job_id = self.submit(params).id
        if how != "cancel":
            taken(self.jobs, job_id)
        EVENTS[how](self.jobs, job_id)
        if with_result:
            self.jobs.run(self.submit(params).id, engine(), "w9")
        return job_id


def attempt_of(jobs: Jobs, job_id: str) -> int:
    return jobs.get(job_id).attempts


def result(job_id: str) -> NewResult:
    return NewResult(TaskName.SUMMARIZE, 1, f"key of {job_id}", {}, {}, "", "")


def succeed(jobs: Jobs, job_id: str) -> None:
    with jobs._database.transaction() as repository:
        repository.attempts.succeed(job_id, attempt_of(jobs, job_id), result(job_id))


def fail(jobs: Jobs, job_id: str) -> None:
    with jobs._database.transaction() as repository:
        repository.attempts.fail(job_id, attempt_of(jobs, job_id), "broken", "job_failed")


def put_back(jobs: Jobs, job_id: str) -> None:
    with jobs._database.transaction() as repository:
        repository.attempts.put_back(job_id, attempt_of(jobs, job_id))


def hand_over(jobs: Jobs, job_id: str) -> None:
    with jobs._database.transaction() as repository:
        repository.attempts.hand_over(job_id, attempt_of(jobs, job_id), Role.GENERATE, {})


def stop(jobs: Jobs, job_id: str) -> None:
    with jobs._database.transaction() as repository:
        repository.attempts.end_cancelled(job_id, attempt_of(jobs, job_id))


EVENTS: dict[str, Callable[[Jobs, str], object]] = {
    "take": lambda jobs, job_id: jobs.take(job_id, "w2"),
    "succeed": succeed,
    "fail": fail,
    "put back": put_back,
    "hand over": hand_over,
    "cancel": lambda jobs, job_id: jobs.cancel(job_id),
    "stop": stop,
    "free": lambda jobs, _: jobs.sweep(),
    "retry": lambda jobs, job_id: jobs.retry(job_id),
}
LAST = 3
SITUATIONS: tuple[Callable[[Scene], str], ...] = (
    lambda scene: scene.submit().id,
    lambda scene: scene.running(),
    lambda scene: scene.running(is_lost=True),
    lambda scene: scene.running(is_lost=True, attempts=LAST),
    lambda scene: scene.running(marked=True),
    lambda scene: scene.running(marked=True, is_lost=True),
    lambda scene: scene.ended("succeed"),
    lambda scene: scene.ended("fail"),
    lambda scene: scene.ended("fail", with_result=True),
    lambda scene: scene.ended("cancel"),
    lambda scene: scene.ended("cancel", with_result=True),
)


def test_the_table_of_transitions_is_what_happens(jobs: Jobs, add_text: AddText) -> None:
    assert jobs.settings.max_attempts == LAST
    scene = Scene(jobs, add_text)
    seen = {*submitted(scene)}
    for situation in SITUATIONS:
        for event, happens in EVENTS.items():
            job_id = situation(scene)
            before = jobs.get(job_id)
            with contextlib.suppress(NotPossible):
                happens(jobs, job_id)
            after = jobs.get(job_id)
            if _row(before) != _row(after):
                seen.add((event, before.status, after.status))
    assert seen == {(step.event, step.before, step.after) for step in TRANSITIONS}


def submitted(scene: Scene) -> list[Change]:
    params = scene.params()
    first = scene.submit(params)
    scene.jobs.run(first.id, engine(), "w1")
    return [("submit", None, job.status) for job in (first, scene.submit(params))]


def _row(job: Job) -> tuple[Status, int, bool]:
    return job.status, job.attempts, job.cancel_requested
