"""Documents: their pages' lines, hidden words and pictures as rows. Called by `Repository`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, func, insert, select, update

from mmapp.db.tables import documents, pages
from mmapp.db.transaction import CHUNK, Transaction, columns
from mmapp.types import (
    Bookmark,
    Document,
    HiddenText,
    Hiding,
    Line,
    Page,
    Recognition,
    Source,
)


class PageCount(NamedTuple):
    """A page without its words."""

    number: int
    characters: int
    #: None: no one looked when it was stored.
    recognition: Recognition | None


class StoredDocuments:
    """Documents and their pages, as they were read; the bytes are blobs."""

    def __init__(self, sql: Transaction) -> None:
        self._sql = sql

    def add(self, document: Document, pages_: Sequence[Page], images: Sequence[str]) -> None:
        """Stores a document and its pages once; `images` are blobs of page pictures, or empty."""
        outline = [[one.level, one.title, one.page] for one in document.outline]
        values = {**columns(document), "outline": outline, "created_at": self._sql.moment()}
        if not self._sql.insert_once(documents, values):
            return
        for start in range(0, len(pages_), CHUNK):
            self._sql.execute(
                insert(pages),
                [
                    _page_values(document.sha256, page, images)
                    for page in pages_[start : start + CHUNK]
                ],
            )

    def find(self, sha256: str) -> Document | None:
        row = self._sql.one(select(documents).where(documents.c.sha256 == sha256))
        return None if row is None else _document(row)

    def find_many(self, sha256s: Sequence[str]) -> dict[str, Document]:
        rows = self._sql.execute(
            select(documents).where(documents.c.sha256.in_(sorted(set(sha256s))))
        )
        return {row.sha256: _document(row) for row in rows}

    def characters(self, sha256: str) -> int:
        """How many characters of text the document has."""
        query = select(func.coalesce(func.sum(pages.c.characters), 0)).where(
            pages.c.document_sha256 == sha256
        )
        return int(self._sql.execute(query).scalar_one())

    def page_counts(self, sha256: str) -> list[PageCount]:
        """How much is written on each page, in order."""
        query = (
            select(pages.c.number, pages.c.characters, pages.c.recognition)
            .where(pages.c.document_sha256 == sha256)
            .order_by(pages.c.number)
        )
        return [PageCount(*row) for row in self._sql.execute(query)]

    def pages(self, sha256: str, numbers: Collection[int] | None = None) -> list[Page]:
        """Those of these numbers, or all."""
        query = select(pages).where(pages.c.document_sha256 == sha256).order_by(pages.c.number)
        if numbers is not None:
            query = query.where(pages.c.number.in_(sorted(numbers)))
        known: dict[float, float] = {}
        return [_page(row, known) for row in self._sql.execute(query)]

    def wanting(self, sha256: str) -> int:
        """How many pages have words in pictures that no one recognised yet."""
        query = select(func.count()).where(
            pages.c.document_sha256 == sha256, pages.c.recognition == Recognition.WANTED
        )
        return int(self._sql.execute(query).scalar_one())

    def has_undrawn(self, sha256: str, *, all_pages: bool) -> bool:
        """Whether a page without words, or any page, has no picture yet."""
        query = select(pages.c.number).where(
            pages.c.document_sha256 == sha256,
            pages.c.error == "",
            pages.c.image_sha256.is_(None),
        )
        if not all_pages:
            is_read = pages.c.recognition.is_not_distinct_from(Recognition.DONE)
            query = query.where(pages.c.characters == 0, ~is_read)
        return self._sql.execute(query.limit(1)).first() is not None

    def set_words(self, sha256: str, page: Page) -> None:
        """What is on a page after its pictures were read."""
        values = _page_values(sha256, page, ())
        kept = ("lines", "hidden", "characters", "recognition")
        self._sql.execute(
            update(pages)
            .where(pages.c.document_sha256 == sha256, pages.c.number == page.number)
            .values({name: values[name] for name in kept})
        )

    def page_image(self, sha256: str, number: int) -> str | None:
        query = select(pages.c.image_sha256).where(
            pages.c.document_sha256 == sha256, pages.c.number == number
        )
        image: str | None = self._sql.execute(query).scalar()
        return image

    def set_page_image(self, sha256: str, number: int, image: str) -> None:
        self._sql.execute(
            update(pages)
            .where(pages.c.document_sha256 == sha256, pages.c.number == number)
            .values(image_sha256=image)
        )


def _document(row: Row[Any]) -> Document:
    return Document(
        sha256=row.sha256,
        name=row.name,
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        page_count=row.page_count,
        encrypted=row.encrypted,
        outline=tuple(Bookmark(*one) for one in row.outline or ()),
    )


def _page_values(sha256: str, page: Page, images: Sequence[str]) -> dict[str, Any]:
    return {
        "document_sha256": sha256,
        "number": page.number,
        "width": page.width,
        "height": page.height,
        "rotation": page.rotation,
        "lines": [_line_values(line) for line in page.lines],
        "hidden": [[one.text, one.why, one.box] for one in page.hidden],
        "characters": sum(len(line.text) for line in page.lines),
        "error": page.error,
        "recognition": page.recognition,
        "image_sha256": images[page.number - 1] if images else None,
    }


def _line_values(line: Line) -> list[Any]:
    """Where a line comes from is told only where it is not the text layer, as in older rows."""
    values = [line.text, line.box, line.edges, line.block]
    return values if line.source is Source.LAYER else [*values, line.source, line.confidence]


def _page(row: Row[Any], known: dict[float, float]) -> Page:
    """`known` holds each edge once: a book has millions of them, of few values."""
    return Page(
        number=row.number,
        width=row.width,
        height=row.height,
        lines=tuple(_line(known, *values) for values in row.lines),
        hidden=tuple(
            HiddenText(words, Hiding(why), tuple(box)) for words, why, box in row.hidden or ()
        ),
        error=row.error,
        rotation=row.rotation,
        recognition=row.recognition or Recognition.NOT_NEEDED,
    )


def _line(
    known: dict[float, float],
    text: str,
    box: Sequence[float] | None,
    edges: Sequence[float],
    block: int,
    source: str = Source.LAYER,
    confidence: float | None = None,
) -> Line:
    where = None if box is None else (box[0], box[1], box[2], box[3])
    points = tuple(known.setdefault(edge, edge) for edge in edges)
    return Line(text, where, points, block, Source(source), confidence)
