"""Mixture of experts: one shared expert for every token, and for each its chosen routed experts.

Only the chosen experts are computed: tokens are sorted by expert, and each expert that has tokens
does one matrix product for all of them. Called by `transformer`.

Letters: N tokens of all rows, D model width, F inner width of an expert, E experts, K experts
chosen per token, M = N x K token-expert pairs sorted by expert, m those of one expert.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import TextConfig
from model.layers import SwiGLU


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
        order_M = expert_NK.flatten().argsort(stable=True)
        token_M = order_M // self.chosen_per_token
        weight_M = chosen_logits_NK.sigmoid().flatten()[order_M].to(x_ND.dtype)
        tokens_E = expert_NK.flatten().bincount(minlength=logits_NE.shape[-1])
        # The weight multiplies the expert's input, not its output: an expert is not linear.
        routed_MD = self.experts(x_ND[token_M] * weight_M[:, None], tokens_E.tolist())
        shared_ND = self.shared(x_ND)
        return shared_ND.index_add(0, token_M, routed_MD.to(shared_ND.dtype)), logits_NE

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
        return torch.cat([expert(x_mD, *pair) for x_mD, pair in groups if len(x_mD)])


def expert(x_mD: Tensor, gate_up_DF: Tensor, down_FD: Tensor) -> Tensor:
    gate_mF, up_mF = (x_mD @ gate_up_DF).chunk(2, dim=-1)
    return (functional.silu(gate_mF) * up_mF) @ down_FD
