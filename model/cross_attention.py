"""Layers in which text looks at images and at no text: Llama 3.2 Vision's second way of seeing.

They stand between the ordinary layers of the decoder. Keys and values are made of image features
once and stay in the layer's cache, whatever text follows; text alone passes such a layer unchanged.
What each token sees is a `View`: tokens that see the same are attended as one, without masks.

As in Meta's own code, tokens before the first image get nothing from these layers
(github.com/meta-llama/llama-models, models/llama3/multimodal). It refuses images for several rows
at once. Called by `transformer`.

Letters: B batch (1 where there are images), T tokens, V image features, D model width, H query
heads, K key-value heads, W head width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.attention import Heads, dot_product
from model.cache import LayerCache
from model.config import TextConfig
from model.gaze import View
from model.layers import RMSNorm, SwiGLU
from model.parts import attend_to_held
from model.products import Linear


class CrossBlock(nn.Module):
    """x + tanh(gate) * cross-attention, then x + tanh(gate) * feed-forward; gates begin shut."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.cross_attention = CrossAttention(config)
        self.attention_gate = nn.Parameter(torch.zeros(1))
        self.feed_forward_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.feed_forward = SwiGLU(config.hidden_size, config.intermediate_size_mlp)
        self.feed_forward_gate = nn.Parameter(torch.zeros(1))

    def forward(self, x_BTD: Tensor, view: View, cache: LayerCache | None) -> Tensor:
        blind_BTD, x_BTD = x_BTD[:, : view.blind], x_BTD[:, view.blind :]
        if not x_BTD.shape[1]:
            return blind_BTD
        y_BTD = self.cross_attention(self.attention_norm(x_BTD), view, cache)
        x_BTD = x_BTD + self.attention_gate.tanh() * y_BTD
        y_BTD = self.feed_forward(self.feed_forward_norm(x_BTD))
        x_BTD = x_BTD + self.feed_forward_gate.tanh() * y_BTD
        return torch.cat([blind_BTD, x_BTD], dim=1) if view.blind else x_BTD


class CrossAttention(nn.Module):
    """Queries of text, keys and values of image features; each head of both is normalised, and
    there are no positions."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        wide = config.num_attention_heads * config.head_dim
        narrow = config.num_key_value_heads * config.head_dim
        self.query = Linear(config.hidden_size, wide)
        self.key = Linear(config.hidden_size, narrow)
        self.value = Linear(config.hidden_size, narrow)
        self.output = Linear(wide, config.hidden_size)
        self.query_norm = RMSNorm(config.head_dim, config.rms_norm_eps)
        self.key_norm = RMSNorm(config.head_dim, config.rms_norm_eps)

    def forward(self, x_BTD: Tensor, view: View, cache: LayerCache | None) -> Tensor:
        """Of the tokens of the view that see something."""
        q_BHTW = self.query_norm(self._heads(self.query(x_BTD)))
        features_1VD = x_BTD[:, :0] if view.features_VD is None else view.features_VD[None]
        k_1KVW = self.key_norm(self._heads(self.key(features_1VD)))
        v_1KVW = self._heads(self.value(features_1VD))
        if cache is not None:
            cache.extend(k_1KVW, v_1KVW)
        runs = [run for run in view.runs if not run.is_blind]
        queries = torch.split(q_BHTW, [run.tokens for run in runs], dim=2)
        y_BHTW = torch.cat(
            [
                dot_product(
                    Heads(q, k_1KVW[:, :, run.first : run.end], v_1KVW[:, :, run.first : run.end])
                )
                if cache is None
                else attend_to_held(q, cache.segments(run.first, run.end))
                for q, run in zip(queries, runs, strict=True)
            ],
            dim=2,
        )
        out_BTD: Tensor = self.output(y_BHTW.transpose(1, 2).flatten(2))
        return out_BTD

    def _heads(self, x_BND: Tensor) -> Tensor:
        return torch.unflatten(x_BND, -1, (-1, self.head_dim)).transpose(1, 2)
