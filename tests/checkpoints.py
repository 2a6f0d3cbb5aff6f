"""A tiny random checkpoint in real files, for tests of real workers: quick to load, never right."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: More than any test's document has.
CONTEXT_TOKENS = 100_000


def tiny_vocabulary(texts: Iterable[str]) -> Tokenizer:
    """Llama 4's control tokens, every byte, and a few words of the texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from model.tokenizer import CONTROL_TOKENS

    vocabulary = Tokenizer(models.BPE())
    vocabulary.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    vocabulary.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(CONTROL_TOKENS),
        show_progress=False,
    )
    vocabulary.train_from_iterator(texts, trainer)
    return vocabulary


def tiny_checkpoint(folder: Path, layers: int = 4, *, kv_heads: int = 2, head_dim: int = 8) -> Path:
    """Reads text, one byte for most tokens; the more layers, the slower, and the more and wider
    heads, the more memory for each token."""
    import torch

    from model.checkpoint import save_checkpoint
    from model.config import ModelConfig, TextConfig
    from model.transformer import Transformer

    vocabulary = tiny_vocabulary(["yes no unclear the document page sentence"])
    config = TextConfig(
        vocab_size=vocabulary.get_vocab_size(),
        hidden_size=32,
        intermediate_size=32,
        intermediate_size_mlp=48,
        num_hidden_layers=layers,
        num_attention_heads=max(4, kv_heads),
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        max_position_embeddings=CONTEXT_TOKENS,
        num_local_experts=2,
        interleave_moe_layer_step=2,
        attention_chunk_size=64,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    save_checkpoint(Transformer(ModelConfig(config)), folder)
    vocabulary.save(str(folder / "tokenizer.json"))
    return folder
