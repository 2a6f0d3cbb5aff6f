"""The Documents page: add files, watch the jobs, read each summary beside the page that proves it.

Handlers only add documents, submit jobs and read: reading a file happens in the parser's process,
the model runs in a worker. Which job is shown stands in the address (`?job=`), nothing in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gradio as gr

from mmapp import samples
from mmapp.errors import BadInput
from mmapp.exports import quoted_sentences
from mmapp.types import Document, Job, Page, Status, SummarizeParams, TaskName
from mmapp.web import render
from mmapp.web.frame import (
    PUSH_JOB,
    Site,
    bottom,
    guarded,
    html,
    top,
)
from mmapp.web.jobview import JobView
from mmapp.web.uploads import Uploaded, add_documents

DEFAULT_SENTENCES = 3
MAX_SENTENCES = 12
#: Per cent.
MAX_SHARE = 50
#: Quoted; written with what is not proved marked; written without it.
MODES = ("grounded", "marked", "dropped")


@dataclass(slots=True)
class Added(Uploaded):
    """What became of an upload, with the jobs about it."""

    jobs: list[Job] = field(default_factory=list)


def build(demo: gr.Blocks, site: Site) -> None:
    say = site.say
    view = JobView(site, [TaskName.SUMMARIZE], show_job, try_samples)
    top(site, "documents")
    view.place_job()
    with gr.Column(elem_classes=["form-card"]):
        files = gr.File(label=say("files"), file_count="multiple", height=150)
        with gr.Row():
            sentences = gr.Slider(
                1, MAX_SENTENCES, DEFAULT_SENTENCES, step=1, label=say("sentences"), scale=2
            )
            password = gr.Textbox(label=say("password"), type="password", scale=2)
            submit = gr.Button(say("summarize"), variant="primary", scale=1)
        with gr.Row():
            share = gr.Slider(0, MAX_SHARE, 0, step=1, label=say("share"), scale=2)
            sections = gr.Checkbox(False, label=say("sections_too"), scale=2)
            writes = gr.Dropdown(
                [(say(f"mode_{mode}"), mode) for mode in MODES],
                value=MODES[0],
                label=say("mode"),
                scale=2,
                visible=site.jobs.can_write(),
            )
    refused = html(elem_id="problems")
    view.place_recent()
    bottom(site)
    view.connect(demo)

    @guarded(say)
    def summarize(
        paths: list[str] | None, count: int, secret: str, percent: int, each: bool, mode: str
    ) -> list[Any]:
        wanted = wish(int(count), percent, each, mode)
        added = add_files(site, paths or [], secret, wanted)
        job_id = added.jobs[0].id if len(added.jobs) == 1 else ""
        return [
            *view.look(job_id),
            render.problems(say, added.refused),
            added.locked or None,
            "" if not added.locked else gr.skip(),
            job_id,
        ]

    submit.click(
        summarize,
        [files, sentences, password, share, sections, writes],
        [*view.outputs, refused, files, password, view.address],
        concurrency_limit=4,
        show_progress_on=[refused],
        api_visibility="private",
    ).then(None, view.address, None, js=PUSH_JOB)


def show_job(site: Site, job: Job) -> str:
    """The HTML of one job about a document, finished or not."""
    say, jobs = site.say, site.jobs
    document = jobs.document(job.params["document"])
    if job.status != Status.SUCCEEDED:
        return render.unfinished(say, job, render.page_count(say, document.page_count))
    result = jobs.result(job.id)
    quoted = quoted_sentences(job.task, result.payload)
    shown = render.ShownDocument(document, _proved_pages(site, document, quoted))
    return render.quotes(say, job, result.payload, result.record, shown)


def _proved_pages(
    site: Site, document: Document, quoted: Sequence[Mapping[str, Any]]
) -> dict[int, Page]:
    wanted = {proof["page"] for item in quoted for proof in item["evidence"]}
    return {page.number: page for page in site.jobs.pages(document.sha256, wanted)}


def wish(sentences: int, percent: float, sections: bool, mode: str) -> SummarizeParams:
    """What the form asks for, of no document yet; a share of 0 % leaves the length to the count."""
    grounded = mode == MODES[0]
    return SummarizeParams(
        "",
        sentences,
        share=percent / 100 if percent else None,
        sections=sections,
        mode="grounded" if grounded else "abstractive",
        unsupported="drop" if mode == MODES[2] else "mark",
    )


def add_files(site: Site, paths: Sequence[str], password: str, wanted: SummarizeParams) -> Added:
    """Submits what can be read and tells what can't; one bad file never stops the others."""
    if not paths:
        raise BadInput(site.say("choose_files"))
    jobs: list[Job] = []

    def submit(name: str, document: Document) -> None:
        params = replace(wanted, document=document.sha256)
        jobs.append(site.jobs.submit(TaskName.SUMMARIZE, params, label=name, owner=site.owner))

    uploaded = add_documents(site, paths, password, submit)
    return Added(uploaded.documents, uploaded.refused, uploaded.locked, jobs)


def try_samples(site: Site) -> None:
    for sample in samples.load().documents:
        document = site.jobs.add_document(sample.path.name, sample.path.read_bytes())
        params = SummarizeParams(document.sha256, DEFAULT_SENTENCES)
        site.jobs.submit(TaskName.SUMMARIZE, params, label=sample.title, owner=site.owner)
