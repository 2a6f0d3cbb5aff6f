"""Readers: one for the whole run, and ones with other limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mmapp.config import Settings
from mmapp.documents import Reader

PDFS = Path(__file__).parent.parent / "data" / "pdfs"


@pytest.fixture(scope="session")
def reader() -> Iterator[Reader]:
    with Reader(Settings(_env_file=None)) as reader:
        yield reader


@pytest.fixture
def limited() -> Iterator[Callable[..., Reader]]:
    """A reader with the given settings."""
    with ExitStack() as stack:
        yield lambda **limits: stack.enter_context(Reader(Settings(_env_file=None, **limits)))


@pytest.fixture(scope="session")
def pdfs() -> dict[str, bytes]:
    """The real PDFs by name."""
    return {path.stem: path.read_bytes() for path in PDFS.glob("*.pdf")}
