"""The figures of a document as HTML: each with its words, verdict and claims, beside its page.

Pure, like `render`, whose parts it puts together; every foreign word is escaped. Called by the Ask
page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmapp.types import Job, Label
from mmapp.web.render import (
    ShownDocument,
    coverage,
    escape,
    figure_counts,
    figure_key,
    hidden_text,
    job_head,
    notice,
    page_count,
    page_viewer,
    percentages,
    record_line,
)
from mmapp.web.words import Words

#: The colour of a verdict: that of the label that says the same of a claim.
COLOURS = {
    "agrees": Label.SUPPORTED,
    "disagrees": Label.REFUTED,
    "unclear": Label.NOT_ENOUGH_INFO,
    "no caption": "unasked",
}


def figures(
    say: Words,
    job: Job,
    payload: Mapping[str, Any],
    record: Mapping[str, Any],
    shown: ShownDocument,
) -> str:
    """The table of figures beside the page on which the chosen one stands."""
    found = payload["figures"]
    pages = {figure["page"] for figure in found}
    body = _table(say, found) if found else notice(say("no_figures"), "quiet")
    return (
        f'<article class="job" data-status="succeeded">'
        f"{job_head(say, job, page_count(say, shown.document.page_count))}"
        f'<div class="two listing"><section aria-label="{escape(say("figures"))}">'
        f"{notice(say('figures_limit'), 'quiet')}{body}{_left_out(say, payload['left_out'])}"
        f"{hidden_text(say, payload.get('hidden'))}{coverage(say, payload['coverage'], pages)}"
        f"{record_line(say, job.id, record, is_pdf=_has_captions(found) and shown.can_be_marked)}"
        f"</section>{page_viewer(say, shown, list(_marks(found, shown)))}</div></article>"
    )


def _has_captions(found: Sequence[Mapping[str, Any]]) -> bool:
    return any(figure["caption"] for figure in found)


def _table(say: Words, found: Sequence[Mapping[str, Any]]) -> str:
    heads = "".join(f"<th scope=col>{escape(say(name))}</th>" for name in ("figure", "verdict"))
    rows = "".join(_row(say, number, figure) for number, figure in enumerate(found))
    return (
        f'<div class="scroll"><table class="claims"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(say: Words, number: int, figure: Mapping[str, Any]) -> str:
    page, caption, verdict = int(figure["page"]), figure["caption"], figure["verdict"]
    label = caption["label"] if caption else say("unlabelled")
    words = f"{escape(label)} · {escape(caption['text'])}" if caption else escape(label)
    cite = f'<span class="cite">{escape(say("page_number", page=page))}</span>'
    likely = figure["probability"]
    sure = "" if likely is None else f"<br>{escape(say('score', score=f'{float(likely):.0%}'))}"
    return (
        f'<tr><td><button type="button" class="sentence" data-sentence="{number}" '
        f'data-page="{page}" title="{escape(say("show_on_page", page=page))}">{words}</button> '
        f"{cite}{_why(say, figure)}{''.join(_claims(say, figure['claims']))}</td>"
        f'<td><span class="label {COLOURS[verdict]}">{escape(say(figure_key(verdict)))}</span>'
        f'<span class="kind">{sure}</span></td></tr>'
    )


def _why(say: Words, figure: Mapping[str, Any]) -> str:
    """What ties the words to the picture where it is no caption, and why it could not be drawn."""
    caption = figure["caption"]
    notes = []
    if caption and caption["found_by"] != "caption":
        notes.append(say(f"figure_by_{caption['found_by']}", page=caption["page"]))
    if figure["error"]:
        notes.append(figure["error"])
    return "".join(f'<br><span class="kind">{escape(note)}</span>' for note in notes)


def _claims(say: Words, claims: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for claim in claims:
        label = claim["label"] if claim["visible"] else "unasked"
        told = say(claim["label"]) if claim["visible"] else say("not_visible")
        yield (
            f'<br><span class="label {escape(label)}">{escape(told)}</span> '
            f'<span class="kind">{escape(claim["text"])}</span>'
        )


def _left_out(say: Words, counts: Mapping[str, int]) -> str:
    told = say("figures_left_out", told=figure_counts(say, counts))
    return notice(told, "quiet") if any(counts.values()) else ""


def _marks(found: Sequence[Mapping[str, Any]], shown: ShownDocument) -> Iterator[dict[str, Any]]:
    """The picture of each figure and its words, in the colour of the verdict."""
    for number, figure in enumerate(found):
        places = [(figure["page"], [figure["box"]])]
        if figure["caption"]:
            places.append((figure["caption"]["page"], figure["caption"]["boxes"]))
        for page, boxes in places:
            yield {
                "sentence": number,
                "page": page,
                "label": COLOURS[figure["verdict"]],
                "boxes": percentages(boxes, shown.pages.get(page)),
            }
