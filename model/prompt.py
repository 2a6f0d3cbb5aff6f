"""The chat formats of the family: the only place that knows their turn markers.

Llama 4 and, with other names for the markers, Llama 3 (in Llama 3.2 Vision, one token is an image):

    <|begin_of_text|><|header_start|>user<|header_end|>

    {text and images}{question}<|eot|><|header_start|>assistant<|header_end|>

    {answer}<|eot|>

Llama 2 chat, known by its makers' chat template, since its vocabulary has no markers:

    <s> [INST] {text} {question} [/INST] {answer} </s>

The user's turn is opened once with the document (`open_turn`), may go on (`go_on`), and each
question ends it (`ask`), so that many questions share one prefix. A tokenizer without turns gets
plain text after its first token. Texts are never read as control tokens. No system turn is written:
where the template of Llama 3.1 and later tells the date, we tell none.

Refuses: images for a checkpoint that reads text only.
Called by: engine.py and the trainer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from model.image import ImageProcessor, Size, Tiles
from model.tokenizer import (
    BEGIN_OF_TEXT,
    BEGIN_OF_TEXT_2,
    END_OF_TEXT_2,
    END_OF_TURN,
    END_OF_TURN_3,
    HEADER_END,
    HEADER_END_3,
    HEADER_START,
    HEADER_START_3,
    Tokenizer,
)

Part = str | Image.Image


class PromptError(ValueError):
    """The prompt cannot be written for this checkpoint; the message says why."""


class Prompt(NamedTuple):
    """An opened user's turn."""

    token_ids: list[int]
    tiles_N3SS: Tensor | None  #: the tiles of all images, in the order of their tokens
    grids: tuple[Size, ...] = ()  #: of each image, rows and columns of tiles


class Control(str):
    """A control token by its name, among ordinary text."""


class Turns(NamedTuple):
    """What stands around the words of user and assistant."""

    before_user: tuple[str, ...] = ()
    between: tuple[str, ...] = ()  #: ends the user's turn and opens the assistant's
    after_answer: tuple[str, ...] = ()


def headed(start: str, end: str, end_of_turn: str) -> Turns:
    """Turns that begin with a role between two markers."""
    user = (Control(start), "user", Control(end), "\n\n")
    assistant = (Control(start), "assistant", Control(end), "\n\n")
    return Turns(user, (Control(end_of_turn), *assistant), (Control(end_of_turn),))


PLAIN = Turns()
LLAMA_2 = Turns((" [INST]",), (" [/INST]",), (" ", Control(END_OF_TEXT_2)))
LLAMA_3 = headed(HEADER_START_3, HEADER_END_3, END_OF_TURN_3)
LLAMA_4 = headed(HEADER_START, HEADER_END, END_OF_TURN)


def open_turn(
    parts: Sequence[Part], tokenizer: Tokenizer, image_processor: ImageProcessor | None
) -> Prompt:
    """The beginning of the text and a user's turn that is still open."""
    token_ids = _begin(tokenizer) + _write(_turns(tokenizer).before_user, tokenizer)
    first = [_spaced(part, tokenizer) if isinstance(part, str) else part for part in parts[:1]]
    more = go_on([*first, *parts[1:]], tokenizer, image_processor)
    return more._replace(token_ids=token_ids + more.token_ids)


def go_on(
    parts: Sequence[Part], tokenizer: Tokenizer, image_processor: ImageProcessor | None
) -> Prompt:
    """More of a user's turn, as it stands behind other parts."""
    token_ids: list[int] = []
    images: list[Tiles] = []
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
            images.append(image)
    tiles_N3SS = torch.cat([image.tiles_N3SS for image in images]) if images else None
    return Prompt(token_ids, tiles_N3SS, tuple(image.grid for image in images))


def ask(question: str, tokenizer: Tokenizer) -> list[int]:
    """The question, the end of the user's turn and the opening of the assistant's."""
    asked = tokenizer.encode(_spaced(question, tokenizer))
    return asked + _write(_turns(tokenizer).between, tokenizer)


def reply(text: str, tokenizer: Tokenizer) -> list[int]:
    """An answer, as it stands after `ask`."""
    return tokenizer.encode(_spaced(text, tokenizer))


def end_turn(tokenizer: Tokenizer) -> list[int]:
    """What closes a turn: after an answer, in training."""
    return _write(_turns(tokenizer).after_answer, tokenizer)


def image_token_ids(image_processor: ImageProcessor, grid: Size, tokenizer: Tokenizer) -> list[int]:
    """The ids of the tokens that stand for one image."""
    names = image_processor.image_tokens(grid)
    ids = {name: tokenizer.id(name) for name in set(names)}
    return [ids[name] for name in names]


def _begin(tokenizer: Tokenizer) -> list[int]:
    names = (BEGIN_OF_TEXT, BEGIN_OF_TEXT_2)
    return [tokenizer.id(name) for name in names if tokenizer.has(name)][:1]


def _turns(tokenizer: Tokenizer) -> Turns:
    if tokenizer.has(HEADER_START):
        return LLAMA_4
    if tokenizer.has(HEADER_START_3):
        return LLAMA_3
    if "[INST]" in tokenizer.chat_template and tokenizer.has(END_OF_TEXT_2):
        return LLAMA_2
    return PLAIN


def _write(pieces: Sequence[str], tokenizer: Tokenizer) -> list[int]:
    ids: list[int] = []
    for piece in pieces:
        ids += [tokenizer.id(piece)] if isinstance(piece, Control) else tokenizer.encode(piece)
    return ids


def _spaced(text: str, tokenizer: Tokenizer) -> str:
    """SentencePiece knows most words with a space before them."""
    return text if not text or text[0].isspace() else tokenizer.gap + text
