"""The checkpoint of the end-to-end tests: the shipped one, or a tiny one that reads and sees.

The random one stands in while nothing is shipped: it goes through the same code and is never
right.
"""

from __future__ import annotations

import json
from pathlib import Path

from mmapp.config import REPOSITORY
from tests.checkpoints import tiny_checkpoint

SHIPPED = REPOSITORY / "checkpoints" / "nano"
TILE_PIXELS = 32


def checkpoint(folder: Path) -> Path:
    """The shipped checkpoint's folder, or `folder` with a tiny one in it."""
    return SHIPPED if (SHIPPED / "config.json").exists() else seeing_checkpoint(folder)


def seeing_checkpoint(folder: Path) -> Path:
    """`tests.checkpoints.tiny_checkpoint` with eyes."""
    import torch
    from tokenizers import Tokenizer

    from model.checkpoint import load_config, save_checkpoint
    from model.config import ModelConfig, VisionConfig
    from model.image import ImageProcessor
    from model.transformer import Transformer

    tiny_checkpoint(folder)
    vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json"))
    vision = VisionConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=TILE_PIXELS,
        patch_size=8,
        projector_input_dim=32,
        projector_output_dim=32,
        vision_output_dim=32,
    )
    config = ModelConfig(
        load_config(folder).text,
        vision,
        boi_token_index=vocabulary.token_to_id("<|image_start|>"),
        eoi_token_index=vocabulary.token_to_id("<|image_end|>"),
        image_token_index=vocabulary.token_to_id("<|patch|>"),
    )
    torch.manual_seed(0)
    save_checkpoint(Transformer(config), folder)
    processor = ImageProcessor(TILE_PIXELS, vision.tokens_per_tile, max_patches=1)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor.to_hf()))
    limits = {"en": "It is random: it proves nothing.", "zh": "它是随机的：什么也不能证明。"}
    (folder / "profile.json").write_text(json.dumps({"image_tokens": 8, "limits": limits}))
    return folder
