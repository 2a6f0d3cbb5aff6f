"""Reviews as HTML: what a person says beside the model's verdict, and the buttons to say it.

Pure, as `render`, whose rules hold here. `viewer.js` sends what is clicked and shows what came of
it; who reviews, and why, is typed once above the buttons. Called by the pages with verdicts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mmapp import reviews
from mmapp.types import Job, Label, Result, Review
from mmapp.web.render import escape, job_url, time_of
from mmapp.web.words import Words

#: What is clicked for each label.
SIGNS = {Label.SUPPORTED: "✓", Label.REFUTED: "✗", Label.NOT_ENOUGH_INFO: "?"}


def reviewer(say: Words) -> str:
    """Who reviews and why, for all buttons on the page."""
    return (
        f'<div class="reviewer" data-nameless="{escape(say("review_nameless"))}" '
        f'data-failed="{escape(say("review_failed"))}">'
        f'<label>{escape(say("review_by"))} <input name="by" maxlength="100" '
        'autocomplete="name"></label>'
        f'<label class="note">{escape(say("review_note"))} <input name="note" maxlength="2000" '
        f'autocomplete="off"></label><output role="status"></output></div>'
    )


def control(say: Words, job_id: str, claim: int | None, model: Label, said: Review | None) -> str:
    """What a person says of one verdict, and buttons for each thing to say; `claim` from 1."""
    words = {label: _word(say, claim, label) for label in Label}
    buttons = "".join(
        f'<button type="button" data-review="{label}" title="{escape(title)}" '
        f'aria-label="{escape(title)}">{SIGNS[label]}</button>'
        for label, word in words.items()
        for title in [say("review_accept" if label is model else "review_say", verdict=word)]
    )
    return (
        f'<div class="review" data-job="{escape(job_id)}" data-claim="{claim or ""}" '
        f'data-words="{escape(json.dumps(words))}"><span class="said">'
        f"{_said(words, said) if said else ''}</span>"
        f'<span class="choices" role="group" aria-label="{escape(say("review"))}">{buttons}</span>'
        "</div>"
    )


def _word(say: Words, claim: int | None, label: Label) -> str:
    return say(label.value if claim else reviews.VERDICTS[label])


def _said(words: Mapping[Label, str], review: Review) -> str:
    note = f": {review.note}" if review.note else ""
    return (
        f'<span class="label {escape(review.label)}">{escape(words[review.label])}</span> '
        f'<small title="{escape(review.created_at.isoformat(timespec="seconds"))}">'
        f"{escape(review.by + note)}</small>"
    )


def whole(say: Words, job_id: str, payload: Mapping[str, Any], said: Sequence[Review]) -> str:
    """The control of a listing as a whole."""
    model = reviews.model_label(payload, None)
    return control(say, job_id, None, model, reviews.counting(said).get(None))


def to_review(say: Words, rows: Sequence[tuple[Job, str, Result]]) -> str:
    """The least certain listings that nobody reviewed yet, with their headlines."""
    if not rows:
        return ""
    body = "".join(
        f'<tr><td><a href="{escape(job_url(say.language, job))}">{escape(job.label)}</a></td>'
        f"<td>{escape(headline)}</td><td>{whole(say, job.id, result.payload, result.reviews)}</td>"
        f"<td>{time_of(job.created_at)}</td></tr>"
        for job, headline, result in rows
    )
    heads = "".join(
        f"<th scope=col>{escape(say(name))}</th>" for name in ("name", "outcome", "review", "when")
    )
    return (
        f'<section class="job to-review"><h3>{escape(say("to_review"))}</h3>'
        f"<p>{escape(say('to_review_lead'))}</p>{reviewer(say)}"
        f'<div class="scroll"><table class="rows"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )
