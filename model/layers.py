"""The norm and the feed-forward layer of the text blocks. Called by the other tensor files.

Letters: D model width, F inner width of a feed-forward layer, _x any leading dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def rms_normalise(x_xD: Tensor, eps: float) -> Tensor:
    """Divide by the root of the mean square over the last dimension, in float32."""
    x32_xD = x_xD.float()
    mean_square_x1 = x32_xD.square().mean(-1, keepdim=True)
    return (x32_xD * torch.rsqrt(mean_square_x1 + eps)).to(x_xD.dtype)


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
        self.gate = nn.Linear(width, inner, bias=False)
        self.up = nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x_xD: Tensor) -> Tensor:
        inner_xF = functional.silu(self.gate(x_xD)) * self.up(x_xD)
        out_xD: Tensor = self.down(inner_xF)
        return out_xD
