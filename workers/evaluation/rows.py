"""Rows of JSONL or JSONL.xz with a document's text in each, and the documents made of them.

The text is read as a text file is, in this process: it is a string already, so there is nothing to
decode or to parse. Refuses lines that are no objects and texts larger than the settings allow.
Called by `summaries` and `answers`.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from mmapp.config import Settings
from mmapp.documents.limits import Limits
from mmapp.documents.text import is_markdown
from mmapp.documents.text import pages as text_pages
from mmapp.errors import BadInput
from mmapp.tasks import DocumentInput
from mmapp.types import Document, MediaType
from workers.evaluation.kinds import Id

Row = Mapping[str, Any]

XZ_SIGNATURE = b"\xfd7zXZ\x00"


def read_rows(data: Path) -> Iterator[tuple[Id, Row]]:
    """Each object with its id."""
    try:
        with _open(data) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    row = _object(line, number, data)
                    yield _id(row, number), row
    except (lzma.LZMAError, UnicodeDecodeError, EOFError) as error:
        raise BadInput(
            f"{data.name} can't be read: {error}. Give JSONL in UTF-8, plain or packed with xz."
        ) from error


def text_of(row: Row, key: str, id_: Id) -> str:
    """A text that the row must have."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise BadInput(f"The row {id_} has no text under “{key}”; give it one")
    return value


def texts_of(row: Row, key: str, id_: Id) -> tuple[str, ...]:
    """A text or a list of texts; none where the row has none."""
    value = row.get(key)
    values = value if isinstance(value, list) else [value]
    if not all(one is None or isinstance(one, str) for one in values):
        raise BadInput(f"“{key}” of the row {id_} is neither a text nor a list of texts")
    return tuple(one for one in values if one and one.strip())


def read_document(id_: Id, text: str, settings: Settings) -> DocumentInput:
    """The text as the document that the application would make of a file with it."""
    data = text.encode(errors="replace")
    media_type = MediaType.MARKDOWN if is_markdown(data, "utf-8") else MediaType.TEXT
    pages = tuple(text_pages(str(id_), data, media_type, Limits.of(settings)))
    sha256 = hashlib.sha256(data).hexdigest()
    document = Document(sha256, str(id_), media_type, len(data), len(pages))
    return DocumentInput(document, pages)


def _open(data: Path) -> IO[str]:
    with data.open("rb") as file:
        is_packed = file.read(len(XZ_SIGNATURE)) == XZ_SIGNATURE
    if is_packed:
        return lzma.open(data, "rt", encoding="utf-8-sig")
    return data.open(encoding="utf-8-sig")


def _object(line: str, number: int, data: Path) -> Row:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BadInput(
            f"Line {number:,} of {data.name} is no JSON object; write one object in each line"
        )
    return value


def _id(row: Row, number: int) -> Id:
    value = row.get("id")
    if value is None or value == "":
        return number
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadInput(f"The id of line {number:,} is neither a text nor a number; write one")
    return value
