"""What a checkpoint is and what it needs, told from its config: no weight is read.

Of a quantized checkpoint, the files tell the sizes of their tensors. Also of a model of the family
that is not on this machine, by its name in `presets`.
Called by: `python -m model describe`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from model.cache import cache_bytes, layer_bytes
from model.checkpoint import (
    Uninitialised,
    load_config,
    stored_tensor_bytes,
    tensor_bytes,
)
from model.config import ModelConfig, TextConfig
from model.memory import GPU_GIGABYTES, Device, devices, gpus_needed
from model.moe import Experts
from model.placement import Load, Plan, advice, plan
from model.presets import preset
from model.transformer import Transformer

CONTEXTS = (8_192, 131_072, 10**6, 3 * 10**6, 10**7)  #: tokens


@dataclass(frozen=True)
class Place:
    """A device of this machine."""

    name: str
    memory_bytes: int
    fits: bool  #: weights and cache, with a tenth of the memory left


@dataclass(frozen=True)
class Context:
    """What so many tokens cost."""

    tokens: int
    cache_bytes: int  #: keys and values; a layer that attends in chunks holds one chunk
    cache_bytes_in_full: int  #: as if every layer held every token


@dataclass(frozen=True)
class Share:
    """What one of several devices would hold."""

    device: str
    memory_bytes: int
    weights_bytes: int
    cache_bytes: int
    layers: str  #: the first and the last
    fits: bool  #: with a tenth of the memory left


@dataclass(frozen=True)
class Division:
    """The model on several devices."""

    way: str  #: by layers, or by experts
    fits: bool
    remedy: str  #: what would fit, if this does not
    shares: tuple[Share, ...]


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
    cache_dtype: str
    cache_tokens: int
    cache_bytes: int  #: keys and values of so many tokens, in this dtype
    contexts: tuple[Context, ...]  #: more and more tokens, up to the whole context
    cache_bytes_per_image: int  #: keys and values for cross-attention, at most
    devices: tuple[Place, ...]  #: of this machine
    gpus_needed: dict[str, int]  #: by their memory: how many hold weights and cache between them
    division: Division | None  #: on the devices that were asked about

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def describe(
    folder_or_name: str | Path,
    dtype: torch.dtype,
    cache_tokens: int | None,
    cache_dtype: torch.dtype | None = None,
    shared_by: Sequence[Device] = (),
    way: str = "layers",
) -> Description:
    """Reads config.json, or the preset; `cache_tokens` is the whole context unless given, and
    `cache_dtype` is `dtype`. `shared_by` are devices that the model is divided among, in a `way` of
    `placement`."""
    config = _config(Path(folder_or_name))
    with torch.device("meta"), Uninitialised():
        transformer = Transformer(config)
    tokens = cache_tokens or config.text.max_position_embeddings
    parameters = _count(transformer)
    sizes = tensor_bytes(config, dtype)
    if config.quantization is not None:
        sizes = stored_tensor_bytes(folder_or_name, dtype)
    weights_bytes, kept = sum(sizes.values()), cache_dtype or dtype
    need = weights_bytes + cache_bytes(config.text, tokens, kept)
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
        cache_dtype=str(kept).removeprefix("torch."),
        cache_tokens=tokens,
        cache_bytes=cache_bytes(config.text, tokens, kept),
        contexts=tuple(_contexts(config.text, kept)),
        cache_bytes_per_image=len(config.text.cross_attention_layers)
        * layer_bytes(config.text, features, kept),
        devices=tuple(Place(d.name, d.memory_bytes, d.fits(need)) for d in devices()),
        gpus_needed={f"{size} GB": gpus_needed(need, size) for size in GPU_GIGABYTES},
        division=_divide(config.text, sizes, shared_by, tokens, kept, way) if shared_by else None,
    )


def _divide(
    text: TextConfig,
    sizes: Mapping[str, int],
    shared_by: Sequence[Device],
    tokens: int,
    kept: torch.dtype,
    way: str,
) -> Division:
    made: Plan = plan(text, sizes, shared_by, tokens, kept, way)
    remedy = "" if made.fits else advice(text, sizes, shared_by, tokens, kept, way)
    return Division(way, made.fits, remedy, tuple(map(_share, made.loads)))


def _share(load: Load) -> Share:
    first, end = load.layers
    return Share(
        load.device.name,
        load.device.memory_bytes,
        load.weights_bytes,
        load.cache_bytes,
        f"{first}-{end - 1}" if end > first else "",
        load.fits,
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


def _contexts(text: TextConfig, dtype: torch.dtype) -> Iterator[Context]:
    whole = text.max_position_embeddings
    for tokens in (*(some for some in CONTEXTS if some < whole), whole):
        in_full = cache_bytes(text, tokens, dtype, in_full=True)
        yield Context(tokens, cache_bytes(text, tokens, dtype), in_full)


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
