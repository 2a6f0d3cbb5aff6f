"""The shape of a checkpoint: how it counts text, how far it reads and what that holds in memory.

Told from its config and its tokenizer without loading a weight, so that a job can be estimated
where it is submitted, by processes that have no torch. `cache_bytes` is the formula of
`model.cache`, which a test holds it to. Called by `jobs`; a folder that can't be read has no shape.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.config import TextConfig
    from model.tokenizer import Tokenizer

#: Bytes of a number, by the names that workers give their dtypes; keys and values are kept so.
NUMBER_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
#: Tokens around an image (its start, the sign of the whole image, its end); each tile but that of
#: the whole image has one more behind it. As `model.image` writes them.
IMAGE_MARKS = 3
#: Checkpoints that are known at a time; the tokenizer of Llama 4 takes a second to read.
KEPT = 2


@dataclass(frozen=True)
class Shape:
    """What can be said of a checkpoint before it is loaded."""

    text: TextConfig
    tokenizer: Tokenizer
    #: Of one image, at least and at most; 0: it reads text only, or sees images beside the text.
    image_tokens: tuple[int, int]

    @property
    def context_tokens(self) -> int:
        return self.text.max_position_embeddings

    def count(self, text: str) -> int:
        """Tokens of a text, without turns around it."""
        return len(self.tokenizer.encode(text))

    def cache_bytes(self, tokens: int, dtype: str) -> int:
        """Memory of the keys and values of so many tokens: a layer that attends in chunks holds one
        chunk, one that looks at images no token. Of a dtype that is not known as of float32."""
        held = sum(
            min(tokens, self.text.chunk(layer) or tokens)
            for layer in range(self.text.num_hidden_layers)
            if layer not in self.text.cross_attention_layers
        )
        numbers = held * 2 * self.text.num_key_value_heads * self.text.head_dim
        return numbers * NUMBER_BYTES.get(dtype, 4)


def shape_of(folder: Path) -> Shape | None:
    """None where config or tokenizer can't be read; the worker says why when it loads them."""
    try:
        changed = tuple((folder / name).stat().st_mtime_ns for name in _FILES)
    except OSError:
        return None
    return _read(folder, changed)


_FILES = ("config.json", "tokenizer.json")


@lru_cache(KEPT)
def _read(folder: Path, _changed: tuple[int, ...]) -> Shape | None:
    from model.config import ConfigError, ModelConfig
    from model.tokenizer import Tokenizer, TokenizerError

    try:
        config = ModelConfig.from_hf(json.loads((folder / "config.json").read_text("utf-8")))
        tokenizer = Tokenizer.from_folder(folder)
    except (OSError, ValueError, TypeError, KeyError, ConfigError, TokenizerError):
        return None
    tokens = _image_tokens(folder, config.vision.tokens_per_tile) if config.vision else (0, 0)
    return Shape(config.text, tokenizer, tokens)


def _image_tokens(folder: Path, tile: int) -> tuple[int, int]:
    """Of an image of one tile, and of one that fills the largest grid; `tile` is the tokens of one
    tile."""
    processor = json.loads((folder / "preprocessor_config.json").read_text("utf-8"))
    tiles, least = int(processor.get("max_patches", 16)), tile + IMAGE_MARKS
    return least, least + (tiles * (tile + 1) if tiles > 1 else 0)
