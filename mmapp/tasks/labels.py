"""Values that stand behind their label: `Buyer: Acme Ltd`, `甲方（出租方）：张三`, a table's row.

A label begins its line, its row's cell or a clause, or stands in brackets there; a colon, an equals
sign or a bar parts it from the value, which goes to the line's end or to the next cell or clause. A
label alone on its line has its value on the next. Nothing is understood: `Date: see below` gives
`see below`.
Refuses nothing; called by `extract`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from mmapp.documents.quotes import PageText, PlacedLine
from mmapp.tasks.paragraphs import CJK, Span

#: What may stand before a label on its line.
_BEFORE = (
    r"(?:^|[|;；。，,、\t])\s*(?:[-*•·]\s+|\(?\w{1,2}[.)、]\s*|\*{1,2})?"
    r"(?:[^\s:：（(]{1,20}\s?[（(](?:the\s)?[\"“]?)?"
)
_AFTER = r"[\"”]?[)）]?\s*(?:[（(][^)）]{0,40}[)）])?\s*\*{0,2}\s*[:：=|]\s*\*{0,2}\s*"
#: Where a value ends within its line.
_END = re.compile(r"\s*(?:[|；;。]|(?<=\S)\s(?=[^\s:：]{1,12}[:：]\s))")
_IS_LABEL = re.compile(r"[^:：]{1,40}[:：]\s*$")
_EDGES = " \t*_|，,。.；;、"
_ABBREVIATION = re.compile(r"\b(?:Ltd|Inc|Co|Corp|Bros|Jr|Sr|plc)$")
#: What fills a form that nobody has filled.
_BLANK = re.compile(r"[\W_]*")


def labelled(names: Iterable[str], pages: Sequence[PageText]) -> list[tuple[str, Span]]:
    """Each value of one of these labels, with the label as it stands there, in document order."""
    wanted = "|".join(map(_pattern, sorted(names, key=len, reverse=True)))
    pattern = re.compile(rf"{_BEFORE}(?P<label>{wanted}){_AFTER}", re.IGNORECASE)
    return [found for page in pages for found in _on_page(pattern, page)]


def _on_page(pattern: re.Pattern[str], page: PageText) -> Iterator[tuple[str, Span]]:
    for number, placed in enumerate(page.lines):
        for match in pattern.finditer(placed.line.text):
            value = _value(page, placed, match.end())
            if value is None and match.end() == len(placed.line.text):
                value = _next_line(page, number)
            if value is not None:
                yield " ".join(match["label"].split()), value


def _value(page: PageText, placed: PlacedLine, start: int) -> Span | None:
    """From `start` of the line to where the value ends; None where nothing stands there."""
    text = placed.line.text
    end = _END.search(text, start)
    value = text[start : end.start() if end else len(text)]
    if _BLANK.fullmatch(value):
        return None
    first = placed.start + start + len(value) - len(value.lstrip(_EDGES))
    bare = value.strip(_EDGES)
    # The dot of "Acme Ltd." belongs to the name.
    dot = _ABBREVIATION.search(bare) and value.rstrip(" ").endswith(f"{bare}.")
    return Span(page.page.number, first, first + len(bare) + bool(dot))


def _next_line(page: PageText, number: int) -> Span | None:
    if number + 1 == len(page.lines):
        return None
    after = page.lines[number + 1]
    return None if _IS_LABEL.search(after.line.text) else _value(page, after, 0)


def _pattern(name: str) -> str:
    """The name with any blanks between its words, and between Chinese characters."""
    pieces = re.findall(rf"[{CJK}]|[^\s{CJK}]+", name)
    return r"\s*".join(map(re.escape, pieces))
