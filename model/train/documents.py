"""Documents for training: reading them, their sentences, and what a summary says of each sentence.

Reads `documents/{split}.jsonl.xz` of a data folder, and its user's own documents (`tables`). Text
is brought into the form that the application shows to a model: the lines of a block joined by a
space, one line for each block. Called by the curriculum, the tokenizer training and the evaluation.
"""

from __future__ import annotations

import json
import lzma
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.train import tables
from model.train.rouge import overlap_f, units

SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]*]*\s+(?=[\"'(\[*]*[A-Z0-9`])|(?<=[。！？；])\s*|\n+")
NOT_AN_END = re.compile(r"(?:\b(?:e\.g|i\.e|et al|Fig|Eq|vs|cf|No|Dr|Mr|Ms|St|resp|approx))\.\s*$")
BOILERPLATE = re.compile(r"!?\[?!?INCLUDE\b.*|^\[!\w+\]$|^!include .*", re.IGNORECASE)
HAN = re.compile(r"[\u3400-\u9fff]")
LETTER = re.compile(r"[^\W\d_]")
FEWEST_UNITS = 4
RANK_TEMPERATURE = 0.07  # of the gains that become shares of the rivals' probability
MOST_CHARACTERS = 400


@dataclass(frozen=True)
class TextDocument:
    """One document as it is read, `text` already in the application's form."""

    id: str
    source: str
    lang: str
    text: str
    references: tuple[str, ...]
    queries: tuple[Any, ...] = ()
    question: str = ""
    answers: tuple[str, ...] = ()  #: words of the passage that answers; none: no passage does


@dataclass(frozen=True)
class Sentence:
    """A run of characters of a document's text."""

    text: str
    start: int
    end: int
    heading: bool


def read_documents(data: Path, split: str) -> list[TextDocument]:
    """All documents of a split ('train' or 'val'), in file order; the user's own last."""
    folder = data / "documents"
    has_splits = any((folder / f"{name}.jsonl.xz").exists() for name in ("train", "val"))
    documents = list(_documents(folder / f"{split}.jsonl.xz")) if has_splits else []
    return documents + [_own(row) for row in tables.of_split(tables.document_rows(data), split)]


def _documents(path: Path) -> Iterator[TextDocument]:
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            summary = row["summary"]
            references = [summary] if isinstance(summary, str) else summary or []
            yield TextDocument(
                id=row["id"],
                source=row["source"],
                lang=row["lang"],
                text=flow(row["text"]),
                references=tuple(text for text in references if text.strip()),
                queries=tuple(row.get("queries", ())),
            )


def _own(row: tables.Row) -> TextDocument:
    """A row as `mmapp evaluate` reads it too; a form feed ends a page there, here a block."""
    text = flow(tables.text_of(row, "text").replace("\f", "\n\n"))
    asks = row.cells.get("question") is not None
    return TextDocument(
        id=row.id,
        source=tables.OWN,
        lang=_language(row.cells.get("lang"), text),
        text=text,
        references=tables.texts_of(row, "summary"),
        question=tables.text_of(row, "question") if asks else "",
        answers=tables.texts_of(row, "answer"),
    )


def _language(named: object, text: str) -> str:
    """One of the two that documents are grouped by."""
    if isinstance(named, str) and named.strip():
        return "zh" if named.strip().casefold().startswith("zh") else "en"
    return "zh" if is_chinese(text) else "en"


def flow(markdown: str) -> str:
    """Markdown as the application's page text: one line for each block, blanks squeezed."""
    blocks: list[str] = []
    for block in re.split(r"\n\s*\n", markdown):
        for part in re.split(r"\n(?=\s*(?:#|[-*+] |\d+[.)] |\||>))|(?<=^)(?=#)", block):
            heading, newline, rest = part.partition("\n")
            parts = [heading, rest] if newline and heading.startswith("#") else [part]
            blocks += [in_one_line(text) for text in parts]
    return "\n".join(block for block in blocks if block and not BOILERPLATE.match(block))


def in_one_line(block: str) -> str:
    """Lines joined by a space, or by nothing between Chinese characters."""
    text = " ".join(line.strip() for line in block.splitlines())
    text = re.sub(r"(?<=[\u3400-\u9fff，。、]) (?=[\u3400-\u9fff])", "", text)
    return re.sub(r"[ \t\u3000]+", " ", text).strip()


def sentences(text: str) -> list[Sentence]:
    """The sentences worth offering, in order: no tables, code or scraps; headings are marked."""
    found: list[Sentence] = []
    start = 0
    for end, following in _ends(text):
        piece = text[start:end]
        body = piece.strip()
        if _is_sentence(body):
            offset = start + piece.index(body)
            found.append(Sentence(body, offset, offset + len(body), body.startswith("#")))
        start = following
    return found


def title(text: str) -> str:
    """The first line with letters, as the application finds it on the pages."""
    return next((line for line in text.splitlines() if LETTER.search(line)), "")


def _ends(text: str) -> Iterator[tuple[int, int]]:
    for match in SENTENCE_END.finditer(text):
        before = text[max(0, match.start() - 12) : match.start()]
        if "\n" not in match.group() and NOT_AN_END.search(before):
            continue
        yield match.start() + len(match.group().rstrip()), match.end()
    yield len(text), len(text)


def _is_sentence(body: str) -> bool:
    if len(body) > MOST_CHARACTERS or body.startswith(("|", "```", "!", "[!")):
        return False
    return len(units(body)) >= FEWEST_UNITS


def gain(sentence: str, references: tuple[str, ...]) -> float:
    """How much of the author's summary a sentence says: mean of ROUGE-1 and ROUGE-2 F."""
    ours = units(sentence)
    return max(
        (overlap_f(ours, theirs, 1) + overlap_f(ours, theirs, 2)) / 2
        for theirs in map(units, references)
    )


def choice_shares(gains: Sequence[float]) -> list[float]:
    """Of the choice that each sentence should have: a softmax, so that nearly equal ones share."""
    best = max(gains)
    weights = [math.exp((gain - best) / RANK_TEMPERATURE) for gain in gains]
    return [weight / sum(weights) for weight in weights]


def is_chinese(text: str) -> bool:
    """Whether at least a fifth of the characters are Chinese."""
    return 5 * len(HAN.findall(text)) >= len(text)
