"""Vocabularies of Meta's format cut text as their own libraries do."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import regex
from tokenizers import Tokenizer

from model.config import ModelConfig
from model.convert.errors import ConvertError
from model.convert.tokenizer import (
    LLAMA3_PIECES,
    LLAMA4_PIECES,
    from_ranks,
    from_sentencepiece,
    is_tiktoken,
    llama3_special_tokens,
    llama4_special_tokens,
    read_ranks,
    write_tokenizer,
)
from tests.model.convert.conftest import DENSE, RANKS

TEXTS = (
    "the cat in the thing",
    "THE Cat's  12345 things…\n\n  文件 在 the 文",
    "  leading, trailing  ",
    "don't I'LL x/y\r\n\ttab",
    "",
)


def tiktoken_ids(text: str, pieces: str) -> list[int]:
    """Of each piece the two neighbours of lowest rank are joined, until none are a token."""
    ids: list[int] = []
    for piece in regex.findall(pieces, text):
        parts = [bytes([byte]) for byte in piece.encode()]
        while True:
            ranks = [RANKS.get(a + b, 10**9) for a, b in pairwise(parts)]
            if not ranks or min(ranks) == 10**9:
                break
            at = ranks.index(min(ranks))
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        ids += [RANKS[part] for part in parts]
    return ids


@pytest.mark.parametrize("pieces", [LLAMA3_PIECES, LLAMA4_PIECES], ids=["Llama 3", "Llama 4"])
@pytest.mark.parametrize("text", TEXTS)
def test_text_is_cut_as_tiktoken_does(text: str, pieces: str) -> None:
    tokenizer = from_ranks(RANKS, ["<|begin_of_text|>"], pieces)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert ids == tiktoken_ids(text, pieces)
    assert tokenizer.decode(ids) == text


def test_special_tokens_have_their_published_ids() -> None:
    llama3, llama4 = llama3_special_tokens(), llama4_special_tokens()
    assert len(llama3) == len(set(llama3)) == 256
    assert llama3.index("<|eot_id|>") == 9
    assert llama3[-1] == "<|reserved_special_token_246|>"
    assert len(llama4) == len(set(llama4)) == 2048
    numbers = {"eot": 8, "finetune_right_pad": 18, "image_start": 80, "patch": 92, "image": 90}
    assert {name: llama4.index(f"<|{name}|>") for name in numbers} == numbers
    assert llama4.index("<|vision_reserved_special_token_1047|>") == 1133


def test_the_file_begins_with_its_first_control_token(
    tmp_path: Path, vocabulary_file: Callable[[Path], None]
) -> None:
    vocabulary_file(tmp_path / "tokenizer.model")
    text = ModelConfig.from_hf({**DENSE, "vocab_size": 1000}).text
    write_tokenizer(tmp_path / "tokenizer.model", tmp_path, text)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode("the").ids == [len(RANKS), RANKS[b"the"]]


def test_a_vocabulary_of_another_model_is_refused(
    tmp_path: Path, vocabulary_file: Callable[[Path], None]
) -> None:
    vocabulary_file(tmp_path / "tokenizer.model")
    with pytest.raises(ConvertError, match="makes 523 tokens, the embedding has 320 rows"):
        write_tokenizer(tmp_path / "tokenizer.model", tmp_path, ModelConfig.from_hf(DENSE).text)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_text("IQ== 0\n%% 1\n")
    with pytest.raises(ConvertError, match="line 2"):
        read_ranks(tmp_path / "tokenizer.model")


def test_sentencepiece_text_is_cut_as_by_its_library(tmp_path: Path) -> None:
    library = pytest.importorskip("sentencepiece", reason="not installed (extra convert)")
    sentences = [text for text in TEXTS if text.strip()] * 20
    model: Any = library.SentencePieceTrainer
    model.train(
        sentence_iterator=iter(sentences), model_prefix=str(tmp_path / "small"), vocab_size=320,
        model_type="bpe", byte_fallback=True, add_dummy_prefix=True, split_digits=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, num_threads=1,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    path = tmp_path / "small.model"
    assert not is_tiktoken(path)
    theirs = library.SentencePieceProcessor(model_file=str(path))
    ours = from_sentencepiece(path)
    for text in ("the cat in the thing", "things 12", "é unseen", "the  cat"):
        ids = ours.encode(text, add_special_tokens=False).ids
        assert ids == theirs.encode(text), text
        assert ours.decode(ids) == text
