"""The tokenizer of a checkpoint trained here: byte-level BPE with Llama 4's special token names.

Trained on a sample of the documents and listings, English and Chinese; any other text falls back
to bytes. Called by the training loop once, before the first step.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from model.tokenizer import CONTROL_TOKENS
from model.train.chinese import COLOURS, NAMES
from model.train.documents import TextDocument
from model.train.listings import UNSEEN, Photo

# Words with the blank before them, numbers of up to three digits, runs of punctuation, blanks.
PIECES = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(
    documents: list[TextDocument],
    photos: list[Photo],
    phrases: list[str],
    *,
    size: int,
    characters: int,
    seed: int,
) -> Tokenizer:
    """`phrases`: the words of the prompts and answers, weighted so that each is one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        min_frequency=2,
    )
    sample = _sample(documents, photos, phrases, characters, random.Random(seed))
    tokenizer.train_from_iterator(sample, trainer)
    return tokenizer


def _sample(
    documents: list[TextDocument],
    photos: list[Photo],
    phrases: list[str],
    characters: int,
    chance: random.Random,
) -> Iterator[str]:
    for phrase in phrases:
        yield from [phrase] * 200
    words = [*NAMES, *NAMES.values(), *COLOURS, *COLOURS.values()]
    for word in words + [text for _, _, text in UNSEEN]:
        yield from [word, word.lower(), f" {word}", f" {word.lower()}"] * 10
    for description in sorted({photo.description for photo in photos}):
        yield from [description] * 10
    for lang, share in (("en", 0.6), ("zh", 0.4)):
        left = int(characters * share)
        pool = [document for document in documents if document.lang == lang]
        chance.shuffle(pool)
        for document in pool:
            if left <= 0:
                break
            text = document.text[: min(6000, left)]
            left -= len(text)
            yield text


def write_tokenizer(tokenizer: Tokenizer, folder: Path, context_length: int) -> None:
    """tokenizer.json and the tokenizer_config.json by which transformers opens it."""
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|eot|>",
        "pad_token": "<|finetune_right_pad|>",
        "model_max_length": context_length,
        "clean_up_tokenization_spaces": False,
    }
    text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
