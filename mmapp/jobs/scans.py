"""Scans: the words in the pictures of a document are recognised before a task reads it.

A run asks for a document's pages; those that show words which their text lacks are drawn, read by
text recognition and stored one by one, so that a run that is killed goes on where it was and the
next job finds them. A page that fails has an error and is tried again by the next job; the rest
goes on. Called by `running` and `handing`; refuses nothing.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mmapp.config import Settings
from mmapp.db import Database
from mmapp.errors import DocumentError
from mmapp.jobs.library import Library
from mmapp.types import Document, Page, Progress, Recognition, ReportProgress, Source

if TYPE_CHECKING:
    from mmapp.documents.ocr import Ocr


class Scans:
    """The recognised pages of documents; one for each process that runs jobs."""

    def __init__(self, settings: Settings, database: Database, library: Library) -> None:
        self._settings = settings
        self._database = database
        self._library = library
        self._ocr: Ocr | None = None
        #: Pages that were recognised in this process, and the seconds that it took.
        self.recognised = 0
        self.seconds = 0.0

    def close(self) -> None:
        if self._ocr is not None:
            self._ocr.close()

    def pages(
        self, document: Document, report: ReportProgress, unread: Mapping[int, str] | None = None
    ) -> tuple[Page, ...]:
        """All pages, with the words of their pictures; what fails is told in `Page.error`.

        `unread`: the pages that an earlier role of this job could not read, and why; they are not
        tried again.
        """
        pages = self._library.pages(document.sha256)
        known = unread or {}
        wanted = [page for page in self._wanted(document, pages) if page.number not in known]
        found = {**known, **self._read(document, wanted, report)}
        return tuple(_with(found.get(page.number), page) for page in pages)

    def recognise(self, document: Document, report: ReportProgress) -> dict[int, str]:
        """Recognises and stores the words that there are; the pages that failed, and why."""
        wanted = self._wanted(document, self._library.pages(document.sha256))
        found = self._read(document, wanted, report)
        return {number: one for number, one in found.items() if isinstance(one, str)}

    def _read(
        self, document: Document, wanted: Sequence[Page], report: ReportProgress
    ) -> dict[int, Page | str]:
        """By number, each page with its words, or why it has none."""
        taken = wanted[: self._settings.ocr_pages]
        found: dict[int, Page | str] = {p.number: _too_many(self._settings) for p in wanted}
        for done, page in enumerate(taken):
            report(Progress("recognising", done, len(taken), "pages", done, len(taken)))
            began = time.monotonic()
            found[page.number] = self._recognised(document, page)
            self.recognised += 1
            self.seconds += time.monotonic() - began
        return found

    def _wanted(self, document: Document, pages: Sequence[Page]) -> list[Page]:
        if self._settings.ocr == "off" or document.media_type.is_text:
            return []
        states = [Recognition.WANTED]
        if self._settings.ocr == "always":
            states.append(Recognition.NOT_NEEDED)
        return [page for page in pages if page.recognition in states and not page.error]

    def _recognised(self, document: Document, page: Page) -> Page | str:
        from mmapp.documents.recognition import recognised

        try:
            picture = self._library.ocr_picture(document, page)
            read = recognised(page, self._open_ocr().read(picture))
        except DocumentError as problem:
            return str(problem)
        with self._database.transaction() as repository:
            repository.documents.set_words(document.sha256, read)
        return read

    def _open_ocr(self) -> Ocr:
        from mmapp.documents.ocr import Ocr

        if self._ocr is None:
            self._ocr = Ocr(self._settings)
        return self._ocr


def _with(found: Page | str | None, page: Page) -> Page:
    """A page as it was found; as it is stored, if nothing was sought."""
    if found is None:
        return page
    return _failed(page, found) if isinstance(found, str) else found


def _failed(page: Page, reason: str) -> Page:
    """Without the words that no one compared with the picture: they were never seen."""
    seen = tuple(line for line in page.lines if line.source is not Source.UNCHECKED)
    if len(seen) < len(page.lines):
        reason += "; its unseen text layer, unchecked, was left out (MMAPP_OCR=off believes it)"
    return dataclasses.replace(page, lines=seen, error=reason)


def _too_many(settings: Settings) -> str:
    return f"more than {settings.ocr_pages:,} pages to recognise; raise MMAPP_OCR_PAGES"
