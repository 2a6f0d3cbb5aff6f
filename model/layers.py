"""The norm and the feed-forward layer of the text blocks. Called by the other tensor files.

Letters: D model width, F inner width of a feed-forward layer, _x any leading dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.products import Linear


def rms_normalise(x_xD: Tensor, eps: float) -> Tensor:
    """Divide by the root of the mean square over the last dimension, in float32."""
    return functional.rms_norm(x_xD.float(), x_xD.shape[-1:], eps=eps).to(x_xD.dtype)


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x_xD: Tensor) -> Tensor:
        return rms_normalise(x_xD, self.eps) * self.weight


class SwiGLU(nn.Module):
    """down(silu(gate x) * up x)"""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate, self.up = Linear(width, inner), Linear(width, inner)
        self.down = Linear(inner, width)

    def forward(self, x_xD: Tensor) -> Tensor:
        inner_xF = functional.silu(self.gate(x_xD)) * self.up(x_xD)
        out_xD: Tensor = self.down(inner_xF)
        return out_xD
