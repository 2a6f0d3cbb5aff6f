"""Reading, compiled: the next tokens of several sequences through all layers in one call.

In a step of a small model on a CPU, starting some 1,500 operations takes longer than reading the
weights; where many tokens are read, what stands between the products takes a third of the time.
`step` of `kernels.c` starts nothing and keeps what it computes close: it does what
`Transformer.forward` does with tokens that follow what their caches hold, in float32 from weights
as they are stored. `Decoder.of` is None, and the transformer itself is to be used, without a
compiler, on GPUs, and with layers of cross-attention; `serves` says which tokens are not for it.
Called by `engine`.

Letters: B rows of a cache, T new tokens, N tokens of all sequences, D model width.
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

#: Tokens from which on many rows must be multiplied fast here: `engine` writes no more answers at
#: once.
MOST_STEPS = 16
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
        self._step.argtypes = [ctypes.c_void_p] * 8 + [ctypes.c_long]
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
        parts = chain.from_iterable(layer.values() for layer in layers)
        self._is_plain = all(part.weight.dtype in kernels.COMPUTED for part in parts)
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

    def serves(self, caches: Sequence[Cache], lengths: Sequence[int]) -> bool:
        """Whether so many new tokens of each cache are read faster here. Not with caches of eight
        bits or on GPUs, nor with modules that somebody watches, nor where `kernels` should cut
        products among threads; many tokens not with weights in few bits."""
        shapes = [cache.layers[0].shape for cache in caches]
        rows = sum(shape.batch * length for shape, length in zip(shapes, lengths, strict=True))
        return (
            kernels.threads_for(self._largest * max(1, rows // kernels.FEW_ROWS)) == 1
            and (rows <= MOST_STEPS or (self._is_plain and kernels.multiplies()))
            and not any(self._watchers)
            and all(shape.device.type == "cpu" for shape in shapes)
            and len({shape.dtype for shape in shapes}) == 1
            and shapes[0].dtype in kernels.COMPUTED
        )

    def read(self, new: Sequence[Tensor], caches: Sequence[Cache]) -> list[Tensor]:
        """New tokens (B, T, D) of each cache, which holds them from now on; what
        `Transformer.forward` makes of each (B, T, D), in its type."""
        read: list[list[Tensor]] = [[] for _ in new]
        rest = list(new)
        while unread := [i for i, x_BTD in enumerate(rest) if x_BTD.shape[1]]:
            going = [caches[i] for i in unread]
            lengths = [min(rest[i].shape[1], caches[i].room) for i in unread]
            heads = [rest[i][:, :length] for i, length in zip(unread, lengths, strict=True)]
            h_ND = self._read_once(torch.cat([x.flatten(0, 1) for x in heads]), going, lengths)
            parts = torch.split(h_ND, [x.shape[0] * x.shape[1] for x in heads])
            for i, x_BTD, h_MD in zip(unread, heads, parts, strict=True):
                read[i].append(h_MD.view_as(x_BTD))
                rest[i] = rest[i][:, x_BTD.shape[1] :]
        return [torch.cat(parts, dim=1) for parts in read]

    def _read_once(self, x_ND: Tensor, caches: Sequence[Cache], lengths: Sequence[int]) -> Tensor:
        """As many tokens of each as there is room for in a page: those of a cache row by row."""
        h_ND = x_ND.to("cpu", torch.float32, copy=True).contiguous()
        rows = [cache.layers[0].shape.batch for cache in caches]
        seen = [
            cache.layers[layer].claim(length)
            for layer in range(len(self._layers))
            for cache, length in zip(caches, lengths, strict=True)
        ]
        pages, starts = table(seen)
        self._model.cache_kind = kernels.KINDS[caches[0].layers[0].shape.dtype]
        positions = repeated([cache.length for cache in caches], rows)
        tokens = repeated(lengths, rows)
        failed = self._step(
            ctypes.byref(self._model), self._layers, ctypes.byref(self._norm), address(pages),
            address(starts), address(positions), address(tokens), h_ND.data_ptr(), len(tokens),
        )  # fmt: skip
        if failed:
            raise MemoryError(f"no memory to read {len(h_ND)} tokens at once: ask for fewer")
        for cache, length in zip(caches, lengths, strict=True):
            cache.length += length
        return h_ND.to(x_ND)


class DecoderOf:
    """The decoder of a transformer, made when it is first asked for, and again when weights have
    moved."""

    def __init__(self, transformer: Transformer) -> None:
        self._transformer = transformer
        self._made: Decoder | None = None
        self._is_impossible = False

    def __call__(self, caches: Sequence[Cache], lengths: Sequence[int]) -> Decoder | None:
        """None: there is nothing to read, or so many new tokens of each cache are to be read by the
        transformer itself."""
        if not caches or self._is_impossible:
            return None
        if self._made is None or not self._made.is_current():
            self._made = Decoder.of(self._transformer)
            self._is_impossible = self._made is None
        made = self._made
        return made if made is not None and made.serves(caches, lengths) else None


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


def repeated(numbers: Sequence[int], rows: Sequence[int]) -> array[int]:
    """What is said of each cache, for each of its rows."""
    pairs = zip(numbers, rows, strict=True)
    return array("q", chain.from_iterable([number] * count for number, count in pairs))


def address(numbers: array[int]) -> int:
    return numbers.buffer_info()[0]
