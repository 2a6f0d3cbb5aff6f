"""Small random models, and the same weights as Meta would have published them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model.checkpoint import load_transformer, save_checkpoint
from model.config import ModelConfig
from model.convert.tokenizer import LLAMA3_PIECES, from_ranks
from model.transformer import Layout, Transformer

RANKS = {bytes([byte]): byte for byte in range(256)} | {
    token: 256 + place
    for place, token in enumerate(
        [b"th", b"the", b" t", b" the", b"in", b"ing", b" c", b" ca", b" cat", b"\xe6\x96",
         "文".encode()]
    )
}  # fmt: skip
TEXT = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 128,
}
DENSE = {**TEXT, "model_type": "llama", "rope_theta": 10_000.0}
LLAMA4 = {
    **TEXT,
    "model_type": "llama4_text",
    "intermediate_size_mlp": 128,
    "head_dim": 16,
    "num_local_experts": 4,
    "interleave_moe_layer_step": 2,
    "max_position_embeddings": 128,
    "no_rope_layers": [1, 1, 1, 0],
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


@pytest.fixture
def make_model() -> Callable[..., Transformer]:
    """Weights so large that every gate, router and attention decides."""

    def make(config: dict[str, Any], seed: int = 0) -> Transformer:
        torch.manual_seed(seed)
        transformer = Transformer(ModelConfig.from_hf(config)).eval()
        with torch.no_grad():
            for name, parameter in transformer.named_parameters():
                is_norm = "norm" in name and name.endswith("weight")
                parameter.normal_(1.0, 0.1) if is_norm else parameter.normal_(0.0, 0.2)
        return transformer

    return make


@pytest.fixture
def logits_of() -> Callable[[Transformer, Tensor], Tensor]:
    @torch.no_grad()
    def logits(transformer: Transformer, ids_BT: Tensor) -> Tensor:
        batch, length = ids_BT.shape
        x_BTD = transformer.embed(ids_BT)
        return transformer.unembed(transformer(x_BTD, Layout.consecutive(0, length, batch)))

    return logits


@pytest.fixture
def vocabulary_file() -> Callable[[Path], None]:
    """A tiktoken file: every byte and a few words."""

    def write(path: Path) -> None:
        lines = [b"%s %d" % (base64.b64encode(token), rank) for token, rank in RANKS.items()]
        path.write_bytes(b"\n".join(lines) + b"\n")

    return write


@pytest.fixture
def write_checkpoint() -> Callable[..., Path]:
    """A checkpoint folder with a vocabulary of all bytes."""

    def write(transformer: Transformer, folder: Path, pieces: str = LLAMA3_PIECES) -> Path:
        save_checkpoint(transformer, folder)
        vocabulary = from_ranks(RANKS, ["<|begin_of_text|>", "<|end_of_text|>"], pieces)
        vocabulary.save(str(folder / "tokenizer.json"))
        return folder

    return write


@pytest.fixture
def load() -> Callable[[Path], Transformer]:
    return load_transformer


@pytest.fixture
def write_meta(
    vocabulary_file: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Meta's folder of a model, cut for several GPUs. Special tokens are but four, to be small."""
    for family in ("llama3", "llama4"):
        monkeypatch.setattr(
            f"model.convert.tokenizer.{family}_special_tokens",
            lambda: ["<|begin_of_text|>", "<|end_of_text|>", "<|eot|>", "<|patch|>"],
        )

    def write(
        state: dict[str, Tensor],
        params: dict[str, Any],
        folder: Path,
        slices: int = 1,
        old_embedding: bool = False,
    ) -> Path:
        folder.mkdir(parents=True)
        (folder / "params.json").write_text(json.dumps(params))
        vocabulary_file(folder / "tokenizer.model")
        for number in range(slices):
            part = {
                name: _slice(name, weight, number, slices, old_embedding)
                for name, weight in state.items()
            }
            torch.save(part, folder / f"consolidated.{number:02}.pth")
        return folder

    return write


def _slice(name: str, weight: Tensor, number: int, slices: int, old_embedding: bool) -> Tensor:
    """What one GPU holds."""
    if "norm" in name or "ln_" in name or "router" in name or "embedding_vlm" in name:
        return weight
    if name.endswith(("class_embedding", "wo.bias", "c_proj.bias", "_extra_state")):
        return weight
    if "experts.moe_w_out" in name:  # (experts x inner, width): inner is cut
        experts = 4
        return weight.unflatten(0, (experts, -1)).chunk(slices, 1)[number].flatten(0, 1).clone()
    across = ("wo.weight", "w2.weight", "w_out_shared_DF.weight", "c_proj.weight")
    by_width = name == "tok_embeddings.weight" and old_embedding
    columns = name.endswith(across) or "experts.moe" in name or by_width
    return weight.chunk(slices, 1 if columns else 0)[number].clone()


@pytest.fixture
def meta_state() -> Callable[[Transformer], dict[str, Tensor]]:
    """Our weights by Meta's names, written down here once more."""

    def state(transformer: Transformer) -> dict[str, Tensor]:
        weights: dict[str, Tensor] = {}
        for name, tensor in transformer.state_dict().items():
            name = "tok_embeddings.weight" if name == "embedding.weight" else name
            name = re.sub(r"^blocks\.", "layers.", name)
            for old, new in RENAMED:
                name = name.replace(old, new)
            weights[name] = tensor.detach().clone()
        for name in [name for name in weights if name.endswith("experts.gate_up")]:
            start = name.removesuffix("gate_up")
            gate, up = weights.pop(name).chunk(2, dim=-1)
            weights[start + "moe_w_in_eD_F"] = gate.flatten(0, 1).contiguous()
            weights[start + "moe_w_swiglu_eD_F"] = up.flatten(0, 1).contiguous()
            weights[start + "moe_w_out_eF_D"] = weights.pop(start + "down").flatten(0, 1)
        for name in [name for name in weights if name.endswith("router.weight")]:
            weights[name.replace("router.weight", "router_DE")] = weights.pop(name).T.contiguous()
        return weights

    return state


RENAMED = (
    ("vision.adapter.first", "vision_embeddings.vision_adapter.mlp.c_fc"),
    ("vision.adapter.second", "vision_embeddings.vision_adapter.mlp.c_proj"),
    ("vision.patch_embedding", "vision_embeddings.vision_encoder.conv1._linear"),
    ("vision.class_embedding", "vision_embeddings.vision_encoder.class_embedding"),
    ("vision.position_embedding", "vision_embeddings.vision_encoder.positional_embedding_vlm"),
    ("vision.norm_before", "vision_embeddings.vision_encoder.ln_pre"),
    ("vision.norm_after", "vision_embeddings.vision_encoder.ln_post"),
    ("vision.blocks.", "vision_embeddings.vision_encoder.transformer.resblocks."),
    ("resblocks.0.attention.", "resblocks.0.attn."),
    ("resblocks.1.attention.", "resblocks.1.attn."),
    ("resblocks.0.attention_norm", "resblocks.0.ln_1"),
    ("resblocks.1.attention_norm", "resblocks.1.ln_1"),
    ("resblocks.0.feed_forward_norm", "resblocks.0.ln_2"),
    ("resblocks.1.feed_forward_norm", "resblocks.1.ln_2"),
    ("resblocks.0.up", "resblocks.0.mlp.c_fc"),
    ("resblocks.1.up", "resblocks.1.mlp.c_fc"),
    ("resblocks.0.down", "resblocks.0.mlp.c_proj"),
    ("resblocks.1.down", "resblocks.1.mlp.c_proj"),
    ("projector.", "vision_projection."),
    ("unembedding", "output"),
    ("query", "wq"),
    ("key", "wk"),
    ("value", "wv"),
    ("attention.output", "attention.wo"),
    ("attn.output", "attn.wo"),
    ("feed_forward_norm", "ffn_norm"),
    ("shared.gate", "w_in_shared_FD"),
    ("shared.up", "w_swiglu_FD"),
    ("shared.down", "w_out_shared_DF"),
    ("feed_forward.gate", "feed_forward.w1"),
    ("feed_forward.up", "feed_forward.w3"),
    ("feed_forward.down", "feed_forward.w2"),
)
