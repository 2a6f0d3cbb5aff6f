"""Grounded summary: the sentences that best say what a document is about, each with its proof.

The whole document is read once. Decoding is constrained to sentences that stand in the document:
all of them are continuations of the one prefix, scored together as (question, yes) and (question,
no); the best by log P(yes) - log P(no) are taken, near repetitions left out, and put in order.
No other words can come out.

Why sentences and not tokens are the alphabet of the constraint: a trie over tokens commits to a
sentence by its first token, of which the model knows nothing but how well it begins ("The", "In"),
and compares sentences of different length by products of unequal length. Scoring whole sentences
compares them by what they say, lets every one of them compete, and costs one batched reading of the
document's own words.

What does not fit the engine's context is read in portions; margins of one model on one question are
on one scale, so the portions' candidates compete as equals, and the coverage says which pages were
read. Refuses a document without words (`NoText`). Called by `tasks.run`.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from PIL import ImageStat

from mmapp.documents.quotes import PageText, page_text
from mmapp.errors import DocumentError, NoText
from mmapp.tasks import prompts
from mmapp.tasks.inputs import DocumentInput
from mmapp.tasks.portions import Portion, portions, room_for_text
from mmapp.tasks.sentences import Sentence, candidates, joint, units
from mmapp.types import Continuation, Engine, Page, Progress, ReportProgress, SummarizeParams

if TYPE_CHECKING:
    from PIL.Image import Image

NO_TEXT_LAYER = "no text layer; text in pictures is not read yet"
#: A candidate is a repetition when it shares this much of the shorter one's words.
REPETITION = 0.65
#: Tokens of a page picture where the profile does not say: Llama 4's 16 tiles and their overview,
#: 144 tokens each, and the marks between them.
IMAGE_TOKENS = 2_500


def summarize(
    engine: Engine, inputs: DocumentInput, params: SummarizeParams, report: ReportProgress
) -> dict[str, Any]:
    """The payload of a summary, with "usage" for the record."""
    pages = [PageText(page) for page in inputs.pages]
    with_words = [page for page in pages if page.text.strip()]
    if not with_words:
        raise NoText(_no_text(inputs))
    failed = _failed_pages(inputs, pages, report)
    offered = _without_repeats(candidates(with_words))
    reading = _Reading(engine, inputs, with_words, offered, report)
    margins = reading.margins()
    chosen = choose(offered, margins, params.sentences)
    document = inputs.document
    return {
        "document": {
            "name": document.name,
            "sha256": document.sha256,
            "pages": document.page_count,
        },
        "summary": [_proved(offered[index], with_words) for index in chosen],
        "coverage": {
            "pages": len(inputs.pages),
            "read": len(inputs.pages) - len(failed),
            "ocr": 0,
            "failed": failed,
        },
        "usage": reading.usage(),
    }


def choose(sentences: Sequence[Sentence], margins: Sequence[float], count: int) -> list[int]:
    """Indices of the best sentences in document order.

    What nearly repeats a better one is taken only where nothing else is left.
    """
    chosen: list[int] = []
    repetitions: list[int] = []
    said: list[set[str]] = []
    for index in sorted(range(len(sentences)), key=lambda index: (-margins[index], index)):
        if len(chosen) == count:
            break
        words = units(sentences[index].text)
        if any(len(words & other) > REPETITION * min(len(words), len(other)) for other in said):
            repetitions.append(index)
            continue
        chosen.append(index)
        said.append(words)
    return sorted(chosen + repetitions[: count - len(chosen)])


class _Reading:
    """One document being read and its sentences being scored: progress and counts as it goes."""

    def __init__(
        self,
        engine: Engine,
        inputs: DocumentInput,
        pages: Sequence[PageText],
        sentences: Sequence[Sentence],
        report: ReportProgress,
    ) -> None:
        self._engine, self._report = engine, report
        self._texts = {page.page.number: page.text for page in pages}
        self._sentences = sentences
        self._pictures = inputs.page_images if engine.profile.get("page_images") else None
        self._questions = [
            prompts.summarize_question(sentence.text, place, len(sentences))
            for place, sentence in enumerate(sentences, start=1)
        ]
        self._picture_tokens = 0
        if self._pictures:
            self._picture_tokens = int(engine.profile.get("image_tokens", IMAGE_TOKENS))
        longest = max(engine.count_tokens(question) for question in self._questions)
        room = room_for_text(engine, longest, self._picture_tokens)
        self._pages_total = len(inputs.pages)
        self._portions = portions(list(self._texts.items()), room, self._page_tokens)
        self._tokens_total = sum(sum(portion.tokens) for portion in self._portions)
        self._read = self._scored = 0
        self._seconds = {"reading": 0.0, "choosing": 0.0}

    def margins(self) -> list[float]:
        """log P(yes) - log P(no) of each sentence, read in the portion where it begins."""
        margins = [0.0] * len(self._sentences)
        tokens_before = sentences_before = 0
        for portion, mine in zip(self._portions, self._sentences_by_portion(), strict=True):
            found = self._portion_margins(portion, mine, tokens_before, sentences_before)
            for index, margin in zip(mine, found, strict=True):
                margins[index] = margin
            tokens_before += sum(portion.tokens)
            sentences_before += len(mine)
        return margins

    def usage(self) -> dict[str, Any]:
        return {
            "tokens": {"read": self._read, "scored": self._scored},
            "durations_s": {name: round(value, 3) for name, value in self._seconds.items()},
            "portions": len(self._portions),
            "candidates": len(self._sentences),
            "prompt_sha256": prompts.prompt_sha256(),
        }

    def _sentences_by_portion(self) -> list[list[int]]:
        starts = [(portion.spans[0].page, portion.spans[0].start) for portion in self._portions]
        found: list[list[int]] = [[] for _ in starts]
        for index, sentence in enumerate(self._sentences):
            first = sentence.spans[0]
            found[bisect_right(starts, (first.page, first.start)) - 1].append(index)
        return found

    def _portion_margins(
        self, portion: Portion, mine: Sequence[int], tokens_before: int, sentences_before: int
    ) -> list[float]:
        page_ends = list(accumulate(portion.tokens))
        started = time.perf_counter()

        def on_read(done: int, total: int) -> None:
            place = bisect_right(page_ends, done)
            last = portion.spans[min(place, len(portion.spans) - 1)].page
            is_done = done >= total
            pages_done = last if is_done else last - 1
            tokens = tokens_before + (sum(portion.tokens) if is_done else min(done, page_ends[-1]))
            self._tell("reading", tokens, self._tokens_total, "tokens", pages_done)

        prefix = self._engine.prefill(list(self._parts(portion)), on_read)
        self._read += prefix.length
        self._seconds["reading"] += time.perf_counter() - started
        started = time.perf_counter()
        last_page = portion.spans[-1].page
        scored = 0

        def on_scored(done: int, total: int) -> None:
            nonlocal scored
            scored = total
            sentences = sentences_before + (len(mine) * done // total if total else len(mine))
            self._tell("choosing", sentences, len(self._sentences), "sentences", last_page)

        yes, no = prompts.answers("summarize")
        asked: list[Continuation] = []
        for index in mine:
            asked += [(self._questions[index], yes), (self._questions[index], no)]
        scores = self._engine.score(prefix, asked, on_scored) if asked else []
        self._scored += scored
        self._seconds["choosing"] += time.perf_counter() - started
        return [a - b for a, b in zip(scores[::2], scores[1::2], strict=True)]

    def _parts(self, portion: Portion) -> Iterator[str | Image]:
        """A page's picture stands before its words."""
        slices = [(s.page, self._texts[s.page][s.start : s.end]) for s in portion.spans]
        words = prompts.document_parts(slices)
        for span, part in zip(portion.spans, words, strict=True):
            if self._pictures and span.start == 0:
                yield self._pictures(span.page)
            yield part

    def _page_tokens(self, number: int, text: str) -> int:
        self._tell("preparing", number, self._pages_total, "pages", 0)
        (part,) = prompts.document_parts([(number, text)])
        return self._engine.count_tokens(part) + self._picture_tokens

    def _tell(self, phase: str, done: int, total: int, unit: str, pages_done: int) -> None:
        self._report(
            Progress(
                phase=phase,
                done=done,
                total=total,
                unit=unit,
                pages_done=pages_done,
                pages_total=self._pages_total,
            )
        )


def _without_repeats(sentences: Sequence[Sentence]) -> list[Sentence]:
    """The first of each wording: a second could only win as a repetition."""
    first = {sentence.text: index for index, sentence in reversed(list(enumerate(sentences)))}
    return [sentence for index, sentence in enumerate(sentences) if first[sentence.text] == index]


def _proved(sentence: Sentence, pages: Sequence[PageText]) -> dict[str, Any]:
    """The sentence with its evidence; `supported` only if every quote is found on its page."""
    by_number = {page.page.number: page for page in pages}
    evidence = []
    joined, stands = "", True
    for span in sentence.spans:
        page = by_number[span.page]
        quote = page.text[span.start : span.end]
        joined += (joint(joined, quote) if joined else "") + quote
        boxes = page.boxes_of(span.start, span.end)
        stands = stands and bool(quote) and quote in page_text(page.page)
        evidence.append({"page": span.page, "quote": quote, "boxes": [list(box) for box in boxes]})
    return {
        "text": sentence.text,
        "supported": stands and joined == sentence.text,
        "evidence": evidence,
    }


def _failed_pages(
    inputs: DocumentInput, pages: Sequence[PageText], report: ReportProgress
) -> list[dict[str, Any]]:
    """Pages that were not read, and why. An empty page has nothing to read and is no failure."""
    failed = []
    for page in pages:
        number = page.page.number
        report(Progress("preparing", number, len(pages), "pages", 0, len(pages)))
        if page.page.error:
            failed.append({"page": number, "reason": page.page.error})
        elif not page.text.strip() and not _is_blank(inputs, page.page):
            failed.append({"page": number, "reason": NO_TEXT_LAYER})
    return failed


def _is_blank(inputs: DocumentInput, page: Page) -> bool:
    """Text pages without words are blank; other pages when their picture is one plain colour."""
    if inputs.document.media_type.is_text:
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
        f"{name}: none of its {pages:,} page(s) has words to read, and text in pictures is not "
        "read yet; give a file with a text layer (run OCR over it first)"
    )
