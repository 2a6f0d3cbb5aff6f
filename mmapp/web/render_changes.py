"""The changes between two versions as HTML, beside both pages; every foreign word escaped.

Pure, like `render`, whose parts it puts together. A change is a pair of buttons with one number;
`viewer.js` shows each side's place in its own viewer. Called by the Compare page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmapp.exports import runs
from mmapp.types import Job
from mmapp.web.render import (
    ShownDocument,
    change_counts,
    coverage,
    escape,
    hidden_text,
    job_head,
    notice,
    page_viewer,
    percentages,
    record_line,
)
from mmapp.web.words import Words

#: Changes that are drawn; the JSON has all that were kept.
SHOWN = 300
SIDES = ("old", "new")


def changes(
    say: Words,
    job: Job,
    payload: Mapping[str, Any],
    record: Mapping[str, Any],
    versions: Mapping[str, ShownDocument],
) -> str:
    """The changes in order, and the pages of both versions with their places."""
    shown = payload["changes"][:SHOWN]
    heads = "".join(
        f"<h3><small>{escape(say(f'{side}_version'))}</small>"
        f"{escape(versions[side].document.name)}</h3>"
        for side in SIDES
    )
    rows = "".join(_change(say, number, change) for number, change in enumerate(shown))
    viewers = "".join(
        page_viewer(say, versions[side], _marks(shown, versions, side), side) for side in SIDES
    )
    is_pdf = versions["new"].can_be_marked and any(change["new"] for change in shown)
    return (
        f'<article class="job versions" data-status="succeeded">'
        f"{job_head(say, job, change_counts(say, payload['counts']))}"
        f'<p class="help">{escape(say("code_alone"))}</p>'
        f'<div class="pair heads">{heads}</div><ol class="changes">{rows}</ol>'
        f"{_more(say, payload, len(shown))}"
        f'<div class="pair">{viewers}</div>'
        f'<div class="pair">{"".join(_read(say, payload, side) for side in SIDES)}</div>'
        f"{record_line(say, job.id, record, is_pdf=is_pdf)}</article>"
    )


def _more(say: Words, payload: Mapping[str, Any], shown: int) -> str:
    count = sum(payload["counts"].values())
    if not count:
        return ""
    more = say("changes_more", shown=f"{shown:,}", count=f"{count:,}")
    return notice(more, "quiet") if shown < count else ""


def _read(say: Words, payload: Mapping[str, Any], side: str) -> str:
    """Which pages of a version were read, and the words that they do not show."""
    changed = {
        proof["page"]
        for change in payload["changes"]
        if change[side]
        for proof in change[side]["evidence"]
    }
    return (
        f'<section data-side="{side}">{hidden_text(say, payload["hidden"][side])}'
        f"{coverage(say, payload['coverage'][side], changed)}</section>"
    )


def _change(say: Words, number: int, change: Mapping[str, Any]) -> str:
    kind = change["kind"]
    chip = f'<span class="chip {kind}">{escape(say(f"change_{kind}"))}</span>'
    sides = "".join(_side(say, number, change[side], side, kind) for side in SIDES)
    return f'<li class="pair">{chip}{sides}</li>'


def _side(say: Words, number: int, told: Mapping[str, Any] | None, side: str, kind: str) -> str:
    if told is None:
        return '<span class="nothing"></span>'
    page = told["evidence"][0]["page"]
    whole = {"added": "ins", "removed": "del"}.get(kind)
    words = f"<{whole}>{escape(told['text'])}</{whole}>" if whole else _marked(told, side)
    return (
        f'<button type="button" class="sentence" data-sentence="{number}" data-side="{side}" '
        f'data-page="{int(page)}" title="{escape(say("show_on_page", page=page))}">{words} '
        f'<span class="cite">{escape(say("page_number", page=page))}</span></button>'
    )


def _marked(told: Mapping[str, Any], side: str) -> str:
    """The words with those that differ marked as taken away, or as put in."""
    name = "del" if side == "old" else "ins"
    return "".join(
        f"<{name}>{escape(words)}</{name}>" if differs else escape(words)
        for words, differs in runs(told)
    )


def _marks(
    shown: Sequence[Mapping[str, Any]], versions: Mapping[str, ShownDocument], side: str
) -> list[dict[str, Any]]:
    """Where the sentences stand, and in them the words that differ."""
    marks = []
    for number, change in enumerate(shown):
        told = change[side]
        if told is None:
            continue
        places = [(one, side) for one in told["evidence"]]
        places += [({**one, "quote": ""}, f"{side} word") for one in told["differs"]]
        for one, label in places:
            page = versions[side].pages.get(one["page"])
            marks.append(
                {
                    "sentence": number,
                    "page": one["page"],
                    "quote": one["quote"],
                    "label": label,
                    "boxes": percentages(one["boxes"], page),
                }
            )
    return marks
