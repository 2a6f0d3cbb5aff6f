"""The optimiser: Muon for hidden matrices, AdamW for everything else, float32 master weights.

The module's own weights may be bfloat16: gradients are gathered in float32, masters are moved, and
the module gets a rounded copy. A crew adds its gradients up and shares the moving of the matrices
out. The mean of the masters over the last steps is kept too: it is what a run ends with.

Muon (Jordan et al. 2024) steps along the orthogonalised momentum; its size is matched to AdamW's
(Liu et al. 2025, "Muon is scalable for LLM training"). Called by the training loop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from model.train.crew import Crew
from model.train.recipe import OptimizerRecipe

MUON_MOMENTUM = 0.95
ADAM_BETAS = (0.9, 0.98)
ADAM_EPS = 1e-8
MATCH_ADAM = 0.2  # root mean square of an AdamW step, Liu et al. 2025
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024
NEWTON_SCHULZ_STEPS = 5
NOT_MATRICES = ("embed", "router", "norm", "labeller")


class Optimizer:
    """All trainable parameters of `modules`, named."""

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        recipe: OptimizerRecipe,
        crew: Crew | None = None,
    ) -> None:
        self.recipe, self.crew = recipe, crew or Crew()
        self.steps = self.averaged = 0
        self._live = {
            f"{name}.{inner}": parameter
            for name, module in modules.items()
            for inner, parameter in module.named_parameters()
        }
        self._master = {name: p.detach().float().clone() for name, p in self._live.items()}
        self._gradient: dict[str, Tensor] = {}
        self._mean: dict[str, Tensor] = {}
        self._first = {name: torch.zeros_like(m) for name, m in self._master.items()}
        self._second = {
            name: torch.zeros_like(master)
            for name, master in self._master.items()
            if not is_hidden_matrix(name, master)
        }

    def gather(self) -> None:
        """Take the gradients of a backward pass off the module, adding them up in float32."""
        for name, parameter in self._live.items():
            if parameter.grad is None:
                continue
            if name in self._gradient:
                self._gradient[name] += parameter.grad
            else:
                self._gradient[name] = parameter.grad.float()
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> float:
        """Move by the gathered gradients at `rate` times the recipe's rates; returns their norm."""
        self.steps += 1
        gradients = self.crew.add_up(self._gradient, self._master)
        self._gradient.clear()
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradients.values()))
        shrink = min(1.0, self.recipe.clip_norm / (norm + 1e-6))
        matrices = [name for name in gradients if name not in self._second]
        for name in gradients.keys() - set(matrices):
            self._adam(name, gradients[name] * shrink, rate * self.recipe.other_rate)
        mine = matrices[self.crew.rank :: self.crew.size]
        for name in mine:
            self._muon(name, gradients[name] * shrink, rate * self.recipe.matrix_rate)
        moved = self.crew.add_up({name: self._master[name] for name in mine}, self._master)
        for name in matrices:
            self._master[name].copy_(moved[name])
        for name in gradients:
            self._live[name].copy_(self._master[name])
        return norm

    @torch.no_grad()
    def average(self) -> None:
        """Take the masters as they are now into their mean."""
        self.averaged += 1
        if self.averaged == 1:
            self._mean = {name: master.clone() for name, master in self._master.items()}
        for name, mean in self._mean.items():
            mean.lerp_(self._master[name], 1 / self.averaged)

    @torch.no_grad()
    def settle(self) -> None:
        """Give the module the mean, if one was taken."""
        for name, mean in self._mean.items():
            self._live[name].copy_(mean)

    def _adam(self, name: str, gradient: Tensor, rate: float) -> None:
        master, first, second = self._master[name], self._first[name], self._second[name]
        first.lerp_(gradient, 1 - ADAM_BETAS[0])
        second.lerp_(gradient.square(), 1 - ADAM_BETAS[1])
        corrected = 1 - ADAM_BETAS[1] ** self.steps
        size = (second / corrected).sqrt_().add_(ADAM_EPS)
        if master.dim() > 1:
            master.mul_(1 - rate * self.recipe.weight_decay)
        master.addcdiv_(first / (1 - ADAM_BETAS[0] ** self.steps), size, value=-rate)

    def _muon(self, name: str, gradient: Tensor, rate: float) -> None:
        master, first = self._master[name], self._first[name]
        first.lerp_(gradient, 1 - MUON_MOMENTUM)
        direction = orthogonalise(gradient.lerp(first, MUON_MOMENTUM), self._live[name].dtype)
        master.mul_(1 - rate * self.recipe.weight_decay)
        master.add_(direction, alpha=-rate * MATCH_ADAM * max(master.shape[-2:]) ** 0.5)

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        return {
            "steps": self.steps,
            "master": self._master,
            "first": self._first,
            "second": self._second,
            "averaged": self.averaged,
            "mean": self._mean,
        }

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a state and bring the module's weights to it."""
        self.steps, self.averaged = state["steps"], state["averaged"]
        self._mean = dict(state["mean"])
        for ours, theirs in (
            (self._master, state["master"]),
            (self._first, state["first"]),
            (self._second, state["second"]),
        ):
            for name in ours:
                ours[name].copy_(theirs[name])
        for name, parameter in self._live.items():
            parameter.copy_(self._master[name])


def is_hidden_matrix(name: str, weight: Tensor) -> bool:
    """Whether Muon moves it: matrices (or stacks of them) between hidden widths."""
    return weight.dim() >= 2 and not any(word in name for word in NOT_MATRICES)


def orthogonalise(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """The nearest (semi-)orthogonal matrix, roughly, by Newton-Schulz steps computed in `dtype`;
    stacks one by one."""
    a, b, c = NEWTON_SCHULZ
    x = matrix.to(dtype)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    direction: Tensor = x.mT if tall else x
    return direction.float()


def rate_at(step: int, steps: int, recipe: OptimizerRecipe) -> float:
    """Warm-up, constant, then linear decay to a tenth: the share of the full rate at a step."""
    warm = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    left = (steps - step) / max(1.0, recipe.decay_share * steps)
    return warm * (0.1 + 0.9 * min(1.0, left))
