"""Plain text and Markdown: bytes -> pages of lines.

UTF-8, UTF-16 and UTF-32 are known by their marks, UTF-8 and UTF-16 also without, and else GB18030
is tried, which must then give Chinese that people write. A form feed ends a page. A blank line ends
a block; in Markdown a heading, list item, quotation, fence or table row begins one. The marks of
Markdown stay in the text: a quote is what the file says.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from mmapp.documents.characters import clean
from mmapp.documents.limits import Limits, quoted
from mmapp.errors import EmptyFile
from mmapp.types import Line, MediaType, Page

#: So much of a file tells its encoding.
SAMPLE_BYTES = 65_536
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # Before UTF-16, whose mark begins UTF-32's.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Control characters that text files have: tab, line ends, form feed, escape, backspace.
TEXT_CONTROLS = frozenset("\t\n\v\f\r\x08\x1b\x85")
#: More control characters than one and this share, and it is no text.
MAX_CONTROLS = 0.005
#: Of the characters beyond ASCII that GB18030 gives, at least this share is in everyday GB2312.
MIN_COMMON_CHINESE = 0.7
LINE_END = re.compile(r"\r\n|[\n\r\v\x85\u2028\u2029]")
MARKDOWN_SIGN = re.compile(
    r"^(?:#{1,6} +\S|```|~~~|[-*+] +\[[ x]\] |\|.*\|[ \t]*$\s*\|[ :|-]+\|)"
    r"|\[[^\]\n]+\]\([^)\s]+\)",
    re.MULTILINE,
)
MARKDOWN_BLOCK = re.compile(r"\s*(?:#{1,6} |```|~~~|[-*+] |\d+[.)] |> ?|\|)")
MARKDOWN_HEADING = re.compile(r"\s*#{1,6} ")


def pages(name: str, data: bytes, media_type: MediaType, limits: Limits) -> Iterator[Page]:
    """The pages of a text file that `sniff` took for one."""
    encoding = find_encoding(data) or "utf-8"
    # A byte that is wrong somewhere in a long file costs that character and no more.
    text = data.decode(encoding, errors="replace")
    limits.check_characters(name, len(text))
    if not text.strip():
        raise EmptyFile(f"{quoted(name)} holds nothing but white space. Choose another file.")
    sheets = text.removesuffix("\f").split("\f")
    limits.check_pages(name, len(sheets))
    for number, sheet in enumerate(sheets, 1):
        yield Page(number, 0.0, 0.0, tuple(_lines(sheet, media_type is MediaType.MARKDOWN)))


def find_encoding(data: bytes) -> str | None:
    """The encoding of a text file, told by its beginning; None for what is no text."""
    for mark, marked in MARKS:
        if data.startswith(mark) and _decoded(data, marked) is not None:
            return marked
    for encoding in ("utf-8", _utf_16_without_mark(data), "gb18030"):
        text = _decoded(data, encoding) if encoding else None
        if text is not None and _reads_as_text(text):
            return encoding if encoding != "gb18030" or _is_chinese(text) else None
    return None


def is_markdown(data: bytes, encoding: str) -> bool:
    """Whether the beginning has a heading, fence, table, task list or link of Markdown."""
    return MARKDOWN_SIGN.search(_decoded(data, encoding) or "") is not None


def _lines(sheet: str, markdown: bool) -> Iterator[Line]:
    block = 0
    used = False
    for written in LINE_END.split(sheet):
        text, _ = clean(written)
        if not text or (markdown and MARKDOWN_BLOCK.match(written)):
            block, used = block + used, False
        if text:
            yield Line(text, block=block)
            used = True
        if markdown and MARKDOWN_HEADING.match(written):
            block, used = block + used, False


def _decoded(data: bytes, encoding: str) -> str | None:
    decoder = codecs.getincrementaldecoder(encoding)(errors="strict")
    try:
        return decoder.decode(data[:SAMPLE_BYTES], final=len(data) <= SAMPLE_BYTES)
    except UnicodeDecodeError:
        return None


def _utf_16_without_mark(data: bytes) -> str | None:
    """Latin text in UTF-16 has a zero in every other byte."""
    sample = data[:4096]
    half = len(sample) // 2
    if sample[1::2].count(0) > 0.4 * half and sample[0::2].count(0) < 0.1 * half:
        return "utf-16-le"
    if sample[0::2].count(0) > 0.4 * half and sample[1::2].count(0) < 0.1 * half:
        return "utf-16-be"
    return None


def _reads_as_text(text: str) -> bool:
    controls = sum(c < " " and c not in TEXT_CONTROLS for c in text)
    return "\0" not in text and controls <= 1 + MAX_CONTROLS * len(text)


def _is_chinese(text: str) -> bool:
    beyond = [c for c in text if c > "\x7f"]
    common = sum(bool(c.encode("gb2312", "ignore")) for c in beyond)
    return common >= MIN_COMMON_CHINESE * len(beyond)
