"""What people see in the terminal: summaries, answers, verdicts, tables, progress.

Results go to stdout, progress to stderr, and only to a terminal. Foreign text is never read as
markup, and control characters are taken out, so that a title can't steer the terminal. Called by
the command line.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from mmapp import reviews
from mmapp.types import Batch, Estimate, Hiding, Job, Label, Outlook, Result, Status, TaskName

if TYPE_CHECKING:
    from mmapp.jobs import Jobs, ResultRow, ReviewRow

#: Columns of a line when nobody looks: a file or a pipe has no width of its own.
PIPE_WIDTH = 100

#: Columns of a terminal that a result gets in a list.
HEADLINE = 72

#: Jobs that get a bar each; more share one.
MOST_BARS = 8

#: Pages of a kind that are named one by one in the coverage line.
MOST_PAGES = 12

STATUS_STYLE = {
    Status.QUEUED: "cyan",
    Status.RUNNING: "blue",
    Status.SUCCEEDED: "green",
    Status.FAILED: "red",
    Status.CANCELLED: "yellow",
}
LABELS = {
    Label.SUPPORTED: ("✓ supported", "green"),
    Label.REFUTED: ("✗ refuted", "bold red"),
    Label.NOT_ENOUGH_INFO: ("? not to be seen", "yellow"),
}
#: Why words are not shown.
HIDING = {
    Hiding.INVISIBLE: "painted with nothing",
    Hiding.SAME_COLOUR: "in the colour of its ground",
    Hiding.COVERED: "covered or cut off",
    Hiding.TINY: "too small to be read",
    Hiding.OFF_PAGE: "off the page",
    Hiding.LAYER_OFF: "in a layer that is off",
    Hiding.NOT_IN_SCAN: "not what is read in the scan",
}
#: What a written sentence lacks, by `missing.kind`.
MISSING = {
    "quote": "“{said}” is not on p. {page}",
    "proof": "it cites nothing",
    "language": "it is in another language than the document",
    "words": "its quotes are about something else",
    "number": "number {said}",
    "percent": "percentage {said}",
    "money": "amount {said}",
    "measure": "measure {said}",
    "date": "date {said}",
    "name": "name {said}",
    "quotation": "quotation “{said}”",
}
#: Hidden passages that are shown.
MOST_HIDDEN = 5
#: Changes that are shown one by one.
MOST_CHANGES = 40
CHANGE_STYLE = {
    "added": "bold green",
    "removed": "bold red",
    "changed": "bold yellow",
    "moved": "bold cyan",
}
FIGURE_STYLE = {
    "agrees": "bold green",
    "disagrees": "bold red",
    "unclear": "bold yellow",
    "no caption": "dim",
}
#: What a verdict on a figure is worth.
FIGURES_LIMIT = (
    "Checked as product photos are; a verdict is worth what the checkpoint knows of what is shown."
)
VERDICT_STYLE = {"consistent": "bold green", "inconsistent": "bold red", "uncertain": "bold yellow"}
CONTROLS = dict.fromkeys([*range(32), *range(127, 160)], " ")


def console(stream: TextIO) -> Console:
    """A console that honours NO_COLOR and pipes."""
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False, emoji=False, markup=False)


def show(what: RenderableType) -> None:
    console(sys.stdout).print(what)
    sys.stdout.flush()


def clean(text: object) -> str:
    """Foreign text in one line, without what a terminal would obey."""
    return " ".join(str(text).translate(CONTROLS).split())


# --- results -------------------------------------------------------------------------------------


def result_view(job: Job, result: Result, url: str = "") -> RenderableType:
    """A result as a person reads it, and what made it."""
    body = VIEWS[result.task](job, result.payload)
    return Group(
        body, *review_lines(result), Padding(_footer(result.record, job, url), (0, 0, 1, 2))
    )


def summary_view(job: Job, payload: Mapping[str, Any]) -> RenderableType:
    found: list[RenderableType] = [_numbered(payload["summary"])]
    for section in payload.get("sections", ()):
        title = clean(section["title"]) or "Before the first heading"
        head = Text.assemble((title, "bold"), (f"  p. {section['page']}", "dim"))
        found += [Padding(head, (1, 0, 0, 0)), _numbered(section["summary"])]
    return _of_document(job, payload, Group(*found), _support(payload.get("support")))


def _numbered(sentences: Sequence[Mapping[str, Any]]) -> RenderableType:
    if not sentences:
        return Text("No sentence.", "dim")
    lines = Table.grid(padding=(0, 1))
    lines.add_column(justify="right", style="dim")
    lines.add_column()
    for number, sentence in enumerate(sentences, 1):
        lines.add_row(f"{number}.", _sentence(sentence))
    return lines


def _support(support: Mapping[str, Any] | None) -> str:
    """How much of what was written is proved; grounded summaries are proved by their making."""
    if not support or support["rate"] is None:
        return ""
    line = f"  {support['supported']} of {support['written']} written sentences proved"
    if support["dropped"]:
        line += f", {len(support['dropped'])} dropped"
    return line


def answer_view(job: Job, payload: Mapping[str, Any]) -> RenderableType:
    found: RenderableType = Text("Not in this document.", "bold yellow")
    if payload["found"]:
        found = Group(*(_sentence(answer) for answer in payload["answer"]))
    return _of_document(job, payload, found, f"  P(answered) {payload['probability']:.2f}")


def answers_view(
    question: str, answers: Sequence[tuple[Job, Result]], best: Result | None, url: str = ""
) -> RenderableType:
    """One question to several documents: the likeliest answer, then what each of them says."""
    parts: list[RenderableType] = [Text(clean(question), "bold")]
    if best is None:
        parts.append(Padding(Text("Not in these documents.", "bold yellow"), (1, 0, 1, 1)))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("Document", "Answer", "P", "Job"):
        table.add_column(column, overflow="fold", justify="right" if column == "P" else "left")
    # The likeliest first; those that do not answer last.
    ranked = sorted(answers, key=lambda one: -one[1].payload["probability"])
    for job, result in sorted(ranked, key=lambda one: not one[1].payload["found"]):
        payload = result.payload
        said: RenderableType = Text("not in this document", "yellow")
        if payload["found"]:
            said = Group(*(_sentence(answer) for answer in payload["answer"]))
        name = Text(clean(payload["document"]["name"]), "bold" if result is best else "")
        table.add_row(name, said, f"{payload['probability']:.2f}", Text(job.id, "dim"))
    parts.append(Padding(table, (0, 0, 0, 1)))
    for _, result in answers:
        name = Text(f"{clean(result.payload['document']['name'])}: ", "dim")
        line = name.append_text(coverage_line(result.payload["coverage"]))
        parts += [Padding(line, (0, 0, 0, 2)), *hidden_lines(result.payload.get("hidden"))]
    if best is not None and url:
        parts.append(Padding(Text(f"{url}/jobs/{best.job_id}", "cyan"), (0, 0, 1, 2)))
    return Group(*parts)


def fields_view(job: Job, payload: Mapping[str, Any]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("Field", "Value", "Found by", "P", "Page"):
        table.add_column(column, overflow="fold", justify="right" if column == "P" else "left")
    for field in payload["fields"]:
        name: RenderableType = Text(clean(field["name"]), "bold")
        if not field["values"]:
            table.add_row(name, Text("not in this document", "yellow"), "", "", "")
        for value in field["values"]:
            table.add_row(name, *_value_cells(value))
            name = ""
        more = field["found"] - len(field["values"])
        if more > 0:
            table.add_row("", Text(f"and {more:,} more", "yellow"), "", "", "")
    return _of_document(job, payload, table)


def figures_view(job: Job, payload: Mapping[str, Any]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("Page", "Words about the picture", "Verdict", "P(agree)"):
        is_number = column in ("Page", "P(agree)")
        table.add_column(column, overflow="fold", justify="right" if is_number else "left")
    for figure in payload["figures"]:
        table.add_row(*_figure_cells(figure))
    parts: list[RenderableType] = [table if payload["figures"] else Text("No figures.", "dim")]
    if any(figure["claims"] for figure in payload["figures"]):
        parts.append(Text(FIGURES_LIMIT, "dim"))
    if left_out := _left_out(payload["left_out"]):
        parts.append(Text(left_out, "dim"))
    return _of_document(job, payload, Group(*parts))


def _figure_cells(figure: Mapping[str, Any]) -> tuple[RenderableType, ...]:
    caption, verdict = figure["caption"], figure["verdict"]
    words = Text()
    if caption:
        words.append(f"{clean(caption['label'])}  ", "dim").append(clean(caption["text"]))
    for claim in figure["claims"]:
        told, style = LABELS[Label(claim["label"])]
        words.append(f"\n  {told}", style).append(f"  {clean(claim['text'])}", "dim")
    if figure["error"]:
        words.append(f"\n  {clean(figure['error'])}", "yellow")
    likely = "" if figure["probability"] is None else f"{figure['probability']:.2f}"
    return str(figure["page"]), words, Text(verdict, FIGURE_STYLE[verdict]), likely


def _left_out(counts: Mapping[str, int]) -> str:
    told = [f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count]
    return f"Pictures left out: {', '.join(told)}." if told else ""


def _value_cells(value: Mapping[str, Any]) -> tuple[RenderableType, ...]:
    text = Text(clean(value["text"]))
    if value["label"]:
        text.append(f"  {clean(value['label'])}", "dim")
    if value["normal"] not in ("", value["text"]):
        text.append(f"  = {clean(value['normal'])}", "dim")
    if not value["supported"]:
        text.append("  not proved", "bold yellow")
    pages = list(dict.fromkeys(one["page"] for one in value["evidence"]))
    named = ", ".join(str(page) for page in pages[:MOST_PAGES])
    places = Text(f"p. {named}{' …' if len(pages) > MOST_PAGES else ''}", "green")
    likely = "" if value["probability"] is None else f"{value['probability']:.2f}"
    return text, Text(value["found_by"], "dim"), likely, places


def changes_view(job: Job, payload: Mapping[str, Any]) -> RenderableType:
    counts = [f"{count:,} {kind}" for kind, count in payload["counts"].items() if count]
    changes = payload["changes"]
    parts: list[RenderableType] = [
        Text.assemble(
            (clean(job.label), "bold"), (f"  {', '.join(counts) or 'no changes'}", "bold yellow")
        )
    ]
    parts += [Padding(_change(change), (1, 0, 0, 2)) for change in changes[:MOST_CHANGES]]
    if len(changes) > MOST_CHANGES:
        more = sum(payload["counts"].values()) - MOST_CHANGES
        parts.append(Padding(Text(f"and {more:,} more; see --json", "yellow"), (1, 0, 0, 2)))
    parts.append(Text(""))
    for side in ("old", "new"):
        line = Text(f"{clean(payload['documents'][side]['name'])}: ", "dim")
        parts.append(
            Padding(line.append_text(coverage_line(payload["coverage"][side])), (0, 0, 0, 2))
        )
        parts += hidden_lines(payload["hidden"][side])
    return Group(*parts)


def _change(change: Mapping[str, Any]) -> Text:
    """What was, and what is, with the words that differ."""
    line = Text(change["kind"], CHANGE_STYLE[change["kind"]])
    for name, sign, style in (("old", "−", "red"), ("new", "+", "green")):
        side = change[name]
        if side is None:
            continue
        pages = ", ".join(str(page) for page in dict.fromkeys(e["page"] for e in side["evidence"]))
        line.append(f"\n{sign} p. {pages}  ", style)
        if name == "new" and change["kind"] == "moved" and not side["differs"]:
            line.append("the same words", "dim")
            continue
        done = 0
        for one in side["differs"]:
            line.append(_words(side["text"][done : one["start"]]))
            # As wdiff writes it, so that a pipe without colours shows it too.
            words = _words(side["text"][one["start"] : one["end"]])
            line.append(f"[-{words}-]" if name == "old" else f"{{+{words}+}}", f"bold {style}")
            done = one["end"]
        line.append(_words(side["text"][done:]))
    return line


def _words(text: str) -> str:
    """A part of a foreign text, with the blanks at its ends."""
    return text.translate(CONTROLS)


def _of_document(
    job: Job, payload: Mapping[str, Any], found: RenderableType, fact: str = ""
) -> RenderableType:
    """What was found in a document, under its name and above the pages that were read."""
    pages = _count(payload["document"]["pages"], "page")
    return Group(
        Text.assemble((clean(job.label), "bold"), (f"  {pages}{fact}", "dim")),
        Padding(found, (1, 0, 1, 1)),
        Padding(coverage_line(payload["coverage"]), (0, 0, 0, 2)),
        *hidden_lines(payload.get("hidden")),
    )


def _sentence(sentence: Mapping[str, Any]) -> Text:
    """The words with the pages where they stand; each page's own words where there are several."""
    evidence, words = sentence["evidence"], clean(sentence["text"])
    if not sentence["supported"]:
        lacking = "; ".join(map(_lacking, sentence.get("missing", ())))
        doubt = f"  not proved: {lacking}" if lacking else "  not proved"
        return Text(words).append(doubt, "bold yellow")
    is_quote = len(evidence) == 1 and clean(evidence[0]["quote"]) == words
    text = Text(f"“{words}”" if is_quote else words)
    pages = ", ".join(str(one["page"]) for one in evidence)
    text.append(f"  ✓ p. {pages}", "green")
    text.append(_recognised(evidence), "dim")
    if not is_quote:
        for one in evidence:
            text.append(f"\np. {one['page']}: “{clean(one['quote'])}”", "dim")
    return text


def _recognised(evidence: Sequence[Mapping[str, Any]]) -> str:
    """That words were recognised in a picture, and how surely."""
    sure = [float(one["ocr"]) for one in evidence if "ocr" in one]
    return f"  text recognition, {min(sure):.0%} sure" if sure else ""


def _lacking(missing: Mapping[str, Any]) -> str:
    """What a written sentence has and its quotes have not."""
    kind, said = missing["kind"], clean(missing["text"])
    if kind == "page":
        pages = ", ".join(str(page) for page in missing["found_on"])
        return f"“{said}” is on p. {pages}, not on p. {missing['page']}"
    words = MISSING[kind].format(said=said, page=missing.get("page", ""))
    return clean(words)


def coverage_line(coverage: Mapping[str, Any]) -> Text:
    """Which pages were read, and why others were not."""
    failed: dict[str, list[int]] = {}
    for page in coverage["failed"]:
        failed.setdefault(clean(page["reason"]), []).append(page["page"])
    every = coverage["read"] == coverage["pages"]
    line = Text(f"Read {coverage['read']:,} of {_count(coverage['pages'], 'page')}", "dim")
    if coverage["ocr"]:
        line.append(f", {coverage['ocr']:,} by text recognition", "dim")
    if coverage.get("parts", 1) > 1:
        line.append(f", in {coverage['parts']:,} parts", "dim")
    if coverage.get("blank"):
        line.append(f", {coverage['blank']:,} of them blank", "dim")
    for reason, pages in failed.items():
        named = ", ".join(str(page) for page in pages[:MOST_PAGES])
        more = f" and {len(pages) - MOST_PAGES:,} more" if len(pages) > MOST_PAGES else ""
        line.append(f"; not read: p. {named}{more} ({reason})", "yellow")
    return line.append("." if every else "", "dim")


def hidden_lines(hidden: Mapping[str, Any] | None) -> list[RenderableType]:
    """The warning of words that the pages do not show; results of earlier versions have none."""
    if not hidden or not hidden["texts"]:
        return []
    words = _count(hidden["words"], "word")
    line = Text(f"⚠ {words} in the file that its pages do not show, left out:", "bold yellow")
    for one in hidden["texts"][:MOST_HIDDEN]:
        why = HIDING[Hiding(one["why"])]
        line.append(f"\n  p. {one['page']}, {why}: “{clean(one['text'])}”", "yellow")
    if len(hidden["texts"]) > MOST_HIDDEN:
        line.append("\n  and more; see all with --json", "yellow")
    return [Padding(line, (0, 0, 0, 2))]


def verdict_view(job: Job, payload: Mapping[str, Any]) -> RenderableType:
    parts: list[RenderableType] = []
    if payload["claims"]:
        parts += _checked(job, payload)
    if payload.get("proposal"):
        parts += _proposed(payload)
    return Group(*parts)


def _checked(job: Job, payload: Mapping[str, Any]) -> list[RenderableType]:
    """The verdict, and each claim."""
    verdict = str(payload["verdict"])
    title = Text.assemble(
        (clean(job.label), "bold"),
        "  ",
        (verdict.upper(), VERDICT_STYLE.get(verdict, "bold")),
        (f"  P(consistent) {payload['score']:.2f}", "dim"),
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", justify="right", style="dim")
    table.add_column("Claim", ratio=3, overflow="fold")
    table.add_column("About", overflow="fold")
    table.add_column("Verdict", no_wrap=True)
    table.add_column("P", justify="right", no_wrap=True)
    table.add_column("Seen in", overflow="fold")
    for number, claim in enumerate(payload["claims"], 1):
        words, style = LABELS[Label(claim["label"])]
        is_asked = claim.get("visible", True)
        table.add_row(
            str(number),
            Text(("· " if claim.get("detail") else "") + clean(claim["text"])),
            Text(_about(claim), "dim"),
            Text(words, style) if is_asked else Text("no photo shows it", "dim"),
            f"{claim['probability']:.2f}" if is_asked else "–",
            Text(_places(claim["evidence"]), "dim"),
        )
    parts: list[RenderableType] = [title, *_reasons(payload), Padding(table, (0, 0, 0, 2))]
    if payload.get("unchecked"):
        rest = "; ".join(clean(claim["text"]) for claim in payload["unchecked"])
        parts.append(Padding(Text(f"Not checked: {rest}", "yellow"), (0, 0, 0, 2)))
    return parts


def _proposed(payload: Mapping[str, Any]) -> list[RenderableType]:
    """The words chosen for the photos, how sure each is, and what to change."""
    lines: list[Text] = [Text("Proposed", "bold")]
    for choice in payload["proposal"]["choices"]:
        words = f"{choice['en']} · {choice['zh']}"
        if not choice["proposed"]:
            closest = ", ".join(f"{one['en']} {one['zh']}" for one in choice["closest"])
            words = f"not sure enough to propose; closest: {closest}"
        known = (
            f"  {choice['share']:.0%} of {choice['known']} known names,"
            f" P(supported) {choice['probability']:.2f}"
        )
        style = "" if choice["proposed"] else "dim"
        lines.append(Text.assemble(f"  {choice['kind']}: ", (words, style), (known, "dim")))
    for language in ("en", "zh"):
        if title := payload["proposal"][language]["title"]:
            described = payload["proposal"][language]["description"]
            lines.append(Text.assemble("  ", (title, "bold"), "  ", described))
    changes = payload["correction"]["changes"]
    if changes:
        lines.append(Text("Corrected", "bold"))
        for change in changes:
            words = f"  {clean(change['attribute'])}: {clean(change['old'])} → {change['new']}"
            sure = f"  P(refuted) {change['refuted']:.2f}, P({change['new']}) {change['share']:.2f}"
            lines.append(Text.assemble(words, (sure, "dim")))
        lines.append(Text(f"  {clean(payload['correction']['title'])}", "bold"))
    return list(lines)


def _about(claim: Mapping[str, Any]) -> str:
    """The name that the listing gives, and what kind of thing it is."""
    name, kind = clean(claim["attribute"] or ""), claim.get("kind", "other")
    return name if kind in ("other", name) else f"{name} ({kind})"


def _reasons(payload: Mapping[str, Any]) -> list[RenderableType]:
    """What the verdict rests on: the claim and the photo that decided, and the rule."""
    reasons = []
    if decided := payload.get("decided_by"):
        where = f" on photo {decided['image']}" if decided["image"] else ""
        claim = clean(payload["claims"][decided["claim"]]["text"])
        reasons.append(f"Decided by “{claim}”{where}.")
    if rule := payload.get("rule"):
        reasons.append(f"Consistent from {rule['consistent']:.2f}, inconsistent to")
        reasons.append(f"{rule['inconsistent']:.2f}.")
    return [Padding(Text(" ".join(reasons), "dim"), (0, 0, 0, 2))] if reasons else []


def review_lines(result: Result) -> list[RenderableType]:
    """What people said of a verdict since, beside the model's."""
    lines = []
    for claim, review in reviews.counting(result.reviews).items():
        about = f"claim {claim}" if claim else "the listing"
        words, style = LABELS[review.label]
        if claim is None:
            words, style = reviews.verdict(review), VERDICT_STYLE[reviews.verdict(review)]
        line = Text.assemble((f"Reviewed: {about} ", "dim"), (words, style))
        note = f": {clean(review.note)}" if review.note else ""
        line.append(f", says {clean(review.by)} on {_when(review.created_at)}{note}", "dim")
        lines.append(line)
    return [Padding(Group(*lines), (0, 0, 0, 2))] if lines else []


def review_table(rows: Iterable[ReviewRow]) -> RenderableType:
    """Reviews beside what the model says; one that a later one replaced is dim."""
    table = _table("Job", "What", "Claim", "Model", "Person", "By", "When")
    for row in rows:
        review, payload = row.review, row.result.payload
        number = f"{review.claim}: " if review.claim else ""
        model = reviews.model_label(payload, review.claim)
        table.add_row(
            review.job_id,
            Text(clean(row.job.label)),
            Text(f"{number}{clean(reviews.words(payload, review.claim)) or 'the listing'}"),
            Text(f"{model} {reviews.model_probability(payload, review.claim):.2f}"),
            Text(f"{review.label}{f' ({clean(review.note)})' if review.note else ''}"),
            Text(clean(review.by)),
            _when(review.created_at),
            style="" if row.counts else "dim",
        )
    return table


#: How a result of each task is shown.
VIEWS = {
    TaskName.SUMMARIZE: summary_view,
    TaskName.ASK: answer_view,
    TaskName.EXTRACT: fields_view,
    TaskName.COMPARE: changes_view,
    TaskName.FIGURES: figures_view,
    TaskName.CHECK_LISTING: verdict_view,
}


def _places(evidence: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(
        f"photo {one['image']} [{' '.join(f'{edge:.0f}' for edge in one['box'])}]"
        for one in evidence
    )


def _footer(record: Mapping[str, Any], job: Job, url: str) -> Text:
    seconds = record["durations_s"].get("total", 0.0)
    parts = [f"job {job.id}", f"{record['checkpoint']} on {record['device']}", f"{seconds:.1f} s"]
    line = Text(" · ".join(parts), "dim")
    return line.append(f"\n{url}/jobs/{job.id}", "cyan") if url else line


# --- tables --------------------------------------------------------------------------------------


def job_table(jobs: Iterable[Job]) -> RenderableType:
    table = _table("Job", "Task", "Status", "What", "Done", "Submitted")
    for job in jobs:
        table.add_row(*_job_cells(job), _progress_words(job), _when(job.created_at))
    return table


def result_table(rows: Iterable[ResultRow]) -> RenderableType:
    table = _table("Job", "Task", "Status", "What", "Result", "Submitted")
    for row in rows:
        headline = Text(
            clean("; ".join(filter(None, (row.headline, reviews.headline(row.result)))))
        )
        headline.truncate(HEADLINE, overflow="ellipsis")
        table.add_row(*_job_cells(row.job), headline, _when(row.job.created_at))
    return table


def batch_view(batch: Batch) -> RenderableType:
    counts = ", ".join(f"{count:,} {status}" for status, count in batch.counts.items() if count)
    rejected = f", {batch.rejected:,} rejected" if batch.rejected else ""
    return Text(
        f"batch {batch.id} “{clean(batch.name)}”: {_count(batch.rows, 'row')}"
        f" ({counts or 'no jobs'}{rejected})"
    )


def job_view(job: Job, ahead: Outlook | None = None) -> RenderableType:
    """One job in full, one fact a line; `ahead`: what lies before one that waits."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    facts: dict[str, RenderableType] = {
        "job": job.id,
        "task": str(job.task),
        "status": Text(job.status, STATUS_STYLE[job.status]),
        "what": Text(clean(job.label)),
        "attempts": str(job.attempts),
        "submitted": _when(job.created_at),
        "started": _when(job.started_at),
        "ended": _when(job.finished_at),
        "batch": job.batch_id or "",
        "progress": "" if job.status.is_final else _progress_words(job),
        "waits for": job.role if job.status is Status.QUEUED and len(job.roles) > 1 else "",
        "estimate": "" if job.estimate is None else estimate_words(job.estimate),
        "outlook": "" if ahead is None else _outlook_words(ahead),
        "error": Text(clean(job.error), "red"),
    }
    for name, fact in facts.items():
        if str(fact):
            table.add_row(name, fact)
    return table


def estimate_view(label: str, task: TaskName, estimate: Estimate) -> RenderableType:
    """What a job would take, under the name of what it is about."""
    head = Text.assemble((clean(label), "bold"), (f"  {task}", "dim"))
    return Group(head, Padding(estimate_words(estimate), (0, 0, 0, 2)))


def estimate_words(estimate: Estimate) -> str:
    """What is known, in one line."""
    parts = [_count(estimate.pages, "page"), _count(estimate.characters, "character")]
    if estimate.pictures:
        parts.append(_count(estimate.pictures, "picture"))
    if estimate.recognise:
        parts.append(f"text recognition of {_count(estimate.recognise, 'page')}")
    if estimate.tokens is not None:
        known = f" ({estimate.remembered:,} read lately)" if estimate.remembered else ""
        parts.append(_count(estimate.tokens, "token") + known)
    if estimate.parts is not None and estimate.parts > 1:
        parts.append(f"read in {estimate.parts:,} parts")
    if estimate.memory_bytes is not None:
        parts.append(f"{estimate.memory_bytes / 1e6:,.1f} MB of keys and values")
    source = {"results": "", "worker": ", by the worker's reading alone", "": ""}
    if estimate.seconds is None:
        parts.append("time not measured yet")
    else:
        parts.append(f"about {_duration(estimate.seconds)}{source[estimate.seconds_from]}")
    return ", ".join(parts)


def _outlook_words(ahead: Outlook) -> str:
    parts = [f"{_count(ahead.ahead, 'job')} before it" if ahead.ahead else "next in line"]
    if ahead.starts_s:
        parts.append(f"begins in about {_duration(ahead.starts_s)}")
    if ahead.ends_s is not None:
        parts.append(f"done in about {_duration(ahead.ends_s)}")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(
            column,
            no_wrap=column in ("Job", "Task", "Status", "Done", "Submitted"),
            overflow="fold",
        )
    return table


def _job_cells(job: Job) -> tuple[RenderableType, ...]:
    status = Text(job.status, STATUS_STYLE[job.status])
    return job.id, str(job.task), status, Text(clean(job.label))


def _progress_words(job: Job) -> str:
    if job.status is Status.SUCCEEDED:
        return "100 %"
    if job.status is not Status.RUNNING:
        return ""
    return f"{job.progress.fraction:.0%} {job.progress.phase}"


def _when(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M") if moment else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# --- progress ------------------------------------------------------------------------------------


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """A sign of life for work without a measure."""
    screen = console(sys.stderr)
    if not screen.is_terminal:
        yield
        return
    with screen.status(Text(clean(what))):
        yield


@contextlib.contextmanager
def _bars() -> Iterator[Progress]:
    """Bars that go when the work is done; silent where stderr is no terminal."""
    screen = console(sys.stderr)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%", markup=False),
        TextColumn("{task.fields[words]}", style="dim", markup=False),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    ) as bars:
        yield bars


def follow(jobs: Jobs, job_ids: Sequence[str]) -> list[Job]:
    """Waits for jobs and shows how far they are; the ended jobs, in the order given."""
    last: dict[str, Job] = {}
    _say_once(f"Waiting for {_count(len(set(job_ids)), 'job')}", jobs, job_ids)
    with _bars() as bars:
        tasks: dict[str, TaskID] = {}
        shared = bars.add_task("jobs", total=len(job_ids), words="") if _many(job_ids) else None
        for job in jobs.watch(job_ids):
            last[job.id] = job
            if shared is not None:
                done = sum(one.status.is_final for one in last.values())
                bars.update(shared, completed=done, words=f"{done:,} of {len(job_ids):,}")
                continue
            if job.id not in tasks:
                tasks[job.id] = bars.add_task(clean(job.label)[:40], total=1.0, words="")
            _update(bars, tasks[job.id], job, jobs.outlook(job.id))
    return [last[job_id] for job_id in job_ids]


def follow_batch(jobs: Jobs, batch_id: str, poll_s: float = 0.5) -> Batch:
    """Waits until every row of a batch has ended; how it stands then."""
    import time

    batch = jobs.batch(batch_id)
    _say_once(f"Waiting for {_count(batch.rows, 'row')} of batch {batch_id}", jobs, ())
    began, first = time.monotonic(), _ended(batch)
    with _bars() as bars:
        bar = bars.add_task(clean(batch.name)[:40], total=max(batch.rows, 1), words="")
        while _ended(batch) < batch.rows:
            time.sleep(poll_s)
            batch = jobs.batch(batch_id)
            done, elapsed = _ended(batch), time.monotonic() - began
            left = elapsed / (done - first) * (batch.rows - done) if done > first else None
            words = f"{done:,} of {batch.rows:,} rows{_time_left(left)}"
            bars.update(bar, completed=done, words=words)
    return batch


@contextlib.contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function to call with what is done and the whole; a bar with the time that is left.

    One line where stderr is no terminal.
    """
    screen = console(sys.stderr)
    if not screen.is_terminal:
        sys.stderr.write(f"{clean(what)}\n")
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    ) as bars:
        shown = bars.add_task(clean(what)[:40], total=None)
        yield lambda done, total: bars.update(shown, completed=done, total=total)


@contextlib.contextmanager
def counting(what: str) -> Iterator[Any]:
    """A function to call with the count so far, for input whose length is not known."""
    screen = console(sys.stderr)
    if not screen.is_terminal:
        yield lambda _count: None
        return
    with screen.status(Text(clean(what))) as status:
        yield lambda count: status.update(Text(f"{clean(what)} · {count:,}"))


def _ended(batch: Batch) -> int:
    return batch.rejected + sum(n for status, n in batch.counts.items() if status.is_final)


def _many(job_ids: Sequence[str]) -> bool:
    return len(job_ids) > MOST_BARS


def _update(bars: Progress, bar: TaskID, job: Job, ahead: Outlook | None) -> None:
    progress = job.progress
    if job.status.is_final:
        bars.update(bar, completed=1.0, words=str(job.status))
    elif job.status is Status.QUEUED:
        # Between two of its roles, what was done stays.
        role = f" ({job.role})" if progress.phase else ""
        line = f"waiting for a worker{role}{_expected(ahead)}"
        bars.update(bar, completed=progress.fraction, words=line)
    else:
        words = [progress.phase or "starting"]
        if progress.pages_total:
            words.append(f"page {progress.pages_done:,} of {progress.pages_total:,}")
        if progress.total:
            words.append(f"{progress.done:,} of {progress.total:,} {progress.unit}")
        line = ", ".join(words) + _time_left(progress.eta_s)
        bars.update(bar, completed=progress.fraction, words=line)


def _expected(ahead: Outlook | None) -> str:
    """By the clock, because what waits does not change and is not drawn again."""
    if ahead is None or not ahead.starts_s:
        return ""
    begins = datetime.now() + timedelta(seconds=ahead.starts_s)
    return f", {_count(ahead.ahead, 'job')} before it, begins about {begins:%H:%M:%S}"


def _time_left(seconds: float | None) -> str:
    return "" if seconds is None else f", {_duration(seconds)} left"


def _say_once(line: str, jobs: Jobs, job_ids: Sequence[str]) -> None:
    """Where no bar can be shown, one line says that something goes on."""
    if console(sys.stderr).is_terminal or all(jobs.get(id_).status.is_final for id_ in job_ids):
        return
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
