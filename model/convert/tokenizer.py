r"""Meta's tokenizer.model as tokenizer.json, with the special tokens of its family.

Llama 3 and 4 have tiktoken's format: a line for each token, its bytes in base64 and its rank. Byte
pairs merge in the order of ranks, so the ranks of two tokens' joined bytes give the merges. LLaMA 1
and Llama 2 have SentencePiece's byte-pair model, which needs the package `sentencepiece`.

Sources: github.com/meta-llama/llama-models, models/llama3/tokenizer.py and models/llama4/
tokenizer.py (special tokens, patterns). It refuses a file that is neither. Called by `meta`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from model.config import TextConfig
from model.convert.errors import ConvertError

#: How text is cut into words before bytes are merged.
LLAMA3_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
LLAMA4_PIECES = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDING}"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDING}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

#: Config keys. Chat models end a turn with the later ids; base models never write those.
LLAMA3_IDS: Mapping[str, Any] = {
    "bos_token_id": 128_000,
    "eos_token_id": [128_001, 128_008, 128_009],
}
LLAMA4_IDS: Mapping[str, Any] = {
    "bos_token_id": 200_000,
    "eos_token_id": [200_001, 200_007, 200_008],
    "pad_token_id": 200_018,
}
SENTENCEPIECE_IDS: Mapping[str, Any] = {"bos_token_id": 1, "eos_token_id": 2}

GAP = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's space


def is_tiktoken(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(512).split()
    return len(first) == 2 and first[1].isdigit()


def write_tokenizer(path: Path, folder: Path, text: TextConfig) -> None:
    """tokenizer.json, and the tokenizer_config.json by which transformers opens it."""
    if is_tiktoken(path):
        ranks = read_ranks(path)
        is_llama4 = text.model_type != "llama"
        special = llama4_special_tokens() if is_llama4 else llama3_special_tokens()
        tokenizer = from_ranks(ranks, special, LLAMA4_PIECES if is_llama4 else LLAMA3_PIECES)
        begin, end = special[0], special[1]
    else:
        tokenizer = from_sentencepiece(path)
        begin, end = "<s>", "</s>"
    _refuse_other_size(path, tokenizer, text.vocab_size)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": begin,
        "eos_token": end,
        "model_max_length": text.max_position_embeddings,
        "clean_up_tokenization_spaces": False,
    }
    config = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    (folder / "tokenizer_config.json").write_text(config, encoding="utf-8")


def read_ranks(path: Path) -> dict[bytes, int]:
    ranks = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise ConvertError(
                f"{path}, line {number}: not a token in base64 and its rank; download it again"
            ) from None
    return ranks


def from_ranks(ranks: Mapping[bytes, int], special: Sequence[str], pieces: str) -> Tokenizer:
    letters = _byte_letters()
    spelled = {
        token: "".join(letters[byte] for byte in token)
        for token in sorted(ranks, key=ranks.__getitem__)
    }
    vocabulary = {spelled[token]: ranks[token] for token in spelled}
    merges = [(spelled[left], spelled[right]) for left, right in _merges(ranks)]
    # ignore_merges: a word that is a token is that token, as in tiktoken.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pieces), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    _add_special(tokenizer, special)
    _begin_with(tokenizer, special[0])
    return tokenizer


def from_sentencepiece(path: Path) -> Tokenizer:
    model = _open_sentencepiece(path)
    ids = range(model.get_piece_size())
    pieces = {model.id_to_piece(number): number for number in ids}
    scores = {model.id_to_piece(number): model.get_score(number) for number in ids}
    merges = sorted(_pairs(pieces), key=lambda pair: -scores[pair[0] + pair[1]])
    tokenizer = Tokenizer(
        models.BPE(
            vocab=pieces, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend(GAP), normalizers.Replace(" ", GAP)]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(GAP, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    control = [number for number in ids if model.is_control(number) or model.is_unknown(number)]
    names = [model.id_to_piece(number) for number in control]
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in names]
    )
    _begin_with(tokenizer, "<s>")
    return tokenizer


def llama3_special_tokens() -> list[str]:
    """256, after the 128,000 of text; the names are those of Llama 3.1."""
    named = (
        "begin_of_text", "end_of_text", "reserved_special_token_0", "reserved_special_token_1",
        "finetune_right_pad_id", "step_id", "start_header_id", "end_header_id", "eom_id", "eot_id",
        "python_tag",
    )  # fmt: skip
    reserved = (f"reserved_special_token_{number}" for number in range(2, 256 - len(named) + 2))
    return [f"<|{name}|>" for name in (*named, *reserved)]


def llama4_special_tokens() -> list[str]:
    """2,048, after the 200,000 of text."""
    text = "text_post_train_reserved_special_token"
    vision, reasoning = "vision_reserved_special_token", "reasoning_reserved_special_token"
    named = (
        "begin_of_text", "end_of_text", "fim_prefix", "fim_middle", "fim_suffix",
        "header_start", "header_end", "eom", "eot", "step", *_numbered(text, 0, 6),
        "python_start", "python_end", "finetune_right_pad", *_numbered(text, 8, 69),
        "image_start", "image_end", *_numbered(vision, 0, 2), "tile_x_separator",
        "tile_y_separator", *_numbered(vision, 2, 6), "image", *_numbered(vision, 6, 7), "patch",
        *_numbered(vision, 7, 1048),
        *_numbered(reasoning, 0, 8), "reasoning_thinking_start", "reasoning_thinking_end",
    )  # fmt: skip
    reserved = _numbered("reserved_special_token", 0, 2048 - len(named))
    return [f"<|{name}|>" for name in (*named, *reserved)]


def _numbered(name: str, first: int, end: int) -> Iterator[str]:
    return (f"{name}_{number}" for number in range(first, end))


def _merges(ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Every pair of tokens that together are a token, in the order of its rank."""
    return sorted(
        _pairs(ranks), key=lambda pair: (ranks[pair[0] + pair[1]], ranks[pair[0]], ranks[pair[1]])
    )


def _pairs(tokens: Mapping[Any, int]) -> Iterator[tuple[Any, Any]]:
    for token in tokens:
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in tokens and right in tokens:
                yield left, right


def _byte_letters() -> list[str]:
    """The letter that stands for each byte in byte-level vocabularies (GPT-2): itself where it can
    be seen, else one from 256 on."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {byte: chr(byte) for byte in seen}
    unseen = [byte for byte in range(256) if byte not in letters]
    letters.update({byte: chr(256 + place) for place, byte in enumerate(unseen)})
    return [letters[byte] for byte in range(256)]


def _add_special(tokenizer: Tokenizer, names: Sequence[str]) -> None:
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in names]
    )


def _begin_with(tokenizer: Tokenizer, begin: str) -> None:
    """What transformers puts before each text; we put it there ourselves."""
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A",
        pair=f"{begin} $A {begin}:1 $B:1",
        special_tokens=[(begin, tokenizer.token_to_id(begin))],
    )


def _open_sentencepiece(path: Path) -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise ConvertError(
            f"{path} is a SentencePiece vocabulary (LLaMA 1, Llama 2), which needs one more "
            "package: pip install 'mmapp[convert]'"
        ) from None
    model = sentencepiece.SentencePieceProcessor()
    try:
        model.load(str(path))
    except (OSError, RuntimeError) as error:
        raise ConvertError(
            f"{path} is neither tiktoken's nor SentencePiece's format: download it again ({error})"
        ) from None
    return model


def _refuse_other_size(path: Path, tokenizer: Tokenizer, rows: int) -> None:
    tokens = tokenizer.get_vocab_size(with_added_tokens=True)
    if tokens > rows:
        raise ConvertError(
            f"{path} makes {tokens:,} tokens, the embedding has {rows:,} rows: it belongs to "
            "another model"
        )
