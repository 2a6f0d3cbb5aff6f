"""Answers of several documents, and the fields of one, as HTML; every foreign word escaped.

Pure, like `render`, whose parts it puts together. Called by the Ask page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmapp.types import Job
from mmapp.web.render import (
    ShownDocument,
    coverage,
    escape,
    hidden_text,
    job_head,
    job_url,
    notice,
    page_count,
    progress_bar,
    record_line,
    status_chip,
    viewer,
)
from mmapp.web.words import Words

#: Fields that are looked for when none are named: their names in the reader's language.
OWN_NAMES = ("parties", "dates", "amounts", "terms")


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """What one of several documents says to a question; no payload: not yet, or it failed."""

    job: Job
    name: str
    payload: Mapping[str, Any] | None


# --- answers of several documents ----------------------------------------------------------------


def answers(
    say: Words, question: str, shown: Sequence[ShownAnswer], best: str, whole_best: str
) -> str:
    """The answers of several documents, the likeliest first and, `whole_best`, with its page.

    `best` is the id of the likeliest answer's job; empty: none of the documents answers.
    """
    is_done = all(one.job.status.is_final for one in shown)
    none = notice(say("not_found_anywhere"), "quiet") if is_done and not best else ""
    rows = "".join(_answer_row(say, one, one.job.id == best) for one in _ranked(shown))
    heads = "".join(
        f"<th scope=col>{escape(say(name))}</th>" for name in ("name", "answer", "probability")
    )
    return (
        f'<article class="job" data-status="{"succeeded" if is_done else "running"}">'
        f'<header class="job-head"><h2>{escape(question)}</h2></header>{none}'
        f'<div class="scroll"><table class="rows answers"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></article>{whole_best}"
    )


def _ranked(shown: Sequence[ShownAnswer]) -> list[ShownAnswer]:
    """Those that answer by their probability, then the others, then those without a result."""

    def place(one: ShownAnswer) -> tuple[int, float]:
        if one.payload is None:
            return 2, 0.0
        return int(not one.payload["found"]), -float(one.payload["probability"])

    return sorted(shown, key=place)


def _answer_row(say: Words, one: ShownAnswer, is_best: bool) -> str:
    name = f'<a href="{escape(job_url(say.language, one.job))}">{escape(one.name)}</a>'
    mark = f"<small>{escape(say('likeliest'))}</small>" if is_best else ""
    if one.payload is None:
        said = one.job.error if one.job.status.is_final else ""
        state = escape(said) if said else progress_bar(say, one.job)
        return f"<tr><td>{name}</td><td>{state}</td><td>{status_chip(say, one.job)}</td></tr>"
    said = "".join(_quoted(say, item) for item in one.payload["answer"])
    said = said or f'<span class="none">{escape(say("not_found"))}</span>'
    chosen = ' class="best"' if is_best else ""
    return (
        f"<tr{chosen}><td>{name}{mark}</td><td>{said}</td>"
        f"<td>{float(one.payload['probability']):.0%}</td></tr>"
    )


def _quoted(say: Words, item: Mapping[str, Any]) -> str:
    pages = " ".join(
        f'<span class="cite">{escape(say("page_number", page=proof["page"]))}</span>'
        for proof in item["evidence"]
    )
    return f"<q>{escape(item['text'])}</q> {pages}"


# --- fields --------------------------------------------------------------------------------------


def fields(
    say: Words,
    job: Job,
    payload: Mapping[str, Any],
    record: Mapping[str, Any],
    shown: ShownDocument,
) -> str:
    """The table of fields beside the page that proves the chosen value."""
    numbered = list(enumerate(value for one in payload["fields"] for value in one["values"]))
    proved = {proof["page"] for _, value in numbered for proof in value["evidence"]}
    asked = all(one["asked"] or one["kind"] for one in payload["fields"])
    return (
        f'<article class="job" data-status="succeeded">'
        f"{job_head(say, job, page_count(say, shown.document.page_count))}"
        f'<div class="two"><section aria-label="{escape(say("field"))}">'
        f"{_table(say, payload['fields'])}"
        f"{'' if asked else notice(say('not_asked'), 'quiet')}"
        f"{hidden_text(say, payload.get('hidden'))}"
        f"{coverage(say, payload['coverage'], proved)}"
        f"{_record(say, job, record, shown, bool(proved))}</section>"
        f"{viewer(say, shown, [value for _, value in numbered])}</div></article>"
    )


def _record(
    say: Words, job: Job, record: Mapping[str, Any], shown: ShownDocument, proved: bool
) -> str:
    is_pdf = shown.can_be_marked and proved
    return record_line(say, job.id, record, is_pdf=is_pdf, tables=("csv", "xlsx"))


def _table(say: Words, found: Sequence[Mapping[str, Any]]) -> str:
    heads = "".join(
        f"<th scope=col>{escape(say(name))}</th>" for name in ("field", "value", "found_by")
    )
    return (
        f'<div class="scroll"><table class="claims fields"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(_rows(say, found))}</tbody></table></div>"
    )


def _rows(say: Words, found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    number = 0
    for one in found:
        name = say(f"field_{one['name']}") if one["name"] in OWN_NAMES else one["name"]
        head = f'<th scope=row rowspan="{max(1, len(one["values"]))}">{escape(name)}</th>'
        if not one["values"]:
            none = f'<span class="none">{escape(say("not_found"))}</span>'
            yield f"<tr>{head}<td>{none}</td><td></td></tr>"
        for value in one["values"]:
            yield f"<tr>{head}<td>{_value(say, number, value)}</td><td>{_way(say, value)}</td></tr>"
            head, number = "", number + 1
        more = one["found"] - len(one["values"])
        if more > 0:
            words = escape(say("more_values", count=f"{more:,}"))
            yield f"<tr><td></td><td>{words}</td><td></td></tr>"


def _value(say: Words, number: int, value: Mapping[str, Any]) -> str:
    pages = list(dict.fromkeys(proof["page"] for proof in value["evidence"]))
    cites = " ".join(
        f'<span class="cite">{escape(say("page_number", page=page))}</span>' for page in pages
    )
    notes = [note for note in (value["label"], value["normal"]) if note not in ("", value["text"])]
    small = f"<small>{escape(' · '.join(notes))}</small>" if notes else ""
    doubt = "" if value["supported"] else f" <em>{escape(say('unsupported'))}</em>"
    return (
        f'<button type="button" class="sentence" data-sentence="{number}" '
        f'data-page="{int(pages[0])}" title="{escape(say("show_on_page", page=pages[0]))}">'
        f"{escape(value['text'])}</button> {cites}{doubt}{small}"
    )


def _way(say: Words, value: Mapping[str, Any]) -> str:
    way = escape(say("found_by_" + value["found_by"].replace(" ", "_")))
    likely = value["probability"]
    return way if likely is None else f"{way}<small>{float(likely):.0%}</small>"
