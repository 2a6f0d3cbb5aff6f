"""The part of a page that shows one job and the recent ones, and keeps both fresh.

The job is the one in the page's address; its state is read from the database at each look, so it
survives a reload and a restart of the server. The timer runs only while something is unfinished.
Used by the pages that submit single jobs, which say how a finished job is shown. An address with
several jobs (`?job=A,B`) is shown as one answer where the page says how.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import nlargest
from typing import Any

import gradio as gr

from mmapp.api import PAGE_OF
from mmapp.errors import MmappError
from mmapp.jobs import ResultRow
from mmapp.types import Job, Status, TaskName
from mmapp.web import render
from mmapp.web.frame import (
    POLL_SECONDS,
    PUSH_JOB,
    RECENT,
    Site,
    guarded,
    headline,
    html,
    query,
)

#: How a page shows one of its jobs.
Show = Callable[[Site, Job], str]
#: How a page shows several of its jobs together.
ShowSeveral = Callable[[Site, Sequence[Job]], str]
#: Submits the samples of a page.
TrySamples = Callable[[Site], None]


class JobView:
    """Place `place_job` and `place_recent` where they shall stand, then `connect` once."""

    def __init__(
        self,
        site: Site,
        tasks: Sequence[TaskName],
        show: Show,
        try_samples: TrySamples,
        show_several: ShowSeveral | None = None,
    ) -> None:
        self.site, self.tasks = site, tasks
        self.show, self.try_samples, self.show_several = show, try_samples, show_several

    def place_job(self) -> None:
        self.job = html(elem_id="job")
        with gr.Row(elem_classes=["actions"]):
            self.cancel = gr.Button(self.site.say("cancel"), visible=False, size="sm")
            self.retry = gr.Button(self.site.say("retry"), visible=False, size="sm")

    def place_recent(self) -> None:
        self.recent = html(elem_id="recent")
        with gr.Row(elem_classes=["actions"]):
            self.samples = gr.Button(self.site.say("samples"), visible=False, size="sm")
        self.timer = gr.Timer(POLL_SECONDS, active=False)
        self.seen = gr.State("")
        self.address = gr.Textbox(visible=False)

    @property
    def outputs(self) -> list[Any]:
        """What `look` fills."""
        places = [self.job, self.seen, self.cancel, self.retry, self.recent]
        return [*places, self.timer, self.samples]

    def connect(self, demo: gr.Blocks) -> None:
        guard = guarded(self.site.say)

        @guard
        def load(request: gr.Request) -> list[Any]:
            return self.look(query(request, "job"))

        @guard
        def tick(seen: str, request: gr.Request) -> list[Any]:
            return self.look(query(request, "job"), seen)

        @guard
        def cancel(request: gr.Request) -> list[Any]:
            return self.look(self.site.jobs.cancel(query(request, "job")).id)

        @guard
        def retry(request: gr.Request) -> list[Any]:
            job = self.site.jobs.retry(query(request, "job"))
            return [*self.look(job.id), job.id]

        @guard
        def samples(request: gr.Request) -> list[Any]:
            self.try_samples(self.site)
            return self.look(query(request, "job"))

        quiet: dict[str, Any] = {
            "queue": False,
            "show_progress": "hidden",
            "api_visibility": "private",
        }
        demo.load(load, None, self.outputs, **quiet)
        self.timer.tick(tick, self.seen, self.outputs, **quiet)
        self.samples.click(samples, None, self.outputs, api_visibility="private")
        self.cancel.click(cancel, None, self.outputs, **quiet)
        self.retry.click(retry, None, [*self.outputs, self.address], **quiet).then(
            None, self.address, None, js=PUSH_JOB
        )

    def look(self, job_id: str, seen: str = "") -> list[Any]:
        """Updates for `outputs`; what looks as it did is left alone, with its viewer's state."""
        shown, mine = self._shown(job_id)
        job = mine[0] if len(mine) == 1 else None
        rows = self._rows()
        recent = [(row.job, headline(self.site.say, row)) for row in rows]
        jobs = [*(row.job for row in rows), *mine]
        return [
            gr.skip() if shown == seen else shown,
            shown,
            gr.update(visible=bool(job and not job.status.is_final and not job.cancel_requested)),
            gr.update(visible=bool(job and job.status in (Status.FAILED, Status.CANCELLED))),
            self._recent(recent),
            gr.Timer(active=any(not job.status.is_final for job in jobs)),
            gr.update(visible=not rows),
        ]

    def _rows(self) -> list[ResultRow]:
        rows = [
            row for task in self.tasks for row in self.site.jobs.results(task=task, limit=RECENT)
        ]
        return nlargest(RECENT, rows, key=lambda row: row.job.created_at)

    def _shown(self, job_ids: str) -> tuple[str, list[Job]]:
        """The jobs of the address, and how they look."""
        try:
            jobs = [self.site.jobs.get(job_id) for job_id in job_ids.split(",") if job_id]
            if not jobs:
                return "", []
            if len(jobs) > 1 and self.show_several:
                return self.show_several(self.site, jobs) + self._hint(jobs[0]), jobs
            return self.show(self.site, jobs[0]) + self._hint(jobs[0]), jobs[:1]
        except MmappError as problem:
            return render.notice(str(problem)), []

    def _hint(self, job: Job) -> str:
        """A queued job says what is before it and what it takes, or that nobody is there for it."""
        ahead = self.site.jobs.outlook(job.id) if job.status is Status.QUEUED else None
        if ahead is None:
            return ""
        told = render.outlook(self.site.say, job.estimate, ahead)
        if any(worker.ready for worker in self.site.jobs.workers()):
            return told
        return told + render.notice(self.site.say("no_worker"), "quiet")

    def _recent(self, recent: list[tuple[Job, str]]) -> str:
        say, page = self.site.say, PAGE_OF[self.tasks[0]]
        return render.recent(say, say(f"recent_{page}"), say(f"{page}_empty"), recent)
