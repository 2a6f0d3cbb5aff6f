"""The shipped samples through the real queue, for `mmapp demo` and `mmapp up --samples`."""

from __future__ import annotations

from collections.abc import Iterator

from mmapp.cli.session import Desk
from mmapp.cli.tasks import show_ended
from mmapp.types import Job, Listing, SummarizeParams, TaskName


def show_samples(desk: Desk) -> int:
    """Submits all samples, waits, and prints their results; the exit status."""
    submitted = list(_submit(desk))
    return show_ended(desk, desk.wait([job.id for job in submitted]), as_json=False)


def _submit(desk: Desk) -> Iterator[Job]:
    from mmapp.samples import load

    samples = load()
    for sample in samples.documents:
        document = desk.add_file(sample.path)
        params = SummarizeParams(document.sha256)
        yield desk.jobs.submit(TaskName.SUMMARIZE, params, label=sample.title)
    for offer in samples.listings:
        photos = tuple(desk.add_file(path).sha256 for path in offer.photos)
        listing = Listing(photos, offer.title, offer.description, dict(offer.attributes))
        yield desk.jobs.submit(TaskName.CHECK_LISTING, listing)
