"""The Listing check page: photos and words in, a verdict for each claim out.

Photos are added as documents as soon as they are uploaded, so that a bad one is told at once and
the previews come from our own route, never from the upload folder.
"""

from __future__ import annotations

import re
from typing import Any

import gradio as gr

from mmapp import samples
from mmapp.errors import BadInput, MmappError
from mmapp.types import Job, Listing, Page, Status, TaskName
from mmapp.web import render, verdicts
from mmapp.web.frame import (
    PUSH_JOB,
    Site,
    bottom,
    delete_upload,
    file_problem,
    guarded,
    html,
    read_upload,
    top,
)
from mmapp.web.jobview import JobView

#: The slider's range, and where it stands: there the checkpoint's own thresholds count.
LEAST_THRESHOLD, USUAL_THRESHOLD, MOST_THRESHOLD = 0.5, 0.65, 0.99
_ATTRIBUTE = re.compile(r"\s*([^=:：＝]+?)\s*[=:：＝]\s*(.+?)\s*")


def build(demo: gr.Blocks, site: Site) -> None:
    say = site.say
    view = JobView(site, [TaskName.CHECK_LISTING], show_verdict, try_samples)
    top(site, "listings")
    view.place_job()
    with gr.Column(elem_classes=["form-card"]):
        with gr.Row():
            with gr.Column(scale=2):
                files = gr.File(
                    label=say("photos"), file_count="multiple", file_types=["image"], height=180
                )
                thumbs = html(elem_id="thumbs")
                clear = gr.Button(say("clear_photos"), size="sm", visible=False)
            with gr.Column(scale=3):
                title = gr.Textbox(label=say("title"), placeholder=say("title_example"))
                description = gr.Textbox(label=say("description"), lines=3)
                attributes = gr.Textbox(
                    label=say("attributes"), placeholder=say("attributes_example"), lines=3
                )
                threshold = gr.Slider(
                    LEAST_THRESHOLD,
                    MOST_THRESHOLD,
                    value=site.settings.threshold or USUAL_THRESHOLD,
                    step=0.01,
                    label=say("threshold"),
                    info=say("threshold_help"),
                )
                propose = gr.Checkbox(label=say("propose"), info=say("propose_help"))
                submit = gr.Button(say("check"), variant="primary")
        photos = gr.Textbox("", visible=False)
    refused = html(elem_id="problems")
    view.place_recent()
    bottom(site)
    view.connect(demo)
    pictures = [files, photos, thumbs, clear, refused]

    @guarded(say)
    def add(paths: list[str] | None, kept: str | None) -> list[Any]:
        sha256s, problems = add_photos(site, paths or [], (kept or "").split())
        return [None, *_show_photos(site, sha256s), render.problems(say, problems)]

    @guarded(say)
    def remove() -> list[Any]:
        return [None, *_show_photos(site, []), ""]

    @guarded(say)
    def check(
        kept: str | None, heading: str, words: str, lines: str, limit: float, proposing: bool
    ) -> list[Any]:
        listing = read_listing(site, (kept or "").split(), heading, words, lines, limit, proposing)
        job = site.jobs.submit(TaskName.CHECK_LISTING, listing, owner=site.owner)
        return [*view.look(job.id), job.id, ""]

    files.upload(add, [files, photos], pictures, concurrency_limit=4, api_visibility="private")
    clear.click(remove, None, pictures, queue=False, api_visibility="private")
    submit.click(
        check,
        [photos, title, description, attributes, threshold, propose],
        [*view.outputs, view.address, refused],
        concurrency_limit=4,
        show_progress_on=[refused],
        api_visibility="private",
    ).then(None, view.address, None, js=PUSH_JOB)


def _show_photos(site: Site, sha256s: list[str]) -> list[Any]:
    return [
        " ".join(sha256s),
        verdicts.thumbnails(site.say, sha256s),
        gr.update(visible=bool(sha256s)),
    ]


def add_photos(
    site: Site, paths: list[str], kept: list[str]
) -> tuple[list[str], list[tuple[str, str]]]:
    """The photos of the form with the new ones added: (sha256s, (name, problem) of the refused)."""
    sha256s, problems = list(kept), []
    for path in paths:
        name, data = read_upload(path)
        try:
            document = site.jobs.add_document(name, data)
            if not document.media_type.is_image:
                raise BadInput(site.say("not_a_photo", kind=document.media_type.value))
            if document.sha256 not in sha256s:
                sha256s.append(document.sha256)
        except MmappError as problem:
            problems.append((name, file_problem(site.say, problem)))
        finally:
            delete_upload(path)
    return sha256s, problems


def read_listing(
    site: Site,
    sha256s: list[str],
    title: str,
    description: str,
    lines: str,
    threshold: float = USUAL_THRESHOLD,
    propose: bool = False,
) -> Listing:
    """The form as a Listing; refuses a form without photos and lines that are no attribute."""
    if not sha256s:
        raise BadInput(site.say("add_photo"))
    if not title.strip() and not propose:
        raise BadInput(site.say("add_title"))
    attributes = {}
    for line in lines.splitlines():
        if not line.strip():
            continue
        found = _ATTRIBUTE.fullmatch(line)
        if found is None:
            raise BadInput(site.say("bad_attribute", line=line.strip()))
        attributes[found[1]] = found[2]
    limit = None if threshold == USUAL_THRESHOLD else float(threshold)
    words = (title.strip(), description.strip(), attributes)
    return Listing(tuple(sha256s), *words, threshold=limit, propose=propose)


def show_verdict(site: Site, job: Job) -> str:
    """The HTML of one listing job, finished or not."""
    listing = Listing(
        photos=tuple(job.params["photos"]),
        title=job.params["title"],
        description=job.params.get("description", ""),
        attributes=job.params.get("attributes", {}),
    )
    if job.status != Status.SUCCEEDED:
        return render.unfinished(site.say, job)
    result = site.jobs.result(job.id)
    photos = [_photo(site, sha256) for sha256 in listing.photos]
    return verdicts.verdict(
        site.say, job, listing, result.payload, result.record, photos, result.reviews
    )


def _photo(site: Site, sha256: str) -> Page | None:
    try:
        return next(iter(site.jobs.pages(sha256)), None)
    except MmappError:
        return None


def try_samples(site: Site) -> None:
    for sample in samples.load().listings:
        photos = [
            site.jobs.add_document(photo.name, photo.read_bytes()).sha256 for photo in sample.photos
        ]
        listing = Listing(tuple(photos), sample.title, sample.description, sample.attributes)
        site.jobs.submit(TaskName.CHECK_LISTING, listing, owner=site.owner)
