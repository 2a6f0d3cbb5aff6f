"""Text recognition: asks a process of its own what is written in pictures.

The side that runs in workers; it imports no recogniser. The process loads its models once, is
limited in memory, and is killed when a picture takes too long; the next picture gets a new one, so
that one page costs one error. `recognition` says what becomes of the lines. Called by `scans`.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mmapp.documents.companion import Companion
from mmapp.documents.frames import BadFrame, Channel, ChannelClosed, ChannelTimeout
from mmapp.errors import OcrFailed
from mmapp.types import Box

if TYPE_CHECKING:
    from mmapp.config import Settings

#: Seconds to load libraries and models (2.3 s of CPU time on a quiet machine).
START_S = 120.0
MAX_FRAME = 1 << 28


@dataclass(frozen=True, slots=True)
class WrittenLine:
    """A line of writing in a picture; its box and edges count in pixels of the turned picture."""

    text: str
    box: Box
    #: Where it would stand if the page were not askew.
    level: Box
    #: As those of `types.Line`; empty for lines that are not level.
    edges: tuple[float, ...]
    #: The mean probability of its characters.
    confidence: float


@dataclass(frozen=True, slots=True)
class Written:
    """What is written in a picture."""

    #: Width and height of the picture before it was turned.
    size: tuple[float, float]
    #: By how many degrees counterclockwise it was turned to be read: 0, 90, 180 or 270.
    turn: int
    lines: tuple[WrittenLine, ...]


class Ocr:
    """Recognises what is written in pictures; starts its process when it is first asked."""

    def __init__(self, settings: Settings) -> None:
        self._seconds = settings.ocr_seconds
        self._memory = settings.ocr_memory
        self._threads = settings.threads or os.cpu_count() or 1
        self._lock = threading.Lock()
        self._process: _Process | None = None

    def read(self, picture: bytes) -> Written:
        """What stands in a picture (PNG or JPEG); raises `OcrFailed` that says why not."""
        with self._lock:
            process = self._running()
            try:
                return process.read(picture, self._seconds)
            except ChannelTimeout:
                self._discard()
                raise OcrFailed(
                    f"text recognition took longer than {self._seconds:g} seconds; "
                    f"raise MMAPP_OCR_SECONDS"
                ) from None
            except ChannelClosed:
                self._discard()
                raise OcrFailed(
                    f"text recognition ended; it may need more memory than {self._memory:,} bytes "
                    f"(MMAPP_OCR_MEMORY)"
                ) from None
            except (BadFrame, LookupError, TypeError, ValueError) as problem:
                self._discard()
                raise OcrFailed(f"text recognition gave no sense ({problem})") from None

    def close(self) -> None:
        """Stop the process; it may be asked again."""
        with self._lock:
            self._discard()

    def __enter__(self) -> Ocr:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _running(self) -> _Process:
        # After a fork (Celery's children) the process belongs to the process before it.
        if self._process is None or self._process.owner != os.getpid():
            self._process = _Process(self._memory, self._threads)
        return self._process

    def _discard(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None


class _Process(Companion):
    """The running process."""

    def __init__(self, memory: int, threads: int) -> None:
        # It may be deep in a product, and holds nothing that is worth waiting for.
        super().__init__(
            "mmapp.documents.ocr_process",
            memory,
            threads,
            environment={"OMP_NUM_THREADS": str(threads)},
            patience_s=0,
        )
        try:
            Channel(self._socket, time.monotonic() + START_S, MAX_FRAME).receive_json()
        except (BadFrame, ChannelClosed, ChannelTimeout):
            last = self.last_words()
            self.stop()
            raise OcrFailed(f"text recognition does not start; see `mmapp doctor`. {last}") from (
                None
            )

    def read(self, picture: bytes, seconds: float) -> Written:
        channel = Channel(self._socket, time.monotonic() + seconds, MAX_FRAME)
        channel.send(picture)
        answer = channel.receive_json()
        if answer["kind"] == "failed":
            raise OcrFailed(f"text recognition failed ({answer['reason']})")
        return _written(answer)


def _written(answer: dict[str, Any]) -> Written:
    lines = []
    for text, box, level, edges, confidence in answer["lines"]:
        if edges and len(edges) != len(text) + 1:
            raise BadFrame(f"{len(text)} characters with {len(edges)} edges")
        line = WrittenLine(str(text), _box(box), _box(level), tuple(edges), float(confidence))
        lines.append(line)
    width, height = answer["size"]
    return Written((width, height), int(answer["turn"]), tuple(lines))


def _box(box: list[float]) -> Box:
    x0, y0, x1, y1 = box
    return (x0, y0, x1, y1)
