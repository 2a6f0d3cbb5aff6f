"""The shapes that are measured, and random checkpoints of them: one folder that all engines read.

Every shape is one that llama.cpp can run, but for the chunk, which it fixes at 8,192 tokens: in a
longer text it does not do the mathematics of a shape with a smaller one. Called by `engine` and
`context`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from model.checkpoint import save_checkpoint
from model.config import ModelConfig, TextConfig, VisionConfig
from model.convert.gguf import CHUNK
from model.convert.tokenizer import LLAMA4_PIECES
from model.tokenizer import CONTROL_TOKENS, PATCH
from model.transformer import Transformer

CONTEXT = 20_480  #: tokens: the longest work and what is written after it

#: Numbers of `TextConfig`, beside those that all shapes share.
SHAPES: dict[str, dict[str, int]] = {
    "tiny": {  # 0.24 B parameters, 39 M of them used by a token
        "hidden_size": 512,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "intermediate_size": 1024,
        "intermediate_size_mlp": 2048,
        "vocab_size": 16_384,
        "attention_chunk_size": 2048,
    },
    "mid": {  # 0.74 B parameters
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
        "head_dim": 64,
        "intermediate_size": 1536,
        "intermediate_size_mlp": 3072,
        "vocab_size": 16_384,
        "attention_chunk_size": CHUNK,
    },
    "narrow": {  # 7.5 M parameters: for texts so long that little else than attention costs time
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "intermediate_size": 256,
        "intermediate_size_mlp": 512,
        "vocab_size": 1024,
        "attention_chunk_size": CHUNK,
    },
}


def text_config(shape: str, context: int = CONTEXT, chunk: int | None = None) -> TextConfig:
    """`chunk`: another than that of the shape."""
    sizes = {**SHAPES[shape], **({"attention_chunk_size": chunk} if chunk else {})}
    return TextConfig(
        **sizes,  # type: ignore[arg-type]
        max_position_embeddings=context,
        num_local_experts=16,
    )


def vision_config(text_width: int) -> VisionConfig:
    """Tiles as Scout's (336 pixels, 576 patches, 144 tokens), in a small encoder."""
    return VisionConfig(
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=6,
        intermediate_size=1536,
        image_size=336,
        projector_input_dim=text_width,
        projector_output_dim=text_width,
        vision_output_dim=text_width,
    )


def write_text_checkpoint(
    shape: str, folder: Path, dtype: torch.dtype, context: int = CONTEXT, chunk: int | None = None
) -> Path:
    """Random weights, for a shape and type always the same; a vocabulary of bytes and one pair of
    them, since llama.cpp asks for one."""
    torch.manual_seed(0)
    _write(ModelConfig(text_config(shape, context, chunk)), folder, dtype)
    _vocabulary().save(str(folder / "tokenizer.json"))
    return folder


def write_vision_checkpoint(shape: str, folder: Path, dtype: torch.dtype) -> Path:
    """The same width with one text layer: it is the encoder that is measured."""
    torch.manual_seed(0)
    sizes = {**SHAPES[shape], "num_hidden_layers": 1}
    text = TextConfig(**sizes, num_local_experts=1)  # type: ignore[arg-type]
    patch = CONTROL_TOKENS.index(PATCH)
    _write(
        ModelConfig(text, vision_config(text.hidden_size), image_token_index=patch), folder, dtype
    )
    return folder


def _write(config: ModelConfig, folder: Path, dtype: torch.dtype) -> None:
    save_checkpoint(Transformer(config).to(dtype), folder)


def _vocabulary() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*CONTROL_TOKENS, *alphabet, "th"]
    merges = [("t", "h")]
    vocabulary = Tokenizer(models.BPE({name: n for n, name in enumerate(names)}, merges))
    vocabulary.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA4_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    vocabulary.decoder = decoders.ByteLevel()
    vocabulary.add_special_tokens(list(CONTROL_TOKENS))
    return vocabulary
