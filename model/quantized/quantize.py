"""A model's blocks quantized in place, one after another.

With sample text, each block is first changed by `awq` according to what it reads there. Embedding,
router, norms, vision encoder and projector keep their precision, as in published checkpoints, and
so does the unembedding unless it is asked for. One block at a time is in float32. Called by `cli`.

Letters: B rows of sample text, T tokens of each, D model width, I inputs, O outputs, E experts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from model.attention import Layout, look
from model.moe import Experts
from model.quantized.awq import Inputs, importance, matrices_of, shift_errors, watched
from model.quantized.layers import (
    Quantized,
    QuantizedExperts,
    QuantizedLinear,
    replace,
    stack,
)
from model.quantized.rounding import Precision, RoundingError, round_matrix
from model.transformer import Block, Transformer

OnLayer = Callable[[int, int], None]  #: layers done, layers in all


@torch.no_grad()
def quantize(
    transformer: Transformer,
    precision: Precision,
    sample_BT: Tensor | None,
    on_layer: OnLayer,
    *,
    with_unembedding: bool = False,
) -> None:
    """Replace the matrices of all blocks; `sample_BT` is token ids, in rows of one length.

    Scales get the dtype that the block's weights had. Refuses models with cross-attention, and to
    round an unembedding that is the embedding.
    """
    if with_unembedding and transformer.unembedding is None:
        raise RoundingError(
            "the unembedding is the embedding here, which keeps its precision: leave out "
            "--unembedding"
        )
    blocks = [block for block in transformer.blocks if isinstance(block, Block)]
    total = len(blocks)
    if total < len(transformer.blocks):
        raise RoundingError(
            "layers of cross-attention cannot be quantized here: use a checkpoint without them"
        )
    x_BTD = None if sample_BT is None else transformer.embed(sample_BT).float()
    for done, block in enumerate(blocks):
        on_layer(done, total)
        dtype = block.attention_norm.weight.dtype
        _copy_in_float32(block)
        inputs: Inputs = {}
        if x_BTD is not None:
            layout = Layout.consecutive(0, x_BTD.shape[1], len(x_BTD), x_BTD.device)
            sight = look(transformer.config.text, layout, None, keep=False)
            with watched(block) as inputs:
                x_BTD, _ = block(x_BTD, sight, None)
            shift_errors(block, inputs, precision)
        _round(block, precision, dtype, inputs)
        for parameter in block.parameters():  # of what keeps its precision
            parameter.data = parameter.data.to(dtype)
    if with_unembedding:
        weight_VD = transformer.get_parameter("unembedding.weight")
        rounded = round_matrix(weight_VD.float(), precision, weight_VD.dtype, None)
        transformer.unembedding = QuantizedLinear(rounded)
    on_layer(total, total)


def _copy_in_float32(block: Block) -> None:
    """Its own copy, for the weights may be mapped from a file."""
    for parameter in block.parameters():
        parameter.data = parameter.data.to(torch.float32, copy=True)


def _round(block: Block, precision: Precision, scale_dtype: torch.dtype, inputs: Inputs) -> None:
    rounded: dict[str, Quantized] = {}
    for name, weight_OI in matrices_of(block).items():
        importance_I = importance(inputs[name]) if name in inputs else None
        rounded[name] = round_matrix(weight_OI, precision, scale_dtype, importance_I)
    for name, module in list(block.named_modules()):
        if isinstance(module, Experts):
            replace(block, name, _experts(name, len(module.down), rounded))
        elif isinstance(module, nn.Linear) and name in rounded:
            replace(block, name, QuantizedLinear(rounded[name]))


def _experts(name: str, count: int, rounded: dict[str, Quantized]) -> QuantizedExperts:
    gate_up, down = (
        stack([rounded[f"{name}.{kind}.{number}"] for number in range(count)])
        for kind in ("gate_up", "down")
    )
    return QuantizedExperts(gate_up, down)
