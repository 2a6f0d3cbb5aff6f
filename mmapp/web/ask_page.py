"""The Ask page: a question to documents, a table of their key information, or their figures.

Each document is a job of its own, so that its reading serves the next question; what was asked
together is shown together, by the ids in the address. Handlers only add, submit and read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from mmapp import samples
from mmapp.errors import BadInput
from mmapp.exports import QUOTES_OF
from mmapp.records import likeliest
from mmapp.types import (
    AskParams,
    Document,
    ExtractParams,
    FiguresParams,
    Job,
    Page,
    Params,
    Result,
    Status,
    TaskName,
)
from mmapp.web import render, render_fields, render_figures
from mmapp.web.frame import PUSH_JOB, Site, bottom, guarded, html, query, top
from mmapp.web.jobview import JobView
from mmapp.web.uploads import Uploaded, add_documents, known_documents


def build(demo: gr.Blocks, site: Site) -> None:
    say = site.say
    tasks = [TaskName.ASK, TaskName.EXTRACT, TaskName.FIGURES]
    view = JobView(site, tasks, show_job, try_samples, show_answers)
    top(site, "ask")
    view.place_job()
    with gr.Column(elem_classes=["form-card"]), gr.Row():
        with gr.Column(scale=2):
            files = gr.File(label=say("files"), file_count="multiple", height=150)
            password = gr.Textbox(label=say("password"), type="password")
        with gr.Column(scale=3):
            known = gr.Dropdown([], label=say("known_documents"), multiselect=True)
            question = gr.Textbox(label=say("question"), placeholder=say("question_example"))
            ask = gr.Button(say("ask_button"), variant="primary")
            fields = gr.Textbox(label=say("fields"), placeholder=say("fields_example"), lines=2)
            extract = gr.Button(say("extract_button"), variant="primary")
            figures = gr.Button(say("figures_button"), variant="primary")
    refused = html(elem_id="problems")
    view.place_recent()
    bottom(site)
    view.connect(demo)
    given = [files, known, password]
    filled = [*view.outputs, refused, files, known, view.address]

    @guarded(say)
    def offer(request: gr.Request) -> Any:
        wanted = query(request, "document")
        choices = known_documents(site, wanted)
        return gr.update(choices=choices, value=[one for _, one in choices if one == wanted])

    @guarded(say)
    def submit_question(
        paths: list[str] | None, chosen: list[str] | None, secret: str, words: str
    ) -> list[Any]:
        if not words.strip():
            raise BadInput(say("write_question"))
        return done(*submit(site, paths or [], chosen or [], secret, words))

    @guarded(say)
    def submit_fields(
        paths: list[str] | None, chosen: list[str] | None, secret: str, names: str
    ) -> list[Any]:
        wanted = [name.strip() for name in names.splitlines() if name.strip()]
        return done(*submit(site, paths or [], chosen or [], secret, tuple(wanted)))

    @guarded(say)
    def submit_figures(paths: list[str] | None, chosen: list[str] | None, secret: str) -> list[Any]:
        return done(*submit(site, paths or [], chosen or [], secret, None))

    def done(jobs: list[Job], uploaded: Uploaded) -> list[Any]:
        ids = ",".join(job.id for job in jobs)
        kept = [document.sha256 for document in uploaded.documents]
        return [
            *view.look(ids),
            render.problems(say, uploaded.refused),
            uploaded.locked or None,
            # What was uploaded can be asked again without another upload.
            gr.update(choices=known_documents(site), value=kept),
            ids,
        ]

    demo.load(offer, None, known, queue=False, api_visibility="private")
    for trigger, handler, inputs in (
        (ask.click, submit_question, [*given, question]),
        (question.submit, submit_question, [*given, question]),
        (extract.click, submit_fields, [*given, fields]),
        (figures.click, submit_figures, given),
    ):
        trigger(
            handler,
            inputs,
            filled,
            concurrency_limit=4,
            show_progress_on=[refused],
            api_visibility="private",
        ).then(None, view.address, None, js=PUSH_JOB)


def submit(
    site: Site,
    paths: Sequence[str],
    chosen: Sequence[str],
    password: str,
    asked: str | tuple[str, ...] | None,
) -> tuple[list[Job], Uploaded]:
    """A job for each document, of the form and of those added before: a question, fields, or, where
    nothing is asked, its figures."""
    if not paths and not chosen:
        raise BadInput(site.say("choose_documents"))
    uploaded = add_documents(site, paths, password)
    before = [site.jobs.document(sha256) for sha256 in chosen]
    documents = {document.sha256: document for document in (*before, *uploaded.documents)}
    uploaded.documents = list(documents.values())
    jobs = [site.jobs.submit(*_task(sha256, asked), owner=site.owner) for sha256 in documents]
    return jobs, uploaded


def _task(sha256: str, asked: str | tuple[str, ...] | None) -> tuple[TaskName, Params]:
    if asked is None:
        return TaskName.FIGURES, FiguresParams(sha256)
    if isinstance(asked, str):
        return TaskName.ASK, AskParams(sha256, asked)
    return TaskName.EXTRACT, ExtractParams(sha256, asked)


#: How a result of each task is drawn.
DRAW = {
    TaskName.ASK: render.quotes,
    TaskName.EXTRACT: render_fields.fields,
    TaskName.FIGURES: render_figures.figures,
}


def show_job(site: Site, job: Job) -> str:
    """The HTML of one question, table of fields or check of figures, finished or not."""
    say = site.say
    document = site.jobs.document(job.params["document"])
    if job.status != Status.SUCCEEDED:
        return render.unfinished(say, job, render.page_count(say, document.page_count))
    result = site.jobs.result(job.id)
    shown = render.ShownDocument(document, _pages(site, document, result))
    return DRAW[job.task](say, job, result.payload, result.record, shown)


def _pages(site: Site, document: Document, result: Result) -> dict[int, Page]:
    """The pages with evidence."""
    payload = result.payload
    if result.task is TaskName.FIGURES:
        return _pages_of_figures(site, document, payload["figures"])
    if result.task is TaskName.EXTRACT:
        quoted = [value for one in payload["fields"] for value in one["values"]]
    else:
        quoted = payload[QUOTES_OF[result.task]]
    wanted = {proof["page"] for item in quoted for proof in item["evidence"]}
    return {page.number: page for page in site.jobs.pages(document.sha256) if page.number in wanted}


def _pages_of_figures(
    site: Site, document: Document, figures: Sequence[Mapping[str, Any]]
) -> dict[int, Page]:
    wanted = {figure["page"] for figure in figures}
    wanted |= {figure["caption"]["page"] for figure in figures if figure["caption"]}
    return {page.number: page for page in site.jobs.pages(document.sha256, wanted)}


def show_answers(site: Site, jobs: Sequence[Job]) -> str:
    """Several jobs of the address: one question to several documents, or their tables of fields."""
    if any(job.task is not TaskName.ASK for job in jobs):
        return "".join(show_job(site, job) for job in jobs)
    results = {job.id: site.jobs.result(job.id) for job in jobs if job.status is Status.SUCCEEDED}
    best = likeliest(results.values())
    shown = [
        render_fields.ShownAnswer(
            job,
            site.jobs.document(job.params["document"]).name,
            results[job.id].payload if job.id in results else None,
        )
        for job in jobs
    ]
    whole = show_job(site, site.jobs.get(best.job_id)) if best else ""
    question = " ".join(str(jobs[0].params["question"]).split())
    best_id = best.job_id if best else ""
    return render_fields.answers(site.say, question, shown, best_id, whole)


def try_samples(site: Site) -> None:
    for sample in samples.load().versions:
        document = site.jobs.add_document(sample.new.name, sample.new.read_bytes())
        params = ExtractParams(document.sha256)
        site.jobs.submit(TaskName.EXTRACT, params, label=sample.title, owner=site.owner)
