"""The sentences of a document as spans of its pages' text: all that a grounded summary may say.

A sentence has one or more spans, because it may run over a page or column break or over the `>` of
a Markdown quotation; its text is the words of its spans, joined. Fragments, tables and code are
left out. A document without any proper sentence (a form, a poster) still gives its lines; nothing
here refuses a document.

The rule for sentence ends is our own, one pass in time linear in the text. pysbd was measured on
English technical documents: it moved or lost characters in 128 of 2,505 sentences, and its time
grew with the square of the length. Called by `summarize`, `passages`, `reading` and `claims`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mmapp.documents.quotes import PageText
from mmapp.tasks.paragraphs import CJK, CLOSERS, ENDS_HERE, Paragraph, Span, bare, paragraphs

#: Chinese characters and the punctuation that is written without spaces around it.
_WIDE = re.compile(rf"[{CJK}\u3001-\u303f\uff01-\uff60\u2018-\u201d\u2026]")
_CJK = re.compile(f"[{CJK}]")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\d[\d.,]*")
_LETTER = re.compile(r"[^\W\d_]")
_CODE = re.compile(r"`[^`]*`")

_END = re.compile(
    rf"[.!?…]+{CLOSERS}(?=\s|$)|[。！？；…]+{CLOSERS}|(?<=[A-Za-z{CJK}])[.!?]+{CLOSERS}(?=[{CJK}])"
)
_OPENERS = " \t\n(\"'“‘[*_「『（《【"
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[])(?:e\.g|i\.e|cf|vs|viz|ca|al|approx|resp|incl|figs?|abb|vgl|bzw|eqs?|secs?|tab|refs?|ch|chap"
    r"|vol|nos?|nr|pp?|eds?|dept|art|dr|mr|mrs|ms|prof|st|jr|sr|mt|gen|gov|sen|rep|capt|lt|col"
    r"|jan|feb|apr|aug|sept?|oct|nov|dec)$",
    re.IGNORECASE,
)
_INITIAL = re.compile(r"(?:(?:^|[\s(.])[A-Z]|(?:^|[\s(])[a-z])$")
#: The dots between an entry of a table of contents and its page.
_LEADERS = re.compile(r"(?:[.…] ?){4}")

#: A sentence worth quoting has at least this many words (two Chinese characters are a word) …
FEWEST_WORDS = 4
#: … and at most this many characters; what is longer is running text without full stops.
MOST_CHARACTERS = 500
#: A block of several lines without an end mark counts when it is at least this long.
BLOCK_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words that stand in a document, and where."""

    text: str
    spans: tuple[Span, ...]


def joint(before: str, after: str) -> str:
    """What stands between two pieces of running text: nothing between Chinese, else a space."""
    return "" if _WIDE.match(before[-1:]) and _WIDE.match(after[:1]) else " "


def joined(pieces: Iterable[str]) -> str:
    """Pieces of running text as one."""
    text = ""
    for piece in pieces:
        text += (joint(text, piece) if text else "") + piece
    return text


def word_count(text: str) -> float:
    """Words of a text; two Chinese characters count as a word."""
    return len(_CJK.findall(text)) / 2 + len(_WORD.findall(_CJK.sub(" ", text)))


def is_chinese(text: str) -> bool:
    """Whether a good part of its letters is Chinese."""
    return len(_CJK.findall(text)) > 0.3 * len(_LETTER.findall(text))


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a running text start and end, without the blanks around them."""
    found: list[tuple[int, int]] = []
    start = 0
    for match in _END.finditer(text):
        if _is_end(text, start, match):
            found += _trimmed(text, start, match.end())
            start = match.end()
    return found + _trimmed(text, start, len(text))


def _is_end(text: str, start: int, match: re.Match[str]) -> bool:
    before = text[max(start, match.start() - 12) : match.start()]
    after = text[match.end() : match.end() + 8]
    mark = match.group()
    if mark[0] in "！？" and mark[-1] in "”』」" and after[:1].strip():
        # 请回答“有用吗？”并留言。 A question quoted within a sentence does not end it.
        return text[start : match.start()].lstrip()[:1] in "“『「"
    if mark[0] in "。！？；":
        return not (before[-1:].isdigit() and after[:1].isdigit())
    if after.lstrip(_OPENERS)[:1].islower() and not _CJK.match(before[-1:]):
        return False  # "Is it?" he said.
    if mark[0] != "." or mark.startswith(".."):
        return True
    if after.startswith(" .") or before.endswith(". "):
        return False  # . . . with blanks between
    if match.start() - start < 12 and len(before.strip(" *_(")) <= 3 and not _CJK.search(before):
        return False  # "1." or "a." numbers what follows
    return not (_ABBREVIATION.search(before) or _INITIAL.search(before))


def _trimmed(text: str, start: int, end: int) -> list[tuple[int, int]]:
    body = text[start:end].strip()
    first = text.find(body, start)
    return [(first, first + len(body))] if body else []


def candidates(pages: Sequence[PageText]) -> list[Sentence]:
    """The sentences worth quoting, in document order."""
    texts = {page.page.number: page.text for page in pages}
    found = [
        (sentence, _is_wrapped(paragraph))
        for paragraph in paragraphs(pages)
        for sentence in sentences_of(paragraph, texts)
    ]
    proper = [sentence for sentence, wrapped in found if _is_quotable(sentence.text, wrapped)]
    return (
        proper
        or [s for s, _ in found if _has_words(s.text) and len(s.text) <= MOST_CHARACTERS]
        or all_lines(pages)
    )


def title(pages: Sequence[PageText]) -> str:
    """The first line with letters: of most documents the title, of all of them how they begin."""
    lines = (line for page in pages for line in page.text.splitlines())
    return next((line for line in lines if _LETTER.search(line)), "")


def sentences_of(paragraph: Paragraph, texts: dict[int, str]) -> Iterator[Sentence]:
    """The sentences of a paragraph; `texts` are the pages' by their numbers."""
    pieces: list[str] = []
    offsets, length = [], 0
    for span in paragraph.spans:
        piece = texts[span.page][span.start : span.end]
        between = joint(pieces[-1], piece) if pieces else ""
        pieces += [between, piece]
        offsets.append(length + len(between) - span.start)
        length += len(between) + len(piece)
    text = "".join(pieces)
    for start, end in sentence_spans(text):
        cuts = (
            Span(span.page, max(start - offset, span.start), min(end - offset, span.end))
            for span, offset in zip(paragraph.spans, offsets, strict=True)
        )
        yield Sentence(text[start:end], tuple(cut for cut in cuts if cut.start < cut.end))


def _is_wrapped(paragraph: Paragraph) -> bool:
    """Whether it is one text over several lines and not a list of short ones."""
    widths = [len(line.text) for line in paragraph.lines]
    return len(widths) > 1 and min(widths[:-1]) >= 0.7 * max(widths)


def _is_quotable(text: str, wrapped: bool) -> bool:
    if not _has_words(_CODE.sub("code", text)) or len(text) > MOST_CHARACTERS:
        return False
    if text[0].islower() or text[0] in ".,;:)]}|=，、）" or _LEADERS.search(text):
        return False
    if len(_LETTER.findall(text)) < 0.65 * len("".join(text.split())):
        return False
    if ENDS_HERE.search(text):
        return True
    long_enough = BLOCK_CHARACTERS // (2 if _CJK.search(text) else 1)
    return wrapped and len(text) >= long_enough and text[-1] not in ":："


def _has_words(text: str) -> bool:
    return word_count(text) >= FEWEST_WORDS


def all_lines(pages: Sequence[PageText]) -> list[Sentence]:
    """Each line as it stands, cut to length; those with letters where there are any."""
    found = []
    for page in pages:
        for placed in page.lines:
            start, end = bare(placed)
            end = min(end, start + MOST_CHARACTERS)
            if start < end:
                span = Span(page.page.number, start, end)
                found.append(Sentence(page.text[start:end], (span,)))
    return [sentence for sentence in found if _LETTER.search(sentence.text)] or found


def without_repeats(sentences: Sequence[Sentence]) -> list[Sentence]:
    """The first of each wording: a second could only say the same again."""
    first = {sentence.text: index for index, sentence in reversed(list(enumerate(sentences)))}
    return [sentence for index, sentence in enumerate(sentences) if first[sentence.text] == index]


def units(text: str) -> set[str]:
    """What two sentences have in common is counted in these: words, and pairs of Chinese."""
    chinese = _CJK.findall(text)
    words = {word.casefold() for word in _WORD.findall(_CJK.sub(" ", text))}
    return words | {a + b for a, b in itertools.pairwise(chinese)}
