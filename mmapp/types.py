"""The nouns of the application as frozen values.

Every layer speaks in these; none of them knows a database, a queue or a model. A value here refuses
nothing: limits are checked where bytes come in (`mmapp.documents`), rules where jobs are submitted
(`mmapp.jobs`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

#: `[x0, y0, x1, y1]`: PDF points from the top left on PDF pages, pixels on images. As in PyMuPDF,
#: they count on the page before its `rotation`; `documents.quotes.shown_box` turns them.
Box = tuple[float, float, float, float]

#: What a prompt is made of: text and pictures, in reading order.
Part = "str | Image"

#: Text scored right after the prefix, or (question, answer): only the answer's words are scored.
Continuation = str | tuple[str, str]


class MediaType(StrEnum):
    """The kinds of file that can be read, told by content and never by name."""

    PDF = "application/pdf"
    PNG = "image/png"
    JPEG = "image/jpeg"
    WEBP = "image/webp"
    TIFF = "image/tiff"
    GIF = "image/gif"
    MARKDOWN = "text/markdown"
    TEXT = "text/plain"

    @property
    def is_image(self) -> bool:
        return self.value.startswith("image/")

    @property
    def is_text(self) -> bool:
        return self.value.startswith("text/")


class Source(StrEnum):
    """Where the words of a line come from."""

    #: The file's own text, which the page shows.
    LAYER = "layer"
    #: The unseen text layer over the picture of a scan; no one compared it with the picture yet.
    UNCHECKED = "unchecked"
    #: Text recognition.
    OCR = "ocr"


class Recognition(StrEnum):
    """What there is to be done about words that stand in a page's pictures."""

    NOT_NEEDED = "not_needed"
    #: The page shows something that its text does not account for.
    WANTED = "wanted"
    DONE = "done"
    #: Done, and there is writing, of which no line could be read surely.
    ILLEGIBLE = "illegible"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text on a page, as the page shows it."""

    text: str
    #: The line's box; None where the page has no geometry (plain text, Markdown).
    box: Box | None = None
    #: `len(text) + 1` positions of the character edges, for lines that a reader sees level; else
    #: empty. They count along x, and along y on a page that is shown turned by 90 or 270 degrees.
    edges: tuple[float, ...] = ()
    #: Number of the text block (paragraph) on the page, from 0, in reading order.
    block: int = 0
    source: Source = Source.LAYER
    #: Of recognised words: how sure they are, 0 to 1.
    confidence: float | None = None


class Hiding(StrEnum):
    """Why a page does not show words that its text layer holds."""

    #: Nothing is painted: rendering mode 3, or no opacity.
    INVISIBLE = "invisible"
    SAME_COLOUR = "same_colour"
    #: Something is painted above it, or it is clipped away.
    COVERED = "covered"
    TINY = "tiny"
    OFF_PAGE = "off_page"
    #: It belongs to an optional layer that is switched off.
    LAYER_OFF = "layer_off"
    #: It lies unseen over the picture of a scan, where other words or none are to be read.
    NOT_IN_SCAN = "not_in_scan"


@dataclass(frozen=True, slots=True)
class HiddenText:
    """Words in a PDF's text layer that the page does not show; they are in no Line."""

    text: str
    why: Hiding
    box: Box


@dataclass(frozen=True, slots=True)
class Page:
    """One page or image of a Document."""

    #: 1-based.
    number: int
    #: As it is shown. Points for PDF, pixels for images, 0 for text.
    width: float
    height: float
    lines: tuple[Line, ...] = ()
    #: Why the page could not be read; empty when it was.
    error: str = ""
    #: By how many degrees a PDF page is turned clockwise when it is shown: 0, 90, 180 or 270.
    rotation: int = 0
    hidden: tuple[HiddenText, ...] = ()
    recognition: Recognition = Recognition.NOT_NEEDED


@dataclass(frozen=True, slots=True)
class Mark:
    """Words that are highlighted in an annotated PDF, and the note on them."""

    page: int
    boxes: tuple[Box, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture on a page of a PDF."""

    page: int
    box: Box


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of a PDF that may be figures, and how many are none, by reason."""

    found: tuple[Picture, ...]
    #: "tiny", "repeated", "page_sized", "beyond" (the bound on their number).
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Bookmark:
    """An entry of a PDF's own outline."""

    #: From 1, the outermost.
    level: int
    title: str
    #: 1-based.
    page: int


@dataclass(frozen=True, slots=True)
class Document:
    """An uploaded file, known by its sha256."""

    sha256: str
    name: str
    media_type: MediaType
    size_bytes: int
    page_count: int
    #: Needed a password when it was added; the password itself is never stored.
    encrypted: bool = False
    #: The outline that a PDF brings with it, in its order; empty where there is none.
    outline: tuple[Bookmark, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """One product as offered: photos (sha256 of image Documents) and words."""

    photos: tuple[str, ...]
    title: str
    description: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    #: P(photos and words agree) that the verdict `consistent` needs, 0.5 or more; `inconsistent`
    #: needs 1 minus it at most. None: as the checkpoint's calibration says.
    threshold: float | None = None
    #: Whether words are proposed from the photos as well.
    propose: bool = False


class Label(StrEnum):
    """FEVER's three terms for a claim."""

    SUPPORTED = "SUPPORTED"
    REFUTED = "REFUTED"
    NOT_ENOUGH_INFO = "NOT_ENOUGH_INFO"


class TaskName(StrEnum):
    SUMMARIZE = "summarize"
    CHECK_LISTING = "check_listing"
    ASK = "ask"
    EXTRACT = "extract"
    COMPARE = "compare"
    FIGURES = "figures"


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self not in (Status.QUEUED, Status.RUNNING)


class Priority(StrEnum):
    """Who waits for the job: a person in front of a screen, or a batch."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Role(StrEnum):
    """What a worker does, and what a job needs next; in the order in which jobs need them."""

    #: Words in pictures are recognised, and pages are drawn; what asks no model runs here.
    INGEST = "ingest"
    #: The vision encoder sees the pictures, and keeps what it made of them.
    ENCODE = "encode"
    #: The language model reads, scores and writes.
    GENERATE = "generate"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running job is, in the unit that a person counts in."""

    #: A word for what goes on: "reading", "choosing", "checking", …
    phase: str = ""
    done: int = 0
    total: int = 0
    #: "tokens", "sentences", "claims", …
    unit: str = ""
    #: Pages read so far and in all; 0 of 0 for listings.
    pages_done: int = 0
    pages_total: int = 0
    #: Seconds left at the present pace; None while unknown.
    eta_s: float | None = None
    #: Share of the whole job that is done, from 0 to 1, where the task knows it: a long document
    #: goes through its phases once for each of its parts.
    work: float | None = None

    @property
    def fraction(self) -> float:
        if self.work is not None:
            return self.work
        return self.done / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a worker's engine can hold, and how fast it reads; told when it is loaded."""

    #: Tokens of one reading with its questions: the checkpoint's context, or what memory holds.
    context_tokens: int
    #: For the keys and values of what is read; None: not this machine's memory, but a server's.
    cache_bytes: int | None = None
    #: Tokens that it read in a second, in a short prompt; None: not measured.
    tokens_per_s: float | None = None


#: What the time of work is reckoned by.
WorkUnit = Literal["tokens", "characters", "pages"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job takes, told before it begins. None: not known."""

    #: Pages of its documents; of a listing, its photos.
    pages: int
    #: Of the text that is known when it is submitted.
    characters: int
    #: Photos, and pictures of pages, that the model is shown.
    pictures: int
    #: Pages in whose pictures words are recognised first.
    recognise: int
    #: That the engine reads, asks about and writes; 0: no model is asked.
    tokens: int | None = None
    #: Of these, those of a document that was read lately, which a worker may remember.
    remembered: int = 0
    #: That have to be held at once, if nothing is read in parts.
    reading_tokens: int | None = None
    #: The same of the smallest part that can be read, at least.
    least_tokens: int | None = None
    #: The most that a ready worker holds at once; None: none has told.
    context_tokens: int | None = None
    #: Readings that it is cut into where the context is shorter.
    parts: int | None = None
    #: Keys and values of the largest part, as the engine keeps them.
    memory_bytes: int | None = None
    #: What its time is reckoned by: so many of `unit`; tokens without those remembered.
    work: int = 0
    unit: WorkUnit = "pages"
    #: Seconds from start to end.
    seconds: float | None = None
    #: What the seconds are from: past results, or how fast a worker read when it was loaded.
    seconds_from: Literal["results", "worker", ""] = ""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What lies before a job that waits, and until when it is done. None: not known."""

    #: Jobs whose turn comes before its own.
    ahead: int
    #: Seconds from now.
    starts_s: float | None
    ends_s: float | None


@dataclass(frozen=True, slots=True)
class Job:
    """One launch of a task."""

    id: str
    task: TaskName
    status: Status
    priority: Priority
    #: What a person calls it: the document's name or the listing's title.
    label: str
    #: The task's parameters as JSON (`Params` as dict).
    params: Mapping[str, Any]
    #: Tries; that it was handed over to another role counts as none.
    attempts: int
    progress: Progress
    created_at: datetime
    #: What it needs next, or needed last.
    role: Role = Role.GENERATE
    #: All that it needs, in order.
    roles: tuple[Role, ...] = (Role.GENERATE,)
    #: Who takes turns with the others.
    owner: str = "local"
    started_at: datetime | None = None
    finished_at: datetime | None = None
    #: One line that says what went wrong and what to do; empty unless failed.
    error: str = ""
    batch_id: str | None = None
    #: Row in its batch, from 0.
    batch_row: int | None = None
    cancel_requested: bool = False
    #: What it was thought to take when it was submitted; None: a job of an older version.
    estimate: Estimate | None = None


class Message(NamedTuple):
    """What the broker carries: that a job waits. A hint, which can be lost or come twice."""

    job_id: str
    priority: Priority
    #: What it needs next: each role has its own queue.
    role: Role
    #: An attempt at it was lost, so it goes before others of its priority.
    is_again: bool = False


@dataclass(frozen=True, slots=True)
class Review:
    """What a person says of a verdict, beside the model's; the newest of each verdict counts."""

    #: Grows with time.
    id: int
    #: The job that made the result. Others that show this result show its reviews, too.
    job_id: str
    #: Which claim of the listing, from 1; None: the listing as a whole.
    claim: int | None
    #: Of a listing as a whole: do photos and words agree?
    label: Label
    note: str
    #: Who says so.
    by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Result:
    """What a succeeded Job made: JSON with a schema version, and the record of what made it."""

    job_id: str
    task: TaskName
    schema_version: int
    #: As in the CLI contract, without "job" and "record".
    payload: Mapping[str, Any]
    record: Mapping[str, Any]
    created_at: datetime
    #: What people said of it since, the oldest first; what the job made is never changed.
    reviews: tuple[Review, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Many Jobs submitted together, with one progress and one export."""

    id: str
    name: str
    task: TaskName
    created_at: datetime
    #: The input rows, in input order; a row without a job has an error.
    rows: int
    counts: Mapping[Status, int]
    #: Rows that could not become jobs (bad image path, unreadable file).
    rejected: int = 0
    #: Rows whose result another job made: the same input was asked before, or in another row.
    reused: int = 0


@dataclass(frozen=True, slots=True)
class SummarizeParams:
    document: str
    #: How long the summary of the document, and of each section, is.
    sentences: int = 3
    #: As a share of the sentences that there are, from 0 to 1; counts instead of `sentences`.
    share: float | None = None
    #: Each section of the document is summarized too.
    sections: bool = False
    #: Sentences quoted from the document, or written freely and then checked against quotes.
    mode: Literal["grounded", "abstractive"] = "grounded"
    #: What becomes of a written sentence that its quotes do not prove.
    unsupported: Literal["mark", "drop"] = "mark"


@dataclass(frozen=True, slots=True)
class AskParams:
    document: str
    question: str


@dataclass(frozen=True, slots=True)
class ExtractParams:
    document: str
    #: Names as a person wrote them; none: those that every document may have.
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompareParams:
    """Two versions of a document, by their hashes."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class FiguresParams:
    document: str


#: What a task is given, beside its inputs.
Params = SummarizeParams | AskParams | ExtractParams | CompareParams | FiguresParams | Listing


class ReportProgress(Protocol):
    """Called often by a task; raises `errors.JobCancelled` when the person no longer wants it."""

    def __call__(self, progress: Progress) -> None: ...


class Prefix(Protocol):
    """A prefilled prompt that many questions share."""

    @property
    def length(self) -> int: ...


class Maker(Protocol):
    """What a result depends on beside its input: a checkpoint or an engine."""

    @property
    def name(self) -> str: ...

    @property
    def weights_sha256(self) -> str: ...

    @property
    def dtype(self) -> str: ...

    @property
    def device(self) -> str: ...

    @property
    def profile(self) -> Mapping[str, Any]: ...


class Engine(Maker, Protocol):
    """A loaded checkpoint, as tasks see it; `model.Engine` is one."""

    @property
    def context_length(self) -> int: ...

    def count_tokens(self, text: str) -> int: ...

    def prefill(
        self,
        parts: Sequence[str | Image],
        on_progress: OnTokens | None = None,
        *,
        after: Any = None,
    ) -> Prefix:
        """Reads the beginning of a prompt, which the engine may know from an earlier job, or what
        stands `after` a prefix."""
        ...

    def score(
        self,
        prefix: Any,
        continuations: Sequence[Continuation],
        on_progress: OnTokens | None = None,
    ) -> list[float]: ...

    def generate(
        self,
        prefix: Any,
        prompt: str,
        *,
        max_tokens: int,
        on_token: Callable[[str], None] | None = None,
    ) -> str: ...

    def prefill_many(
        self, prompts: Sequence[Sequence[str | Image]], on_progress: OnTokens | None = None
    ) -> Sequence[Prefix]:
        """As `prefill` of each; an engine that can reads them in the same steps."""
        ...

    def score_many(
        self,
        asked: Sequence[tuple[Any, Sequence[Continuation]]],
        on_progress: OnTokens | None = None,
    ) -> list[list[float]]:
        """As `score` of each pair. A prompt that is given as its parts is read and forgotten."""
        ...


class Encoder(Maker, Protocol):
    """The vision encoder of a checkpoint without the rest; `model.Encoder` is one."""

    def encode(self, pictures: Sequence[Image]) -> None:
        """Sees pictures, and keeps what an engine of the same checkpoint will need of them."""
        ...


class OnTokens(Protocol):
    """(tokens done, tokens in all), called between pieces of work; an exception stops the work."""

    def __call__(self, done: int, total: int, /) -> None: ...
