"""What a checkpoint is and what it needs, told from its config: no weight is read.

Of a quantized checkpoint, the files tell the sizes of their tensors. Also of a model of the family
that is not on this machine, by its name in `presets`.
Called by: `python -m model describe`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from model.checkpoint import Uninitialised, load_config
from model.checkpoint import weights_bytes as stored_bytes
from model.config import ModelConfig, TextConfig
from model.memory import GPU_GIGABYTES, devices, gpus_needed
from model.moe import Experts
from model.presets import preset
from model.transformer import Transformer


@dataclass(frozen=True)
class Place:
    """A device of this machine."""

    name: str
    memory_bytes: int
    fits: bool  #: weights and cache, with a tenth of the memory left


@dataclass(frozen=True)
class Description:
    """The numbers that people compare checkpoints by."""

    name: str
    parameters: int  #: all weights, the vision encoder included
    parameters_active: int  #: weights that one text token passes through, embeddings included
    parameters_vision: int  #: encoder and projector, without layers of cross-attention
    vocabulary: int
    context_length: int  #: tokens
    layers: tuple[str, ...]  #: attention and feed-forward of each, from the first
    experts: int  #: routed experts in a mixture-of-experts layer
    tokens_per_tile: int  #: of an image, in the text; 0 if none stand there
    features_per_image: int  #: at most, beside the text, for cross-attention; 0 without it
    dtype: str
    weights_bytes: int  #: in memory, in this dtype but for what is quantized
    cache_tokens: int
    cache_bytes: int  #: keys and values of so many tokens, in this dtype
    cache_bytes_per_image: int  #: keys and values for cross-attention, at most
    devices: tuple[Place, ...]  #: of this machine
    gpus_needed: dict[str, int]  #: by their memory: how many hold weights and cache between them

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def describe(
    folder_or_name: str | Path, dtype: torch.dtype, cache_tokens: int | None
) -> Description:
    """Reads config.json, or the preset; `cache_tokens` is the whole context unless given."""
    config = _config(Path(folder_or_name))
    with torch.device("meta"), Uninitialised():
        transformer = Transformer(config)
    tokens = cache_tokens or config.text.max_position_embeddings
    parameters = _count(transformer)
    weights_bytes = parameters * dtype.itemsize
    if config.quantization is not None:
        weights_bytes = stored_bytes(folder_or_name, dtype)
    cache_bytes = _cache_bytes(config.text, tokens, dtype)
    need = weights_bytes + cache_bytes
    encoders = (transformer.vision, transformer.projector, transformer.cross_vision)
    vision = sum(_count(part) for part in encoders if part)
    features = _features_per_image(config)
    return Description(
        name=Path(folder_or_name).resolve().name,
        parameters=parameters,
        parameters_active=parameters - vision - _idle(transformer, config.text),
        parameters_vision=vision,
        vocabulary=config.text.vocab_size,
        context_length=config.text.max_position_embeddings,
        layers=tuple(_kind(config.text, layer) for layer in range(config.text.num_hidden_layers)),
        experts=config.text.num_local_experts,
        tokens_per_tile=config.vision.tokens_per_tile if config.vision else 0,
        features_per_image=features,
        dtype=str(dtype).removeprefix("torch."),
        weights_bytes=weights_bytes,
        cache_tokens=tokens,
        cache_bytes=cache_bytes,
        cache_bytes_per_image=len(config.text.cross_attention_layers)
        * _layer_bytes(config.text, features, dtype),
        devices=tuple(Place(d.name, d.memory_bytes, d.fits(need)) for d in devices()),
        gpus_needed={f"{size} GB": gpus_needed(need, size) for size in GPU_GIGABYTES},
    )


def _config(folder_or_name: Path) -> ModelConfig:
    """A folder goes before a preset of the same name."""
    if folder_or_name.is_dir() or len(folder_or_name.parts) != 1:
        return load_config(folder_or_name)
    return preset(folder_or_name.name)


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _idle(transformer: Transformer, text: TextConfig) -> int:
    """Weights of the experts that a token is not sent to."""
    experts = sum(_count(part) for part in transformer.modules() if isinstance(part, Experts))
    if not experts:
        return 0
    return experts // text.num_local_experts * (text.num_local_experts - text.num_experts_per_tok)


def _kind(text: TextConfig, layer: int) -> str:
    if layer in text.cross_attention_layers:
        return "images (cross-attention), dense"
    chunk = text.chunk(layer)
    sight = "global" if chunk is None else f"chunks of {chunk:,}"
    sight += " (RoPE)" if text.uses_rope(layer) else ""
    if not text.is_moe(layer):
        return f"{sight}, dense"
    return f"{sight}, {text.num_local_experts} experts"


def _features_per_image(config: ModelConfig) -> int:
    encoder = config.cross_vision
    return encoder.max_num_tiles * encoder.tokens_per_tile if encoder else 0


def _cache_bytes(text: TextConfig, tokens: int, dtype: torch.dtype) -> int:
    """A layer that attends in chunks holds one chunk at most, one that looks at images no token."""
    layers = set(range(text.num_hidden_layers)) - set(text.cross_attention_layers)
    return sum(_layer_bytes(text, min(tokens, text.chunk(n) or tokens), dtype) for n in layers)


def _layer_bytes(text: TextConfig, held: int, dtype: torch.dtype) -> int:
    return held * 2 * text.num_key_value_heads * text.head_dim * dtype.itemsize
