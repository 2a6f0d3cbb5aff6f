"""The state machine as a table: from which status which event leads where.

ARCHITECTURE.md shows it, and a test drives every event from every status on real databases and
compares. What stands in no row changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from mmapp.types import Status


@dataclass(frozen=True, slots=True)
class Transition:
    """One way of a job from a status to another; `before` is None for a job that is new."""

    event: str
    before: Status | None
    after: Status
    #: What has to hold beside the status, and what else is written.
    when: str


TRANSITIONS = (
    Transition("submit", None, Status.QUEUED, "one transaction; the id is sent after the commit"),
    Transition("submit", None, Status.SUCCEEDED, "the same work has a result already"),
    Transition("take", Status.QUEUED, Status.RUNNING, "attempt + 1, a lease; it follows nobody"),
    Transition("take", Status.RUNNING, Status.RUNNING, "its lease ran out: attempt + 1, a new one"),
    Transition("succeed", Status.RUNNING, Status.SUCCEEDED, "by its attempt, with the result"),
    Transition("fail", Status.RUNNING, Status.FAILED, "by its attempt, with the reason"),
    Transition("put back", Status.RUNNING, Status.QUEUED, "by its attempt; perhaps after a pause"),
    Transition("put back", Status.RUNNING, Status.CANCELLED, "the same, when it is marked"),
    Transition("hand over", Status.RUNNING, Status.QUEUED, "by its attempt, to its next role"),
    Transition("hand over", Status.RUNNING, Status.CANCELLED, "the same, when it is marked"),
    Transition("cancel", Status.QUEUED, Status.CANCELLED, "at once"),
    Transition("cancel", Status.RUNNING, Status.RUNNING, "marked; its next report stops it"),
    Transition("stop", Status.RUNNING, Status.CANCELLED, "by its attempt, when it is marked"),
    Transition("free", Status.RUNNING, Status.QUEUED, "its worker is lost and attempts are left"),
    Transition("free", Status.RUNNING, Status.FAILED, "its worker is lost, as in all attempts"),
    Transition("free", Status.RUNNING, Status.CANCELLED, "its worker is lost, and it is marked"),
    Transition("retry", Status.FAILED, Status.QUEUED, "a new series of attempts"),
    Transition("retry", Status.FAILED, Status.SUCCEEDED, "the same work has a result by now"),
    Transition("retry", Status.CANCELLED, Status.QUEUED, "a new series of attempts"),
    Transition("retry", Status.CANCELLED, Status.SUCCEEDED, "the same work has a result by now"),
)
