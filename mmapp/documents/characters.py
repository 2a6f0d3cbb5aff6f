"""Which characters of a line are kept, and where they stand.

Dropped is what nobody sees but a model would read: control, zero-width and bidirectional marks, tag
characters, supplementary variation selectors, lone surrogates. Each kind of white space becomes one
space, runs of it too, and none stands at the ends. All else stays as it was found: no ligature is
split and no hyphen is joined, so that a quote is what the page says.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence

#: Category Cf, but PDFs show it: the hyphen at the end of a line.
SOFT_HYPHEN = "\u00ad"
#: Selectors that are drawn as nothing and can hide any bytes.
HIDDEN_SELECTORS = range(0xE0100, 0xE01F0)
#: Unified ideographs and their punctuation, kana, full-width forms. Hangul is spaced as Latin is.
CJK = (
    range(0x2E80, 0x3100),
    range(0x3100, 0x3130),
    range(0x31A0, 0xA4D0),
    range(0xF900, 0xFB00),
    range(0xFE30, 0xFE50),
    range(0xFF00, 0xFF61),
    range(0x20000, 0x323B0),
)


@functools.lru_cache(maxsize=65536)
def kept(character: str) -> str:
    """The character as it is kept: itself, a space, or nothing."""
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category in ("Zl", "Zp", "Zs"):
        return " "
    if category in ("Cc", "Cs") or (category == "Cf" and character != SOFT_HYPHEN):
        return ""
    if ord(character) in HIDDEN_SELECTORS or ord(character) & 0xFFFE == 0xFFFE:
        return ""
    return character


def clean(characters: Sequence[str]) -> tuple[str, Sequence[int]]:
    """The kept text and, for each of its characters, the index of the one that it came from."""
    whole = "".join(characters)
    if whole.isascii() and whole.isprintable() and "  " not in whole and whole == whole.strip():
        return whole, range(len(whole))
    text: list[str] = []
    origins: list[int] = []
    for index, character in enumerate(characters):
        keep = kept(character)
        if not keep or (keep == " " and (not text or text[-1] == " ")):
            continue
        text.append(keep)
        origins.append(index)
    if text and text[-1] == " ":
        text.pop()
        origins.pop()
    return "".join(text), origins


@functools.lru_cache(maxsize=65536)
def is_cjk(character: str) -> bool:
    """Whether it belongs to a script that is written without spaces."""
    return any(ord(character) in block for block in CJK)
