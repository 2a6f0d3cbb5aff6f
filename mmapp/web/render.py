"""Values of the application as HTML, every foreign word escaped.

Pure: no database, no request. The pages hand the strings to `gr.HTML`, which runs them through a
template, so `escape` also neutralises what a template would read (`${…}`, `{{…}}`). What needs a
click is a button or a link with data attributes; `viewer.js` gives it life.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from mmapp.api import PAGE_OF
from mmapp.documents.quotes import shown_box
from mmapp.exports import QUOTES_OF, quoted_sentences
from mmapp.types import (
    Batch,
    Document,
    Estimate,
    Job,
    MediaType,
    Outlook,
    Page,
    Progress,
    Status,
    TaskName,
)
from mmapp.web.words import LANGUAGES, Language, Words

PAGES: tuple[str, ...] = ("documents", "ask", "compare", "listings", "batch", "results", "system")
#: Most squares of a coverage map; longer documents share a square between neighbouring pages.
COVERAGE_CELLS = 240
#: Most pages whose reason for not being read is spelled out.
COVERAGE_REASONS = 12

_TEMPLATE_SIGNS = str.maketrans({"$": "&#36;", "{": "&#123;", "}": "&#125;", "`": "&#96;"})


def escape(text: object) -> str:
    """Foreign text as inert HTML, also in attributes and inside a JavaScript template."""
    return html.escape(str(text), quote=True).translate(_TEMPLATE_SIGNS)


def url(language: Language, page: str, **query: object) -> str:
    """The address of a page, with the query's empty values left out."""
    wanted = {name: value for name, value in query.items() if value not in ("", None)}
    return f"/{language}/{page}" + (f"?{urlencode(wanted)}" if wanted else "")


# --- the frame -------------------------------------------------------------------------------


def header(say: Words, page: str) -> str:
    links = "".join(
        f'<a href="{url(say.language, name)}"{" aria-current=page" if name == page else ""}>'
        f"{escape(say(name))}</a>"
        for name in PAGES
    )
    other = next(language for language in LANGUAGES if language != say.language)
    return (
        f'<a class="skip" href="#main">{escape(say("skip"))}</a>'
        f'<div class="bar"><a class="brand" href="{url(say.language, "documents")}">mmapp</a>'
        f'<nav aria-label="mmapp">{links}</nav>'
        f'<a class="language" data-language="{other}" lang="{other}" href="{url(other, page)}">'
        f"{escape(say('other_language'))}</a></div>"
    )


def lead(say: Words, page: str) -> str:
    return (
        f'<div id="main" class="lead"><h1>{escape(say(page))}</h1>'
        f"<p>{escape(say(page + '_lead'))}</p></div>"
    )


def footer(say: Words, version: str, checkpoint: str, limits: Sequence[str]) -> str:
    answering = escape(say("answering", name=checkpoint))
    return (
        f'<p class="honest">{answering} {" ".join(escape(limit) for limit in limits)}</p>'
        f"<p>{escape(say('footer', version=version))} · "
        f'<a href="/source.tar.gz" download>{escape(say("source"))}</a></p>'
    )


def notice(text: str, kind: str = "problem") -> str:
    role = "alert" if kind == "problem" else "status"
    return f'<p class="notice {kind}" role="{role}">{escape(text)}</p>' if text else ""


def problems(say: Words, refused: Sequence[tuple[str, str]]) -> str:
    """The files that could not be read, each with its reason."""
    if not refused:
        return ""
    lines = "".join(
        f"<li><strong>{escape(name)}</strong> {escape(problem)}</li>" for name, problem in refused
    )
    return (
        f'<div class="notice problem" role="alert"><p>{escape(say("problems"))}</p>'
        f"<ul>{lines}</ul></div>"
    )


def time_of(moment: datetime) -> str:
    """In UTC; the browser rewrites it in its own zone."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    plain = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f'<time datetime="{moment.isoformat()}">{plain}</time>'


def status_chip(say: Words, job: Job) -> str:
    word = (
        say("cancelling")
        if job.cancel_requested and not job.status.is_final
        else say(job.status.value)
    )
    return f'<span class="chip {job.status.value}">{escape(word)}</span>'


# --- progress --------------------------------------------------------------------------------


def eta(say: Words, seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return say("eta_s", n=max(1, round(seconds)))
    if seconds < 90 * 60:
        return say("eta_min", n=round(seconds / 60))
    return say("eta_h", n=round(seconds / 3600))


def duration(say: Words, seconds: float) -> str:
    if seconds < 90:
        return say("seconds", n=math.ceil(seconds))
    if seconds < 90 * 60:
        return say("minutes", n=round(seconds / 60))
    return say("hours", n=round(seconds / 3600))


def outlook(say: Words, estimate: Estimate | None, ahead: Outlook) -> str:
    """What a job that waits has before it, and what it will take; what is not known is left out."""
    before = {0: say("ahead_none"), 1: say("ahead_one")}
    parts = [before.get(ahead.ahead) or say("ahead_many", n=f"{ahead.ahead:,}")]
    if ahead.starts_s:
        parts.append(say("starts_in", time=duration(say, ahead.starts_s)))
    if estimate is not None:
        parts += _estimated(say, estimate)
    return notice(" · ".join(parts), "quiet")


def _estimated(say: Words, estimate: Estimate) -> Iterator[str]:
    if estimate.seconds is not None:
        yield say("takes", time=duration(say, estimate.seconds))
    if estimate.recognise:
        yield say("to_recognise", n=f"{estimate.recognise:,}")
    if estimate.tokens:
        yield say("to_read", n=f"{estimate.tokens:,}")
    if estimate.parts is not None and estimate.parts > 1:
        yield say("in_parts", n=f"{estimate.parts:,}")


def progress_words(say: Words, progress: Progress) -> str:
    parts = [say.or_plain(f"phase_{progress.phase}", progress.phase)]
    if progress.pages_total:
        parts.append(say("pages_of", done=progress.pages_done, total=progress.pages_total))
    if progress.total and progress.unit != "pages":
        unit = say.or_plain(f"unit_{progress.unit}", progress.unit)
        parts.append(
            say("units_of", done=f"{progress.done:,}", total=f"{progress.total:,}", unit=unit)
        )
    parts.append(eta(say, progress.eta_s))
    return " · ".join(part for part in parts if part)


def progress_bar(say: Words, job: Job) -> str:
    if job.status == Status.QUEUED:
        return _bar(None, say("waiting_long"))
    return _bar(job.progress.fraction, progress_words(say, job.progress))


def _bar(fraction: float | None, words: str) -> str:
    if fraction is None:
        value, width = "", '<i class="idle"></i>'
    else:
        percent = round(100 * min(1.0, max(0.0, fraction)))
        value, width = f' aria-valuenow="{percent}"', f'<i style="width:{percent}%"></i>'
    return (
        f'<div class="progress"><div class="track" role="progressbar" aria-valuemin="0" '
        f'aria-valuemax="100" aria-label="{escape(words)}"{value}>{width}</div>'
        f"<p>{escape(words)}</p></div>"
    )


# --- one job ---------------------------------------------------------------------------------


def job_head(say: Words, job: Job, about: str = "") -> str:
    facts = [status_chip(say, job), time_of(job.created_at)]
    if about:
        facts.append(escape(about))
    facts.append(f'<a href="/jobs/{escape(job.id)}">{escape(say("link"))}</a>')
    return (
        f'<header class="job-head"><h2>{escape(job.label)}</h2>'
        f'<p class="facts">{" · ".join(facts)}</p></header>'
    )


def unfinished(say: Words, job: Job, about: str = "") -> str:
    """A job without a result: how far it is, or why there will be none."""
    if job.status.is_final:
        body = notice(job.error or say(job.status.value))
    else:
        body = progress_bar(say, job)
    head = job_head(say, job, about)
    return f'<article class="job" data-status="{job.status.value}">{head}{body}</article>'


def record_line(
    say: Words,
    job_id: str,
    record: Mapping[str, Any],
    *,
    is_pdf: bool = False,
    tables: Sequence[str] = (),
) -> str:
    """What made a result, and the forms in which it can be had.

    `is_pdf`: also as an annotated PDF; `tables`: also as these tables, by the ends of their names.
    """
    forms = [("result.json", "json"), ("result.md", "markdown")]
    forms += [(f"fields.{table}", table) for table in tables]
    forms += [("annotated.pdf", "annotated")] if is_pdf else []
    links = " · ".join(
        f'<a href="/jobs/{escape(job_id)}/{name}"{"" if name == "result.json" else " download"}>'
        f"{escape(say(word))}</a>"
        for name, word in forms
    )
    return (
        f'<p class="record"><span>{escape(say("record"))}</span> '
        f"{escape(_made_by(say, record))} · {links}</p>"
    )


def _made_by(say: Words, record: Mapping[str, Any]) -> str:
    durations = record.get("durations_s") or {}
    seconds = f"{float(durations.get('total', 0.0)):.1f}"
    if record.get("weights_sha256") == "":
        return say("record_code", code=record.get("code", "?"), seconds=seconds)
    return say(
        "record_line",
        checkpoint=record.get("checkpoint", "?"),
        weights=str(record.get("weights_sha256", ""))[:12],
        dtype=record.get("dtype", "?"),
        device=record.get("device", "?"),
        seconds=seconds,
    )


# --- summaries and answers -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ShownDocument:
    """What showing quotes needs of a document: `pages` holds at least the pages with evidence."""

    document: Document
    pages: Mapping[int, Page]

    @property
    def can_be_marked(self) -> bool:
        """Whether it can be had as a PDF with its evidence highlighted."""
        return self.document.media_type is MediaType.PDF and not self.document.encrypted


def page_count(say: Words, count: int) -> str:
    return say("one_page") if count == 1 else say("pages", count=count)


def quotes(
    say: Words,
    job: Job,
    payload: Mapping[str, Any],
    record: Mapping[str, Any],
    shown: ShownDocument,
) -> str:
    """What a summary or an answer quotes, beside the page that proves it."""
    key = QUOTES_OF[job.task]
    sentences = quoted_sentences(job.task, payload)
    body = _numbered(say, payload[key], 0) or notice(
        say("not_found" if job.task is TaskName.ASK else "nothing_said"), "quiet"
    )
    body += support(say, payload.get("support")) + _sections(say, payload, len(payload[key]))
    proved = {proof["page"] for item in sentences for proof in item["evidence"]}
    document = shown.document
    can_be_marked = shown.can_be_marked and bool(proved)
    about = page_count(say, document.page_count)
    if "probability" in payload:
        about += f" · {say('probability')} {float(payload['probability']):.0%}"
    return (
        f'<article class="job" data-status="succeeded">'
        f"{job_head(say, job, about)}"
        f'<div class="two"><section class="summary" aria-label="{escape(say(key))}">'
        f"{body}{hidden_text(say, payload.get('hidden'))}"
        f"{coverage(say, payload['coverage'], proved)}"
        f"{record_line(say, job.id, record, is_pdf=can_be_marked)}"
        f'<p><a class="button" href="{escape(url(say.language, "ask", document=document.sha256))}">'
        f"{escape(say('ask_this'))}</a></p></section>"
        f"{viewer(say, shown, sentences)}</div></article>"
    )


def _sentence(say: Words, number: int, item: Mapping[str, Any]) -> str:
    proofs = item["evidence"]
    cites = " ".join(_cite(say, proof) for proof in proofs)
    warning = "" if item.get("supported", True) else _doubt(say, item.get("missing", ()))
    text = f"{escape(item['text'])} {cites}{warning}"
    if not proofs:
        return f"<li><p>{text}</p></li>"
    first = proofs[0]["page"]
    return (
        f'<li><button type="button" class="sentence" data-sentence="{number}" '
        f'data-page="{int(first)}" title="{escape(say("show_on_page", page=first))}">'
        f"{text}</button></li>"
    )


def _cite(say: Words, proof: Mapping[str, Any]) -> str:
    """The page of a quote, and how surely its words were recognised where they were."""
    words = say("page_number", page=proof["page"])
    if "ocr" in proof:
        words += " · " + say("ocr", sure=f"{float(proof['ocr']):.0%}")
    return f'<span class="cite">{escape(words)}</span>'


def _numbered(say: Words, sentences: Sequence[Mapping[str, Any]], first: int) -> str:
    """A list of sentences, counted for the viewer from `first`."""
    items = "".join(_sentence(say, number, item) for number, item in enumerate(sentences, first))
    return f"<ol>{items}</ol>" if items else ""


def _sections(say: Words, payload: Mapping[str, Any], first: int) -> str:
    """The sections of a document, each with its sentences; those of the whole come before."""
    found = []
    for section in payload.get("sections", ()):
        page = escape(say("page_number", page=section["page"]))
        title = escape(section["title"] or say("before_headings"))
        found.append(
            f'<h3><button type="button" class="section" data-page="{int(section["page"])}">{title}'
            f' <span class="cite">{page}</span></button></h3>'
            f"{_numbered(say, section['summary'], first)}"
        )
        first += len(section["summary"])
    return f'<div class="sections">{"".join(found)}</div>' if found else ""


def support(say: Words, told: Mapping[str, Any] | None) -> str:
    """How much of a written summary is proved, and what was left out of it for want of proof."""
    if not told or told["rate"] is None:
        return ""
    words = say("support", supported=told["supported"], written=told["written"])
    lines = "".join(
        f"<li>{escape(item['text'])} {_doubt(say, item['missing'])}</li>"
        for item in told["dropped"]
    )
    if not lines:
        return f'<p class="support">{escape(words)}</p>'
    return (
        f'<details class="support"><summary>{escape(words)} '
        f"{escape(say('support_dropped', count=len(told['dropped'])))}</summary>"
        f"<ul>{lines}</ul></details>"
    )


def _doubt(say: Words, missing: Sequence[Mapping[str, Any]]) -> str:
    """Why a sentence is not proved."""
    reasons = "; ".join(
        say(
            f"missing_{one['kind']}",
            said=one["text"],
            page=one.get("page", ""),
            found=", ".join(map(str, one.get("found_on", ()))),
        )
        for one in missing
    )
    colon = f"{say('colon')}{reasons}" if reasons else ""
    return f"<em>{escape(say('unsupported'))}{escape(colon)}</em>"


def hidden_text(say: Words, hidden: Mapping[str, Any] | None) -> str:
    """The warning of words that the pages do not show; results of earlier versions have none."""
    if not hidden or not hidden["texts"]:
        return ""
    lines = "".join(
        f"<li>{escape(say('page_number', page=one['page']))} · "
        f"{escape(say('hidden_' + one['why']))}: <q>{escape(one['text'])}</q></li>"
        for one in hidden["texts"]
    )
    words = escape(say("hidden_text", count=f"{hidden['words']:,}"))
    return (
        f'<details class="notice problem hidden-text" role="status"><summary>{words}</summary>'
        f"<ul>{lines}</ul></details>"
    )


def coverage(say: Words, covered: Mapping[str, Any], proved: set[int]) -> str:
    """The map of the document: what became of each page, in which part, and which hold a proof."""
    pages = int(covered["pages"])
    if pages == 0:
        return ""
    reasons = "".join(
        f"<li>{escape(say('coverage_reason', page=page['page'], reason=page['reason']))}</li>"
        for page in [*covered["failed"], *covered.get("undrawn", ())][:COVERAGE_REASONS]
    )
    runs = _PageRuns(covered)
    step = -(-pages // COVERAGE_CELLS)
    cells = "".join(
        _cell(say, first, min(first + step - 1, pages), runs, proved)
        for first in range(1, pages + 1, step)
    )
    return (
        f'<div class="coverage"><h3>{escape(say("coverage"))}</h3>'
        f"<p>{escape(_coverage_words(say, covered))}</p>"
        f'<div class="cells">{cells}</div><ul class="reasons">{reasons}</ul></div>'
    )


class _PageRuns(dict[int, tuple[str, Sequence[int]]]):
    """State and parts of each page; results of earlier versions have no map."""

    def __init__(self, covered: Mapping[str, Any]) -> None:
        failed = {int(page["page"]) for page in covered["failed"]}
        every = range(1, int(covered["pages"]) + 1)
        super().__init__({page: ("failed" if page in failed else "read", ()) for page in every})
        for run in covered.get("map", ()):
            for page in range(run["first"], run["last"] + 1):
                self[page] = (run["state"], run["parts"])
        self.in_parts = covered.get("parts", 1) > 1


def _coverage_words(say: Words, covered: Mapping[str, Any]) -> str:
    pages, failed = int(covered["pages"]), len(covered["failed"])
    if failed:
        words = say("coverage_some", read=pages - failed, pages=pages, failed=failed)
    else:
        words = say("coverage_one") if pages == 1 else say("coverage_all", pages=pages)
    for key in ("ocr", "blank"):
        if covered.get(key):
            words += say(f"coverage_count_{key}", count=covered[key])
    if covered.get("parts", 1) > 1:
        words += say("coverage_parts", count=covered["parts"])
    return words


def _cell(
    say: Words,
    first: int,
    last: int,
    runs: _PageRuns,
    proved: set[int],
) -> str:
    """A square for some neighbouring pages: the worst that became of one of them, else a proof."""
    here = range(first, last + 1)
    states = {runs[page][0] for page in here}
    if "failed" in states:
        state = "failed"
    elif any(page in proved for page in here):
        state = "proof"
    else:
        state = next(each for each in ("ocr", "read", "blank") if each in states)
    place = (
        say("coverage_pages", first=first)
        if first == last
        else say("coverage_range", first=first, last=last)
    )
    words = f"{place}{say('colon')}{say('coverage_' + state)}"
    parts = sorted({part for page in here for part in runs[page][1]})
    if parts and runs.in_parts:
        words += say("coverage_part", part="–".join(map(str, dict.fromkeys((parts[0], parts[-1])))))
    told = proved if state == "proof" else {page for page in here if runs[page][0] == state}
    target = next((page for page in here if page in told), first)
    return (
        f'<button type="button" class="cell {state}" data-page="{target}" '
        f'title="{escape(words)}" aria-label="{escape(words)}"></button>'
    )


def viewer(say: Words, shown: ShownDocument, sentences: Sequence[Mapping[str, Any]]) -> str:
    """The page beside the summary, with the evidence of its sentences."""
    marks = [
        {
            "sentence": number,
            "page": proof["page"],
            "quote": proof["quote"],
            "boxes": percentages(proof.get("boxes") or (), shown.pages.get(proof["page"])),
        }
        for number, item in enumerate(sentences)
        for proof in item["evidence"]
    ]
    return page_viewer(say, shown, marks)


def page_viewer(
    say: Words, shown: ShownDocument, marks: Sequence[Mapping[str, Any]], side: str = ""
) -> str:
    """The pages of a document; `viewer.js` loads them and draws the marks.

    `side`: of two viewers in one article, whose buttons are this one's.
    """
    document = shown.document
    first = marks[0]["page"] if marks else 1
    data = {
        "source": f"/pages/{document.sha256}/",
        "kind": "text" if document.media_type.is_text else "image",
        "total": document.page_count,
        "marks": marks,
        "alt": say("page"),
    }
    return (
        f'<section class="viewer" data-viewer="{escape(json.dumps(data))}" data-page="{first}" '
        f'data-side="{escape(side)}" aria-label="{escape(document.name)}"><div class="tools">'
        f'<button type="button" data-step="-1" aria-label="{escape(say("previous_page"))}">‹'
        "</button>"
        f'<label>{escape(say("page"))} <input type="number" min="1" max="{document.page_count}" '
        f'value="{first}" inputmode="numeric"></label>'
        f"<span>{escape(say('page_of', total=document.page_count))}</span>"
        f'<button type="button" data-step="1" aria-label="{escape(say("next_page"))}">›</button>'
        f'</div><div class="paper" tabindex="0"></div></section>'
    )


def percentages(boxes: Iterable[Sequence[float]], page: Page | None) -> list[list[float]]:
    """Boxes as [left, top, width, height] in percent of their page."""
    if page is None or not page.width or not page.height:
        return []
    shown = [shown_box(page, (x0, y0, x1, y1)) for x0, y0, x1, y1 in boxes]
    return [
        [
            round(100 * x0 / page.width, 3),
            round(100 * y0 / page.height, 3),
            round(100 * (x1 - x0) / page.width, 3),
            round(100 * (y1 - y0) / page.height, 3),
        ]
        for x0, y0, x1, y1 in shown
    ]


# --- lists -----------------------------------------------------------------------------------


def headline(say: Words, job: Job, plain: str, payload: Mapping[str, Any] | None) -> str:
    """One line for a list; what is no quotation is said in the reader's language."""
    if payload is not None and "proposal" in payload and not payload["claims"]:
        return str(payload["proposal"][say.language]["title"]) or say("not_sure")
    if job.task == TaskName.CHECK_LISTING and payload is not None:
        score = f"{float(payload['score']):.0%}"
        return say("headline", verdict=say(payload["verdict"]), score=score)
    if job.task == TaskName.ASK and payload is not None and not payload["found"]:
        return say("not_found")
    if job.task == TaskName.COMPARE and payload is not None:
        return change_counts(say, payload["counts"])
    if job.task == TaskName.FIGURES and payload is not None:
        return figure_counts(say, payload["counts"])
    return plain


def change_counts(say: Words, counts: Mapping[str, int]) -> str:
    """How many changes of each kind a comparison has."""
    told = [
        say("change_count", count=f"{n:,}", kind=say(f"change_{k}")) for k, n in counts.items() if n
    ]
    return say("comma").join(told) or say("no_changes")


def figure_counts(say: Words, counts: Mapping[str, int]) -> str:
    """How many figures have each verdict."""
    told = [
        say("figure_count", count=f"{n:,}", what=say(figure_key(verdict)))
        for verdict, n in counts.items()
        if n
    ]
    return say("comma").join(told) or say("no_figures")


def figure_key(verdict: str) -> str:
    """The key of the words for a verdict on a figure, or a reason why a picture is none."""
    return f"figure_{verdict.replace(' ', '_')}"


def job_url(language: Language, job: Job) -> str:
    return url(language, PAGE_OF[job.task], job=job.id)


def recent(say: Words, title: str, empty: str, jobs: Sequence[tuple[Job, str]]) -> str:
    """Cards of jobs, newest first, with the headline of their result."""
    if not jobs:
        return f'<p class="empty">{escape(empty)}</p>'
    cards = "".join(_card(say, job, headline) for job, headline in jobs)
    return f'<section class="recent"><h2>{escape(title)}</h2><ul>{cards}</ul></section>'


def _card(say: Words, job: Job, headline: str) -> str:
    if job.status.is_final:
        body = f"<p>{escape(headline or job.error)}</p>"
    else:
        body = progress_bar(say, job)
    return (
        f'<li><a class="card" href="{escape(job_url(say.language, job))}">'
        f"<strong>{escape(job.label)}</strong>"
        f"<small>{status_chip(say, job)} {time_of(job.created_at)}</small>{body}</a></li>"
    )


def result_table(
    say: Words, rows: Sequence[tuple[Job, str]], below: Mapping[str, str] | None = None
) -> str:
    """`below`: HTML under the headline, by the job's id."""
    below = below or {}
    heads = "".join(
        f"<th scope=col>{escape(say(name))}</th>" for name in ("name", "outcome", "status", "when")
    )
    body = "".join(
        f'<tr><td><a href="{escape(job_url(say.language, job))}">{escape(job.label)}</a>'
        f"<small>{escape(say(PAGE_OF[job.task]))}</small></td>"
        f"<td>{escape(headline or job.error)}{below.get(job.id, '')}</td>"
        f"<td>{status_chip(say, job)}</td>"
        f"<td>{time_of(job.created_at)}</td></tr>"
        for job, headline in rows
    )
    return (
        f'<div class="scroll"><table class="rows results"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def pager(say: Words, *, first: int, shown: int, count: int, back: str, on: str) -> str:
    """Links to the neighbouring parts of a long list; `back` and `on` are addresses or empty."""
    if shown >= count:
        return ""
    links = (
        (f'<a href="{escape(back)}">{escape(say("earlier_rows"))}</a>' if back else ""),
        escape(say("range", first=first + 1, last=first + shown, count=count)),
        (f'<a href="{escape(on)}">{escape(say("later_rows"))}</a>' if on else ""),
    )
    return f'<p class="pager">{" · ".join(link for link in links if link)}</p>'


# --- batches ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ShownRow:
    """One row of a batch: what was asked, and what came of it."""

    number: int
    asked: str
    job: Job | None
    outcome: str
    error: str


def batch_done(batch: Batch) -> int:
    return sum(count for status, count in batch.counts.items() if status.is_final) + batch.rejected


def batch_head(say: Words, batch: Batch) -> str:
    done = batch_done(batch)
    words = [say("batch_progress", done=done, rows=batch.rows)]
    if failed := batch.counts.get(Status.FAILED, 0):
        words.append(say("batch_failed", count=failed))
    if batch.rejected:
        words.append(say("batch_rejected", count=batch.rejected))
    if batch.reused:
        words.append(say("batch_reused", count=batch.reused))
    report = (
        f' <a class="button" href="/batches/{escape(batch.id)}/report.html" download>'
        f"{escape(say('download_report'))}</a>"
        if batch.task is TaskName.CHECK_LISTING
        else ""
    )
    return (
        f'<article class="job" data-status="{"succeeded" if done >= batch.rows else "running"}">'
        f'<header class="job-head"><h2>{escape(batch.name)}</h2><p class="facts">'
        f"{escape(say('task_' + batch.task.value))} · {time_of(batch.created_at)} · "
        f'<a class="button" href="/batches/{escape(batch.id)}/results.csv" download>'
        f"{escape(say('download_csv'))}</a>{report}</p></header>"
        f"{_bar(done / batch.rows if batch.rows else 1.0, ' · '.join(words))}</article>"
    )


def batch_table(say: Words, rows: Sequence[ShownRow]) -> str:
    heads = "".join(
        f"<th scope=col>{escape(say(name))}</th>" for name in ("row", "input", "status", "outcome")
    )
    body = "".join(_batch_row(say, row) for row in rows)
    return (
        f'<div class="scroll"><table class="rows batch"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _batch_row(say: Words, row: ShownRow) -> str:
    asked = escape(row.asked)
    if row.job is not None:
        asked = f'<a href="{escape(job_url(say.language, row.job))}">{asked or "—"}</a>'
    chip = (
        status_chip(say, row.job)
        if row.job is not None
        else f'<span class="chip failed">{escape(say("failed"))}</span>'
    )
    wrong = ' class="wrong"' if row.error else ""
    return (
        f"<tr><td>{row.number + 1}</td><td>{asked}</td><td>{chip}</td>"
        f"<td{wrong}>{escape(row.error or row.outcome)}</td></tr>"
    )


def recent_batches(say: Words, batches: Sequence[Batch]) -> str:
    if not batches:
        return f'<p class="empty">{escape(say("batch_empty"))}</p>'
    cards = "".join(
        f'<li><a class="card" href="{escape(url(say.language, "batch", batch=batch.id))}">'
        f"<strong>{escape(batch.name)}</strong><small>{escape(say('task_' + batch.task.value))} "
        f"{time_of(batch.created_at)}</small>"
        f"<p>{escape(say('batch_progress', done=batch_done(batch), rows=batch.rows))}</p></a></li>"
        for batch in batches
    )
    title = escape(say("recent_batches"))
    return f'<section class="recent"><h2>{title}</h2><ul>{cards}</ul></section>'
