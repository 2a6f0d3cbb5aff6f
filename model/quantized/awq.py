"""The errors of rounding moved to the columns where they do least harm: activation-aware weight
quantization (AWQ, arXiv 2306.00978).

Columns whose inputs are large count for more in what a layer computes. Before rounding, they are
multiplied by a factor, and what makes their inputs is divided by it: the norm before the layer, or
the rows of the layer before. What the block computes stays the same, and so does its layout. The
factors are a power of the mean size of the inputs, the power of a few that leaves the least error
on sample text. Called by `quantize`.

Letters: N inputs that were kept of the sample, I inputs, O outputs, E experts, F inner width, m
tokens of one expert.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers import SwiGLU
from model.moe import Experts
from model.quantized.layers import dequantize
from model.quantized.rounding import Precision, round_matrix
from model.transformer import Block

POWERS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75)  #: of the inputs' mean size, that are tried
KEPT_ROWS = 256  #: inputs of each matrix that are kept of the sample
SMALLEST = 1e-4  #: of a column's mean input, so that no factor is 0

Inputs = dict[str, Tensor]  #: what each matrix of a block was multiplied with (N, I)


def matrices_of(block: Block) -> dict[str, Tensor]:
    """The matrices (O, I) that are rounded, by name: views of the block's own weights. The router
    is not among them: it is small, and decides by small differences."""
    found = {}
    for name, module in block.named_modules():
        if isinstance(module, nn.Linear) and not name.endswith("router"):
            found[name] = module.weight.data
        if isinstance(module, Experts):
            for kind in ("gate_up", "down"):
                for number, weight_IO in enumerate(getattr(module, kind).data):
                    found[f"{name}.{kind}.{number}"] = weight_IO.T
    return found


@contextmanager
def watched(block: Block) -> Iterator[Inputs]:
    """Collects what the block's matrices are multiplied with while it runs."""
    inputs: Inputs = {}
    with ExitStack() as hooks:
        for name, module in block.named_modules():
            keep = None
            if isinstance(module, nn.Linear):
                keep = partial(_keep_linear, inputs, name)
            if isinstance(module, Experts):
                keep = partial(_keep_experts, inputs, name)
            if keep is not None:
                hooks.callback(module.register_forward_pre_hook(keep).remove)
        yield inputs


def shift_errors(block: Block, inputs: Inputs, precision: Precision) -> None:
    """Change the block's weights, and `inputs` with them; what it computes stays the same."""
    matrices = matrices_of(block)
    for site in _sites(block):
        seen = [name for name in site.readers if name in inputs]
        if not seen:  # an expert that no token of the sample was sent to
            continue
        factors_I = _best_factors({name: matrices[name] for name in seen}, inputs, precision)
        for weight_OI in (*(matrices[name] for name in site.readers), *site.followers):
            weight_OI.mul_(factors_I)
        site.maker.div_(factors_I if site.maker.ndim == 1 else factors_I[:, None])
        for name in seen:
            inputs[name] = inputs[name] / factors_I


@dataclass(frozen=True)
class Site:
    """Matrices that read the same numbers, and what makes these."""

    readers: tuple[str, ...]
    maker: Tensor  #: a norm's weights (I), or the rows (I, _) of another matrix
    followers: tuple[Tensor, ...] = ()  #: matrices (O, I) that read them too and are not rounded


def _sites(block: Block) -> Iterator[Site]:
    queries = ("attention.query", "attention.key", "attention.value")
    yield Site(queries, block.attention_norm.weight.data)
    part, norm_D = block.feed_forward, block.feed_forward_norm.weight.data
    if isinstance(part, SwiGLU):
        yield Site(("feed_forward.gate", "feed_forward.up"), norm_D)
        yield Site(("feed_forward.down",), part.up.weight.data)
        return
    gate_up_EDF = part.experts.gate_up.data
    routed = tuple(f"feed_forward.experts.gate_up.{number}" for number in range(len(gate_up_EDF)))
    shared = ("feed_forward.shared.gate", "feed_forward.shared.up")
    yield Site((*shared, *routed), norm_D, followers=(part.router.weight.data,))
    yield Site(("feed_forward.shared.down",), part.shared.up.weight.data)
    for number, gate_up_DF in enumerate(gate_up_EDF):
        up_FD = gate_up_DF.T.chunk(2)[1]
        yield Site((f"feed_forward.experts.down.{number}",), up_FD)


def _best_factors(readers: Mapping[str, Tensor], inputs: Inputs, precision: Precision) -> Tensor:
    """The factors (I) that leave the least squared error in what the readers compute."""
    size_I = torch.cat([inputs[name].abs() for name in readers]).mean(0).clamp(min=SMALLEST)
    best_I, least = torch.ones_like(size_I), float("inf")
    for power in POWERS:
        factors_I = size_I**power
        factors_I = factors_I / (factors_I.max() * factors_I.min()).sqrt()
        error = sum(
            _error(weight_OI * factors_I, inputs[name] / factors_I, precision)
            for name, weight_OI in readers.items()
        )
        if error < least:
            best_I, least = factors_I, error
    return best_I


def _error(weight_OI: Tensor, x_NI: Tensor, precision: Precision) -> float:
    rounded = round_matrix(weight_OI, precision, torch.float32, narrowed=())
    difference_OI = dequantize(rounded, torch.float32) - weight_OI
    return functional.linear(x_NI, difference_OI).square().sum().item()


def importance(x_NI: Tensor) -> Tensor:
    """How much the error of each column (I) counts."""
    return x_NI.square().mean(0)


def _keep_linear(inputs: Inputs, name: str, _: nn.Module, given: tuple[Tensor]) -> None:
    inputs[name] = _some(given[0])


def _keep_experts(
    inputs: Inputs, name: str, experts: nn.Module, given: tuple[Tensor, list[int]]
) -> None:
    assert isinstance(experts, Experts)
    x_MD, tokens_E = given
    for number, x_mD in enumerate(torch.split(x_MD, tokens_E)):
        if len(x_mD):
            kept_mD = _some(x_mD)
            gate_mF, up_mF = (kept_mD @ experts.gate_up[number]).chunk(2, dim=-1)
            inputs[f"{name}.gate_up.{number}"] = kept_mD
            inputs[f"{name}.down.{number}"] = functional.silu(gate_mF) * up_mF


def _some(x_xI: Tensor) -> Tensor:
    """Of all rows, at most so many, evenly spread."""
    x_NI = x_xI.flatten(0, -2)
    return x_NI[:: max(1, len(x_NI) // KEPT_ROWS)].clone()
