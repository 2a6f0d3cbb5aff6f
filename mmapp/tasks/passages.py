"""The passages of a document that may answer a question: single sentences, and runs of them.

A run is of up to three neighbouring sentences, every second run begins where the last one ends, so
that any two neighbours stand together in some passage: an answer over two sentences or two turns of
a meeting is whole, at 2.5 times the document's own words. Unlike a summary's candidates everything
counts, headings, table rows and code too, so that every word is in some passage; but scraps stand
in runs only, where their neighbours say what they are about. Refuses nothing; called by `ask`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mmapp.documents.quotes import PageText
from mmapp.tasks.paragraphs import Span, extend, paragraphs
from mmapp.tasks.sentences import (
    FEWEST_WORDS,
    MOST_CHARACTERS,
    Sentence,
    all_lines,
    joined,
    sentences_of,
    without_repeats,
    word_count,
)

#: Sentences of a run …
RUN = 3
#: … and how many further the next run begins.
STRIDE = 2

_WORD = re.compile(r"\w")
_HEADING = re.compile(r"#{1,6}\s")


def passages(pages: Sequence[PageText]) -> list[Sentence]:
    """Single sentences in document order, then the runs; each wording once."""
    texts = {page.page.number: page.text for page in pages}
    found = [
        piece
        for paragraph in paragraphs(pages, with_source=True)
        for sentence in sentences_of(paragraph, texts)
        for piece in _pieces(sentence, texts)
        if _WORD.search(piece.text)
    ] or all_lines(pages)
    single = [piece for piece in found if _stands_alone(piece.text)]
    runs = [_run(found[i : i + RUN], texts) for i in range(0, len(found) - 1, STRIDE)]
    return without_repeats([*single, *runs]) or found


def _stands_alone(text: str) -> bool:
    return word_count(text) >= FEWEST_WORDS and not _HEADING.match(text)


def _pieces(sentence: Sentence, texts: dict[int, str]) -> Iterator[Sentence]:
    """The sentence; in parts, cut at blanks, where it is running text without full stops."""
    if len(sentence.text) <= MOST_CHARACTERS:
        yield sentence
        return
    for span in sentence.spans:
        text, start = texts[span.page], span.start
        while start < span.end:
            end = min(start + MOST_CHARACTERS, span.end)
            if end < span.end:
                blank = text.rfind(" ", start + MOST_CHARACTERS // 2, end)
                end = blank if blank > 0 else end
            yield Sentence(text[start:end], (Span(span.page, start, end),))
            start = end + (text[end : end + 1] == " ")


def _run(sentences: Sequence[Sentence], texts: dict[int, str]) -> Sentence:
    """Neighbours as one passage."""
    spans: list[Span] = []
    for sentence in sentences:
        for span in sentence.spans:
            extend(spans, span, texts[span.page])
    quotes = [texts[span.page][span.start : span.end] for span in spans]
    return Sentence(joined(quotes), tuple(spans))
