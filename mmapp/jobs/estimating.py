"""Estimating: what a job will take, told when it is submitted, and whether any worker can hold it.

Pages and characters stand in the database; tokens are counted by the checkpoint's own tokenizer,
of a long document in a sample of its pages; memory follows from the checkpoint's config, and time
from what was measured here (`rates`). What is not known is None. Nothing is written, and no
transaction is open while it counts. Called by `submitting`; refuses a job whose smallest part no
ready worker can hold.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mmapp.checkpoints import Checkpoint
from mmapp.config import Settings
from mmapp.db import Database
from mmapp.db.documents import PageCount
from mmapp.db.workers import WorkerInfo
from mmapp.errors import DoesNotFit
from mmapp.jobs.rates import Rates, rates_of
from mmapp.records import WITHOUT_MODEL, document_hashes
from mmapp.shapes import Shape, shape_of
from mmapp.types import (
    AskParams,
    Estimate,
    ExtractParams,
    Line,
    Listing,
    Page,
    Params,
    Recognition,
    Role,
    SummarizeParams,
    TaskName,
)

if TYPE_CHECKING:
    from mmapp.tasks.sizes import Size

#: Characters of a document in which tokens and questions are counted; the rest is like them.
SAMPLE_CHARACTERS = 8_000
#: The same of a row of a batch, of which there may be many thousands.
ROW_CHARACTERS = 2_000
#: Pages among which they are, evenly, where one page has fewer.
SAMPLE_PAGES = 8
#: Places of a page from which it is taken, where a page is longer than its share of it.
SAMPLE_RUNS = 4
#: Results whose records are looked at, the newest.
RECORDS = 200
#: Seconds for which what was measured is believed, so that a batch does not ask for each row.
FRESH_S = 1.0
#: Tasks that read a document, which a worker then keeps if it has so many tokens
#: (`workers.readings`).
READ_WHOLE = (TaskName.SUMMARIZE, TaskName.ASK, TaskName.EXTRACT)
LEAST_KEPT = 1024
#: A worker that was silent for longer is not counted on.
RECENT = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Measured:
    """Who works, and how fast work went lately."""

    workers: Sequence[WorkerInfo]
    rates: Rates
    #: Documents that were read lately, by their hashes.
    read: frozenset[str]

    @property
    def contexts(self) -> list[int]:
        """Tokens that each ready worker can hold, as far as they told."""
        return [one.capacity.context_tokens for one in self.workers if one.capacity]


@dataclass(frozen=True, slots=True)
class _Input:
    """What the database knows of a job's documents."""

    pages: int
    characters: int
    recognise: int
    #: Of one document: some of its pages, and how many times they make the whole.
    sample: tuple[Page, ...]
    times: float


class Estimator:
    """Estimates for one process; safe for threads."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._known: tuple[float, str, Measured] | None = None

    def estimate(
        self,
        task: TaskName,
        params: Params,
        checkpoint: Checkpoint | None,
        characters: int = SAMPLE_CHARACTERS,
    ) -> Estimate:
        """What the job takes, as far as that is known; of documents that are not there, nothing.

        `characters`: the sample's.
        """
        given = self._given(params, characters)
        measured = self.measured(checkpoint)
        found = self._sized(task, params, given, checkpoint, measured)
        timed = measured.rates.time_of(task, found)
        if timed is None:
            return found
        return dataclasses.replace(found, seconds=timed.seconds, seconds_from=timed.source)

    def measured(self, checkpoint: Checkpoint | None = None) -> Measured:
        """Of the workers that are ready, or of the checkpoint where none is."""
        weights = checkpoint.weights_sha256 if checkpoint else ""
        now = time.monotonic()
        if self._known is None or self._known[1] != weights or now - self._known[0] > FRESH_S:
            self._known = now, weights, self._measure(weights)
        return self._known[2]

    def _measure(self, weights: str) -> Measured:
        with self._database.snapshot() as repository:
            now, infos = repository.now(), repository.workers.all()
            records = repository.results.records(RECORDS)
        ready = [info for info in infos if _counts(info, now, weights)]
        speeds = [info.capacity.tokens_per_s or 0.0 for info in ready if info.capacity]
        known = frozenset(info.weights_sha256 for info in ready) | {weights}
        devices = frozenset(info.device for info in ready)
        rates = rates_of(records, known, devices, max(speeds, default=0.0) or None)
        return Measured(ready, rates, _read_lately(records, known))

    def _given(self, params: Params, characters: int) -> _Input:
        hashes = document_hashes(params)
        with self._database.snapshot() as repository:
            counts = [count for sha in hashes for count in repository.documents.page_counts(sha)]
            chosen, times = _sampled(counts, characters)
            sample: Sequence[Page] = ()
            if isinstance(params, SummarizeParams | AskParams | ExtractParams):
                sample = repository.documents.pages(params.document, chosen) if chosen else ()
        wanting = sum(page.recognition is Recognition.WANTED for page in counts)
        wanting = 0 if self._settings.ocr == "off" else min(wanting, self._settings.ocr_pages)
        cut, share = _cut(sample, characters)
        return _Input(
            pages=len(counts),
            characters=sum(page.characters for page in counts),
            recognise=0 if isinstance(params, Listing) else wanting,
            sample=cut,
            times=times * share,
        )

    def _sized(
        self,
        task: TaskName,
        params: Params,
        given: _Input,
        checkpoint: Checkpoint | None,
        measured: Measured,
    ) -> Estimate:
        known = Estimate(
            pages=given.pages,
            characters=given.characters,
            pictures=len(params.photos) if isinstance(params, Listing) else 0,
            recognise=given.recognise,
        )
        if task in WITHOUT_MODEL:
            return dataclasses.replace(known, tokens=0, unit="characters", work=given.characters)
        shape = None if self._settings.engine_url else shape_of(self._settings.checkpoint)
        size = _size(params, given, checkpoint, shape) if shape and checkpoint else None
        if shape is None or size is None:
            return dataclasses.replace(known, **_countable(task, given))
        if checkpoint and checkpoint.profile.get("page_images") and not known.pictures:
            known = dataclasses.replace(known, pictures=given.pages)
        held = self._held(known, size, shape, measured)
        is_kept = bool(given.sample) and size.read >= LEAST_KEPT and self._keeps_readings()
        if not is_kept or not measured.read.issuperset(document_hashes(params)):
            return held
        return dataclasses.replace(held, remembered=size.read, work=held.work - size.read)

    def _keeps_readings(self) -> bool:
        return bool(self._settings.prefix_memory_mb or self._settings.prefix_disk_mb)

    def _held(self, known: Estimate, size: Size, shape: Shape, measured: Measured) -> Estimate:
        """In how many parts it is read, and what that holds in memory."""
        context = min(measured.contexts, default=shape.context_tokens)
        parts, again = _parts(size, known.pages, context) if known.characters else (1, 0)
        dtypes = {worker.dtype for worker in measured.workers} or {self._settings.dtype}
        at_once = min(size.reading, context)
        return dataclasses.replace(
            known,
            tokens=size.read + size.asked + again,
            reading_tokens=size.reading,
            least_tokens=size.least,
            context_tokens=max(measured.contexts, default=None),
            parts=parts,
            memory_bytes=max(shape.cache_bytes(at_once, dtype) for dtype in dtypes),
            unit="tokens",
            work=size.read + size.asked + again,
        )


def refuse_unfit(label: str, params: Params, estimate: Estimate) -> None:
    """Raises `DoesNotFit` when no ready worker can hold the smallest part of the job.

    Where no worker has told what it holds, the one that takes the job finds out.
    """
    least, most = estimate.least_tokens, estimate.context_tokens
    if least is None or most is None or least <= most:
        return
    less = "fewer photos" if isinstance(params, Listing) else "a shorter question"
    raise DoesNotFit(
        f"“{label}” needs {least:,} tokens at once, and no worker holds more than"
        f" {most:,}: give {less}, or a worker more memory (MMAPP_ENGINE_MEMORY_MB) or a checkpoint"
        " with a longer context"
    )


def _read_lately(
    records: Sequence[tuple[TaskName, Mapping[str, Any]]], weights: frozenset[str]
) -> frozenset[str]:
    """Documents that were read whole by these weights, by what results tell."""
    return frozenset(
        sha256
        for task, record in records
        if task in READ_WHOLE
        and record.get("weights_sha256") in weights
        and record.get("tokens", {}).get("read")
        for sha256 in record.get("documents", ())
    )


def _countable(task: TaskName, given: _Input) -> dict[str, Any]:
    """What the time of a job is reckoned by whose tokens are not known."""
    if task is TaskName.FIGURES or not given.characters:
        return {"unit": "pages", "work": given.pages}
    return {"unit": "characters", "work": given.characters}


def _counts(info: WorkerInfo, now: datetime, weights: str) -> bool:
    """Whether a worker is ready, lives, and answers with these weights (empty: with any)."""
    lives = not info.process.is_dead and now - info.last_seen < RECENT
    answers = info.ready and Role.GENERATE in info.roles
    return answers and lives and weights in ("", info.weights_sha256)


def _sampled(counts: Sequence[PageCount], most: int) -> tuple[list[int], float]:
    """Numbers of pages that stand for a document, and how many times their characters it has.

    All pages where they are short together, else some, evenly.
    """
    written = [page for page in counts if page.characters]
    total = sum(page.characters for page in written)
    if total > most and len(written) > SAMPLE_PAGES:
        written = [written[len(written) * place // SAMPLE_PAGES] for place in range(SAMPLE_PAGES)]
    characters = sum(page.characters for page in written)
    if not characters:
        return [], 0.0
    # Pages that wait for recognition are thought to have as many words as the others.
    waiting = sum(not page.characters and page.recognition is Recognition.WANTED for page in counts)
    share = 1 + waiting / max(1, sum(bool(page.characters) for page in counts))
    return [page.number for page in written], share * total / characters


def _cut(pages: Sequence[Page], most: int) -> tuple[tuple[Page, ...], float]:
    """Of each page as much as its share of the sample allows, and how many times that makes all of
    these pages."""
    total = sum(len(line.text) for page in pages for line in page.lines)
    if total <= most:
        return tuple(pages), 1.0
    room = most // len(pages)
    kept = [dataclasses.replace(page, lines=_spread(page.lines, room)) for page in pages]
    left = sum(len(line.text) for page in kept for line in page.lines)
    return tuple(kept), total / max(1, left)


def _spread(lines: Sequence[Line], room: int) -> tuple[Line, ...]:
    """Runs of lines from all over a page, of about so many characters together."""
    kept: list[Line] = []
    starts = [len(lines) * run // SAMPLE_RUNS for run in range(SAMPLE_RUNS + 1)]
    for start, end in pairwise(starts):
        left = room // SAMPLE_RUNS
        for line in lines[start:end]:
            if left <= 0:
                break
            # A line of a text file may be a whole book.
            kept.append(line if len(line.text) <= left else _shortened(line, left))
            left -= len(line.text)
    return tuple(kept)


def _shortened(line: Line, room: int) -> Line:
    return dataclasses.replace(line, text=line.text[:room], edges=line.edges[: room + 1])


def _size(params: Params, given: _Input, checkpoint: Checkpoint, shape: Shape) -> Size | None:
    """Tokens of the task; None where nothing can be counted yet."""
    from mmapp.tasks.sizes import Sample, document_size, listing_size

    if isinstance(params, Listing):
        return listing_size(params, checkpoint.profile, shape.image_tokens, shape.count)
    if not isinstance(params, SummarizeParams | AskParams | ExtractParams) or not given.sample:
        return None
    sample = Sample(given.sample, given.times, given.pages)
    return document_size(sample, params, checkpoint.profile, shape.count)


def _parts(size: Size, pages: int, context: int) -> tuple[int, int]:
    """Parts that a document is read in, and tokens that are read again before them."""
    from mmapp.tasks.portions import LEAD_SHARE, portions_of, room_of

    if size.least >= size.reading:
        return 1, 0
    room = max(1, room_of(context, size.longest))
    parts = portions_of(max(1, pages), size.read, room)
    return parts, (parts - 1) * 2 * int(LEAD_SHARE * room)
