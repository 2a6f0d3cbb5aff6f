"""The Results page: everything that was asked, searched by words and filtered.

The search stands in the address, so a list of results can be reloaded, bookmarked and exported.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from mmapp.errors import BadInput
from mmapp.reviews import can_be_reviewed
from mmapp.types import Status, TaskName
from mmapp.web import render, reviewing
from mmapp.web.frame import Site, bottom, guarded, headline, html, query, top
from mmapp.web.words import Words

PAGE_ROWS = 30

#: Keeps the address in step with the form.
PUSH_SEARCH = """(q, task, status, since, until) => {
  const wanted = Object.entries({q, task, status, since, until}).filter(([, value]) => value);
  history.replaceState(null, '', location.pathname + '?' + new URLSearchParams(wanted));
}"""


@dataclass(frozen=True, slots=True)
class Search:
    """The form as typed; empty means any."""

    q: str = ""
    task: str = ""
    status: str = ""
    since: str = ""
    until: str = ""

    def filters(self, say: Words) -> dict[str, Any]:
        """As `Jobs.results` wants them; refuses what is no date, task or status."""
        return {
            "task": TaskName(self.task) if self.task in list(TaskName) else None,
            "status": Status(self.status) if self.status in list(Status) else None,
            "since": _date(say, self.since),
            "until": _date(say, self.until),
        }

    @property
    def wanted(self) -> dict[str, str]:
        return {name: value for name, value in asdict(self).items() if value}


def _date(say: Words, text: str) -> date | None:
    if not text.strip():
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise BadInput(say("bad_date", text=text)) from None


def build(demo: gr.Blocks, site: Site) -> None:
    say = site.say
    top(site, "results")
    with gr.Column(elem_classes=["form-card"]):
        with gr.Row():
            words = gr.Textbox(label=say("search"), scale=4)
            task = gr.Dropdown(_choices(say, TaskName, "task_"), label=say("task"), scale=2)
            status = gr.Dropdown(_choices(say, Status, ""), label=say("status"), scale=2)
        with gr.Row():
            since = gr.Textbox(label=say("since"), scale=2)
            until = gr.Textbox(label=say("until"), scale=2)
            find = gr.Button(say("find"), variant="primary", scale=1)
    form = [words, task, status, since, until]
    found = html(elem_id="results")
    bottom(site)

    @guarded(say)
    def load(request: gr.Request) -> list[Any]:
        search = Search(**{name: query(request, name) for name in Search.__slots__})
        offset = query(request, "offset")
        # Fields that the address leaves open are left alone: somebody may be typing in them.
        fields = [value or gr.skip() for value in asdict(search).values()]
        return [*fields, table(site, search, int(offset) if offset.isdigit() else 0)]

    @guarded(say)
    def look(*typed: str | None) -> str:
        return table(site, Search(*(value or "" for value in typed)), 0)

    demo.load(load, None, [*form, found], queue=False, api_visibility="private")
    for trigger in (find.click, words.submit, task.input, status.input, since.submit, until.submit):
        trigger(
            look, form, found, queue=False, show_progress="hidden", api_visibility="private"
        ).then(None, form, None, js=PUSH_SEARCH)


def _choices(
    say: Words, values: type[TaskName] | type[Status], prefix: str
) -> list[tuple[str, str]]:
    return [(say("any"), ""), *((say(prefix + value.value), value.value) for value in values)]


def table(site: Site, search: Search, offset: int) -> str:
    """The found jobs from `offset` on, with links to the neighbouring parts and the export."""
    say, filters = site.say, search.filters(site.say)
    count = site.jobs.count_results(search.q, **filters)
    if not count:
        empty = "results_none" if search.wanted else "results_empty"
        return f'<p class="empty">{render.escape(say(empty))}</p>'
    offset = max(0, min(offset, count - 1))
    rows = site.jobs.results(search.q, **filters, limit=PAGE_ROWS, offset=offset)
    head = say("found_one") if count == 1 else say("found", count=count)
    reviews = {
        row.job.id: reviewing.whole(say, row.job.id, row.result.payload, row.result.reviews)
        for row in rows
        if can_be_reviewed(row.result)
    }
    export = f"/results.csv?{urlencode(search.wanted)}"
    return (
        f'<div class="found"><span>{render.escape(head)}</span>'
        f'<a class="button" href="{render.escape(export)}" download>'
        f"{render.escape(say('download_csv'))}</a></div>"
        + (reviewing.reviewer(say) if reviews else "")
        + render.result_table(say, [(row.job, headline(say, row)) for row in rows], reviews)
        + render.pager(
            say,
            first=offset,
            shown=len(rows),
            count=count,
            back=_address(site, search, offset - PAGE_ROWS) if offset else "",
            on=_address(site, search, offset + PAGE_ROWS) if offset + len(rows) < count else "",
        )
    )


def _address(site: Site, search: Search, offset: int) -> str:
    return render.url(site.language, "results", **search.wanted, offset=max(0, offset))
