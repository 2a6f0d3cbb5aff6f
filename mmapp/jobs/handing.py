"""Handing over: what a role does of a job for those after it, and what it leaves to them.

A worker that has the last role of a job's course runs the job as if there were no roles. One that
has not does what it may and queues the job for the next role, with what it found: how long it
worked, and which pages could not be read and why, so that the result tells what it would have told.
Called by `running`; lets the exceptions of `report` pass, by which a job is stopped.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mmapp import records
from mmapp.errors import DocumentError
from mmapp.jobs.library import Library
from mmapp.jobs.scans import Scans
from mmapp.types import Encoder, Job, Params, Progress, ReportProgress, Role

if TYPE_CHECKING:
    from mmapp.tasks import Inputs

#: By the document's sha256, the pages whose words could not be recognised, and why.
Unread = Mapping[str, Mapping[int, str]]


@dataclass(frozen=True, slots=True)
class Carried:
    """What earlier roles of a job leave to later ones."""

    #: Seconds of work, by role.
    seconds: Mapping[str, float] = field(default_factory=dict)
    unread: Unread = field(default_factory=dict)
    #: Pages whose pictures' words were recognised, and seconds that this took.
    recognised: int = 0
    recognising_s: float = 0.0

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> Carried:
        if stored is None:
            return cls()
        unread = {
            sha256: {int(number): why for number, why in pages.items()}
            for sha256, pages in stored["unread"].items()
        }
        return cls(stored["seconds"], unread, stored["recognised"], stored["recognising_s"])

    def as_json(self) -> dict[str, Any]:
        unread = {
            sha256: {str(number): why for number, why in pages.items()}
            for sha256, pages in self.unread.items()
        }
        return {
            "seconds": dict(self.seconds),
            "unread": unread,
            "recognised": self.recognised,
            "recognising_s": self.recognising_s,
        }


@dataclass(frozen=True, slots=True)
class HandOver:
    """A job on its way to its next role."""

    role: Role
    carried: Carried


def ahead(job: Job) -> tuple[Role, ...]:
    """The roles that a job still needs, what it needs next first."""
    return job.roles[job.roles.index(job.role) :] if job.role in job.roles else (job.role,)


def to_do(job: Job, roles: Collection[Role]) -> tuple[Sequence[Role], Role | None]:
    """What a worker of these roles does of a job, one role after another, and to which role it then
    hands the job over; None: it runs the job to its end, as whoever has its last role does."""
    course = ahead(job)
    if course[-1] in roles:
        return (), None
    first_not_ours = next(number for number, role in enumerate(course) if role not in roles)
    return course[:first_not_ours], course[first_not_ours]


class Preparing:
    """The roles before the last: what they do of a job."""

    def __init__(self, library: Library, scans: Scans) -> None:
        self._library = library
        self._scans = scans

    def ingest(
        self, job: Job, carried: Carried, profile: Mapping[str, Any], report: ReportProgress
    ) -> Carried:
        """Recognises words and draws pages, and stores both. `profile`: of the checkpoint, which
        says whether it is shown pages; empty where it is not known."""
        began = time.monotonic()
        before = self._scans.recognised, self._scans.seconds
        params = records.params_from_json(job.task, job.params)
        unread = {
            sha256: self._scans.recognise(self._library.document(sha256), report)
            for sha256 in records.document_hashes(params)
        }
        self._draw(params, profile, report)
        return replace(
            carried,
            seconds={**carried.seconds, Role.INGEST: round(time.monotonic() - began, 3)},
            unread={**carried.unread, **unread},
            recognised=carried.recognised + self._scans.recognised - before[0],
            recognising_s=round(carried.recognising_s + self._scans.seconds - before[1], 3),
        )

    def _draw(self, params: Params, profile: Mapping[str, Any], report: ReportProgress) -> None:
        """The pages that task or engine will look at; what can't be drawn is told by the task."""
        for sha256 in records.document_hashes(params):
            document = self._library.document(sha256)
            numbers = sorted(self._library.to_draw(document, params, profile))
            for done, number in enumerate(numbers):
                report(Progress("drawing", done, len(numbers), "pages", done, len(numbers)))
                try:
                    self._library.page_image(sha256, number)
                except DocumentError:
                    continue

    def encode(
        self, inputs: Inputs, encoder: Encoder, carried: Carried, report: ReportProgress
    ) -> Carried:
        """Has the vision encoder see, and keep, what the task will show to the engine."""
        from mmapp.tasks.shown import shown

        began = time.monotonic()
        pictures = shown(inputs, encoder.profile)
        for done, views in enumerate(pictures.views):
            report(Progress("encoding", done, pictures.total, "pictures"))
            encoder.encode(views)
        seconds = {**carried.seconds, Role.ENCODE: round(time.monotonic() - began, 3)}
        return replace(carried, seconds=seconds)
