"""Results to keep and to send on: Markdown, and what is marked in an annotated PDF.

Pure. Foreign words are escaped, so that no title or quote becomes a link, a picture or HTML where
the Markdown is shown. Called by the command line and by `api`; the PDF itself is made by the
reader's child, through `jobs.Jobs.annotated`. Refuses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmapp.types import Job, Mark, Result, TaskName

#: What Markdown or HTML would read as more than words; also what begins a list or a heading.
_SIGNS = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&$:@])")
#: Where a payload keeps what it quotes.
QUOTES_OF = {TaskName.SUMMARIZE: "summary", TaskName.ASK: "answer"}


def markdown(job: Job, result: Result) -> str:
    """The result as a page of Markdown: what was found, each with its proof, and what made it."""
    payload = result.payload
    body = _listing(payload) if result.task is TaskName.CHECK_LISTING else _document(job, payload)
    record = result.record
    made = f"{record['checkpoint']} {record['weights_sha256'][:12]}, {record['code']}"
    lines = [f"# {plain(job.label)}", "", *body, "", f"Job {job.id}. Made by {plain(made)}."]
    return "\n".join(lines) + "\n"


def marks(result: Result) -> list[Mark]:
    """Where the evidence of a result about a document stands, with what it proves."""
    if result.task not in QUOTES_OF:
        return []
    quoted = quoted_sentences(result.task, result.payload)
    notes = [
        (item["text"] if item["supported"] else f"{item['text']} (not proved)", item["evidence"])
        for item in quoted
    ]
    return [
        Mark(one["page"], tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in one["boxes"]), text)
        for text, evidence in notes
        for one in evidence
    ]


def quoted_sentences(task: TaskName, payload: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """All sentences of a result about a document, in the order in which they are shown."""
    found = list(payload[QUOTES_OF[task]])
    for section in payload.get("sections", ()):
        found += section["summary"]
    return found


def plain(text: str) -> str:
    """Foreign words in one line, read by Markdown as words and nothing else."""
    return _SIGNS.sub(r"\\\1", " ".join(text.split()))


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
    covered = payload["coverage"]
    yield ""
    recognised = f", {covered['ocr']:,} by text recognition" if covered["ocr"] else ""
    yield f"Read {covered['read']:,} of {covered['pages']:,} pages{recognised}."
    for page in covered["failed"]:
        yield f"- page {page['page']} was not read: {plain(page['reason'])}"
    yield from _hidden(payload.get("hidden"))


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


def _listing(payload: Mapping[str, Any]) -> Iterator[str]:
    yield f"**{payload['verdict']}**, probability that photos and words agree: {payload['score']}"
    yield ""
    yield "| claim | about | verdict | probability | seen in |"
    yield "|---|---|---|---|---|"
    for claim in payload["claims"]:
        seen = ", ".join(f"photo {one['image']}" for one in claim["evidence"])
        cells = (plain(claim["text"]), plain(claim["attribute"] or ""), plain(claim["label"]))
        yield f"| {' | '.join(cells)} | {claim['probability']:.2f} | {seen} |"
