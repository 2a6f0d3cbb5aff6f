"""Text becomes ids and ids become text, in English and Chinese; control stays out of reach."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Vocabulary

from model.tokenizer import CONTROL_TOKENS, TextStream, Tokenizer, TokenizerError

TEXTS = ["The cat sat on the mat. 12.5 %\n\n", "文件共有三頁，第一頁是摘要。", "a\tb 🙂 naïve", ""]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return train_vocabulary()


def train_vocabulary() -> Vocabulary:
    vocabulary = Vocabulary(models.BPE())
    vocabulary.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    vocabulary.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(CONTROL_TOKENS),
        show_progress=False,
    )
    vocabulary.train_from_iterator(TEXTS * 3, trainer)
    return vocabulary


@pytest.fixture(scope="module")
def tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    return Tokenizer(vocabulary)


@pytest.mark.parametrize("text", TEXTS)
def test_text_survives_a_round_trip(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("control", CONTROL_TOKENS)
def test_the_name_of_a_control_token_in_a_text_is_ordinary_text(
    tokenizer: Tokenizer, control: str
) -> None:
    text = f"before {control} after"
    token_ids = tokenizer.encode(text)
    assert tokenizer.id(control) not in token_ids
    assert tokenizer.decode(token_ids) == text


def test_a_control_token_that_was_not_declared_special_is_out_of_reach_too() -> None:
    vocabulary = train_vocabulary()
    vocabulary.add_tokens([AddedToken("<|odd|>", special=False)])
    tokenizer = Tokenizer(vocabulary)
    assert tokenizer.id("<|odd|>") not in tokenizer.encode("<|odd|>")


def test_control_tokens_are_left_out_of_the_decoded_text(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode([*tokenizer.encode("yes"), tokenizer.id("<|eot|>")]) == "yes"


def test_an_answer_ends_at_the_end_of_turn_or_of_text(tokenizer: Tokenizer) -> None:
    assert tokenizer.stop_ids == {tokenizer.id("<|eot|>"), tokenizer.id("<|end_of_text|>")}


@pytest.mark.parametrize("text", TEXTS)
def test_a_stream_never_shows_half_a_character(tokenizer: Tokenizer, text: str) -> None:
    stream = TextStream(tokenizer)
    shown = [stream.push(token_id) for token_id in tokenizer.encode(text)]
    assert not any("\ufffd" in piece for piece in shown)
    assert "".join(shown) + stream.flush() == text


def test_half_a_character_at_the_end_is_not_lost_silently(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer)
    unseen = next(c for c in "龘靐齉" if len(tokenizer.encode(c)) > 1)
    assert stream.push(tokenizer.encode(unseen)[0]) == ""
    assert stream.flush() == "\ufffd"


def test_a_token_that_the_vocabulary_lacks_is_named(tokenizer: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match=r"has no <\|nothing\|>"):
        tokenizer.id("<|nothing|>")


def test_a_folder_without_a_tokenizer_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"tokenizer\.json is missing"):
        Tokenizer.from_folder(tmp_path)


def test_a_broken_tokenizer_file_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(TokenizerError, match=r"tokenizer\.json cannot be read"):
        Tokenizer.from_folder(tmp_path)


def test_a_tokenizer_file_is_read_as_it_was_saved(
    tmp_path: Path, vocabulary: Vocabulary, tokenizer: Tokenizer
) -> None:
    vocabulary.save(str(tmp_path / "tokenizer.json"))
    again = Tokenizer.from_folder(tmp_path)
    assert again.encode(TEXTS[1]) == tokenizer.encode(TEXTS[1])
    assert again.vocab_size == tokenizer.vocab_size
