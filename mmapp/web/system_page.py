"""The System page: who works, what waits, what ended lately, what is stored, and what answers.

It only reads, and looks again every few seconds while somebody has it open. Figures of the
checkpoint are those of its model card, which says how they were measured; none are made up here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import gradio as gr

from mmapp import plots
from mmapp.config import Settings
from mmapp.jobs import Statistics, System, WorkerInfo
from mmapp.jobs.statistics import SILENT_S
from mmapp.jobs.tally import HANDED_OVER
from mmapp.types import Status
from mmapp.web import render
from mmapp.web.frame import Site, bottom, guarded, html, top
from mmapp.web.render import escape
from mmapp.web.words import Words

#: Seconds between two looks.
LOOK_SECONDS = 5.0
#: Hours of the plot.
HOURS = 24

#: How a worker's part of a job ends well.
DONE = (Status.SUCCEEDED, HANDED_OVER)

#: A line of a model card's table of figures: of what, figure, value, beside it.
CARD_LINE = re.compile(r"\|([^|\n]*)\|([^|\n]*)\|([^|\n]*)\|([^|\n]*)\|")


class CardFigure(NamedTuple):
    """One measured figure of a checkpoint, in the words of its card."""

    subject: str
    figure: str
    value: str
    beside: str


def build(demo: gr.Blocks, site: Site) -> None:
    top(site, "system")
    with gr.Column(elem_id="system"):
        shown = html()
        # Not among what is drawn anew: somebody may have opened its table.
        html(checkpoint(site.say, site.settings))
    timer = gr.Timer(LOOK_SECONDS)
    bottom(site)

    @guarded(site.say)
    def look() -> str:
        return show(site)

    demo.load(look, None, shown, queue=False, api_visibility="private")
    timer.tick(look, None, shown, queue=False, show_progress="hidden", api_visibility="private")


def show(site: Site) -> str:
    """All that changes while somebody looks."""
    system = site.jobs.system(HOURS)
    return "".join(
        (
            _queue(site.say, system.statistics),
            _workers(site.say, system.statistics),
            _throughput(site.say, system),
            _stored(site.say, system),
        )
    )


def _queue(say: Words, statistics: Statistics) -> str:
    rows = [
        (say(f"lane_{lane.priority}"), str(lane.waiting), render.duration(say, lane.oldest_s))
        for lane in statistics.lanes
    ]
    counts = " · ".join(
        f"{escape(say(status))} {statistics.statuses[status]:,}" for status in Status
    )
    heads = (say("lane"), say("queued"), say("longest_wait"))
    facts = f'<p class="facts">{counts}</p>'
    return _part(say("queue"), _table(heads, rows) + _roles(say, statistics) + facts)


def _roles(say: Words, statistics: Statistics) -> str:
    """What waits for which role, where workers have roles apart, and which role nobody has."""
    unserved = statistics.unserved if statistics.workers else []
    if not unserved and all(worker.has_all_roles for worker in statistics.workers):
        return ""
    rows = [
        (say(f"role_{queue.role}"), str(queue.waiting), render.duration(say, queue.oldest_s))
        for queue in statistics.roles
    ]
    notices = "".join(
        render.notice(
            say(
                "role_unserved",
                role=say(f"role_{queue.role}"),
                n=f"{queue.waiting:,}",
                command=f"mmapp worker --role {queue.role}",
            )
        )
        for queue in unserved
    )
    heads = (say("waits_for"), say("queued"), say("longest_wait"))
    return _table(heads, rows) + notices


def _workers(say: Words, statistics: Statistics) -> str:
    if not statistics.workers:
        return _part(say("workers"), render.notice(say("no_worker"), "note"))
    rows = [_worker(say, statistics, worker) for worker in statistics.workers]
    about = (say("worker"), say("state"), say("roles"))
    heads = (*about, say("checkpoint"), say("device"), say("worker_done"))
    return _part(say("workers"), _table(heads, rows))


def _worker(say: Words, statistics: Statistics, worker: WorkerInfo) -> tuple[str, ...]:
    silent_s = (statistics.now - worker.last_seen).total_seconds()
    state = worker.error or say(f"worker_{worker.state}")
    if not worker.error and silent_s > SILENT_S:
        state = say("worker_silent", time=render.duration(say, silent_s))
    elif worker.job_id:
        state = say("worker_busy", job=worker.job_id)
    done = sum(count for _, outcome, count in worker.counters.get("jobs", ()) if outcome in DONE)
    # What is chosen for it is known when it has loaded.
    device = " ".join(filter(None, (worker.device, worker.dtype))) if worker.ready else "…"
    if worker.capacity:
        device += " · " + say("worker_holds", n=f"{worker.capacity.context_tokens:,}")
    names = " · ".join(say(f"role_{role}") for role in worker.roles)
    roles = say("role_all") if worker.has_all_roles else names
    return worker.name, state, roles, worker.checkpoint, device, f"{done:,}"


def _throughput(say: Words, system: System) -> str:
    plot = plots.hours(
        [(f"{hour.began.astimezone():%H:%M}", hour.succeeded, hour.failed) for hour in system.hours]
    )
    done = sum(hour.succeeded for hour in system.hours)
    failed = sum(hour.failed for hour in system.hours)
    words = say("ended_lately", done=f"{done:,}", failed=f"{failed:,}", hours=HOURS)
    return _part(say("throughput"), f'<div class="plot">{plot}</div><p class="facts">{words}</p>')


def _stored(say: Words, system: System) -> str:
    stored = system.stored
    rows = [
        (say("documents"), f"{stored.documents:,}"),
        (say("stored_pages"), f"{stored.pages:,}"),
        (say("stored_files"), _size(stored.document_bytes)),
        (say("results"), f"{stored.results:,}"),
        (say("free_space"), _size(system.free_bytes)),
    ]
    return _part(say("stored"), _table((), rows))


def checkpoint(say: Words, settings: Settings) -> str:
    """What answers, and what it was measured to do."""
    if settings.engine_url:
        return _part(say("checkpoint"), f"<p>{escape(settings.engine_model)}</p>")
    folder = settings.checkpoint
    figures = list(card_figures(folder))
    words = " · ".join(filter(None, (folder.name, shape(say, folder))))
    about = f"<p>{escape(words)}</p>"
    if not figures:
        return _part(say("checkpoint"), about + f'<p class="facts">{escape(say("no_card"))}</p>')
    heads = (say("figure_of"), say("card_figure"), say("figure_value"), say("beside"))
    table = f"<details><summary>{escape(say('card_figures'))}</summary>"
    return _part(say("checkpoint"), f"{about}{table}{_table(heads, figures)}</details>")


def shape(say: Words, folder: Path) -> str:
    """The checkpoint's size in a few words; empty when its config can't be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    except (OSError, ValueError):
        return ""
    text = config.get("text_config", config) if isinstance(config, dict) else {}
    context = text.get("max_position_embeddings", 0)
    known = weights and context
    return say("checkpoint_shape", size=_size(weights), context=f"{context:,}") if known else ""


def card_figures(folder: Path) -> Iterator[CardFigure]:
    """The tables of the model card's section "Figures"; none when there is no such card."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return
    _, _, section = card.partition("\n## Figures\n")
    for cells in CARD_LINE.findall(section.partition("\n## ")[0]):
        figure = CardFigure(*(cell.strip() for cell in cells))
        is_head = figure.figure == "figure" or set(figure.figure) <= {"-", ":", " "}
        if not is_head:
            yield figure


def _part(title: str, inside: str) -> str:
    return f'<section class="job"><h2>{escape(title)}</h2>{inside}</section>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    top_row = f"<thead><tr>{head}</tr></thead>" if heads else ""
    return f'<div class="wide"><table class="plain">{top_row}<tbody>{body}</tbody></table></div>'


def _size(size: int) -> str:
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6)):
        if size >= bytes_:
            return f"{size / bytes_:,.1f} {unit}"
    return f"{size / 1e3:,.1f} kB"
