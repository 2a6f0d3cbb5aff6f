"""The Compare page: two versions of a document in, what changed between them out.

Handlers only add documents, submit jobs and read; the comparison is a job like any other, though
no model is asked. Which job is shown stands in the address (`?job=`).
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from mmapp import samples
from mmapp.errors import BadInput
from mmapp.types import CompareParams, Job, Page, Result, Status, TaskName
from mmapp.web import render, render_changes
from mmapp.web.frame import PUSH_JOB, Site, bottom, guarded, html, top
from mmapp.web.jobview import JobView
from mmapp.web.uploads import Uploaded, add_documents


def build(demo: gr.Blocks, site: Site) -> None:
    say = site.say
    view = JobView(site, [TaskName.COMPARE], show_job, try_samples)
    top(site, "compare")
    view.place_job()
    with gr.Column(elem_classes=["form-card"]):
        with gr.Row():
            old = gr.File(label=say("old_version"), file_count="single", height=150)
            new = gr.File(label=say("new_version"), file_count="single", height=150)
        with gr.Row():
            password = gr.Textbox(label=say("password"), type="password", scale=3)
            submit = gr.Button(say("compare_button"), variant="primary", scale=1)
    refused = html(elem_id="problems")
    view.place_recent()
    bottom(site)
    view.connect(demo)

    @guarded(say)
    def compare(old_path: str | None, new_path: str | None, secret: str) -> list[Any]:
        job, uploaded = start(site, old_path or "", new_path or "", secret)
        paths = [path if path in uploaded.locked else None for path in (old_path, new_path)]
        job_id = job.id if job else ""
        return [*view.look(job_id), render.problems(say, uploaded.refused), *paths, job_id]

    submit.click(
        compare,
        [old, new, password],
        [*view.outputs, refused, old, new, view.address],
        concurrency_limit=4,
        show_progress_on=[refused],
        api_visibility="private",
    ).then(None, view.address, None, js=PUSH_JOB)


def start(site: Site, old: str, new: str, password: str) -> tuple[Job | None, Uploaded]:
    """The comparison of two uploads; no job where one of them can't be read."""
    if not old or not new:
        raise BadInput(site.say("choose_two"))
    uploaded = add_documents(site, [old, new], password)
    if uploaded.refused:
        return None, uploaded
    before, after = uploaded.documents
    params = CompareParams(before.sha256, after.sha256)
    label = f"{before.name} → {after.name}"
    return site.jobs.submit(TaskName.COMPARE, params, label=label, owner=site.owner), uploaded


def show_job(site: Site, job: Job) -> str:
    """The HTML of one comparison, finished or not."""
    if job.status != Status.SUCCEEDED:
        return render.unfinished(site.say, job)
    result = site.jobs.result(job.id)
    versions = {
        side: render.ShownDocument(
            site.jobs.document(job.params[side]), _pages(site, job, result, side)
        )
        for side in render_changes.SIDES
    }
    return render_changes.changes(site.say, job, result.payload, result.record, versions)


def _pages(site: Site, job: Job, result: Result, side: str) -> dict[int, Page]:
    """The pages with changes."""
    wanted = {
        proof["page"]
        for change in result.payload["changes"]
        if change[side]
        for proof in change[side]["evidence"]
    }
    return {
        page.number: page for page in site.jobs.pages(job.params[side]) if page.number in wanted
    }


def try_samples(site: Site) -> None:
    for sample in samples.load().versions:
        old, new = (
            site.jobs.add_document(path.name, path.read_bytes())
            for path in (sample.old, sample.new)
        )
        params = CompareParams(old.sha256, new.sha256)
        site.jobs.submit(TaskName.COMPARE, params, label=sample.title, owner=site.owner)
