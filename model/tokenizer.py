"""Text to token ids and back, by the tokenizer.json of a checkpoint.

What people write is never read as control: the name of a special token inside a text becomes
ordinary tokens. Control tokens are put in by id only, in prompt.py.

Refuses: a folder without tokenizer.json, a control token that the vocabulary does not have.
Called by: prompt.py, engine.py and the trainer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import AddedToken
from tokenizers import Tokenizer as Vocabulary

TOKENIZER = "tokenizer.json"  #: its file in a checkpoint folder

BEGIN_OF_TEXT = "<|begin_of_text|>"
END_OF_TEXT = "<|end_of_text|>"
HEADER_START = "<|header_start|>"
HEADER_END = "<|header_end|>"
END_OF_TURN = "<|eot|>"
END_OF_MESSAGE = "<|eom|>"
PATCH = "<|patch|>"

#: The control tokens of Llama 4 that this code writes or reads, in the order nano numbers them.
CONTROL_TOKENS = (
    BEGIN_OF_TEXT,
    END_OF_TEXT,
    HEADER_START,
    HEADER_END,
    END_OF_TURN,
    "<|image_start|>",
    "<|image_end|>",
    "<|image|>",
    PATCH,
    "<|tile_x_separator|>",
    "<|tile_y_separator|>",
    "<|finetune_right_pad|>",
)

REPLACEMENT_CHARACTER = "\N{REPLACEMENT CHARACTER}"


class TokenizerError(ValueError):
    """The tokenizer cannot be used; the message names the file or the token."""


class Tokenizer:
    """A vocabulary and how text is cut into it."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        _protect_control_tokens(vocabulary)
        self._vocabulary = vocabulary
        self.vocab_size: int = vocabulary.get_vocab_size(with_added_tokens=True)
        stops = (END_OF_TURN, END_OF_MESSAGE, END_OF_TEXT)
        #: ids that end an answer
        self.stop_ids: frozenset[int] = frozenset(self.id(s) for s in stops if self.has(s))
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
            return Tokenizer(Vocabulary.from_file(str(path)))
        except Exception as error:  # the library raises bare Exception for a file it cannot read
            raise TokenizerError(f"{path} cannot be read: {error}") from error

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
