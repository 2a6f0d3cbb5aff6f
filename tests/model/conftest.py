"""A tiny random checkpoint with its own tokenizer: real files, read by the real code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer as Vocabulary

from model.checkpoint import save_checkpoint
from model.config import ModelConfig, TextConfig, VisionConfig
from model.image import ImageProcessor
from model.transformer import Transformer
from tests.checkpoints import tiny_vocabulary

CHUNK_TOKENS = 16
TILE_PIXELS = 16
CONTEXT_TOKENS = 400


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sees and reads; every chunk border, expert and image token is met within a short prompt."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    vocabulary = _vocabulary()
    vision = VisionConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=TILE_PIXELS,
        patch_size=4,
        projector_input_dim=32,
        projector_output_dim=32,
        vision_output_dim=32,
    )
    config = ModelConfig(
        _text_config(vocabulary),
        vision,
        boi_token_index=vocabulary.token_to_id("<|image_start|>"),
        eoi_token_index=vocabulary.token_to_id("<|image_end|>"),
        image_token_index=vocabulary.token_to_id("<|patch|>"),
    )
    _save(config, vocabulary, folder)
    processor = ImageProcessor(TILE_PIXELS, vision.tokens_per_tile, max_patches=4)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor.to_hf()))
    (folder / "profile.json").write_text('{"listing_threshold": 0.5}')
    return folder


@pytest.fixture(scope="session")
def text_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reads text only, and has no profile."""
    folder = tmp_path_factory.mktemp("checkpoints") / "blind"
    vocabulary = _vocabulary()
    _save(ModelConfig(_text_config(vocabulary)), vocabulary, folder)
    return folder


def _vocabulary() -> Vocabulary:
    return tiny_vocabulary(["the cat sat on the mat, no, yes 文件 圖片"] * 3)


def _text_config(vocabulary: Vocabulary) -> TextConfig:
    return TextConfig(
        vocab_size=vocabulary.get_vocab_size() + 4,  # more rows than tokens, as in padded models
        hidden_size=32,
        intermediate_size=32,
        intermediate_size_mlp=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=CONTEXT_TOKENS,
        num_local_experts=4,
        interleave_moe_layer_step=2,
        attention_chunk_size=CHUNK_TOKENS,
        floor_scale=8,
        tie_word_embeddings=True,
    )


def _save(config: ModelConfig, vocabulary: Vocabulary, folder: Path) -> None:
    torch.manual_seed(0)
    transformer = Transformer(config)
    for parameter in transformer.parameters():  # larger than initialised: opinions that differ
        if parameter.ndim > 1:
            parameter.data.mul_(8)
    save_checkpoint(transformer, folder)
    vocabulary.save(str(folder / "tokenizer.json"))
