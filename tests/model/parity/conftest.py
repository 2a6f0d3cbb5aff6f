"""Small random checkpoints that transformers made and saved, beside our reading of them.

Weights are large enough that routers, gates and attention decide: with the usual 0.02 every expert
scores the same and a wrong one would not be noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from model.cache import Cache
from model.checkpoint import load_transformer
from model.transformer import Layout, Transformer

CHUNK = 8
PATCH = 90  # the id of the patch token
VOCABULARY = 96
TOLERANCE = 1e-4

TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "intermediate_size_mlp": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "num_local_experts": 4,
    "attention_chunk_size": CHUNK,
    "floor_scale": 4,
    "pad_token_id": 0,
}
DENSE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": 24,
    "patch_size": 4,
    "projector_input_dim": 40,
    "projector_output_dim": 40,
    "vision_output_dim": 40,
}


@dataclass(frozen=True)
class Pair:
    """The same weights in transformers and in our model."""

    theirs: Any
    ours: Transformer
    folder: Path

    @torch.no_grad()
    def their_logits(self, ids_BT: Tensor, tiles: Tensor | None = None) -> Tensor:
        images = {} if tiles is None else {"pixel_values": tiles}
        logits: Tensor = self.theirs(input_ids=ids_BT, use_cache=False, **images).logits
        return logits

    @torch.no_grad()
    def our_logits(
        self, ids_BT: Tensor, tiles: Tensor | None = None, pieces: tuple[int, ...] = ()
    ) -> Tensor:
        """In one pass without a cache, or with one, in pieces of these lengths."""
        x_BTD = self.ours.embed(ids_BT, tiles)
        batch, length, _ = x_BTD.shape
        if not pieces:
            return self.ours.unembed(self.ours(x_BTD, Layout.consecutive(0, length, batch)))
        assert sum(pieces) == length
        cache = Cache(self.ours.config.text, batch, torch.float32, "cpu")
        hidden = []
        for piece_BTD in torch.split(x_BTD, list(pieces), dim=1):
            layout = Layout.consecutive(cache.length, piece_BTD.shape[1], batch)
            hidden.append(self.ours(piece_BTD, layout, cache))
        return self.ours.unembed(torch.cat(hidden, dim=1))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small only lose by sharing their work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_pair(tmp_path: Path) -> Callable[..., Pair]:
    def make(*, vision: dict[str, Any] | None = None, seed: int = 0, **text: Any) -> Pair:
        torch.manual_seed(seed)
        return _pair(_build(vision, text), tmp_path)

    return make


@pytest.fixture
def make_dense_pair(tmp_path: Path) -> Callable[..., Pair]:
    def make(**config: Any) -> Pair:
        torch.manual_seed(0)
        dense = transformers.LlamaConfig(**{**DENSE, **config})
        dense._attn_implementation = "eager"
        return _pair(transformers.LlamaForCausalLM(dense), tmp_path)

    return make


@pytest.fixture
def close() -> Callable[[str, Tensor, Tensor], None]:
    """Asserts that logits agree, and prints by how much they differ."""

    def check(what: str, ours: Tensor, theirs: Tensor) -> None:
        difference = (ours - theirs).abs().max().item()
        largest = theirs.abs().max().item()
        print(f"{what}: largest difference {difference:.1e} of {largest:.1f}")  # noqa: T201
        assert ours.dtype == torch.float32
        assert theirs.std() > 0.5, "the logits are too flat to compare"
        assert difference <= TOLERANCE

    return check


def random_ids(length: int, batch: int = 2, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, PATCH, (batch, length), generator=generator)


@pytest.fixture(name="random_ids")
def _random_ids() -> Callable[..., Tensor]:
    return random_ids


def _pair(model: Any, folder: Path) -> Pair:
    transformers.utils.logging.disable_progress_bar()
    _randomise(model.eval())
    model.save_pretrained(folder)
    return Pair(model, load_transformer(folder), folder)


def _build(vision: dict[str, Any] | None, text: dict[str, Any]) -> Any:
    text_config = transformers.Llama4TextConfig(**{**TEXT, **text})
    if vision is None:
        text_config._attn_implementation = "eager"
        return transformers.Llama4ForCausalLM(text_config)
    config = transformers.Llama4Config(
        text_config=text_config.to_dict(),
        vision_config={**VISION, **vision},
        image_token_index=PATCH,
        boi_token_index=91,
        eoi_token_index=92,
        attn_implementation="eager",
    )
    return transformers.Llama4ForConditionalGeneration(config)


@torch.no_grad()
def _randomise(model: torch.nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            parameter.normal_(1.0, 0.2)
        elif "embed_tokens" in name:
            parameter.normal_(0.0, 0.5)
        else:
            parameter.normal_(0.0, 0.2)
