"""Abstractive summary: sentences that a model writes, each checked by code against what it cites.

The model reads the words of the document and writes sentences with their proofs: pages, and words
copied from them. `verify` then decides what is supported; what is not is marked or dropped as was
wished, and the share that is supported stands in the payload. A document longer than the engine's
context is written about in portions; the quotes that proved those sentences are then read as a
shorter document, page by page, until one reading holds them all. So the last sentences cite the
document's own pages too, and are checked against them.

A model that repeats itself is stopped while it writes, and what it said twice counts once. Refuses
a document without words (`NoText`), and a checkpoint whose profile says that it does not write
(`refuse_unable`, which jobs call when a summary is submitted). Called by `tasks.run`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from mmapp.documents.quotes import PageText
from mmapp.errors import CheckpointProblem, NotPossible
from mmapp.tasks import prompts
from mmapp.tasks.coverage import with_map
from mmapp.tasks.inputs import DocumentInput
from mmapp.tasks.portions import Portion, portions, room_for_text
from mmapp.tasks.reading import coverage, described, hidden, pages_with_words
from mmapp.tasks.sections import Heading, Place, by_section, outline_of
from mmapp.tasks.sentences import candidates, units, without_repeats
from mmapp.tasks.summarize import MOST_SENTENCES, titled, wanted
from mmapp.tasks.verify import Citation, Proofreader, Written, is_chinese
from mmapp.types import Engine, Progress, ReportProgress, SummarizeParams

#: Tokens of a sentence with its proofs, at most; and of the first line, which may say hello.
SENTENCE_TOKENS, OPENING_TOKENS = 160, 40
#: A sentence that shares so much of the shorter one's words with an earlier one says it again.
REPETITION = 0.8
#: Text that ends with the same characters so many times over is stopped.
LOOPS, MOST_PERIOD, FEWEST_LOOPED = 4, 200, 48
#: Sentences of each portion of a document that is written about in portions, at least.
FEWEST_OF_PORTION = 3

#: Pages as (number, text).
Texts = Sequence[tuple[int, str]]


def writes(profile: Mapping[str, Any]) -> bool:
    """Whether a checkpoint writes text of its own: its profile says so (`writes`), or it has none,
    as foreign checkpoints and servers' models."""
    return bool(profile.get("writes", not profile))


def refuse_unable(name: str, profile: Mapping[str, Any]) -> None:
    """Raises `NotPossible` for a checkpoint that does not write."""
    if not writes(profile):
        raise NotPossible(
            f"the checkpoint {name} does not write text of its own; leave --mode abstractive out,"
            " or set MMAPP_CHECKPOINT or MMAPP_ENGINE_URL to a model that does (a checkpoint with a"
            ' profile.json says so there: "writes": true)'
        )


def write_summary(
    engine: Engine, inputs: DocumentInput, params: SummarizeParams, report: ReportProgress
) -> dict[str, Any]:
    """The payload of an abstractive summary, with "usage" for the record."""
    refuse_unable(engine.name, engine.profile)
    pages = pages_with_words(inputs)
    covered = coverage(inputs, pages, report)
    outline = outline_of(inputs.document, pages)
    writer = _Writer(engine, inputs, pages, report)
    offered = without_repeats(candidates(pages))
    texts = [(page.page.number, page.text) for page in pages]
    sections = _sections(outline.sections(), texts) if params.sections else []
    writer.readings_left = 1 + len(sections)
    tally = _Tally(drops=params.unsupported == "drop")
    count = min(wanted(params, len(offered)), MOST_SENTENCES)
    whole = tally.kept(writer.write(texts, count, outline.headings))
    payload: dict[str, Any] = {
        "document": described(inputs.document),
        "mode": "abstractive",
        "summary": whole,
    }
    if params.sections:
        payload["outline"] = outline.source
        payload["sections"] = [
            {
                **titled(heading, pages),
                "summary": tally.kept(
                    writer.write(
                        own, min(wanted(params, _sentences_in(own, offered)), MOST_SENTENCES)
                    )
                ),
            }
            for heading, own in sections
        ]
    return {
        **payload,
        "support": tally.told(),
        "length": {"sentences": len(whole), "of": len(offered)},
        "coverage": with_map(covered, inputs.pages, writer.parts, {}),
        "hidden": hidden(inputs),
        "usage": writer.usage(),
    }


@dataclass(slots=True)
class _Tally:
    """How many sentences were written, how many are supported, and what was dropped."""

    drops: bool
    written: int = 0
    supported: int = 0
    repeated: int = 0
    dropped: list[dict[str, Any]] = field(default_factory=list)

    def kept(self, checked: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The sentences that are shown: each once, and those without support as was wished."""
        kept: list[dict[str, Any]] = []
        said: list[set[str]] = []
        for sentence in checked:
            words = units(sentence["text"])
            if any(_repeats(words, other) for other in said):
                self.repeated += 1
                continue
            said.append(words)
            self.written += 1
            self.supported += sentence["supported"]
            if self.drops and not sentence["supported"]:
                self.dropped.append(sentence)
            else:
                kept.append(sentence)
        return kept

    def told(self) -> dict[str, Any]:
        """`rate` is the share of the written sentences that are supported; None of none."""
        rate = round(self.supported / self.written, 4) if self.written else None
        return {
            "written": self.written,
            "supported": self.supported,
            "rate": rate,
            "repeated": self.repeated,
            "dropped": self.dropped,
        }


def _repeats(words: set[str], other: set[str]) -> bool:
    return len(words & other) > REPETITION * min(len(words), len(other))


def _sections(
    headings: Sequence[Heading], texts: Texts
) -> list[tuple[Heading | None, list[tuple[int, str]]]]:
    """Each section with its words by page; what precedes the first where it has any."""
    if not headings:
        return []
    pieces = [piece for number, text in texts for piece in _cut_at(headings, number, text)]
    before, *own = by_section(headings, [place for place, _ in pieces])
    named: list[tuple[Heading | None, list[int]]] = [
        (None, before),
        *zip(headings, own, strict=True),
    ]
    found = []
    for heading, indices in named:
        words = [(pieces[i][0].page, pieces[i][1]) for i in indices if pieces[i][1].strip()]
        if words:
            found.append((heading, words))
    return found


def _cut_at(headings: Sequence[Heading], number: int, text: str) -> list[tuple[Place, str]]:
    """A page's text in pieces that begin where sections do."""
    starts = {heading.start.at for heading in headings if heading.start.page == number}
    borders = [*sorted({0, *(start for start in starts if start < len(text))}), len(text)]
    return [(Place(number, start), text[start:end]) for start, end in pairwise(borders)]


def _sentences_in(texts: Texts, offered: Sequence[Any]) -> int:
    """How many of a document's sentences stand in these words."""
    by_page: dict[int, str] = {}
    for number, text in texts:
        by_page[number] = by_page.get(number, "") + text
    return sum(sentence.text in by_page.get(sentence.spans[0].page, "") for sentence in offered)


class _Writer:
    """Has an engine write about texts that stand on a document's pages, and checks what it says."""

    def __init__(
        self,
        engine: Engine,
        inputs: DocumentInput,
        pages: Sequence[PageText],
        report: ReportProgress,
    ) -> None:
        self._engine, self._report = engine, report
        self._proofreader = Proofreader(pages)
        self._chinese = is_chinese("".join(page.text[:1000] for page in pages))
        self._pages_total = len(inputs.pages)
        self._read = self._written = 0
        self._seconds = {"reading": 0.0, "writing": 0.0}
        self._readings_done = 0
        self._work = 0.0
        #: How many texts are still to be written about, this one included.
        self.readings_left = 1
        #: In which portions, from 1, each page of the first texts was read.
        self.parts: dict[int, list[int]] = {}

    def write(
        self, texts: Texts, count: int, headings: Sequence[Heading] = ()
    ) -> list[dict[str, Any]]:
        """So many checked sentences about texts, given as (page, text).

        `headings` of pages that are given whole, where these may be cut into portions.
        """
        found = self._write(texts, count, headings)
        self._readings_done += 1
        self.readings_left -= 1
        return found

    def usage(self) -> dict[str, Any]:
        return {
            "tokens": {"read": self._read, "written": self._written},
            "durations_s": {name: round(value, 3) for name, value in self._seconds.items()},
            "portions": max((part for own in self.parts.values() for part in own), default=0),
            "prompt_sha256": prompts.prompt_sha256(),
        }

    def _write(
        self,
        texts: Texts,
        count: int,
        headings: Sequence[Heading],
        done: int = 0,
        steps: int = 1,
    ) -> list[dict[str, Any]]:
        """`done` of `steps` readings of these texts lie before this one."""
        cut = self._portions(texts, count, headings)
        if not self.parts:
            self.parts = _parts_of_pages(cut)
        by_number = _joined(texts)
        if len(cut) == 1:
            return self._about(cut[0], by_number, count, done, steps)
        of_each = max(FEWEST_OF_PORTION, -(-2 * count // len(cut)))
        steps = max(steps, done + 1) + len(cut)
        checked = [
            sentence
            for number, portion in enumerate(cut)
            for sentence in self._about(portion, by_number, of_each, done + number, steps)
        ]
        notes = _notes(checked)
        if sum(len(text) for _, text in notes) > sum(len(text) for _, text in texts) / 2:
            raise CheckpointProblem(
                f"{self._engine.name} has a context of {self._engine.context_length:,} tokens,"
                " which is too short to write about this document in parts: use a checkpoint with"
                " a longer context, or leave --mode abstractive out"
            )
        done += len(cut)
        return self._write(notes, count, (), done, steps) if notes else checked[:count]

    def _portions(self, texts: Texts, count: int, headings: Sequence[Heading]) -> list[Portion]:
        most = max(count, FEWEST_OF_PORTION)
        asked = self._engine.count_tokens(self._question(most)) + most_tokens(most)
        room = room_for_text(self._engine, asked, 0)
        return portions(
            list(_joined(texts).items()),
            room,
            self._page_tokens,
            lead_tokens=self._page_tokens,
            headings=lambda: headings,
        )

    def _page_tokens(self, number: int, text: str) -> int:
        (part,) = prompts.document_parts([(number, text)])
        return self._engine.count_tokens(part)

    def _about(
        self, portion: Portion, texts: Mapping[int, str], count: int, done: int, steps: int
    ) -> list[dict[str, Any]]:
        """Checked sentences about a portion; `done` of `steps` readings lie before it."""
        slices = [(s.page, texts[s.page][s.start : s.end]) for s in portion.lead + portion.spans]
        last_page = portion.spans[-1].page
        tell = self._teller(last_page, done, steps)
        started = time.perf_counter()
        prefix = self._engine.prefill(
            prompts.document_parts(slices),
            lambda read, total: tell("reading", read, total, read / (2 * total) if total else 0.5),
        )
        self._read += prefix.length
        self._seconds["reading"] += time.perf_counter() - started
        started = time.perf_counter()
        most = most_tokens(count)
        listener = _Listener(
            count, lambda n: tell("writing", min(n, most), most, 0.5 + n / most / 2)
        )
        text = listener.hear(self._engine, prefix, self._question(count), most)
        self._written += listener.tokens
        self._seconds["writing"] += time.perf_counter() - started
        return [self._proofreader.check(sentence) for sentence in parse(text)[:count]]

    def _question(self, count: int) -> str:
        return prompts.write_question(count, chinese=self._chinese)

    def _teller(self, page: int, done: int, steps: int) -> Callable[[str, int, int, float], None]:
        """Tells how far the reading at hand is, and with it the job."""
        texts = self._readings_done + self.readings_left

        def tell(phase: str, at: int, total: int, share: float) -> None:
            work = (self._readings_done + (done + min(share, 1.0)) / steps) / texts
            # A document that takes more readings than was thought goes on from where it was.
            self._work = max(self._work, min(work, 1.0))
            pages = page if phase == "writing" else 0
            self._report(
                Progress(phase, at, total, "tokens", pages, self._pages_total, work=self._work)
            )

        return tell


def most_tokens(count: int) -> int:
    """That so many sentences with their proofs may take."""
    return OPENING_TOKENS + SENTENCE_TOKENS * count


def _joined(texts: Texts) -> dict[int, str]:
    """One text for each page; pieces of one page are joined by a line."""
    found: dict[int, str] = {}
    for number, text in texts:
        found[number] = f"{found[number]}\n{text}" if number in found else text
    return found


def _notes(checked: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    """The quotes that prove sentences, by page."""
    quotes: dict[int, list[str]] = {}
    for sentence in checked:
        for proof in sentence["evidence"] if sentence["supported"] else ():
            own = quotes.setdefault(proof["page"], [])
            if proof["quote"] not in own:
                own.append(proof["quote"])
    return [(page, "\n".join(quotes[page])) for page in sorted(quotes)]


def _parts_of_pages(cut: Sequence[Portion]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for number, portion in enumerate(cut, start=1):
        for page in dict.fromkeys(span.page for span in portion.spans):
            found.setdefault(page, []).append(number)
    return found


# While the engine writes.


class _Enough(Exception):
    """All that was asked for is written, or it goes round in circles."""


class _Listener:
    """Hears what is written, and stops it when it is enough or goes on in a loop."""

    def __init__(self, count: int, on_tokens: Callable[[int], None]) -> None:
        self._count, self._on_tokens = count, on_tokens
        self._heard = ""
        self.tokens = 0

    def hear(self, engine: Engine, prefix: Any, question: str, most: int) -> str:
        try:
            written = engine.generate(prefix, question, max_tokens=most, on_token=self)
        except _Enough:
            return self._heard
        return self._heard or written

    def __call__(self, piece: str) -> None:
        self._heard += piece
        self.tokens += 1
        self._on_tokens(self.tokens)
        if loops(self._heard):
            raise _Enough
        if piece.endswith("\n") and len(parse(self._heard)) > self._count:
            raise _Enough


def loops(text: str) -> bool:
    """Whether a text ends with the same characters `LOOPS` times over."""
    for period in range(1, MOST_PERIOD + 1):
        length = max(LOOPS * period, FEWEST_LOOPED)
        if length > len(text):
            if LOOPS * period > len(text):
                return False
            continue
        if text[-length:-period] == text[-length + period :]:
            return True
    return False


# What was written.

_CITATION = re.compile(
    r"[\[【]\s*(?:pages?|p\.?|第)?\s*(?P<page>\d{1,6})\s*页?\s*"
    r"(?:[:：,，]\s*(?:[\"“「『](?P<quote>.*?)[\"”」』]|(?P<bare>[^\]】]*?)))?\s*[\]】]",
    re.IGNORECASE | re.DOTALL,
)
_LIST_MARK = re.compile(r"^\s*(?:[-*•–]|\(?\d{1,2}[.)、])\s*")
_NOT_SAID = re.compile(r"[\s.,;:。，；：、*_]*")


def parse(text: str) -> list[Written]:
    """The sentences of what was written, each with the citations that follow it."""
    found: list[Written] = []
    for line in _lines(text):
        place = 0
        for citation in _CITATION.finditer(line):
            _add(found, line[place : citation.start()], citation)
            place = citation.end()
        _add(found, line[place:], None)
    return found


def _lines(text: str) -> list[str]:
    """Lines that are not broken inside a citation."""
    whole = _CITATION.sub(lambda match: match.group().replace("\n", " "), text)
    return whole.splitlines()


def _add(found: list[Written], said: str, citation: re.Match[str] | None) -> None:
    """Words begin a sentence; a citation without words before it belongs to the last one."""
    words = _LIST_MARK.sub("", said).strip()
    if not _NOT_SAID.fullmatch(words):
        if citation is None and words.endswith((":", "：")):
            return  # "Here is the summary:"
        found.append(Written(words, ()))
    if citation is not None and found:
        quote = citation["quote"] or citation["bare"] or ""
        last = found[-1]
        cited = Citation(int(citation["page"]), quote.strip())
        found[-1] = Written(last.text, (*last.citations, cited))
