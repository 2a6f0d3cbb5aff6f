"""An Engine that answers by a rule, and pages and listings to ask it about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from mmapp.documents.quotes import page_text
from mmapp.tasks import DocumentInput
from mmapp.types import Box, Continuation, Document, Line, MediaType, OnTokens, Page, Progress

Parts = Sequence[str | Image.Image]
#: What was read, the question and the answer, to the answer's log-probability.
Rule = Callable[[Parts, str, str], float]
PIECE_TOKENS = 50


@dataclass(frozen=True)
class FakePrefix:
    parts: tuple[str | Image.Image, ...]
    length: int


@dataclass
class FakeEngine:
    """A token is four characters, or a sixteenth of an image."""

    rule: Rule
    context_length: int = 4096
    profile: Mapping[str, Any] = field(default_factory=dict)
    name: str = "fake"
    weights_sha256: str = "0" * 64
    dtype: str = "float32"
    device: str = "cpu"
    #: The beginnings of prompts that were read.
    prefixes: list[FakePrefix] = field(default_factory=list)
    score_calls: int = 0
    #: Prompts that were given together.
    most_at_once: int = 0

    def count_tokens(self, text: str) -> int:
        return len(text) // 4 + 1

    def prefill(
        self,
        parts: Parts,
        on_progress: OnTokens | None = None,
        *,
        after: FakePrefix | None = None,
    ) -> FakePrefix:
        before = after or FakePrefix((), 0)
        total = sum(self.count_tokens(p) if isinstance(p, str) else 16 for p in parts)
        total += before.length
        assert 0 < total <= self.context_length, f"{total} tokens > {self.context_length}"
        for done in range(before.length, total, PIECE_TOKENS):
            if on_progress:
                on_progress(done, total)
        if on_progress:
            on_progress(total, total)
        prefix = FakePrefix((*before.parts, *parts), total)
        if after is None:
            self.prefixes.append(prefix)
        return prefix

    def score(
        self,
        prefix: FakePrefix,
        continuations: Sequence[Continuation],
        on_progress: OnTokens | None = None,
    ) -> list[float]:
        self.score_calls += 1
        found = []
        total = sum(self.count_tokens("".join(c)) for c in continuations)
        done = 0
        for continuation in continuations:
            if on_progress:
                on_progress(done, total)
            assert not isinstance(continuation, str)
            question, answer = continuation
            needed = prefix.length + self.count_tokens(question + answer)
            assert needed <= self.context_length, f"{needed} tokens > {self.context_length}"
            found.append(self.rule(prefix.parts, question, answer))
            done += self.count_tokens(question + answer)
        if on_progress:
            on_progress(total, total)
        return found

    def prefill_many(
        self, prompts: Sequence[Parts], on_progress: OnTokens | None = None
    ) -> list[FakePrefix]:
        self.most_at_once = max(self.most_at_once, len(prompts))
        return [self.prefill(parts, on_progress) for parts in prompts]

    def score_many(
        self,
        asked: Sequence[tuple[FakePrefix | Parts, Sequence[Continuation]]],
        on_progress: OnTokens | None = None,
    ) -> list[list[float]]:
        self.most_at_once = max(self.most_at_once, len(asked))
        return [
            self.score(
                before if isinstance(before, FakePrefix) else self.prefill(before),
                continuations,
                on_progress,
            )
            for before, continuations in asked
        ]


def likes(*words: str) -> Rule:
    """Says yes to a question by how many of these words are in it."""

    def rule(_parts: Parts, question: str, answer: str) -> float:
        liking = sum(word in question for word in words)
        return {"yes": float(liking), "no": 0.0}.get(answer, -9.0)

    return rule


def text_page(number: int, text: str) -> Page:
    """A page of a text file: a blank line begins a new block, lines have no boxes."""
    lines = []
    for block, paragraph in enumerate(text.strip("\n").split("\n\n")):
        lines += [Line(line.strip(), block=block) for line in paragraph.split("\n") if line.strip()]
    return Page(number, 0, 0, tuple(lines))


def pdf_page(number: int, text: str, *, left: float = 72, advance: float = 6) -> Page:
    """A page of a PDF: letters of one width, lines 14 points apart, blocks 28."""
    lines, y = [], 72.0
    for block, paragraph in enumerate(text.strip("\n").split("\n\n")):
        for line in paragraph.split("\n"):
            edges = tuple(left + advance * i for i in range(len(line) + 1))
            box: Box = (left, y, edges[-1], y + 12)
            lines.append(Line(line, box, edges, block))
            y += 14
        y += 14
    return Page(number, 595, 842, tuple(lines))


def document(*pages: Page, media_type: MediaType = MediaType.PDF, **more: Any) -> DocumentInput:
    name = "paper.pdf" if media_type is MediaType.PDF else "paper.md"
    return DocumentInput(
        Document("d" * 64, name, media_type, 1000, len(pages)), pages=pages, **more
    )


def quotes_stand(payload: Mapping[str, Any], pages: Sequence[Page]) -> bool:
    texts = {page.number: page_text(page) for page in pages}
    return all(
        evidence["quote"] in texts[evidence["page"]]
        for sentence in payload["summary"]
        for evidence in sentence["evidence"]
    )


class Reports(list[Progress]):
    """A `report` that keeps what it is told."""

    def __call__(self, progress: Progress) -> None:
        assert 0 <= progress.done <= progress.total
        assert 0 <= progress.pages_done <= progress.pages_total
        self.append(progress)
