"""The words that every checkpoint is asked with, rendered from `prompts.toml`.

Training reads the same file and is tested to render the same words, so that a checkpoint meets in
service the very prompts that it was trained in. Nothing is refused here: text goes in as it stands,
and the engine never reads special tokens out of it. Called by the tasks beside it.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.Image import Image

#: The keys of each task's possible answers, in the order in which `answers` gives their words.
ANSWERS: Final = {
    "summarize": ("yes", "no"),
    "check_listing": ("supported", "refuted", "unseen"),
    "ask": ("yes", "no"),
}


@cache
def _source() -> str:
    return files(__package__).joinpath("prompts.toml").read_text(encoding="utf-8")


@cache
def _prompts() -> dict[str, dict[str, str]]:
    return tomllib.loads(_source())


def prompt_sha256() -> str:
    """Hash of the prompts' source, for the record of a result."""
    return hashlib.sha256(_source().encode()).hexdigest()


def document_parts(pages_text: Sequence[tuple[int, str]]) -> list[str]:
    """One part for each page, given as (number, text), in order."""
    template = _prompts()["document"]["page"]
    return [template.format(page=number, text=text) for number, text in pages_text]


def summarize_question(sentence: str, place: int, count: int, shared: int) -> str:
    """`place` counts from 1 among the `count` sentences that the document offers; `shared` is the
    percentage of the title's words that the sentence has too."""
    template = _prompts()["summarize"]["question"]
    return template.format(sentence=sentence, place=place, count=count, shared=shared)


def write_question(count: int, *, chinese: bool) -> str:
    """Asks for so many sentences about the document before it, each with its proof."""
    return _prompts()["write"]["zh" if chinese else "en"].strip().format(count=count)


def listing_parts(images: Sequence[Image]) -> list[str | Image]:
    """A numbered caption before each photo, counted from 1."""
    parts: list[str | Image] = []
    for number, image in enumerate(images, start=1):
        parts += [listing_photo(number), image]
    return parts


def listing_photo(number: int) -> str:
    """What stands before a photo."""
    return _prompts()["check_listing"]["photo"].format(number=number)


def listing_question(attribute: str, claim: str) -> str:
    return _prompts()["check_listing"]["question"].format(attribute=attribute, claim=claim)


def ask_question(question: str, passage: str) -> str:
    return _prompts()["ask"]["question"].format(question=question, passage=passage)


def ask_stem(question: str) -> str:
    """`ask_question` before its passage: what the questions about all passages have in common."""
    return _ask_halves()[0].format(question=question)


def ask_rest(passage: str) -> str:
    """`ask_question` after its stem, with the blank before the passage."""
    return _ask_halves()[1].format(passage=passage)


def _ask_halves() -> tuple[str, str]:
    template = _prompts()["ask"]["question"]
    stem = template[: template.index("{passage}")].rstrip()
    return stem, template.removeprefix(stem)


def answers(task: str) -> tuple[str, ...]:
    """The words that may answer a task's question: yes first, then no, then what can't be seen."""
    return tuple(_prompts()[task][key] for key in ANSWERS[task])
