"""The chat format of Llama 4: the only place that knows its turn markers.

    <|begin_of_text|><|header_start|>user<|header_end|>

    {text and images}{question}<|eot|><|header_start|>assistant<|header_end|>

    {answer}<|eot|>

The user's turn is opened once with the document (`open_turn`), and each question ends it
(`ask`), so that many questions share one prefix. A tokenizer without these markers gets plain
text after its first token. Texts are never read as control tokens.

Refuses: images for a checkpoint that reads text only.
Called by: engine.py and the trainer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from model.image import ImageProcessor, Size
from model.tokenizer import BEGIN_OF_TEXT, END_OF_TURN, HEADER_END, HEADER_START, Tokenizer

Part = str | Image.Image


class PromptError(ValueError):
    """The prompt cannot be written for this checkpoint; the message says why."""


class Prompt(NamedTuple):
    """An opened user's turn."""

    token_ids: list[int]
    tiles_N3SS: Tensor | None  #: the tiles of all images, in the order of their tokens


def open_turn(
    parts: Sequence[Part], tokenizer: Tokenizer, image_processor: ImageProcessor | None
) -> Prompt:
    """The beginning of the text and a user's turn that is still open."""
    token_ids = [tokenizer.id(BEGIN_OF_TEXT)] if tokenizer.has(BEGIN_OF_TEXT) else []
    token_ids += _header("user", tokenizer)
    tiles: list[Tensor] = []
    for part in parts:
        if isinstance(part, str):
            token_ids += tokenizer.encode(part)
        elif image_processor is None:
            raise PromptError(
                "this checkpoint reads text only; leave the images out, or choose a checkpoint "
                "with a vision encoder"
            )
        else:
            image = image_processor(part)
            token_ids += image_token_ids(image_processor, image.grid, tokenizer)
            tiles.append(image.tiles_N3SS)
    return Prompt(token_ids, torch.cat(tiles) if tiles else None)


def ask(question: str, tokenizer: Tokenizer) -> list[int]:
    """The question, the end of the user's turn and the opening of the assistant's."""
    return tokenizer.encode(question) + end_turn(tokenizer) + _header("assistant", tokenizer)


def end_turn(tokenizer: Tokenizer) -> list[int]:
    """What closes a turn: after an answer, in training."""
    return [tokenizer.id(END_OF_TURN)] if _has_turns(tokenizer) else []


def image_token_ids(image_processor: ImageProcessor, grid: Size, tokenizer: Tokenizer) -> list[int]:
    """The ids of the tokens that stand for one image."""
    names = image_processor.image_tokens(grid)
    ids = {name: tokenizer.id(name) for name in set(names)}
    return [ids[name] for name in names]


def _header(role: str, tokenizer: Tokenizer) -> list[int]:
    if not _has_turns(tokenizer):
        return []
    start, end = tokenizer.id(HEADER_START), tokenizer.id(HEADER_END)
    return [start, *tokenizer.encode(role), end, *tokenizer.encode("\n\n")]


def _has_turns(tokenizer: Tokenizer) -> bool:
    return tokenizer.has(HEADER_START)
