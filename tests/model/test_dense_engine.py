"""The engine with a dense checkpoint whose vocabulary is Llama 2's kind."""

from __future__ import annotations

import json

import pytest
import torch
from tokenizers import Tokenizer as Vocabulary
from tokenizers import decoders, models, normalizers

import model
from model.checkpoint import save_checkpoint
from model.config import ModelConfig, TextConfig
from model.prompt import ask, open_turn
from model.transformer import Transformer

WORDS = ["▁", "▁the", "▁cat", "▁sat", "▁yes", "▁no", "▁[", "INST", "]", "[", "/", "?", "."]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> model.Engine:
    folder = tmp_path_factory.mktemp("checkpoints") / "dense"
    vocabulary = _vocabulary()
    config = TextConfig.dense(
        vocab_size=vocabulary.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=200,
    )
    torch.manual_seed(0)
    transformer = Transformer(ModelConfig(config))
    for parameter in transformer.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(8)
    save_checkpoint(transformer, folder)
    vocabulary.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "[INST]"}))
    return model.load(folder, dtype="float32", device="cpu", piece_tokens=7)


def _vocabulary() -> Vocabulary:
    """Whole words, and a byte for each character that is in none."""
    control = ["<unk>", "<s>", "</s>"]
    tokens = [*control, *(f"<0x{byte:02X}>" for byte in range(256)), *WORDS]
    ids = {token: number for number, token in enumerate(tokens)}
    merges = []
    for word in WORDS:
        for end in range(1, len(word)):
            pair = word[:end], word[end]
            for piece in (*pair, word[: end + 1]):
                ids.setdefault(piece, len(ids))
            if pair not in merges:
                merges.append(pair)
    vocabulary = Vocabulary(models.BPE(ids, merges, unk_token="<unk>", byte_fallback=True))
    vocabulary.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    vocabulary.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    vocabulary.add_special_tokens(control)
    return vocabulary


def test_scores_are_those_of_one_plain_pass(engine: model.Engine) -> None:
    tokenizer = engine.tokenizer
    opened = open_turn(["the cat sat."], tokenizer, None).token_ids
    prefix = engine.prefill(["the cat sat."])
    asked = [("cat?", "yes"), ("cat?", "no"), ("the cat sat?", "yes the cat")]
    for (question, answer), score in zip(asked, engine.score(prefix, asked), strict=True):
        before, after = ask(question, tokenizer), tokenizer.encode(f" {answer}")
        rows = engine.logits([*opened, *before, *after])[len(opened) + len(before) - 1 : -1]
        plain = rows.log_softmax(-1)[torch.arange(len(after)), after].sum()
        assert score == pytest.approx(float(plain), abs=2e-4)


def test_an_answer_begins_without_a_space(engine: model.Engine) -> None:
    prefix = engine.prefill(["the cat"])
    told: list[str] = []
    answer = engine.generate(
        prefix, "sat?", max_tokens=8, allowed=["yes the cat", "no"], on_token=told.append
    )
    assert answer in {"yes the cat", "no"}
    assert "".join(told) == answer
    assert engine.generate(prefix, "sat?", max_tokens=8) == engine.generate(
        prefix.clone(), "sat?", max_tokens=8
    )


def test_an_answer_ends_at_the_end_of_the_text(engine: model.Engine) -> None:
    assert engine.tokenizer.stop_ids == {engine.tokenizer.id("</s>")}
