"""A document read once, whole, and what is asked about words that stand in it.

A question is a continuation of the prefix in which its words begin. All of them are scored together
as (question, yes) and (question, no); the margin is log P(yes) - log P(no). The prompt begins with
the document, whatever the task, so that an engine that remembers what it read goes on from there;
`tokens` tells how many of those read were remembered.

What does not fit the engine's context is read in portions, whose margins can be leveled before they
compete; the coverage says which pages were read, and in which portion.

Refuses a document without words (`NoText`). Called by `summarize` and `ask`.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from PIL import ImageStat

from mmapp.documents.quotes import PageText, page_text
from mmapp.errors import DocumentError, NoText
from mmapp.tasks import prompts
from mmapp.tasks.inputs import DocumentInput
from mmapp.tasks.paragraphs import Span
from mmapp.tasks.portions import Portion, portions, room_for_text
from mmapp.tasks.sections import outline_of
from mmapp.tasks.sentences import Sentence, joined, word_count
from mmapp.types import (
    Continuation,
    Document,
    Engine,
    Page,
    Progress,
    Recognition,
    ReportProgress,
    Source,
)

if TYPE_CHECKING:
    from PIL.Image import Image

#: Hidden passages that a payload tells, and characters of each.
MOST_HIDDEN = 50
HIDDEN_CHARACTERS = 300
NO_TEXT_LAYER = "no text layer, and text recognition is off (MMAPP_OCR)"
ILLEGIBLE = "illegible: text recognition is not sure of any line"
#: How far the mean of a portion's margins is moved to that of all: where 16 held-out documents were
#: read in 4 to 8 portions each, this chose more like a reading in one piece than 0 or 1.
LEVELED = 0.5
#: Tokens of a page picture where the profile does not say: Llama 4's 16 tiles and their overview,
#: 144 tokens each, and the marks between them.
IMAGE_TOKENS = 2_500


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about words, after the stem, and where they begin."""

    text: str
    place: Span


@dataclass(frozen=True, slots=True)
class Purpose:
    """What the questions are for: the prompts' task, and the words of the progress."""

    task: str
    phase: str
    unit: str


class Reading:
    """One document being read and its questions being scored: progress and counts as it goes."""

    def __init__(
        self,
        engine: Engine,
        inputs: DocumentInput,
        pages: Sequence[PageText],
        questions: Sequence[Question],
        purpose: Purpose,
        report: ReportProgress,
        *,
        stem: str = "",
    ) -> None:
        """`stem`: how all questions begin; it is read once, after the document."""
        self._engine, self._report, self._purpose = engine, report, purpose
        self._texts = {page.page.number: page.text for page in pages}
        self._questions = questions
        self._pictures = inputs.page_images if engine.profile.get("page_images") else None
        self._picture_tokens = 0
        if self._pictures:
            self._picture_tokens = int(engine.profile.get("image_tokens", IMAGE_TOKENS))
        self._stem = stem
        self._question_tokens = [engine.count_tokens(question.text) for question in questions]
        longest = max(self._question_tokens) + engine.count_tokens(stem)
        room = room_for_text(engine, longest, self._picture_tokens)
        self._pages_total = len(inputs.pages)
        self._portions = portions(
            list(self._texts.items()),
            room,
            self._page_tokens,
            lead_tokens=self._lead_tokens,
            headings=lambda: outline_of(inputs.document, pages).headings,
        )
        self._tokens_total = sum(sum(each.lead_tokens + each.tokens) for each in self._portions)
        #: Tokens that are read or scored in the whole job, and before the portion at hand.
        self._work_total = self._tokens_total + sum(self._question_tokens)
        self._work_before = 0
        #: Pages whose words were read without their picture, and why.
        self.undrawn: dict[int, str] = {}
        self._read = self._remembered = self._scored = 0
        self._seconds = {"reading": 0.0, purpose.phase: 0.0}

    def margins(self) -> list[float]:
        """log P(yes) - log P(no) of each question, read in the portion where its words begin."""
        margins = [0.0] * len(self._questions)
        tokens_before = asked_before = 0
        for portion, mine in zip(self._portions, self._questions_by_portion(), strict=True):
            found = self._portion_margins(portion, mine, tokens_before, asked_before)
            for index, margin in zip(mine, found, strict=True):
                margins[index] = margin
            tokens_before += sum(portion.lead_tokens + portion.tokens)
            asked_before += len(mine)
            self._work_before += sum(portion.lead_tokens + portion.tokens)
            self._work_before += sum(self._question_tokens[index] for index in mine)
        return margins

    def leveled(self, margins: Sequence[float]) -> list[float]:
        """Margins with each portion's mean moved halfway to the mean of all.

        A model likes the sentences of a portion better or worse as a whole for what it has not
        read; that is about as large as what makes some portions truly better.
        """
        whole = sum(margins) / len(margins)
        found = list(margins)
        for mine in self._questions_by_portion():
            if mine:
                mean = sum(margins[index] for index in mine) / len(mine)
                for index in mine:
                    found[index] -= LEVELED * (mean - whole)
        return found

    def parts_of_pages(self) -> dict[int, list[int]]:
        """In which portions, from 1, the words of each page were read as their own."""
        found: dict[int, list[int]] = {}
        for number, portion in enumerate(self._portions, start=1):
            for page in dict.fromkeys(span.page for span in portion.spans):
                found.setdefault(page, []).append(number)
        return found

    def usage(self) -> dict[str, Any]:
        return {
            "tokens": {
                "read": self._read,
                "remembered": self._remembered,
                "scored": self._scored,
            },
            "durations_s": {name: round(value, 3) for name, value in self._seconds.items()},
            "portions": len(self._portions),
            "candidates": len(self._questions),
            "prompt_sha256": prompts.prompt_sha256(),
        }

    def _questions_by_portion(self) -> list[list[int]]:
        starts = [portion.start for portion in self._portions]
        found: list[list[int]] = [[] for _ in starts]
        for index, question in enumerate(self._questions):
            place = question.place
            found[bisect_right(starts, (place.page, place.start)) - 1].append(index)
        return found

    def _portion_margins(
        self, portion: Portion, mine: Sequence[int], tokens_before: int, asked_before: int
    ) -> list[float]:
        spans = portion.lead + portion.spans
        page_ends = list(accumulate(portion.lead_tokens + portion.tokens))
        started = time.perf_counter()
        remembered: int | None = None

        def on_read(done: int, total: int) -> None:
            nonlocal remembered
            remembered = done if remembered is None else remembered
            place = bisect_right(page_ends, done)
            last = spans[max(min(place, len(spans) - 1), len(portion.lead))].page
            is_done = done >= total
            pages_done = last if is_done else last - 1
            tokens = tokens_before + (page_ends[-1] if is_done else min(done, page_ends[-1]))
            work = self._work_before + tokens - tokens_before
            self._tell("reading", tokens, self._tokens_total, "tokens", pages_done, work)

        # The document by itself, so that the engine knows it whatever is asked about it next.
        prefix = self._engine.prefill(list(self._parts(portion)), on_read)
        if self._stem and mine:
            prefix = self._engine.prefill([self._stem], after=prefix)
        self._read += prefix.length
        self._remembered += remembered or 0
        self._seconds["reading"] += time.perf_counter() - started
        started = time.perf_counter()
        last_page = portion.spans[-1].page
        phase, unit = self._purpose.phase, self._purpose.unit
        scored = 0

        def on_scored(done: int, total: int) -> None:
            nonlocal scored
            scored = total
            share = done / total if total else 1.0
            asked = asked_before + int(len(mine) * share)
            tokens = sum(self._question_tokens[index] for index in mine)
            work = self._work_before + page_ends[-1] + int(tokens * share)
            self._tell(phase, asked, len(self._questions), unit, last_page, work)

        yes, no = prompts.answers(self._purpose.task)
        pairs: list[Continuation] = []
        for index in mine:
            text = self._questions[index].text
            pairs += [(text, yes), (text, no)]
        scores = self._engine.score(prefix, pairs, on_scored) if pairs else []
        self._scored += scored
        self._seconds[phase] += time.perf_counter() - started
        return [a - b for a, b in zip(scores[::2], scores[1::2], strict=True)]

    def _parts(self, portion: Portion) -> Iterator[str | Image]:
        """A page's picture stands before its words."""
        yield from prompts.document_parts([self._slice(span) for span in portion.lead])
        words = prompts.document_parts([self._slice(span) for span in portion.spans])
        for span, part in zip(portion.spans, words, strict=True):
            if self._pictures and span.start == 0:
                try:
                    yield self._pictures(span.page)
                except DocumentError as problem:
                    self.undrawn[span.page] = str(problem)
            yield part

    def _slice(self, span: Span) -> tuple[int, str]:
        return span.page, self._texts[span.page][span.start : span.end]

    def _page_tokens(self, number: int, text: str) -> int:
        self._tell("preparing", number, self._pages_total, "pages", 0)
        (part,) = prompts.document_parts([(number, text)])
        return self._engine.count_tokens(part) + self._picture_tokens

    def _lead_tokens(self, number: int, text: str) -> int:
        (part,) = prompts.document_parts([(number, text)])
        return self._engine.count_tokens(part)

    def _tell(
        self,
        phase: str,
        done: int,
        total: int,
        unit: str,
        pages_done: int,
        work: int | None = None,
    ) -> None:
        self._report(
            Progress(
                phase=phase,
                done=done,
                total=total,
                unit=unit,
                pages_done=pages_done,
                pages_total=self._pages_total,
                work=None if work is None else work / self._work_total,
            )
        )


def pages_with_words(inputs: DocumentInput) -> list[PageText]:
    """The pages that there is something to read on; raises `NoText` when there are none."""
    pages = [page for page in map(PageText, inputs.pages) if page.text.strip()]
    if not pages:
        raise NoText(_no_text(inputs))
    return pages


def described(document: Document) -> dict[str, Any]:
    """The document as payloads name it."""
    return {"name": document.name, "sha256": document.sha256, "pages": document.page_count}


def proved(sentence: Sentence, pages: Sequence[PageText]) -> dict[str, Any]:
    """The words with their evidence; `supported` only if every quote is found on its page."""
    by_number = {page.page.number: page for page in pages}
    evidence, quotes = [], []
    stands = True
    for span in sentence.spans:
        page = by_number[span.page]
        quote = page.text[span.start : span.end]
        boxes = page.boxes_of(span.start, span.end)
        stands = stands and bool(quote) and quote in page_text(page.page)
        quotes.append(quote)
        proof = {"page": span.page, "quote": quote, "boxes": [list(box) for box in boxes]}
        confidence = page.confidence_of(span.start, span.end)
        if confidence is not None:
            proof["ocr"] = confidence
        evidence.append(proof)
    return {
        "text": sentence.text,
        "supported": stands and joined(quotes) == sentence.text,
        "evidence": evidence,
    }


def coverage(
    inputs: DocumentInput, with_words: Sequence[PageText], report: ReportProgress
) -> dict[str, Any]:
    """Which pages are read, and why others are not."""
    failed = _failed_pages(inputs, {page.page.number for page in with_words}, report)
    pages = len(inputs.pages)
    recognised = sum(any(line.source is Source.OCR for line in page.lines) for page in inputs.pages)
    return {"pages": pages, "read": pages - len(failed), "ocr": recognised, "failed": failed}


def hidden(inputs: DocumentInput) -> dict[str, Any]:
    """The words that the pages do not show: how many, and the first `MOST_HIDDEN` passages.

    The reader keeps them out of the lines, so no prompt and no quote has them.
    """
    found = [(page.number, one) for page in inputs.pages for one in page.hidden]
    return {
        "words": round(sum(word_count(one.text) for _, one in found)),
        "pages": sorted({number for number, _ in found}),
        "texts": [
            {
                "page": number,
                "text": one.text[:HIDDEN_CHARACTERS],
                "why": one.why,
                "box": list(one.box),
            }
            for number, one in found[:MOST_HIDDEN]
        ],
    }


def _failed_pages(
    inputs: DocumentInput, with_words: set[int], report: ReportProgress
) -> list[dict[str, Any]]:
    """Pages that were not read, and why. An empty page has nothing to read and is no failure."""
    failed = []
    total = len(inputs.pages)
    for page in inputs.pages:
        report(Progress("preparing", page.number, total, "pages", 0, total))
        if page.error:
            failed.append({"page": page.number, "reason": page.error})
        elif page.recognition is Recognition.ILLEGIBLE:
            failed.append({"page": page.number, "reason": ILLEGIBLE})
        elif page.number not in with_words and not _is_empty(inputs, page):
            failed.append({"page": page.number, "reason": NO_TEXT_LAYER})
    return failed


def _is_empty(inputs: DocumentInput, page: Page) -> bool:
    """Whether nothing is written on a page without words: it is text, was recognised, or is blank.

    A page is blank when its picture is one plain colour.
    """
    if inputs.document.media_type.is_text or page.recognition is Recognition.DONE:
        return True
    if inputs.page_images is None:
        return False
    try:
        picture = inputs.page_images(page.number).convert("L")
    except DocumentError:
        return False
    darkest, lightest = ImageStat.Stat(picture).extrema[0]
    return bool(lightest - darkest < 8)


def _no_text(inputs: DocumentInput) -> str:
    name, pages = inputs.document.name, len(inputs.pages)
    errors = [page.error for page in inputs.pages if page.error]
    if errors:
        return f"{name}: none of its {pages:,} page(s) could be read ({errors[0]})"
    if inputs.document.media_type.is_text:
        return f"{name}: there are no words in it; give a file with text"
    return (
        f"{name}: no words could be read on its {pages:,} page(s); give a file with a text layer, "
        "or a sharper scan with text recognition on (MMAPP_OCR)"
    )
