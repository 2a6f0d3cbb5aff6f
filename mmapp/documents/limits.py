"""How much of a file is read at most, and the sentences said when a file is larger.

The child that reads a file gets these numbers with it; it never sees the rest of the settings.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmapp.errors import FileTooLarge

if TYPE_CHECKING:
    from mmapp.config import Settings

#: File names are longer than this only to annoy.
MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings of the same names."""

    max_bytes: int
    max_pages: int
    max_pixels: int
    max_characters: int
    parse_seconds: float
    parse_memory: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        return cls(
            **{field.name: getattr(settings, field.name) for field in dataclasses.fields(cls)}
        )

    def check_bytes(self, name: str, size: int) -> None:
        if size > self.max_bytes:
            raise FileTooLarge(
                f"{quoted(name)} has {size:,} bytes; at most {self.max_bytes:,} are read. "
                f"Make it smaller, or raise MMAPP_MAX_BYTES."
            )

    def check_pages(self, name: str, count: int, unit: str = "pages") -> None:
        if count > self.max_pages:
            raise FileTooLarge(
                f"{quoted(name)} has {count:,} {unit}; at most {self.max_pages:,} are read. "
                f"Split it, or raise MMAPP_MAX_PAGES."
            )

    def check_pixels(self, name: str, width: int, height: int) -> None:
        if width * height > self.max_pixels:
            raise FileTooLarge(
                f"{quoted(name)} has {width:,} x {height:,} = {width * height:,} pixels; at most "
                f"{self.max_pixels:,} are read. Scale it down, or raise MMAPP_MAX_PIXELS."
            )

    def check_characters(self, name: str, count: int) -> None:
        if count > self.max_characters:
            raise FileTooLarge(
                f"{quoted(name)} has {count:,} characters or more; at most "
                f"{self.max_characters:,} are read. Split it, or raise MMAPP_MAX_CHARACTERS."
            )

    def check_pictures(self, name: str, size: int) -> None:
        """The pages of a small file can unfold into pictures of any size."""
        if size > self.max_bytes:
            raise FileTooLarge(
                f"The pages of {quoted(name)} unfold to pictures of {size:,} bytes or more; "
                f"at most {self.max_bytes:,} are kept. Split it, or raise MMAPP_MAX_BYTES."
            )


def out_of_memory(name: str, limits: Limits) -> str:
    return (
        f"Reading {quoted(name)} takes more memory than {limits.parse_memory:,} bytes. "
        f"Make it smaller, or raise MMAPP_PARSE_MEMORY."
    )


def quoted(name: str) -> str:
    """A file's name as it is shown in a sentence: one line, no control characters, not endless."""
    return f'"{plain_name(name)}"'


def plain_name(name: str) -> str:
    """`name` without what is not seen, and with its end kept when it is too long."""
    seen = "".join(c if unicodedata.category(c)[0] != "C" else "�" for c in name)
    if len(seen) > MAX_NAME:
        return seen[: MAX_NAME - 21] + "…" + seen[-20:]
    return seen or "unnamed"
