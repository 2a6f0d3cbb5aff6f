"""What tasks are given: values that hold everything a task may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmapp.types import Document, Listing, Page, Pictures

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class DocumentInput:
    """A document as it was read when it was added."""

    document: Document
    pages: tuple[Page, ...]
    #: Page number to picture; None where there are no pictures.
    page_images: Callable[[int], Image] | None = None


@dataclass(frozen=True, slots=True)
class VersionsInput:
    """Two versions of a document."""

    old: DocumentInput
    new: DocumentInput


@dataclass(frozen=True, slots=True)
class FiguresInput:
    """A PDF with its pictures."""

    document: DocumentInput
    pictures: Pictures
    #: Page number to the page as it is shown.
    draw: Callable[[int], Image]


@dataclass(frozen=True, slots=True)
class ListingInput:
    """A listing with its photos decoded, in the listing's order."""

    listing: Listing
    photos: tuple[Image, ...]


#: What a task may be given.
Inputs = DocumentInput | VersionsInput | FiguresInput | ListingInput
