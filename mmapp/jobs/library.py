"""The library: documents with their pages and pictures, and the reader that makes them from bytes.

Called by the verbs and by a run, which looks at pictures. Refuses what the reader refuses.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from mmapp import exports, records
from mmapp.config import Settings
from mmapp.db import Database
from mmapp.errors import NotFound, NotPossible
from mmapp.jobs.found import found
from mmapp.storage import Blobs
from mmapp.types import (
    Document,
    FiguresParams,
    MediaType,
    Page,
    Params,
    Pictures,
    Recognition,
    Result,
)

if TYPE_CHECKING:
    from mmapp.documents import Reader


class Library:
    """Documents of one process; safe for threads."""

    def __init__(self, settings: Settings, database: Database, blobs: Blobs) -> None:
        self._settings = settings
        self._database = database
        self._blobs = blobs
        self._reader: Reader | None = None
        self._reader_lock = threading.Lock()

    def close(self) -> None:
        with self._reader_lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def add(self, name: str, data: bytes, password: str | None) -> Document:
        """Reads and keeps a file; the same bytes again are the same document."""
        known = self._known(data)
        if known is not None and not known.encrypted:
            return known
        read = self._open_reader().read(name, data, password=password)
        document = dataclasses.replace(read.document, name=records.plain(read.document.name))
        self._blobs.put(data)
        images = [self._blobs.put(image) for image in read.images]
        with self._database.transaction() as repository:
            repository.documents.add(document, read.pages, images)
        return self.document(document.sha256)

    def _known(self, data: bytes) -> Document | None:
        """The document, if its bytes are still stored too."""
        sha256 = records.sha256(data)
        with self._database.snapshot() as repository:
            known = repository.documents.find(sha256)
        return known if self._blobs.has(sha256) else None

    def document(self, sha256: str) -> Document:
        with self._database.snapshot() as repository:
            return found(repository.documents.find(sha256), "document", sha256)

    def pages(self, sha256: str, numbers: Collection[int] | None = None) -> list[Page]:
        self.document(sha256)
        with self._database.snapshot() as repository:
            return repository.documents.pages(sha256, numbers)

    def page_image(self, sha256: str, number: int) -> bytes:
        """The picture of a page; made on first use."""
        document = self.document(sha256)
        if not 1 <= number <= document.page_count:
            raise NotFound(
                f"{document.name} has {document.page_count} pages; there is no page {number}"
            )
        with self._database.snapshot() as repository:
            image = repository.documents.page_image(sha256, number)
        is_pdf = document.media_type is MediaType.PDF
        if image is not None:
            try:
                return self._blobs.get(image)
            except NotFound:
                if not is_pdf:
                    raise
        elif not is_pdf:
            raise NotFound(f"{document.name} is text; its pages have no pictures")
        picture: bytes = self._open_reader().render(self._blobs.get(sha256), number)
        image = self._blobs.put(picture)
        with self._database.transaction() as repository:
            repository.documents.set_page_image(sha256, number, image)
        return picture

    def ocr_picture(self, document: Document, page: Page) -> bytes:
        """The picture in which the words of a page are recognised that its text lacks.

        It is without the page's own text, except where that was not kept apart.
        """
        if document.media_type is not MediaType.PDF or document.encrypted:
            return self.page_image(document.sha256, page.number)
        from mmapp.documents.frames import OCR_DPI

        return self._open_reader().render(
            self._blobs.get(document.sha256),
            page.number,
            dpi=OCR_DPI,
            without_text=bool(page.lines),
            name=document.name,
        )

    def to_draw(self, document: Document, params: Params, profile: Mapping[str, Any]) -> set[int]:
        """The pages whose pictures a task will look at: those that show figures, all if the
        checkpoint is shown pages, and those without words, which may be blank."""
        if document.media_type is not MediaType.PDF:
            return set()
        if isinstance(params, FiguresParams):
            return {picture.page for picture in self.pictures(document).found}
        pages = self.pages(document.sha256)
        if profile.get("page_images"):
            return {page.number for page in pages}
        return {
            page.number
            for page in pages
            if not (page.lines or page.error or page.recognition is Recognition.DONE)
        }

    def pictures(self, document: Document) -> Pictures:
        """Where the pages of a PDF show pictures."""
        data = self._blobs.get(document.sha256)
        return self._open_reader().pictures(data, name=document.name)

    def annotated(self, result: Result) -> bytes:
        """The PDF that a result is about, with its evidence highlighted."""
        marks = exports.marks(result)
        if not marks:
            raise NotPossible(
                f"The result of job {result.job_id} quotes no page; export it as Markdown or JSON"
            )
        document = self.document(exports.marked_document(result))
        if document.media_type is not MediaType.PDF or document.encrypted:
            kind = "encrypted" if document.encrypted else f"{document.media_type}, no PDF"
            raise NotPossible(f"{document.name} is {kind}; export its result as Markdown or JSON")
        data = self._blobs.get(document.sha256)
        return self._open_reader().annotate(data, marks, name=document.name)

    def _open_reader(self) -> Reader:
        from mmapp.documents import Reader

        with self._reader_lock:
            if self._reader is None:
                self._reader = Reader(self._settings)
            return self._reader
