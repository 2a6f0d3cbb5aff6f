"""The Batch page: a table of listings or documents sent at once, its progress, its result table.

A CSV comes in a zip or together with the files that it names; a row may only name files that came
with it, never files of the server. The batch shown stands in the address (`?batch=`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import gradio as gr

from mmapp import samples
from mmapp.batches import COLUMNS, parse_map, read_batch, read_columns
from mmapp.errors import BadInput, MmappError
from mmapp.types import Batch, TaskName
from mmapp.web import render, reviewing
from mmapp.web.frame import (
    POLL_SECONDS,
    PUSH_BATCH,
    RECENT,
    Site,
    bottom,
    delete_upload,
    guarded,
    headline,
    html,
    query,
    top,
)

TABLE_TYPES = (".csv", ".jsonl", ".xlsx", ".zip")
PAGE_ROWS = 50
#: Listings that are offered for review at once.
REVIEWS = 5


def build(demo: gr.Blocks, site: Site) -> None:
    say = site.say
    top(site, "batch")
    shown = html(elem_id="batch")
    with gr.Column(elem_classes=["form-card"]):
        files = gr.File(label=say("batch_files"), file_count="multiple", height=150)
        html(f'<p class="help">{render.escape(say("batch_help"))}</p>')
        with gr.Row():
            tasks = [(say("task_" + name.value), name.value) for name in COLUMNS]
            task = gr.Radio(tasks, value=tasks[0][1], label=say("batch_task"), scale=3)
            columns = gr.Textbox(label=say("batch_columns"), max_lines=1, scale=3)
            submit = gr.Button(say("start_batch"), variant="primary", scale=1)
    problem = html(elem_id="problems")
    recent = html(elem_id="recent")
    with gr.Row(elem_classes=["actions"]):
        sample = gr.Button(say("samples"), visible=False, size="sm")
    timer = gr.Timer(POLL_SECONDS, active=False)
    address = gr.Textbox(visible=False)
    bottom(site)
    outputs = [shown, recent, timer, sample]

    @guarded(say)
    def look(request: gr.Request) -> list[Any]:
        return show(site, query(request, "batch"), query(request, "offset"))

    @guarded(say)
    def start(paths: list[str] | None, name: str, told: str) -> list[Any]:
        batch = start_batch(site, [Path(path) for path in paths or []], TaskName(name), told)
        return [*show(site, batch.id, ""), "", None, batch.id]

    @guarded(say)
    def try_it() -> list[Any]:
        batch = try_sample(site)
        return [*show(site, batch.id, ""), batch.id]

    quiet: dict[str, Any] = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    demo.load(look, None, outputs, **quiet)
    timer.tick(look, None, outputs, **quiet)
    sample.click(try_it, None, [*outputs, address], api_visibility="private").then(
        None, address, None, js=PUSH_BATCH
    )
    submit.click(
        start,
        [files, task, columns],
        [*outputs, problem, files, address],
        concurrency_limit=2,
        show_progress_on=[problem],
        api_visibility="private",
    ).then(None, address, None, js=PUSH_BATCH)


def show(site: Site, batch_id: str, offset: str) -> list[Any]:
    """Updates for the batch, the recent batches, the timer and the button for the sample."""
    recent = site.jobs.batches(RECENT)
    active = any(not _done(batch) for batch in recent)
    shown = ""
    if batch_id:
        try:
            batch = site.jobs.batch(batch_id)
        except MmappError as problem:
            shown = render.notice(str(problem))
        else:
            first = int(offset) if offset.isdigit() else 0
            head = render.batch_head(site.say, batch) + _to_review(site, batch)
            shown = head + _rows(site, batch, first)
            active = active or not _done(batch)
    return [
        shown,
        render.recent_batches(site.say, recent),
        gr.Timer(active=active),
        gr.update(visible=not recent),
    ]


def _done(batch: Batch) -> bool:
    return render.batch_done(batch) >= batch.rows


def _to_review(site: Site, batch: Batch) -> str:
    """The least certain verdicts, once all are there."""
    if batch.task is not TaskName.CHECK_LISTING or not _done(batch):
        return ""
    rows = site.jobs.to_review(batch.id, REVIEWS)
    return reviewing.to_review(
        site.say, [(row.job, headline(site.say, row), row.result) for row in rows if row.result]
    )


def _rows(site: Site, batch: Batch, first: int) -> str:
    """The rows from `first` on, in input order."""
    say = site.say
    part = list(islice(site.jobs.batch_rows(batch.id), first, first + PAGE_ROWS))
    rows = [
        render.ShownRow(
            number=number,
            asked=" · ".join(cell for cell in row.cells.values() if cell)[:160],
            job=row.job,
            outcome=_outcome(site, row.result.payload) if row.result else "",
            error=row.error or (row.job.error if row.job else ""),
        )
        for number, row in enumerate(part, start=first)
    ]
    last = first + len(rows)
    return render.batch_table(say, rows) + render.pager(
        say,
        first=first,
        shown=len(rows),
        count=batch.rows,
        back=_address(site, batch, first - PAGE_ROWS) if first else "",
        on=_address(site, batch, last) if last < batch.rows else "",
    )


def _address(site: Site, batch: Batch, offset: int) -> str:
    return render.url(site.language, "batch", batch=batch.id, offset=max(0, offset))


def _outcome(site: Site, payload: Mapping[str, Any]) -> str:
    if "verdict" in payload:
        return f"{site.say(payload['verdict'])} ({float(payload['score']):.0%})"
    return " ".join(item["text"] for item in payload["summary"])


def start_batch(site: Site, files: list[Path], task: TaskName, told: str = "") -> Batch:
    """Submits the one table among the uploaded files; its rows may name only the others.

    `told` says which columns are which, as `--map` does.
    """
    tables = [file for file in files if file.suffix.lower() in TABLE_TYPES]
    try:
        if not tables:
            raise BadInput(site.say("choose_table"))
        if len(tables) > 1:
            raise BadInput(site.say("one_table", count=len(tables)))
        others = {file.name: file for file in files if file not in tables}
        columns = parse_map([told] if told.strip() else [], task)
        read_columns(tables[0], task, site.jobs.settings, told=columns, files=others)
        rows = read_batch(tables[0], task, site.jobs, told=columns, files=others)
        return site.jobs.submit_batch(tables[0].name, task, rows, owner=site.owner)
    finally:
        for file in files:
            delete_upload(str(file))


def try_sample(site: Site) -> Batch:
    table = samples.load().batch
    rows = read_batch(table, TaskName.CHECK_LISTING, site.jobs)
    return site.jobs.submit_batch(table.name, TaskName.CHECK_LISTING, rows, owner=site.owner)
