"""Decoding, compiled: one token of each of several sequences through all layers in one call.

In a step of a small model on a CPU, starting some 1,500 operations takes longer than reading the
weights. `step` of `kernels.c` starts none: it computes what `Transformer.forward` does, in float32
from weights as they are stored. `Decoder.of` is None, and the transformer itself is to be used,
without a compiler, on GPUs, and with layers of cross-attention. Called by `engine`.

Letters: N sequences, D model width.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from operator import is_
from typing import NamedTuple

import torch
from torch import Tensor, nn

from model import kernels
from model.cache import Cache
from model.moe import MoE
from model.pages import Segment
from model.placement import PlacedExperts
from model.quantized.layers import QuantizedWeight
from model.rope import frequencies
from model.transformer import Block, Transformer

MOST_ROWS = 16  #: `engine` writes no more answers at once
#: The parts that every layer has, in the words of `kernels.c`.
NAMES = (
    "attention_norm", "query", "key", "value", "output", "feed_forward_norm", "gate", "up", "down",
)  # fmt: skip


class Model(ctypes.Structure):
    _fields_ = (
        ("layers", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("kept", ctypes.c_int64),
        ("head", ctypes.c_int64),
        ("experts", ctypes.c_int64),
        ("chosen", ctypes.c_int64),
        ("inner", ctypes.c_int64),
        ("normalises", ctypes.c_int64),
        ("cache_kind", ctypes.c_int64),
        ("eps", ctypes.c_double),
        ("sharpening", ctypes.c_double),
        ("floor", ctypes.c_double),
        ("frequencies_R", ctypes.c_void_p),
    )


class Layer(ctypes.Structure):
    _fields_ = (
        *((name, kernels.Matrix) for name in (*NAMES, "router", "experts_gate_up", "experts_down")),
        ("rotates", ctypes.c_int64),
    )


class Decoder:
    """The weights of a transformer as addresses. They may change, but in place."""

    def __init__(self, transformer: Transformer, layers: Sequence[dict[str, Part]]) -> None:
        text, library = transformer.config.text, kernels.library()
        assert library is not None
        self._step = library.step
        self._step.argtypes = [ctypes.c_void_p] * 7 + [ctypes.c_long]
        self._kept = layers  # the tensors that addresses are of
        self._links = Links.of(transformer)
        modules = list(transformer.modules())
        self._watchers = [
            hooks for m in modules for hooks in (m._forward_pre_hooks, m._forward_hooks)
        ]
        self._norm = kernels.Matrix.of(transformer.norm.weight)
        self._layers = (Layer * len(layers))(
            *(
                Layer(rotates=text.uses_rope(number), **{n: p.matrix for n, p in layer.items()})
                for number, layer in enumerate(layers)
            )
        )
        self._frequencies_R = frequencies(text.rope, text.head_dim, torch.device("cpu"))
        shapes = [part.weight.shape for layer in layers for part in layer.values()]
        self._largest = max(shape[-2:].numel() for shape in shapes)
        self._model = Model(
            len(layers), text.hidden_size, text.num_attention_heads, text.num_key_value_heads,
            text.head_dim, text.num_local_experts, text.num_experts_per_tok,
            max(text.intermediate_size, text.intermediate_size_mlp),
            text.use_qk_norm and not text.is_dense, 0, text.rms_norm_eps, text.attn_scale,
            text.floor_scale if text.attn_temperature_tuning else 0,
            self._frequencies_R.data_ptr(),
        )  # fmt: skip

    @classmethod
    def of(cls, transformer: Transformer) -> Decoder | None:
        """None: this transformer does not decode like that here."""
        layers = [parts_of(block) for block in transformer.blocks]
        known = [layer for layer in layers if layer is not None]
        norm = part_of(transformer.norm)
        if len(known) < len(layers) or norm is None or kernels.library() is None:
            return None
        return cls(transformer, known)

    def is_current(self) -> bool:
        """Whether all weights are still where they were."""
        return self._links.are_current()

    def serves(self, caches: Sequence[Cache]) -> bool:
        """Not many rows, nor caches of eight bits or on GPUs, nor modules that somebody watches,
        nor matrices so large that `kernels` should cut them among threads."""
        shapes = [cache.layers[0].shape for cache in caches]
        return (
            kernels.threads_for(self._largest) == 1
            and not any(self._watchers)
            and all(shape.device.type == "cpu" for shape in shapes)
            and sum(shape.batch for shape in shapes) <= MOST_ROWS
            and len({shape.dtype for shape in shapes}) == 1
            and shapes[0].dtype in kernels.COMPUTED
        )

    def read(self, x_ND: Tensor, caches: Sequence[Cache]) -> Tensor:
        """The next token of each row of each cache, which holds it from now on; what
        `Transformer.forward` makes of it (N, D), in the type of x."""
        h_ND = x_ND.to("cpu", torch.float32, copy=True).contiguous()
        places = ([cache.length] * cache.layers[0].shape.batch for cache in caches)
        positions = array("q", chain.from_iterable(places))
        seen = [
            cache.layers[layer].claim() for layer in range(len(self._layers)) for cache in caches
        ]
        pages, starts = table(seen)
        self._model.cache_kind = kernels.KINDS[caches[0].layers[0].shape.dtype]
        failed = self._step(
            ctypes.byref(self._model), self._layers, ctypes.byref(self._norm), address(pages),
            address(starts), address(positions), h_ND.data_ptr(), len(h_ND),
        )  # fmt: skip
        if failed:
            raise MemoryError(f"no memory to decode {len(h_ND)} tokens at once: ask for fewer")
        for cache in caches:
            cache.length += 1
        return h_ND.to(x_ND)


class DecoderOf:
    """The decoder of a transformer, made when it is first asked for, and again when weights have
    moved."""

    def __init__(self, transformer: Transformer) -> None:
        self._transformer = transformer
        self._made: Decoder | None = None
        self._is_impossible = False

    def __call__(self, caches: Sequence[Cache]) -> Decoder | None:
        """None: there is nothing to decode, or it is to be done by the transformer itself."""
        if not caches or self._is_impossible:
            return None
        if self._made is None or not self._made.is_current():
            self._made = Decoder.of(self._transformer)
            self._is_impossible = self._made is None
        return self._made if self._made is not None and self._made.serves(caches) else None


class Part(NamedTuple):
    """What a layer is made of, and where it lies in memory."""

    weight: Tensor
    matrix: kernels.Matrix
    others: tuple[Tensor | None, ...] = ()  #: scales and zeros, which the matrix has addresses of


def parts_of(block: nn.Module) -> dict[str, Part] | None:
    """None: it cannot be compiled."""
    if not isinstance(block, Block):
        return None
    attention, forward = block.attention, block.feed_forward
    dense = forward.shared if isinstance(forward, MoE) else forward
    modules: list[nn.Module | Tensor] = [
        block.attention_norm, attention.query, attention.key, attention.value, attention.output,
        block.feed_forward_norm, dense.gate, dense.up, dense.down,
    ]  # fmt: skip
    found = {name: part_of(module) for name, module in zip(NAMES, modules, strict=True)}
    if isinstance(forward, MoE):
        if isinstance(forward.experts, PlacedExperts):
            return None
        found["router"] = part_of(forward.router)
        found["experts_gate_up"] = part_of(forward.experts.gate_up)
        found["experts_down"] = part_of(forward.experts.down)
    known = {name: part for name, part in found.items() if part is not None}
    return known if len(known) == len(found) else None


def part_of(module: nn.Module | Tensor) -> Part | None:
    """A module's weights, or those of experts; None: they lie there as no kernel reads them."""
    if not isinstance(module, QuantizedWeight):
        weight = module if isinstance(module, Tensor) else module.get_parameter("weight")
        if weight.dtype not in kernels.COMPUTED or not kernels.can_be_read(weight):
            return None
        matrix = kernels.Matrix.of(weight, is_input_major=isinstance(module, Tensor))
        return Part(weight, matrix)
    values, scales, zeros, order = module.all
    is_known = order is None and (zeros is None or module.all.bits == 4)
    if not (is_known and kernels.can_be_read(values) and scales.dtype in kernels.COMPUTED):
        return None
    zeros = None if zeros is None else zeros.to(torch.int16).contiguous()
    scales = scales.contiguous()
    return Part(values, kernels.Matrix.of(values, scales, zeros), (scales, zeros))


def table(seen: Sequence[Sequence[Segment]]) -> tuple[array[int], array[int]]:
    """What each row of each cache sees in each layer, page by page, and where in that list its
    pages begin."""
    pages, starts = array("q"), array("q", [0])
    for segments in seen:
        for row in range(segments[0].page.shape.batch):
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


class Links(NamedTuple):
    """All that leads from a transformer to the weights of its layers: what its modules hold under
    which names, and where tensors among that lie. Columns, for they are compared at every step."""

    holders: Sequence[Mapping[str, nn.Module | Tensor | None]]
    names: Sequence[str]
    held: Sequence[nn.Module | Tensor]
    tensors: Sequence[Tensor]
    addresses: Sequence[int]

    @classmethod
    def of(cls, transformer: Transformer) -> Links:
        holders, names, held = zip(*links(transformer), strict=True)
        tensors = [one for one in held if isinstance(one, Tensor)]
        return cls(holders, names, held, tensors, addresses(tensors))

    def are_current(self) -> bool:
        found = (holder.get(name) for holder, name in zip(self.holders, self.names, strict=True))
        return all(map(is_, found, self.held)) and addresses(self.tensors) == self.addresses


def links(
    transformer: Transformer,
) -> Iterator[tuple[Mapping[str, nn.Module | Tensor | None], str, nn.Module | Tensor]]:
    """Who holds what, and under which name."""
    yield transformer._modules, "norm", transformer.norm
    yield transformer._modules, "blocks", transformer.blocks
    for top in (transformer.norm, transformer.blocks):
        for module in top.modules():
            for held in (module._modules, module._parameters, module._buffers):
                for name, one in held.items():
                    if one is not None:
                        yield held, name, one


def addresses(tensors: Sequence[Tensor]) -> list[int]:
    return list(map(Tensor.data_ptr, tensors))


def address(numbers: array[int]) -> int:
    return numbers.buffer_info()[0]
