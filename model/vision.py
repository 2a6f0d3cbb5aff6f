"""The image encoder: tiles of pixels become features as wide as the projector, some per tile.

Called by `transformer`, which projects the features to the width of the text and puts them in the
places of the patch tokens.

Letters: N tiles, S pixels per side of a tile, P patches and the class token, D width, H heads,
W head width, R = W/2 pairs, V features per tile, Q channels of a feature.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import VisionConfig
from model.products import BiasedLinear
from model.rope import grid_rotations, rotate

NORM_EPS = 1e-5  # config key norm_eps


class VisionEncoder(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        width, patches = config.hidden_size, config.patches_per_side**2
        self.patch_embedding = BiasedLinear(3 * config.patch_size**2, width, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.position_embedding = nn.Parameter(torch.empty(patches + 1, width))
        self.norm_before = nn.LayerNorm(width, NORM_EPS)
        self.blocks = nn.ModuleList(VisionBlock(config) for _ in range(config.num_hidden_layers))
        self.norm_after = nn.LayerNorm(width, NORM_EPS)
        self.adapter = VisionAdapter(config)

    def forward(self, tiles_N3SS: Tensor) -> Tensor:
        patches_NPD = self.patch_embedding(cut_patches(tiles_N3SS, self.config.patch_size))
        class_N1D = self.class_embedding.to(patches_NPD.dtype).expand(len(tiles_N3SS), 1, -1)
        x_NPD = torch.cat([patches_NPD, class_N1D], dim=1) + self.position_embedding
        x_NPD = self.norm_before(x_NPD)
        rotation_PR = grid_rotations(self.config, tiles_N3SS.device)
        for block in self.blocks:
            x_NPD = block(x_NPD, rotation_PR)
        x_NPD = self.norm_after(x_NPD)[:, :-1]  # the class token has done its work
        features_NVQ: Tensor = self.adapter(shuffle_pixels(x_NPD, self.config.shuffle))
        return features_NVQ


def cut_patches(tiles_N3SS: Tensor, size: int) -> Tensor:
    """Patches row by row; the values of a patch channel by channel."""
    side = tiles_N3SS.shape[-1] // size
    rows = tiles_N3SS.reshape(-1, 3, side, size, side, size)  # N, 3, y, in y, x, in x
    return rows.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def shuffle_pixels(x_NPD: Tensor, by: int) -> Tensor:
    """Stack each square of `by` x `by` patches, row by row, into the channels of one."""
    side = round(x_NPD.shape[1] ** 0.5) // by
    squares = torch.unflatten(x_NPD, 1, (side, by, side, by))  # N, y, in y, x, in x, D
    return squares.permute(0, 1, 3, 2, 4, 5).flatten(3).flatten(1, 2)


class VisionAdapter(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width = config.projector_output_dim
        self.first = BiasedLinear(config.intermediate_size, width, bias=False)
        self.second = BiasedLinear(width, width, bias=False)

    def forward(self, x_NVQ: Tensor) -> Tensor:
        return functional.gelu(self.second(functional.gelu(self.first(x_NVQ))))


class VisionBlock(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, NORM_EPS)
        self.attention = VisionAttention(config)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, NORM_EPS)
        self.up = BiasedLinear(config.hidden_size, config.intermediate_size)
        self.down = BiasedLinear(config.intermediate_size, config.hidden_size)

    def forward(self, x_NPD: Tensor, rotation_PR: Tensor) -> Tensor:
        x_NPD = x_NPD + self.attention(self.attention_norm(x_NPD), rotation_PR)
        inner = functional.gelu(self.up(self.feed_forward_norm(x_NPD)))
        out_NPD: Tensor = x_NPD + self.down(inner)
        return out_NPD


class VisionAttention(nn.Module):
    """Every patch sees every patch of its tile, and no other tile."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        width = config.hidden_size
        self.query, self.key = BiasedLinear(width, width), BiasedLinear(width, width)
        self.value, self.output = BiasedLinear(width, width), BiasedLinear(width, width)

    def forward(self, x_NPD: Tensor, rotation_PR: Tensor) -> Tensor:
        q, k, v = (
            torch.unflatten(project(x_NPD), -1, (self.heads, -1))
            for project in (self.query, self.key, self.value)
        )
        q, k = rotate(q, rotation_PR), rotate(k, rotation_PR)
        y_NHPW = functional.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        )
        out_NPD: Tensor = self.output(y_NHPW.transpose(1, 2).flatten(2))
        return out_NPD
