"""Listings as HTML: the verdict, its claims beside the photos, and the listing in colours.

Pure, as `render`, whose rules hold here: every foreign word is escaped. Called by the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmapp import reviews
from mmapp.types import Job, Label, Listing, Page, Review
from mmapp.web import reviewing
from mmapp.web.render import escape, job_head, notice, percentages, record_line
from mmapp.web.words import Words


def verdict(
    say: Words,
    job: Job,
    listing: Listing,
    payload: Mapping[str, Any],
    record: Mapping[str, Any],
    photos: Sequence[Page | None],
    said: Sequence[Review] = (),
) -> str:
    """`photos`: the page of each photo of the listing, None where it is gone. `said`: by people."""
    claims = payload["claims"]
    top = checked = ""
    if claims:  # where words are only proposed, nothing was checked
        top = headline(say, payload, reviewing.whole(say, job.id, payload, said))
        table = f"{reviewing.reviewer(say)}{_claim_table(say, job.id, claims, said)}"
        checked = f"{listing_words(say, listing, payload)}{table}"
    return (
        f'<article class="job" data-status="succeeded">{job_head(say, job)}{top}'
        f'<div class="two listing">{_photo_viewer(say, listing, claims, photos)}'
        f"<section>{checked}{_proposal(say, payload)}"
        f"{record_line(say, job.id, record)}</section></div></article>"
    )


def headline(say: Words, payload: Mapping[str, Any], review: str = "") -> str:
    """`review`: HTML of what a person says of it."""
    labels = [claim["label"] for claim in payload["claims"]]
    counts = say(
        "verdict_counts",
        supported=labels.count(Label.SUPPORTED),
        refuted=labels.count(Label.REFUTED),
        unseen=labels.count(Label.NOT_ENOUGH_INFO),
    )
    name = payload["verdict"]
    score = say("score", score=f"{float(payload['score']):.0%}")
    return (
        f'<div class="verdict {escape(name)}"><p class="headline">{escape(say(name))}</p>'
        f"<p>{escape(score)} · {escape(counts)}</p>{_reasons(say, payload)}"
        f"{review}</div>"
    )


def _reasons(say: Words, payload: Mapping[str, Any]) -> str:
    """What the verdict rests on: the claim and the photo that decided, and the rule."""
    reasons = []
    if decided := payload.get("decided_by"):
        words = payload["claims"][decided["claim"]]["text"]
        key = "decided_by_photo" if decided["image"] else "decided_by"
        reasons.append(say(key, claim=words, number=decided["image"] or ""))
    if rule := payload.get("rule"):
        limits = {name: f"{float(value):.0%}" for name, value in rule.items()}
        reasons.append(say("rule", **limits))
    return f'<p class="why">{escape(" ".join(reasons))}</p>' if reasons else ""


def _claim_table(
    say: Words, job_id: str, claims: Sequence[Mapping[str, Any]], said: Sequence[Review]
) -> str:
    counting = reviews.counting(said)
    heads = "".join(
        f"<th scope=col>{escape(say(name))}</th>"
        for name in ("claim", "attribute", "verdict", "probability", "review")
    )
    rows = "".join(
        _claim_row(
            say,
            number,
            claim,
            reviewing.control(
                say, job_id, number + 1, Label(claim["label"]), counting.get(number + 1)
            ),
        )
        for number, claim in enumerate(claims)
    )
    return (
        f'<div class="scroll"><table class="claims"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _claim_row(say: Words, number: int, claim: Mapping[str, Any], control: str) -> str:
    label = escape(claim["label"])
    chip = f'<span class="label {label}">{escape(say(claim["label"]))}</span>'
    if claim.get("visible", True):
        probability = float(claim["probability"])
        sure = (
            f'<span>{probability:.0%}</span><i class="{label}" '
            f'style="width:{round(100 * probability)}%"></i>'
        )
    else:
        chip = f'<span class="label unasked">{escape(say("not_visible"))}</span>'
        sure = f'<span class="quiet">{escape(say("by_code"))}</span>'
    stands = " class=detail" if claim.get("detail") else ""
    return (
        f"<tr><td{stands}>{_claim_words(say, number, claim)}"
        f"</td><td>{_about(say, claim)}</td><td>{chip}{_fallen(say, claim)}</td>"
        f'<td class="probability">{sure}</td><td>{control}</td></tr>'
    )


def _claim_words(say: Words, number: int, claim: Mapping[str, Any]) -> str:
    words, evidence = escape(claim["text"]), claim["evidence"]
    if not evidence:
        return words
    photo = int(evidence[0]["image"])
    title = escape(say("show_on_photo", number=photo))
    return (
        f'<button type="button" class="sentence" data-sentence="{number}" '
        f'data-page="{photo}" title="{title}">{words}</button>'
    )


def _about(say: Words, claim: Mapping[str, Any]) -> str:
    """The seller's name of it, and what kind of thing it is."""
    is_attribute = claim["field"] == "attributes"
    about = escape(claim["attribute"] if is_attribute else say(claim["field"]))
    kind = claim.get("kind", "other")
    if kind == "other":
        return about
    return f'{about}<br><span class="kind">{escape(say(f"kind_{kind}"))}</span>'


def _fallen(say: Words, claim: Mapping[str, Any]) -> str:
    if claim.get("reason") != "depends on the product":
        return ""
    return f'<br><span class="kind">{escape(say("depends"))}</span>'


def _proposal(say: Words, payload: Mapping[str, Any]) -> str:
    """The words chosen for the photos, how sure each is, and what to change in the listing."""
    if not payload.get("proposal"):
        return ""
    rows = "".join(_choice_row(say, choice) for choice in payload["proposal"]["choices"])
    words = payload["proposal"][say.language]
    lines = []
    if words["title"]:
        lines.append(say("proposed_title", title=words["title"]))
    if words["description"]:
        lines.append(say("proposed_description", text=words["description"]))
    said = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return (
        f'<section class="proposal"><h3>{escape(say("proposal"))}</h3>{said}'
        f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>'
        f"{_correction(say, payload) if payload['claims'] else ''}</section>"
    )


def _choice_row(say: Words, choice: Mapping[str, Any]) -> str:
    share = say("share_of", share=f"{float(choice['share']):.0%}", known=choice["known"])
    name, label = ("proposed", Label.SUPPORTED) if choice["proposed"] else ("not_sure", "unasked")
    words = escape(choice[say.language])
    if not choice["proposed"]:
        names = " · ".join(one[say.language] for one in choice["closest"])
        words = f'<span class="kind">{escape(say("closest", names=names))}</span>'
    return (
        f"<tr><td>{escape(say('kind_' + choice['kind']))}</td>"
        f"<td>{words}</td>"
        f'<td><span class="label {label}">{escape(say(name))}</span></td>'
        f'<td><span class="kind">{escape(share)}</span></td></tr>'
    )


def _correction(say: Words, payload: Mapping[str, Any]) -> str:
    correction = payload["correction"]
    head = f"<h3>{escape(say('correction'))}</h3>"
    if not correction["changes"]:
        return f"{head}<p>{escape(say('no_correction'))}</p>"
    items = "".join(
        f"<li><del>{escape(change['old'])}</del> → <ins>{escape(change['new'])}</ins> "
        f'<span class="kind">{escape(_sureness(say, change))}</span></li>'
        for change in correction["changes"]
    )
    title = escape(say("corrected_title", title=correction["title"]))
    return f"{head}<ul>{items}</ul><p>{title}</p>"


def _sureness(say: Words, change: Mapping[str, Any]) -> str:
    refuted, share = float(change["refuted"]), float(change["share"])
    return say("sureness", refuted=f"{refuted:.0%}", share=f"{share:.0%}")


def listing_words(say: Words, listing: Listing, payload: Mapping[str, Any]) -> str:
    """The listing as it was offered, its claims coloured by their label."""
    claims = payload["claims"]
    attributes = "".join(
        f"<dt>{escape(name)}</dt><dd>{_coloured(value, claims, 'attributes', name)}</dd>"
        for name, value in listing.attributes.items()
    )
    description = _coloured(listing.description, claims, "description")
    left_out = " · ".join(claim["text"] for claim in payload.get("unchecked", ()))
    return (
        f'<div class="offer"><h3>{_coloured(listing.title, claims, "title")}</h3>'
        f"{f'<p>{description}</p>' if description else ''}"
        f"{f'<dl>{attributes}</dl>' if attributes else ''}"
        f"{notice(say('unchecked', claims=left_out), 'quiet') if left_out else ''}</div>"
    )


def _coloured(
    text: str, claims: Sequence[Mapping[str, Any]], field: str, attribute: str | None = None
) -> str:
    """`text` with the spans of its claims marked; a detail shows above what it stands in."""
    labels: list[str | None] = [None] * len(text)
    of_field = [
        claim
        for claim in claims
        if claim["field"] == field and attribute in (None, claim["attribute"])
    ]
    for claim in sorted(of_field, key=lambda claim: claim["span"][0] - claim["span"][1]):
        start, end = claim["span"]
        labels[start:end] = [claim["label"]] * (min(end, len(text)) - start)
    return "".join(
        escape(piece) if label is None else f'<mark class="{escape(label)}">{escape(piece)}</mark>'
        for label, piece in _runs(text, labels)
    )


def _runs(text: str, labels: Sequence[str | None]) -> Iterator[tuple[str | None, str]]:
    """Neighbouring characters of one label, in order."""
    start = 0
    for place in range(1, len(text) + 1):
        if place == len(text) or labels[place] != labels[start]:
            yield labels[start], text[start:place]
            start = place


def _photo_viewer(
    say: Words,
    listing: Listing,
    claims: Sequence[Mapping[str, Any]],
    photos: Sequence[Page | None],
) -> str:
    marks = [
        {
            "sentence": number,
            "page": proof["image"],
            "label": claim["label"],
            "boxes": percentages(
                [proof["box"]] if proof.get("box") else [], _at(photos, proof["image"])
            ),
        }
        for number, claim in enumerate(claims)
        for proof in claim["evidence"]
    ]
    data = {
        "sources": [f"/pages/{sha256}/1" for sha256 in listing.photos],
        "kind": "image",
        "total": len(listing.photos),
        "marks": marks,
        "alt": say("photo_number", number="").strip(),
    }
    thumbs = (
        "".join(
            f'<button type="button" data-page="{number}" '
            f'aria-label="{escape(say("photo_number", number=number))}">'
            f'<img src="/pages/{escape(sha256)}/1" alt="" loading="lazy"></button>'
            for number, sha256 in enumerate(listing.photos, start=1)
        )
        if len(listing.photos) > 1
        else ""
    )
    return (
        f'<section class="viewer" data-viewer="{escape(json.dumps(data))}" data-page="1" '
        f'aria-label="{escape(say("photos"))}"><div class="paper" tabindex="0"></div>'
        f'<div class="thumbs">{thumbs}</div></section>'
    )


def _at(photos: Sequence[Page | None], number: int) -> Page | None:
    return photos[number - 1] if 1 <= number <= len(photos) else None


def thumbnails(say: Words, sha256s: Sequence[str]) -> str:
    """The photos that were added to the form."""
    pictures = "".join(
        f'<img src="/pages/{escape(sha256)}/1" alt="{escape(say("photo_number", number=number))}">'
        for number, sha256 in enumerate(sha256s, start=1)
    )
    return f'<div class="thumbs">{pictures}</div>' if pictures else ""
