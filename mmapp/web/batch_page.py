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

from mmapp.errors import BadInput, MmappError
from mmapp.types import Batch, TaskName
from mmapp.web import render
from mmapp.web.frame import (
    POLL_SECONDS,
    PUSH_BATCH,
    RECENT,
    Site,
    bottom,
    guarded,
    html,
    query,
    top,
)

TABLE_TYPES = [".csv", ".jsonl", ".zip"]
PAGE_ROWS = 50


def build(demo: gr.Blocks, site: Site) -> None:
    say = site.say
    top(site, "batch")
    shown = html(elem_id="batch")
    with gr.Column(elem_classes=["form-card"]):
        files = gr.File(label=say("batch_files"), file_count="multiple", height=150)
        html(f'<p class="help">{render.escape(say("batch_help"))}</p>')
        with gr.Row():
            tasks = [(say("task_" + name.value), name.value) for name in reversed(TaskName)]
            task = gr.Radio(tasks, value=tasks[0][1], label=say("batch_task"), scale=3)
            submit = gr.Button(say("start_batch"), variant="primary", scale=1)
    problem = html(elem_id="problems")
    recent = html(elem_id="recent")
    timer = gr.Timer(POLL_SECONDS, active=False)
    address = gr.Textbox(visible=False)
    bottom(site)
    outputs = [shown, recent, timer]

    @guarded(say)
    def look(request: gr.Request) -> list[Any]:
        return show(site, query(request, "batch"), query(request, "offset"))

    @guarded(say)
    def start(paths: list[str] | None, name: str) -> list[Any]:
        batch = start_batch(site, [Path(path) for path in paths or []], TaskName(name))
        return [*show(site, batch.id, ""), "", None, batch.id]

    quiet: dict[str, Any] = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    demo.load(look, None, outputs, **quiet)
    timer.tick(look, None, outputs, **quiet)
    submit.click(
        start,
        [files, task],
        [*outputs, problem, files, address],
        concurrency_limit=2,
        show_progress_on=[problem],
        api_visibility="private",
    ).then(None, address, None, js=PUSH_BATCH)


def show(site: Site, batch_id: str, offset: str) -> list[Any]:
    """Updates for the batch, the recent batches and the timer."""
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
            shown = render.batch_head(site.say, batch) + _rows(site, batch, first)
            active = active or not _done(batch)
    return [shown, render.recent_batches(site.say, recent), gr.Timer(active=active)]


def _done(batch: Batch) -> bool:
    return render.batch_done(batch) >= batch.rows


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


def start_batch(site: Site, files: list[Path], task: TaskName) -> Batch:
    raise BadInput("not yet")
