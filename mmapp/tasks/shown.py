"""What a task will show to the engine's eyes, told before the engine is there.

An encode worker has all of it seen beforehand. What only answers can tell is left out: of several
photos, which one's parts are looked at. So this may fall short, and the engine sees what is missing
by itself; what is shown is never another picture than the task's own, because both make it by the
same functions. Called by `jobs.handing`; refuses nothing, and leaves out pages that can't be drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmapp.documents.quotes import PageText
from mmapp.errors import DocumentError
from mmapp.tasks.claims import take_claims
from mmapp.tasks.figures import as_listings
from mmapp.tasks.inputs import DocumentInput, FiguresInput, Inputs, ListingInput
from mmapp.tasks.regions import windows
from model.framings import framings

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Shown:
    """Pictures, made one after another, so that few are in memory at a time."""

    #: Photos, figures or pages.
    total: int
    #: Of each, what the engine will see.
    views: Iterator[Sequence[Image]]


def shown(inputs: Inputs, profile: Mapping[str, Any]) -> Shown:
    """`profile`: of the checkpoint that will be asked."""
    if isinstance(inputs, ListingInput):
        return Shown(len(inputs.photos), _of_listing(inputs, profile))
    if isinstance(inputs, FiguresInput):
        listings = (each for each in as_listings(inputs) if each is not None)
        views = (view for each in listings for view in _of_listing(each, profile))
        return Shown(len(inputs.pictures.found), views)
    if isinstance(inputs, DocumentInput) and profile.get("page_images"):
        return Shown(len(inputs.pages), _of_pages(inputs))
    return Shown(0, iter(()))


def _of_listing(inputs: ListingInput, profile: Mapping[str, Any]) -> Iterator[Sequence[Image]]:
    """Each photo in every framing, and the parts of one that is alone."""
    claims, _ = take_claims(inputs.listing)
    is_asked = any(claim.kind.is_visible for claim in claims)
    if not (is_asked or inputs.listing.propose):
        return
    has_parts = is_asked and len(inputs.photos) == 1 and profile.get("regions", True)
    for photo in inputs.photos:
        parts = [photo.crop(box) for box in windows(photo)] if has_parts else []
        yield [*(framing.of(photo) for framing in framings(profile)), *parts]


def _of_pages(inputs: DocumentInput) -> Iterator[Sequence[Image]]:
    for page in inputs.pages:
        if inputs.page_images is None or not PageText(page).text.strip():
            continue
        try:
            yield [inputs.page_images(page.number)]
        except DocumentError:
            continue
