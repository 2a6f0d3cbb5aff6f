"""Results to keep and to send on: Markdown, and what is marked in an annotated PDF.

Pure. Foreign words are escaped, so that no title or quote becomes a link, a picture or HTML where
the Markdown is shown. Called by the command line and by `api`; the PDF itself is made by the
reader's child, through `jobs.Jobs.annotated`. Refuses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mmapp import reviews
from mmapp.types import Job, Mark, Result, TaskName

#: What Markdown or HTML would read as more than words; also what begins a list or a heading.
_SIGNS = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&$:@])")
#: Where a payload keeps what it quotes.
QUOTES_OF = {TaskName.SUMMARIZE: "summary", TaskName.ASK: "answer"}


def markdown(job: Job, result: Result) -> str:
    """The result as a page of Markdown: what was found, each with its proof, and what made it."""
    payload = result.payload
    body = BODIES[result.task](job, payload)
    record = result.record
    by = f"{record['checkpoint']} {record['weights_sha256'][:12]}".strip()
    made = f"{by}, {record['code']}"
    lines = [
        f"# {plain(job.label)}",
        "",
        *body,
        *_reviewed(result),
        "",
        f"Job {job.id}. Made by {plain(made)}.",
    ]
    return "\n".join(lines) + "\n"


def marks(result: Result) -> list[Mark]:
    """Where the evidence of a result about a document stands, with what it proves."""
    return [
        Mark(one["page"], tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in one["boxes"]), text)
        for text, evidence in _notes(result.task, result.payload)
        for one in evidence
    ]


def marked_document(result: Result) -> str:
    """The hash of the document in which the marks stand: of two versions the new one."""
    payload = result.payload
    is_comparison = result.task is TaskName.COMPARE
    document = payload["documents"]["new"] if is_comparison else payload["document"]
    return str(document["sha256"])


def _notes(
    task: TaskName, payload: Mapping[str, Any]
) -> Iterator[tuple[str, Sequence[Mapping[str, Any]]]]:
    """What is noted, and the evidence on which."""
    if task is TaskName.EXTRACT:
        for field in payload["fields"]:
            for value in field["values"]:
                yield f"{field['name']}: {value['text']}", value["evidence"]
    elif task is TaskName.COMPARE:
        for change in payload["changes"]:
            if change["new"]:
                yield _what_changed(change), change["new"]["evidence"]
    elif task is TaskName.FIGURES:
        for figure in payload["figures"]:
            if figure["caption"]:
                yield _figure_verdict(figure), [figure["caption"]]
    else:
        for item in quoted_sentences(task, payload) if task in QUOTES_OF else ():
            doubt = "" if item["supported"] else " (not proved)"
            yield f"{item['text']}{doubt}", item["evidence"]


def _what_changed(change: Mapping[str, Any]) -> str:
    if not change["old"]:
        return "added"
    page = change["old"]["evidence"][0]["page"]
    if change["kind"] == "moved":
        return f"moved, was on page {page}"
    return f"was (page {page}): {change['old']['text']}"


def quoted_sentences(task: TaskName, payload: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """All sentences of a result about a document, in the order in which they are shown."""
    found = list(payload[QUOTES_OF[task]])
    for section in payload.get("sections", ()):
        found += section["summary"]
    return found


def plain(text: str) -> str:
    """Foreign words in one line, read by Markdown as words and nothing else."""
    return _signs(" ".join(text.split()))


def _signs(text: str) -> str:
    return _SIGNS.sub(r"\\\1", text.replace("\n", " "))


def _document(job: Job, payload: Mapping[str, Any]) -> Iterator[str]:
    if job.task is TaskName.ASK:
        yield f"Probability that this is answered: {payload['probability']:.0%}"
        yield ""
    if payload.get("support") and payload["support"]["rate"] is not None:
        support = payload["support"]
        yield f"{support['supported']} of {support['written']} written sentences are proved."
        yield ""
    yield from _sentences(payload[QUOTES_OF[job.task]])
    for section in payload.get("sections", ()):
        yield ""
        yield f"## {plain(section['title']) or 'Before the first heading'}"
        yield ""
        yield f"Page {section['page']}."
        yield ""
        yield from _sentences(section["summary"])
    if job.task is TaskName.ASK and not payload["found"]:
        yield "Not in this document."
    yield from _coverage(payload["coverage"])
    yield from _hidden(payload.get("hidden"))


def _coverage(covered: Mapping[str, Any], whose: str = "") -> Iterator[str]:
    yield ""
    recognised = f", {covered['ocr']:,} by text recognition" if covered["ocr"] else ""
    yield f"Read {covered['read']:,} of {covered['pages']:,} pages{whose}{recognised}."
    for page in covered["failed"]:
        yield f"- page {page['page']} was not read: {plain(page['reason'])}"


def _sentences(quoted: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for number, item in enumerate(quoted, 1):
        lacking = ", ".join(
            f"{one['kind']} {plain(one['text'])}".strip() for one in item.get("missing", ())
        )
        doubt = f" **(not proved{': ' if lacking else ''}{lacking})**"
        yield f"{number}. {plain(item['text'])}{'' if item['supported'] else doubt}"
        for one in item["evidence"]:
            sure = f" (text recognition, {one['ocr']:.0%} sure)" if "ocr" in one else ""
            yield f"   - page {one['page']}: “{plain(one['quote'])}”{sure}"


def _hidden(hidden: Mapping[str, Any] | None) -> Iterator[str]:
    if hidden and hidden["texts"]:
        yield ""
        yield f"{hidden['words']:,} words that the pages do not show were left out:"
        yield ""
        for one in hidden["texts"]:
            why = plain(one["why"].replace("_", " "))
            yield f"- page {one['page']}, {why}: “{plain(one['text'])}”"


def _fields(_job: Job, payload: Mapping[str, Any]) -> Iterator[str]:
    yield "| field | value | found by | probability | page |"
    yield "|---|---|---|---|---|"
    for field in payload["fields"]:
        for value in field["values"] or [None]:
            yield _field_row(field["name"], value)
    yield from _coverage(payload["coverage"])
    yield from _hidden(payload.get("hidden"))


def _field_row(name: str, value: Mapping[str, Any] | None) -> str:
    if value is None:
        return f"| {plain(name)} | *not in this document* | | | |"
    label = f" ({plain(value['label'])})" if value["label"] else ""
    doubt = "" if value["supported"] else " **(not proved)**"
    likely = "" if value["probability"] is None else f"{value['probability']:.2f}"
    pages = ", ".join(str(page) for page in dict.fromkeys(e["page"] for e in value["evidence"]))
    cells = (plain(name), plain(value["text"]) + label + doubt, value["found_by"], likely, pages)
    return f"| {' | '.join(cells)} |"


def _changes(_job: Job, payload: Mapping[str, Any]) -> Iterator[str]:
    counts = ", ".join(f"{count:,} {kind}" for kind, count in payload["counts"].items() if count)
    yield f"**{counts or 'No changes'}.** Compared by code; no model was asked."
    yield ""
    for number, change in enumerate(payload["changes"], 1):
        yield f"{number}. **{change['kind']}**"
        for side, sign in (("old", "−"), ("new", "+")):
            if change[side] is None:
                continue
            is_told = side == "new" and change["kind"] == "moved" and not change[side]["differs"]
            words = "the same words" if is_told else _marked(change[side])
            yield f"   - {sign} {_pages(change[side])}: {words}"
    told, found = len(payload["changes"]), sum(payload["counts"].values())
    if told < found:
        yield ""
        yield f"The first {told:,} of {found:,} changes."
    for side in ("old", "new"):
        name = plain(payload["documents"][side]["name"])
        yield from _coverage(payload["coverage"][side], f" of {name}")
        yield from _hidden(payload["hidden"][side])


def _pages(side: Mapping[str, Any]) -> str:
    pages = list(dict.fromkeys(one["page"] for one in side["evidence"]))
    return f"page {pages[0]}" if len(pages) == 1 else f"pages {pages[0]}–{pages[-1]}"


def _marked(side: Mapping[str, Any]) -> str:
    """The words with those that differ in bold."""
    return "".join(
        f"**{_signs(words)}**" if differs else _signs(words) for words, differs in runs(side)
    )


def runs(side: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """The words of one side of a change, in order, and whether the other side has others."""
    text, done = side["text"], 0
    for one in side["differs"]:
        yield text[done : one["start"]], False
        yield text[one["start"] : one["end"]], True
        done = one["end"]
    yield text[done:], False


def _figures(_job: Job, payload: Mapping[str, Any]) -> Iterator[str]:
    yield "| page | words about the picture | verdict | claims |"
    yield "|---|---|---|---|"
    for figure in payload["figures"]:
        caption = figure["caption"]
        words = f"{plain(caption['label'])}: {plain(caption['text'])}" if caption else ""
        claims = "; ".join(
            f"{plain(claim['text'])}: {plain(claim['label'])} {claim['probability']:.2f}"
            for claim in figure["claims"]
        )
        yield f"| {figure['page']} | {words} | {plain(_figure_verdict(figure))} | {claims} |"
    if not payload["figures"]:
        yield ""
        yield "No figures were found."
    yield from _coverage(payload["coverage"])
    yield from _hidden(payload.get("hidden"))


def _figure_verdict(figure: Mapping[str, Any]) -> str:
    """The verdict, with P(agree) where a model was asked."""
    if figure["probability"] is None:
        return str(figure["verdict"])
    return f"{figure['verdict']}, P(agree) {figure['probability']:.2f}"


def _listing(_job: Job, payload: Mapping[str, Any]) -> Iterator[str]:
    yield f"**{payload['verdict']}**, probability that photos and words agree: {payload['score']}"
    yield ""
    yield "| claim | about | kind | verdict | probability | seen in |"
    yield "|---|---|---|---|---|---|"
    for claim in payload["claims"]:
        seen = ", ".join(f"photo {one['image']}" for one in claim["evidence"])
        seen = seen if claim.get("visible", True) else "no photo can show it"
        about, kind = plain(claim["attribute"] or ""), plain(claim.get("kind", ""))
        cells = (plain(claim["text"]), about, kind, plain(claim["label"]))
        yield f"| {' | '.join(cells)} | {claim['probability']:.2f} | {seen} |"


def _reviewed(result: Result) -> Iterator[str]:
    """What people said of the verdicts since."""
    said = reviews.counting(result.reviews)
    if said:
        yield ""
        yield "Reviewed by people:"
        yield ""
    for claim, review in said.items():
        about = f"“{plain(reviews.words(result.payload, claim))}”" if claim else "the listing"
        note = f" ({plain(review.note)})" if review.note else ""
        day = review.created_at.date().isoformat()
        verdict = plain(reviews.verdict(review))
        yield f"- {about}: **{verdict}**, says {plain(review.by)} on {day}{note}"


#: How the payload of each task is told.
BODIES: Mapping[TaskName, Callable[[Job, Mapping[str, Any]], Iterator[str]]] = {
    TaskName.SUMMARIZE: _document,
    TaskName.ASK: _document,
    TaskName.EXTRACT: _fields,
    TaskName.COMPARE: _changes,
    TaskName.FIGURES: _figures,
    TaskName.CHECK_LISTING: _listing,
}
