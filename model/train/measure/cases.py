"""Questions about documents whose answers are known, and the passages that may answer them.

The queries of QMSum about its meetings, and the questions of a user's own documents; key facts are
in `facts`. Pages and passages are like those of the application. Called by the measurement of
answers; refuses nothing.
"""

from __future__ import annotations

import itertools
import json
import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.train.documents import TextDocument, is_chinese, sentences
from model.train.questions import RUN, STRIDE

PAGE_CHARACTERS = 3_000


@dataclass(frozen=True)
class Passage:
    """Words of a document; `start` and `end` count in its pages joined by line ends."""

    text: str
    page: int  #: where it begins, from 1
    start: int
    end: int


@dataclass(frozen=True)
class Case:
    """A question about a document. A passage answers it that has one of the `answers` in it, or
    words of one of the `spans`; where there are neither, none does."""

    id: str
    kind: str
    document: str  #: cases about the same one stand side by side
    pages: tuple[str, ...]
    question: str
    answers: tuple[str, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()  #: characters of the pages joined by line ends
    page: int | None = None  #: the one that answers, where only one does
    other_words: bool = False  #: than the answer's, where this is known

    @property
    def answerable(self) -> bool:
        return bool(self.answers or self.spans)

    def answered_by(self, passage: Passage) -> bool:
        return any(answer in passage.text for answer in self.answers) or any(
            passage.start < end and start < passage.end for start, end in self.spans
        )


def meetings(data: Path) -> list[Case]:
    """The queries of QMSum's val split with marked turns, those of a meeting side by side.

    Turns count from 0 and the last one marked belongs to the answer. The file is read here because
    `read_documents` joins the lines of a block, and a turn is a line."""
    path = data / "documents" / "val.jsonl.xz"
    if not path.exists():
        return []
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row.get("queries")]
    found: list[Case] = []
    for row in rows:
        turns = [" ".join(turn.split()) for turn in row["text"].split("\n")]
        starts = [0, *itertools.accumulate(len(turn) + 1 for turn in turns)]
        pages = tuple(paged(turns))
        for number, query in enumerate(row["queries"]):
            marked = [
                (int(first), min(int(last), len(turns) - 1)) for first, last in query["turns"]
            ]
            spans = tuple((starts[a], starts[b + 1] - 1) for a, b in marked if a <= b)
            if spans:
                id_ = f"{row['id']}/{number}"
                found.append(Case(id_, "meetings", row["id"], pages, query["query"], spans=spans))
    return found


def own_questions(documents: Sequence[TextDocument]) -> list[Case]:
    """Of a user's own documents: each has at most one question."""
    return [
        Case(
            id=document.id,
            kind=f"own questions {document.lang}",
            document=document.id,
            pages=tuple(paged(document.text.split("\n"))),
            question=" ".join(document.question.split()),
            answers=document.answers,
        )
        for document in documents
        if document.question
    ]


def paged(lines: Sequence[str], most: int = PAGE_CHARACTERS) -> Iterator[str]:
    """Pages of at most so many characters; only a longer line makes a longer page."""
    page: list[str] = []
    length = 0
    for line in lines:
        if page and length + len(line) > most:
            yield "\n".join(page)
            page, length = [], 0
        page.append(line)
        length += len(line) + 1
    if page:
        yield "\n".join(page)


def passages(pages: Sequence[str]) -> list[Passage]:
    """Single sentences, then runs of them over the borders of lines and pages; each wording once.

    Headings stand in runs only."""
    single: list[Passage] = []
    pieces: list[Passage] = []
    start = 0
    for number, page in enumerate(pages, start=1):
        for sentence in sentences(page):
            piece = Passage(sentence.text, number, start + sentence.start, start + sentence.end)
            pieces.append(piece)
            if not sentence.heading:
                single.append(piece)
        start += len(page) + 1
    runs = [_run(pieces[i : i + RUN]) for i in range(0, len(pieces) - 1, STRIDE)]
    once = {passage.text: passage for passage in reversed([*single, *runs])}
    return list(reversed(once.values()))


def _run(pieces: Sequence[Passage]) -> Passage:
    joint = "" if is_chinese("".join(piece.text for piece in pieces)) else " "
    text = joint.join(piece.text for piece in pieces)
    return Passage(text, pieces[0].page, pieces[0].start, pieces[-1].end)
