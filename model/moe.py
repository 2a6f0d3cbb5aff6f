"""Mixture of experts: one shared expert for every token, and for each its chosen routed experts.

Only the chosen experts are computed: tokens are sorted by expert, and each expert that has tokens
does one matrix product for all of them. Called by `transformer`.

Letters: N tokens of all rows, D model width, F inner width of an expert, E experts, K experts
chosen per token, M = N x K token-expert pairs sorted by expert, m those of one expert.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from model import kernels
from model.config import TextConfig
from model.layers import SwiGLU
from model.products import is_slow, widened

Product = Callable[[Tensor, Tensor], Tensor]


class MoE(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.chosen_per_token = config.num_experts_per_tok
        self.router = nn.Linear(config.hidden_size, config.num_local_experts, bias=False)
        width, inner = config.hidden_size, config.intermediate_size
        self.experts = Experts(config.num_local_experts, width, inner)
        self.shared = SwiGLU(width, inner)

    def forward(self, x_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the output and the router's logits (float32), which training balances."""
        logits_NE = self.route(x_ND)
        chosen_logits_NK, expert_NK = logits_NE.topk(self.chosen_per_token, dim=-1)
        if len(x_ND) == 1 and not torch.is_grad_enabled():
            return self.of_one(x_ND, chosen_logits_NK, expert_NK[0].tolist()), logits_NE
        order_M = expert_NK.flatten().argsort(stable=True)
        token_M = order_M // self.chosen_per_token
        weight_M = chosen_logits_NK.sigmoid().flatten()[order_M].to(x_ND.dtype)
        tokens_E = expert_NK.flatten().bincount(minlength=logits_NE.shape[-1])
        # The weight multiplies the expert's input, not its output: an expert is not linear.
        routed_MD = self.experts(x_ND[token_M] * weight_M[:, None], tokens_E.tolist())
        shared_ND = self.shared(x_ND)
        return shared_ND.index_add(0, token_M, routed_MD.to(shared_ND.dtype)), logits_NE

    def of_one(self, x_1D: Tensor, chosen_logits_1K: Tensor, experts: list[int]) -> Tensor:
        """What `forward` returns for a single token: nothing to sort, gather or scatter."""
        y_1D: Tensor = self.shared(x_1D)
        weighted_KD = x_1D * chosen_logits_1K.sigmoid().to(x_1D.dtype).t()
        for weighted_1D, number in zip(torch.split(weighted_KD, 1), experts, strict=True):
            y_1D = y_1D + self.experts.expert(number, weighted_1D)
        return y_1D

    def route(self, x_ND: Tensor) -> Tensor:
        """Logits in float32, so that close calls do not depend on the precision of the weights."""
        with torch.autocast(x_ND.device.type, enabled=False):
            return functional.linear(x_ND.float(), self.router.weight.float())


class Experts(nn.Module):
    """All routed experts of a layer. Weights are input-major, as checkpoints store them."""

    def __init__(self, count: int, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up = nn.Parameter(torch.empty(count, width, 2 * inner))
        self.down = nn.Parameter(torch.empty(count, inner, width))

    def forward(self, x_MD: Tensor, tokens_E: list[int]) -> Tensor:
        """`tokens_E` says how many rows of x, which are sorted by expert, belong to each expert."""
        # unbind: one gradient for the whole parameter, where indexing would make one per expert.
        weights = zip(self.gate_up.unbind(), self.down.unbind(), strict=True)
        groups = zip(torch.split(x_MD, tokens_E), weights, strict=True)
        return torch.cat([swiglu(x_mD, *pair) for x_mD, pair in groups if len(x_mD)])

    def expert(self, number: int, x_mD: Tensor) -> Tensor:
        """All rows through the same one."""
        return swiglu(x_mD, self.gate_up[number], self.down[number])


def swiglu(x_mD: Tensor, gate_up_DF: Tensor, down_FD: Tensor) -> Tensor:
    if kernels.serve(x_mD, gate_up_DF, down_FD):
        return gated(kernels.times(x_mD.float(), gate_up_DF), down_FD, kernels.times).to(x_mD.dtype)
    if is_slow(x_mD):  # what is between the two products stays in float32
        return gated(widened(x_mD.float(), gate_up_DF), down_FD, widened).to(x_mD.dtype)
    return gated(x_mD @ gate_up_DF, down_FD, torch.matmul)


def gated(gate_up_mF: Tensor, down_FD: Tensor, product: Product) -> Tensor:
    gate_mF, up_mF = gate_up_mF.chunk(2, dim=-1)
    return product(functional.silu(gate_mF) * up_mF, down_FD)
