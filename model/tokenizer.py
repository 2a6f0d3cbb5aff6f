"""Text to token ids and back, by the tokenizer.json of a checkpoint.

What people write is never read as control: the name of a special token inside a text becomes
ordinary tokens. Control tokens are put in by id only, in prompt.py.

A SentencePiece vocabulary (LLaMA 1, Llama 2) would put a space before every text, and take it away
before everything that is decoded. Here it does neither, so that texts can be read and written piece
by piece; prompt.py writes the space (`gap`).

Refuses: a folder without tokenizer.json, a control token that the vocabulary does not have.
Called by: prompt.py, engine.py and the trainer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Vocabulary

TOKENIZER = "tokenizer.json"  #: its file in a checkpoint folder
TOKENIZER_CONFIG = "tokenizer_config.json"  #: may hold the chat template, as may
CHAT_TEMPLATE = "chat_template.jinja"

BEGIN_OF_TEXT = "<|begin_of_text|>"
END_OF_TEXT = "<|end_of_text|>"
HEADER_START = "<|header_start|>"
HEADER_END = "<|header_end|>"
END_OF_TURN = "<|eot|>"
END_OF_MESSAGE = "<|eom|>"
PATCH = "<|patch|>"
IMAGE = "<|image|>"

#: Llama 3's names.
HEADER_START_3 = "<|start_header_id|>"
HEADER_END_3 = "<|end_header_id|>"
END_OF_TURN_3 = "<|eot_id|>"
END_OF_MESSAGE_3 = "<|eom_id|>"

#: Those of LLaMA 1 and Llama 2.
BEGIN_OF_TEXT_2 = "<s>"
END_OF_TEXT_2 = "</s>"

STOPS = (
    END_OF_TURN,
    END_OF_MESSAGE,
    END_OF_TEXT,
    END_OF_TURN_3,
    END_OF_MESSAGE_3,
    END_OF_TEXT_2,
)

#: The control tokens of Llama 4 that this code writes or reads, in the order nano numbers them.
CONTROL_TOKENS = (
    BEGIN_OF_TEXT,
    END_OF_TEXT,
    HEADER_START,
    HEADER_END,
    END_OF_TURN,
    "<|image_start|>",
    "<|image_end|>",
    IMAGE,
    PATCH,
    "<|tile_x_separator|>",
    "<|tile_y_separator|>",
    "<|finetune_right_pad|>",
)

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  #: how SentencePiece writes a space
REPLACEMENT_CHARACTER = "\N{REPLACEMENT CHARACTER}"


class TokenizerError(ValueError):
    """The tokenizer cannot be used; the message names the file or the token."""


class Tokenizer:
    """A vocabulary and how text is cut into it."""

    def __init__(self, vocabulary: Vocabulary, chat_template: str = "") -> None:
        #: what this vocabulary wants before the first word of a text: a space, or nothing
        self.gap: str = " " if _begins_with_gap(vocabulary) else ""
        vocabulary = _without_gap(vocabulary) if self.gap else vocabulary
        _protect_control_tokens(vocabulary)
        self.chat_template = chat_template  #: of the checkpoint's makers, in Jinja; never run
        self._vocabulary = vocabulary
        self.vocab_size: int = vocabulary.get_vocab_size(with_added_tokens=True)
        #: ids that end an answer
        self.stop_ids: frozenset[int] = frozenset(self.id(s) for s in STOPS if self.has(s))
        #: ids of all special tokens
        self.control_ids: frozenset[int] = frozenset(
            number
            for number, token in vocabulary.get_added_tokens_decoder().items()
            if token.special
        )

    @staticmethod
    def from_folder(folder: str | Path) -> Tokenizer:
        path = Path(folder) / TOKENIZER
        if not path.exists():
            raise TokenizerError(f"{path} is missing; copy it from where the checkpoint came from")
        try:
            vocabulary = Vocabulary.from_file(str(path))
        except Exception as error:  # the library raises bare Exception for a file it cannot read
            raise TokenizerError(f"{path} cannot be read: {error}") from error
        return Tokenizer(vocabulary, _read_chat_template(Path(folder)))

    def encode(self, text: str) -> list[int]:
        """Ordinary tokens only, with nothing added before or after."""
        return self._vocabulary.encode(text, add_special_tokens=False).ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text; control tokens are left out."""
        return self._vocabulary.decode(list(token_ids), skip_special_tokens=True)

    def has(self, token: str) -> bool:
        return self._vocabulary.token_to_id(token) is not None

    def id(self, token: str) -> int:
        """The id of a token by its exact name."""
        number = self._vocabulary.token_to_id(token)
        if number is None:
            raise TokenizerError(
                f"the vocabulary of {self.vocab_size:,} tokens has no {token}; "
                "this checkpoint cannot read what needs it"
            )
        return number


class TextStream:
    """Decodes token after token, and lets no half of a character out.

    A Chinese character is often cut into several tokens; text appears when it is whole.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._held: list[int] = []

    def push(self, token_id: int) -> str:
        """The text that this token completes, often empty."""
        self._held.append(token_id)
        text = self._tokenizer.decode(self._held)
        if text.endswith(REPLACEMENT_CHARACTER):
            return ""
        self._held.clear()
        return text

    def flush(self) -> str:
        """What is left at the end, whole or not."""
        text = self._tokenizer.decode(self._held)
        self._held.clear()
        return text


def _protect_control_tokens(vocabulary: Vocabulary) -> None:
    """Makes every <|token|> special, and special tokens unreachable from text."""
    vocabulary.add_special_tokens(list(_as_special(vocabulary)))
    vocabulary.encode_special_tokens = True
    vocabulary.no_truncation()
    vocabulary.no_padding()


def _as_special(vocabulary: Vocabulary) -> Iterator[AddedToken]:
    for token in vocabulary.get_added_tokens_decoder().values():
        if token.content.startswith("<|") and token.content.endswith("|>"):
            yield AddedToken(token.content, special=True, normalized=False)


def _begins_with_gap(vocabulary: Vocabulary) -> bool:
    tokens: list[str] = vocabulary.encode("a", add_special_tokens=False).tokens
    return bool(tokens) and tokens[0].startswith(SPACE)


def _without_gap(vocabulary: Vocabulary) -> Vocabulary:
    """The same, but it leaves the beginning of a text as it is, in reading and in writing."""
    state = json.loads(vocabulary.to_str())
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        state[part] = _plain(state[part])
    return Vocabulary.from_str(json.dumps(state))


def _plain(part: dict[str, Any] | None) -> dict[str, Any] | None:
    """A part of a tokenizer.json without what adds or takes a space at the beginning."""
    if part is None or part["type"] == "Prepend" or (part["type"] == "Strip" and "content" in part):
        return None
    if part["type"] == "Metaspace":
        return {**part, "prepend_scheme": "never"}
    if part["type"] == "Sequence":
        key = next(key for key in part if key != "type")
        return {**part, key: [plain for plain in map(_plain, part[key]) if plain is not None]}
    return part


def _read_chat_template(folder: Path) -> str:
    """The makers' template for chats, empty if they gave none."""
    own_file, config = folder / CHAT_TEMPLATE, folder / TOKENIZER_CONFIG
    if own_file.exists():
        return own_file.read_text(encoding="utf-8")
    if not config.exists():
        return ""
    try:
        template = json.loads(config.read_text(encoding="utf-8")).get("chat_template") or ""
    except (ValueError, AttributeError) as error:
        raise TokenizerError(f"{config} is not a JSON object: {error}") from error
    return template if isinstance(template, str) else json.dumps(template)  # several, by name
