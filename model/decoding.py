"""Decoding, compiled: one token of each of several sequences through all layers in one call.

In a step of a small model on a CPU, starting some 1,500 operations takes longer than reading the
weights. `compiled.step` starts none: it computes what `Transformer.forward` does, in float32 from
weights as they are stored. `Decoder.of` is None, and the transformer itself is to be used, without
numba, on GPUs, with layers of cross-attention and with weights of several kinds. Called by
`engine`.

Letters: N sequences, D model width.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from model import kernels
from model.cache import Cache
from model.moe import MoE
from model.pages import Segment
from model.quantized.layers import QuantizedWeight
from model.rope import frequencies
from model.transformer import Block, Transformer

MOST_ROWS = 16  #: from about here on torch's products are as fast
FLOATS = ("ATTENTION_NORM", "FEED_FORWARD_NORM", "ROUTER")  #: never quantized


class Part(NamedTuple):
    """A matrix, a stack of them, or the weights of a norm, where they lie in memory."""

    weight: Tensor
    scales: Tensor | None = None
    zeros: Tensor | None = None  #: int16
    is_input_major: bool = False


class Decoder:
    """The weights of a transformer as addresses. They may change, but in place."""

    def __init__(
        self, transformer: Transformer, layers: Sequence[dict[str, Part]], compiled: ModuleType
    ) -> None:
        text = transformer.config.text
        end = {"ATTENTION_NORM": Part(transformer.norm.weight)}
        self._layers = [*layers, end]  # keeps what the addresses are of
        self._links = list(links(transformer))
        self._table = array("q", table(self._layers, transformer, compiled))
        self._frequencies_R = frequencies(text.rope, text.head_dim, torch.device("cpu"))
        self._sizes = (
            text.num_attention_heads, text.num_key_value_heads, text.head_dim,
            text.num_local_experts, text.num_experts_per_tok, text.use_qk_norm and not text.is_dense,
        )  # fmt: skip
        floor = text.floor_scale if text.attn_temperature_tuning else 0
        self._reals = (text.rms_norm_eps, text.attn_scale, floor)
        matrix = layers[0]["QUERY"]
        scales = torch.float32 if matrix.scales is None else matrix.scales.dtype
        self._stored = (matrix.weight.dtype, scales, transformer.norm.weight.dtype)
        self._largest = max(part.weight.shape[-2:].numel() for part in matrices(layers))

    @classmethod
    def of(cls, transformer: Transformer) -> Decoder | None:
        """None: this transformer does not decode like that here."""
        compiled = kernels.prepare()
        layers = [parts_of(block) for block in transformer.blocks]
        known = [layer for layer in layers if layer is not None]
        if compiled is None or len(known) < len(layers) or not are_alike(known):
            return None
        return cls(transformer, known, compiled)

    def is_current(self) -> bool:
        """Whether all weights are still where they were."""
        return all(link.holds() for link in self._links)

    def serves(self, caches: Sequence[Cache]) -> bool:
        """Not many rows, nor caches of eight bits, nor large matrices on several threads, which
        `kernels` cuts among them."""
        shapes = [cache.layers[0].shape for cache in caches]
        return (
            min(torch.get_num_threads(), self._largest // kernels.THREAD_WEIGHTS) < 2
            and sum(shape.batch for shape in shapes) <= MOST_ROWS
            and len({shape.dtype for shape in shapes}) == 1
            and shapes[0].dtype in kernels.COMPUTED
        )

    def read(self, x_ND: Tensor, caches: Sequence[Cache]) -> Tensor:
        """The next token of each row of each cache, which holds it from now on; what
        `Transformer.forward` makes of it (N, D), in the type of x."""
        h_ND = x_ND.to(torch.float32, copy=True)
        layers = len(self._layers) - 1
        shape = array("q", (layers, *h_ND.shape, *self._sizes))
        places = ([cache.length] * cache.layers[0].shape.batch for cache in caches)
        positions = array("q", chain.from_iterable(places))
        pages, starts = claim(caches, layers)
        run = kernels.compiled("step", *self._stored, caches[0].layers[0].shape.dtype)
        run(
            None, None, None, None, address(self._table), address(shape),
            self._frequencies_R.data_ptr(), address(positions), address(pages), address(starts),
            h_ND.data_ptr(), *self._reals,
        )  # fmt: skip
        for cache in caches:
            cache.length += 1
        return h_ND.to(x_ND.dtype)


def parts_of(block: nn.Module) -> dict[str, Part] | None:
    """The parts of a block by the names that `compiled` gives them; None: it cannot be compiled."""
    if not isinstance(block, Block):
        return None
    attention, forward = block.attention, block.feed_forward
    dense = forward.shared if isinstance(forward, MoE) else forward
    modules: dict[str, nn.Module] = {
        "ATTENTION_NORM": block.attention_norm,
        "QUERY": attention.query,
        "KEY": attention.key,
        "VALUE": attention.value,
        "OUTPUT": attention.output,
        "FEED_FORWARD_NORM": block.feed_forward_norm,
        "GATE": dense.gate,
        "UP": dense.up,
        "DOWN": dense.down,
    }
    found = {name: part_of(module) for name, module in modules.items()}
    if isinstance(forward, MoE):
        experts = forward.experts
        found["ROUTER"] = part_of(forward.router)
        found["EXPERTS_GATE_UP"] = part_of(experts.gate_up)
        found["EXPERTS_DOWN"] = part_of(experts.down)
    known = {name: part for name, part in found.items() if part is not None}
    return known if len(known) == len(found) else None


def part_of(module: nn.Module | Tensor) -> Part | None:
    if isinstance(module, QuantizedWeight):
        weight = module.all
        if weight.order_I is not None or (weight.zeros_OG is not None and weight.bits == 8):
            return None
        zeros = None if weight.zeros_OG is None else weight.zeros_OG.to(torch.int16).contiguous()
        part = Part(weight.values_OJ, weight.scales_OG, zeros)
    elif isinstance(module, Tensor):  # of experts
        part = Part(module.data, is_input_major=True)
    else:
        part = Part(module.get_parameter("weight").data)
    tensors = [tensor for tensor in part[:3] if isinstance(tensor, Tensor)]
    return part if all(tensor.is_contiguous() and not tensor.is_cuda for tensor in tensors) else None


def matrices(layers: Iterable[dict[str, Part]]) -> Iterator[Part]:
    """All but norms and routers, which are never quantized."""
    for layer in layers:
        yield from (part for name, part in layer.items() if name not in FLOATS)


def are_alike(layers: Sequence[dict[str, Part]]) -> bool:
    """Whether `compiled.step` can be made for them: matrices of one kind, norms and routers too."""
    kinds = {(part.weight.dtype, part.scales is None or part.scales.dtype) for part in matrices(layers)}
    floats = {layer[name].weight.dtype for layer in layers for name in FLOATS if name in layer}
    return (
        len(kinds) == len(floats) == 1
        and floats <= set(kernels.COMPUTED)
        and all(dtype in kernels.STORED or dtype is True for kind in kinds for dtype in kind)
    )


def table(
    layers: Sequence[dict[str, Part]], transformer: Transformer, compiled: ModuleType
) -> Iterator[int]:
    """For each layer, and for the norm after the last, what `compiled` wants to know."""
    for number, layer in enumerate(layers):
        rows = [[0] * compiled.FIELDS for _ in range(compiled.PARTS)]
        for name, part in layer.items():
            rows[getattr(compiled, name)] = fields(part, compiled)
        rows[compiled.ROTATES][0] = "QUERY" in layer and transformer.config.text.uses_rope(number)
        yield from chain.from_iterable(rows)


def fields(part: Part, compiled: ModuleType) -> list[int]:
    weight, scales, zeros, is_input_major = part
    outputs, inputs = weight.shape[-2:] if weight.dim() > 1 else (len(weight), 1)
    order = compiled.OUTPUT_MAJOR
    if is_input_major:
        order, outputs, inputs = compiled.INPUT_MAJOR, inputs, outputs
    elif weight.dtype == torch.uint8:
        order, inputs = compiled.NIBBLES, 2 * inputs
    groups = 0 if scales is None else scales.shape[-1]
    addresses = (0 if tensor is None else tensor.data_ptr() for tensor in (weight, scales, zeros))
    return [*addresses, outputs, inputs, groups, order]


def claim(caches: Sequence[Cache], layers: int) -> tuple[array[int], array[int]]:
    """Room for a token in each cache. What each row of each layer sees, page by page, and where in
    that list its pages begin."""
    pages, starts = array("q"), array("q", [0])
    for layer in range(layers):
        for cache in caches:
            segments = cache.layers[layer].claim()
            for row in range(cache.layers[layer].shape.batch):
                for segment in segments:
                    pages.extend(page_fields(segment, row))
                starts.append(len(pages) // 4)
    return pages, starts


def page_fields(segment: Segment, row: int) -> tuple[int, int, int, int]:
    numbers = segment.page.values_2BKSW
    _, batch, heads, capacity, width = numbers.shape
    first = row * heads * capacity + segment.first  # tokens before, of all heads
    keys = numbers.data_ptr() + first * width * numbers.itemsize
    values = keys + batch * heads * capacity * width * numbers.itemsize
    return keys, values, segment.end - segment.first, capacity * width


class Link(NamedTuple):
    """What a module holds under a name: a module, or a tensor with its address."""

    holder: dict[str, nn.Module | None] | dict[str, Tensor | None]
    name: str
    held: nn.Module | Tensor
    address: int

    def holds(self) -> bool:
        held = self.holder.get(self.name)
        return held is self.held and (not self.address or held.data_ptr() == self.address)


def links(transformer: Transformer) -> Iterator[Link]:
    """All that leads from a transformer to the weights of its layers."""
    yield Link(transformer._modules, "norm", transformer.norm, 0)
    yield Link(transformer._modules, "blocks", transformer.blocks, 0)
    for top in (transformer.norm, transformer.blocks):
        for module in top.modules():
            for name, child in module._modules.items():
                yield Link(module._modules, name, child, 0)
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    if tensor is not None:
                        yield Link(tensors, name, tensor, tensor.data_ptr())


def address(numbers: array[int]) -> int:
    return numbers.buffer_info()[0]
