"""The vocabulary of a tokenizer.json in the form that llama.cpp reads.

Byte-level vocabularies (Llama 3, Llama 4 and those trained here) become its `gpt2` with merges, and
are cut into words by a pattern that llama.cpp knows by name; SentencePiece's (LLaMA 1, Llama 2)
become its `llama` with scores. It refuses a pattern that llama.cpp has no name for, since text
would be cut into other tokens there. Called by `gguf`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.config import TextConfig
from model.convert.errors import ConvertError
from model.convert.tokenizer import LLAMA3_PIECES, LLAMA4_PIECES
from model.tokenizer import TOKENIZER
from model.train.vocabulary import PIECES

#: llama.cpp's token types.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

#: Names of patterns; the one that vocabularies are trained with here cuts as Llama 3's does.
PATTERNS = {LLAMA3_PIECES: "llama-bpe", PIECES: "llama-bpe", LLAMA4_PIECES: "llama4"}

BEGINS = ("<|begin_of_text|>", "<s>")
ENDS = ("<|end_of_text|>", "</s>")
TURN_ENDS = ("<|eot|>", "<|eot_id|>")


@dataclass(frozen=True)
class Vocabulary:
    model: str
    pre: str | None
    tokens: list[str]
    types: list[int]
    merges: list[str] | None
    scores: list[float] | None
    begin: int | None
    end: int | None
    end_of_turn: int | None
    chat_template: str | None


def read_vocabulary(folder: Path, text: TextConfig) -> Vocabulary:
    path = folder / TOKENIZER
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConvertError(f"{path} cannot be read: {error}") from None
    model = stored["model"]
    if model.get("type") != "BPE":
        raise ConvertError(f"{path} is of type {model.get('type')}: only BPE is written")
    is_sentencepiece = bool(model.get("byte_fallback"))
    ids: dict[str, int] = dict(model["vocab"])
    ids.update({token["content"]: token["id"] for token in stored["added_tokens"]})
    if max(ids.values()) >= text.vocab_size:
        raise ConvertError(
            f"{path} has token {max(ids.values())}, the embedding {text.vocab_size} rows: they do "
            "not belong together"
        )
    tokens = [f"[PAD{number}]" for number in range(text.vocab_size)]
    types = [UNUSED] * text.vocab_size
    for token, number in ids.items():
        tokens[number], types[number] = token, _type(token, is_sentencepiece)
    for token in stored["added_tokens"]:
        types[token["id"]] = _added_type(token, model)
    return Vocabulary(
        model="llama" if is_sentencepiece else "gpt2",
        pre=None if is_sentencepiece else _pattern_name(path, stored),
        tokens=tokens,
        types=types,
        merges=None if is_sentencepiece else [_merge(pair) for pair in model["merges"]],
        # SentencePiece numbers its pieces by falling score, and only their order matters.
        scores=[-float(n) for n in range(text.vocab_size)] if is_sentencepiece else None,
        begin=_first(BEGINS, ids),
        end=_first(ENDS, ids),
        end_of_turn=_first(TURN_ENDS, ids),
        chat_template=_chat_template(folder),
    )


def _type(token: str, is_sentencepiece: bool) -> int:
    is_byte = is_sentencepiece and len(token) == 6 and token.startswith("<0x")
    return BYTE if is_byte else NORMAL


def _added_type(token: Mapping[str, Any], model: Mapping[str, Any]) -> int:
    if token["content"] == model.get("unk_token"):
        return UNKNOWN
    return CONTROL if token["special"] else USER_DEFINED


def _merge(pair: str | list[str]) -> str:
    return pair if isinstance(pair, str) else " ".join(pair)


def _pattern_name(path: Path, stored: Mapping[str, Any]) -> str:
    cutter = stored.get("pre_tokenizer") or {}
    parts = cutter.get("pretokenizers", [cutter])
    patterns = [p["pattern"].get("Regex") for p in parts if p.get("type") == "Split"]
    if len(patterns) != 1 or patterns[0] not in PATTERNS:
        raise ConvertError(
            f"{path} cuts text by a pattern that llama.cpp has no name for: only those of Llama 3 "
            "and Llama 4 are written"
        )
    return PATTERNS[patterns[0]]


def _first(names: tuple[str, ...], ids: Mapping[str, int]) -> int | None:
    return next((ids[name] for name in names if name in ids), None)


def _chat_template(folder: Path) -> str | None:
    own = folder / "chat_template.jinja"
    if own.is_file():
        return own.read_text(encoding="utf-8")
    settings = folder / "tokenizer_config.json"
    if not settings.is_file():
        return None
    template = json.loads(settings.read_text(encoding="utf-8")).get("chat_template")
    return template if isinstance(template, str) else None
