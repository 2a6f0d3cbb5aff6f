"""The reader: asks the parser process to read files, and turns its answers into values.

The side that runs in the web process and in workers. It opens no file and never imports PyMuPDF or
Pillow; what hangs, crashes or swallows memory does so in a child of the parser, and costs one
error. Called by `jobs` from any thread; each process that uses it has its own parser.
"""

from __future__ import annotations

import array
import contextlib
import dataclasses
import hashlib
import os
import socket
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mmapp import errors
from mmapp.documents.companion import Companion
from mmapp.documents.frames import (
    EDGES_PER_POINT,
    FORKED,
    ORDER,
    READY,
    BadFrame,
    Channel,
    ChannelClosed,
    ChannelTimeout,
)
from mmapp.documents.limits import Limits, plain_name, quoted
from mmapp.documents.sniff import sniff
from mmapp.errors import MmappError, ParseCrash, ParseTimeout
from mmapp.types import (
    Bookmark,
    Box,
    Document,
    HiddenText,
    Hiding,
    Line,
    Mark,
    MediaType,
    Page,
    Picture,
    Pictures,
    Recognition,
    Source,
)

if TYPE_CHECKING:
    from mmapp.config import Settings

#: Seconds for the parser to load its libraries (0.3 s on a quiet machine), and to end.
START_S = 60.0
STOP_S = 5.0
#: Files read at the same time; each may take the memory that the settings allow.
AT_ONCE = 2
#: One frame holds the words or the picture of one page.
MAX_FRAME = 1 << 30

ERRORS: dict[str, type[MmappError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, MmappError)
}


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A file that was read."""

    document: Document
    pages: tuple[Page, ...]
    #: Pictures of the pages, in their order, clean and encoded anew (PNG or JPEG): of image files,
    #: and of encrypted PDFs, which can't be drawn later. Empty for other files.
    images: tuple[bytes, ...] = field(default=(), repr=False)


class Reader:
    """Reads files in limited child processes; starts again what dies. Safe to share by threads."""

    def __init__(self, settings: Settings) -> None:
        self._limits = Limits.of(settings)
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._parser: _Parser | None = None

    def read(self, name: str, data: bytes, *, password: str | None = None) -> ReadDocument:
        """The document in `data`; raises a `DocumentError` that says what to do."""
        self._limits.check_bytes(name, len(data))
        media_type = sniff(data, name)
        request = self._request(name, media_type=media_type, password=password)
        pages: list[Page] = []
        images: list[bytes] = []
        encrypted = False
        outline: tuple[Bookmark, ...] = ()
        points = _Points()
        with contextlib.closing(self._answers(name, request, data)) as answers:
            for answer, blob in answers:
                match answer["kind"]:
                    case "page":
                        pages.append(_page(answer, blob, points))
                    case "picture":
                        images.append(blob)
                    case "encrypted":
                        encrypted = True
                    case "outline":
                        outline = tuple(Bookmark(*entry) for entry in answer["outline"])
        document = Document(
            sha256=hashlib.sha256(data).hexdigest(),
            name=plain_name(name),
            media_type=media_type,
            size_bytes=len(data),
            page_count=len(pages),
            encrypted=encrypted,
            outline=outline,
        )
        return ReadDocument(document, tuple(pages), tuple(images))

    def render(
        self,
        data: bytes,
        page_number: int,
        *,
        dpi: int = 110,
        without_text: bool = False,
        password: str | None = None,
        name: str = "the PDF",
    ) -> bytes:
        """A picture (PNG or JPEG) of one page of a PDF, as it is shown.

        `without_text`: only its pictures and drawings, for the words that its text layer lacks.
        """
        self._limits.check_bytes(name, len(data))
        if sniff(data, name) is not MediaType.PDF:
            raise errors.UnsupportedFile(
                f"{quoted(name)} is no PDF. Only the pages of a PDF are drawn; ask for its picture."
            )
        if page_number < 1:
            raise errors.NotFound(f"{quoted(name)} has no page {page_number:,}; pages begin at 1.")
        request = self._request(
            name, password=password, page=page_number, dpi=dpi, without_text=without_text
        )
        with contextlib.closing(self._answers(name, request, data)) as answers:
            pictures = [blob for answer, blob in answers if answer["kind"] == "picture"]
        return pictures[0]

    def annotate(self, data: bytes, marks: Sequence[Mark], *, name: str = "the PDF") -> bytes:
        """A PDF with its marks highlighted, each with its note; for at least one mark."""
        self._limits.check_bytes(name, len(data))
        request = self._request(name, marks=marks)
        with contextlib.closing(self._answers(name, request, data)) as answers:
            files = [blob for answer, blob in answers if answer["kind"] == "file"]
        return files[0]

    def pictures(self, data: bytes, *, name: str = "the PDF") -> Pictures:
        """Where the pages of a PDF that opens without a password show pictures; none is decoded."""
        self._limits.check_bytes(name, len(data))
        request = self._request(name, pictures=True)
        with contextlib.closing(self._answers(name, request, data)) as answers:
            told = [answer for answer, _ in answers if answer["kind"] == "pictures"]
            found = [Picture(page, (x0, y0, x1, y1)) for page, (x0, y0, x1, y1) in told[0]["found"]]
        return Pictures(tuple(found), dict(told[0]["left_out"]))

    def warm(self) -> None:
        """Start the parser without waiting for it, so that the first file need not wait."""
        with self._lock:
            self._running_parser()

    def close(self) -> None:
        """Stop the parser and whatever it reads; the reader may be used again."""
        with self._lock:
            parser, self._parser = self._parser, None
        if parser is not None:
            parser.stop()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _request(
        self,
        name: str,
        *,
        media_type: MediaType = MediaType.PDF,
        password: str | None = None,
        page: int = 0,
        dpi: int = 0,
        without_text: bool = False,
        marks: Sequence[Mark] = (),
        pictures: bool = False,
    ) -> dict[str, Any]:
        return {
            "name": plain_name(name),
            "media_type": media_type,
            "password": password,
            "page": page,
            "dpi": dpi,
            "without_text": without_text,
            "marks": [(mark.page, mark.boxes, mark.note) for mark in marks],
            "pictures": pictures,
            "limits": dataclasses.asdict(self._limits),
        }

    def _answers(
        self, name: str, request: dict[str, Any], data: bytes
    ) -> Generator[tuple[dict[str, Any], bytes], None, None]:
        """What the child says until it is done, with the blob of each answer that has one."""
        limits = self._limits
        with self._slots, self._child() as endpoint:
            deadline = time.monotonic() + limits.parse_seconds
            channel = Channel(endpoint, deadline, MAX_FRAME)
            try:
                channel.send_json(request)
                channel.send(data)
                while (answer := channel.receive_json())["kind"] != "done":
                    if answer["kind"] == "error":
                        raise ERRORS[answer["code"]](answer["message"])
                    has_blob = answer["kind"] in ("page", "picture", "file")
                    yield answer, channel.receive() if has_blob else b""
            except ChannelTimeout:
                raise ParseTimeout(
                    f"Reading {quoted(name)} takes longer than {limits.parse_seconds:g} seconds, "
                    f"so it was stopped. Save it anew from a PDF viewer or split it, or raise "
                    f"MMAPP_PARSE_SECONDS."
                ) from None
            except ChannelClosed:
                raise ParseCrash(
                    f"The process that read {quoted(name)} died: the file is broken, or needs more "
                    f"memory than {limits.parse_memory:,} bytes. Save it anew from a viewer, or "
                    f"raise MMAPP_PARSE_MEMORY."
                ) from None
            except (BadFrame, LookupError, TypeError, ValueError) as problem:
                raise ParseCrash(
                    f"The process that read {quoted(name)} gave no sense ({problem}). "
                    f"Save the file anew from a viewer."
                ) from None

    def _child(self) -> socket.socket:
        """A socket to a new child; a parser that died meanwhile is started again, once."""
        with self._lock:
            try:
                return self._running_parser().fork(self._limits)
            except ChannelClosed:
                self._discard()
            try:
                return self._running_parser().fork(self._limits)
            except ChannelClosed:
                why = self._parser.last_words() if self._parser else ""
                self._discard()
                raise ParseCrash(
                    f"The process that reads files does not start. Try again, or see `mmapp "
                    f"doctor`. {why}".rstrip()
                ) from None

    def _running_parser(self) -> _Parser:
        # After a fork (Celery's children) the parser belongs to the process before it.
        if self._parser is None or self._parser.owner != os.getpid():
            self._parser = _Parser()
        return self._parser

    def _discard(self) -> None:
        if self._parser is not None:
            self._parser.stop()
            self._parser = None


class _Parser(Companion):
    """The running parser process."""

    def __init__(self) -> None:
        super().__init__("mmapp.documents.parser", patience_s=STOP_S)
        self._ready = False
        self._socket.settimeout(START_S)

    def fork(self, limits: Limits) -> socket.socket:
        """A socket to a child that waits for a request; raises `ChannelClosed` if there is none."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                if not self._ready:
                    self._expect(READY)
                    self._ready = True
                order = ORDER.pack(limits.parse_seconds, limits.parse_memory)
                socket.send_fds(self._socket, [order], [theirs.fileno()])
            self._expect(FORKED)
        except OSError:
            ours.close()
            raise ChannelClosed from None
        return ours

    def _expect(self, answer: bytes) -> None:
        if self._socket.recv(1) != answer:
            raise ConnectionError


def _page(answer: dict[str, Any], blob: bytes, points: _Points) -> Page:
    """A page from what the child said of it."""
    number, width, height, error, rotation, recognition = answer["page"]
    edges = array.array("i", blob)
    start = 0
    lines = []
    for text, box, block, has_edges, source in answer["lines"]:
        end = start + len(text) + 1 if has_edges else start
        if end > len(edges):
            raise BadFrame(f"page {number} has {len(edges)} edges, and a line that ends at {end}")
        edges_at = tuple(map(points.__getitem__, edges[start:end]))
        lines.append(Line(text, _box(box), edges_at, block, Source(source)))
        start = end
    hidden = tuple(
        HiddenText(text, Hiding(why), (x0, y0, x1, y1))
        for text, why, (x0, y0, x1, y1) in answer["hidden"]
    )
    return Page(
        number, width, height, tuple(lines), error, rotation, hidden, Recognition(recognition)
    )


class _Points(dict[int, float]):
    """Edges in points, each value held once: a book has millions of edges and few values."""

    def __missing__(self, edge: int) -> float:
        self[edge] = edge / EDGES_PER_POINT
        return self[edge]


def _box(box: list[float] | None) -> Box | None:
    if box is None:
        return None
    x0, y0, x1, y1 = box
    return (x0, y0, x1, y1)
