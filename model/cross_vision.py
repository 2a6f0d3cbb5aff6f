"""The image encoder of Llama 3.2 Vision: an image's tiles become features for cross-attention.

All tiles of an image are one sequence, so that every patch sees the whole image: first through
local blocks, then through gated global ones. Learned embeddings tell where a tile stands in the
grid. Features are the last block's output beside what went into some of the local blocks, projected
to the width of the text.

The model was trained with every image filled up to the most tiles, and every tile's tokens to a
multiple of 8. What fills up sees the image and is seen by it, but does not see itself; it stands
last here, so that two attentions without a mask compute that. Its features are dropped.

Facts: github.com/meta-llama/llama-models, models/llama3/multimodal. It refuses a grid that the
model has no embedding for. Called by `transformer`.

Letters: N tiles of the image, M most tiles, 3 colours, S pixels per side of a tile, P tokens of a
tile (the class token, then its patches), F all tokens with what fills up, D width, H heads, W head
width, L local blocks that are looked into, Q width of the text.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import CrossVisionConfig
from model.image import Size

NORM_EPS = 1e-5  # config key norm_eps
MULTIPLE = 8  # tokens of a tile are filled up to a multiple of this


class CrossVisionEncoder(nn.Module):
    def __init__(self, config: CrossVisionConfig, text_width: int) -> None:
        super().__init__()
        self.config = config
        width, size = config.hidden_size, config.patch_size
        self.patch_embedding = nn.Conv2d(3, width, size, stride=size, bias=False)
        self.class_embedding = nn.Parameter(random(width))
        self.position = PositionEmbedding(config)
        self.tile_before = TileEmbedding(config)
        self.norm_before = nn.LayerNorm(width, NORM_EPS)
        self.blocks = nn.ModuleList(
            CrossVisionBlock(config, gated=False) for _ in range(config.num_hidden_layers)
        )
        self.norm_after = nn.LayerNorm(width, NORM_EPS)
        self.tile_after = TileEmbedding(config)
        self.global_blocks = nn.ModuleList(
            CrossVisionBlock(config, gated=True) for _ in range(config.num_global_layers)
        )
        self.projector = nn.Linear(config.vision_output_dim, text_width)

    def forward(self, tiles_N3SS: Tensor, grid: Size) -> Tensor:
        """Features (N * P, Q) of one image; its tiles come row by row."""
        shape = self.config.shape_number(grid)
        x_MPD = self.norm_before(self.embed(tiles_N3SS.to(self.projector.weight.dtype), shape))
        most, tokens, width = x_MPD.shape
        seen = len(tiles_N3SS) * tokens
        fill = -tokens % MULTIPLE
        x_FD = torch.cat([x_MPD.flatten(0, 1), x_MPD.new_zeros(most * fill, width)])
        kept = []
        for number, block in enumerate(self.blocks):
            if number in self.config.intermediate_layers_indices:
                kept.append(x_FD[:seen])
            x_FD = block(x_FD, seen)
        tile_MD = self.tile_after(shape)
        x_FD = self.norm_after(x_FD) + torch.cat(
            [tile_MD.repeat_interleave(count, dim=0) for count in (tokens, fill)]
        )
        for block in self.global_blocks:
            x_FD = block(x_FD, seen)
        inner_DL = torch.stack(kept, dim=-1).flatten(1)  # channel by channel
        features_Q: Tensor = self.projector(torch.cat([x_FD[:seen], inner_DL], dim=-1))
        return features_Q

    def embed(self, tiles_N3SS: Tensor, shape: int) -> Tensor:
        """Tokens (M, P, D) of all tiles; those that the image does not have are black."""
        patches_NPD = self.patch_embedding(tiles_N3SS).flatten(2).transpose(1, 2)
        absent = self.config.max_num_tiles - len(tiles_N3SS)
        patches_MPD = functional.pad(patches_NPD, (0, 0, 0, 0, 0, absent))
        patches_MPD = patches_MPD + self.tile_before(shape)[:, None]
        class_M1D = self.class_embedding.expand(len(patches_MPD), 1, -1)
        x_MPD = torch.cat([class_M1D, patches_MPD], dim=1)
        position_MPD: Tensor = self.position(shape)
        return x_MPD + position_MPD


class TileEmbedding(nn.Module):
    """Where a tile stands: for each shape of the grid an embedding of each tile."""

    def __init__(self, config: CrossVisionConfig) -> None:
        super().__init__()
        self.tiles = config.max_num_tiles
        self.embedding = nn.Embedding(config.shapes + 1, self.tiles * config.hidden_size)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, shape: int) -> Tensor:
        """(M, D)"""
        tile_MD = torch.unflatten(self.embedding.weight[shape], 0, (self.tiles, -1))
        return tile_MD * self.gate.tanh()


class PositionEmbedding(nn.Module):
    """Where a token stands in its tile, and, as far as the gate is open, in the whole image."""

    def __init__(self, config: CrossVisionConfig) -> None:
        super().__init__()
        self.size_MPD = config.max_num_tiles, config.tokens_per_tile, config.hidden_size
        self.embedding = nn.Parameter(random(*self.size_MPD[1:]))
        tiles, tokens, width = self.size_MPD
        self.tile_embedding = nn.Embedding(config.shapes + 1, tiles * tokens * width)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, shape: int) -> Tensor:
        """(M, P, D)"""
        gate = self.gate.tanh()
        in_image_MPD = self.tile_embedding.weight[shape].view(self.size_MPD)
        return (1 - gate) * self.embedding + gate * in_image_MPD


class CrossVisionBlock(nn.Module):
    def __init__(self, config: CrossVisionConfig, *, gated: bool) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, NORM_EPS)
        self.attention = CrossVisionAttention(config)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, NORM_EPS)
        self.up = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size)
        self.attention_gate = nn.Parameter(torch.zeros(1)) if gated else None
        self.feed_forward_gate = nn.Parameter(torch.zeros(1)) if gated else None

    def forward(self, x_FD: Tensor, seen: int) -> Tensor:
        y_FD = self.attention(self.attention_norm(x_FD), seen)
        x_FD = x_FD + through(y_FD, self.attention_gate)
        y_FD = self.down(functional.gelu(self.up(self.feed_forward_norm(x_FD))))
        return x_FD + through(y_FD, self.feed_forward_gate)


class CrossVisionAttention(nn.Module):
    def __init__(self, config: CrossVisionConfig) -> None:
        super().__init__()
        self.heads, width = config.attention_heads, config.hidden_size
        self.query, self.key, self.value, self.output = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )

    def forward(self, x_FD: Tensor, seen: int) -> Tensor:
        """The first `seen` tokens are the image: they see all, the others see only them."""
        q_HFW, k_HFW, v_HFW = (
            torch.unflatten(project(x_FD), -1, (self.heads, -1)).transpose(0, 1)
            for project in (self.query, self.key, self.value)
        )
        attend = functional.scaled_dot_product_attention
        image_HFW = attend(q_HFW[:, :seen], k_HFW, v_HFW)
        filling_HFW = attend(q_HFW[:, seen:], k_HFW[:, :seen], v_HFW[:, :seen])
        y_HFW = torch.cat([image_HFW, filling_HFW], dim=1)
        out_FD: Tensor = self.output(y_HFW.transpose(0, 1).flatten(1))
        return out_FD


def through(y_FD: Tensor, gate: Tensor | None) -> Tensor:
    return y_FD if gate is None else gate.tanh() * y_FD


def random(*size: int) -> Tensor:
    """As large as the published model's embeddings were when its training began."""
    return nn.init.normal_(torch.empty(*size), std=size[-1] ** -0.5)
