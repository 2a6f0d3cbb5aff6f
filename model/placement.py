"""A model on several devices: where each tensor lies, and hooks that bring inputs to weights.

By layers: each device holds a run of neighbouring layers with their caches, and x goes from one to
the next. By experts: each device holds also some experts of every mixture, and tokens go to them
and back. The first device holds what is before and after the layers (embeddings, image encoders,
the last norm), so that whoever calls the model sees one device. `forward` knows nothing of it.

`plan` is pure: it reads no weight and looks at no device. Called by `checkpoint`, which loads each
tensor straight to its place, by `engine` and `describe`. Refuses (PlacementError) no devices at
all, and experts of a dense model.

Letters: D model width, E experts, M token-expert pairs sorted by expert, m those of some experts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import accumulate, chain, pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from model.attention import Sight, Sights
from model.cache import LayerCache, cache_bytes, layer_bytes
from model.config import TextConfig
from model.gaze import View
from model.memory import USABLE, Device
from model.moe import Experts, MoE
from model.transformer import Block, Transformer

WAYS = ("layers", "experts")
SHARE_STEPS = 50  #: halvings of the share of memory that is searched for
LEAST_TOKENS = 1024  #: of a context that is worth being told of

LAYER = re.compile(r"blocks\.(\d+)\.")
EXPERTS = re.compile(r"(blocks\.(\d+)\.feed_forward\.experts)\.(\w+)")


class PlacementError(ValueError):
    """The model cannot be placed so; the message says why and what to do."""


class Piece(NamedTuple):
    """A tensor, or some experts of it, in its place."""

    name: str  #: in the placed model
    device: int  #: its number
    first: int | None = None  #: of the experts; None: the tensor is whole
    end: int | None = None  #: one after the last


@dataclass(frozen=True)
class Load:
    """What one device holds."""

    device: Device
    weights_bytes: int
    cache_bytes: int  #: keys and values of its layers, for the context of the plan
    layers: tuple[int, int]  #: the first, and one after the last

    @property
    def fits(self) -> bool:
        return self.device.fits(self.weights_bytes + self.cache_bytes)


@dataclass(frozen=True)
class Plan:
    """Where everything is. Made by `plan`; devices are numbered from 0."""

    way: str  #: one of `WAYS`
    loads: tuple[Load, ...]  #: by device
    layers: tuple[int, ...]  #: by layer: the number of its device
    #: by layer: how many of its experts, in order, each device has; () where they stay together
    experts: tuple[tuple[int, ...], ...]

    @property
    def fits(self) -> bool:
        return all(load.fits for load in self.loads)

    def pieces(self, name: str) -> Iterator[Piece]:
        """Where the tensor of this name goes, in one piece or experts apart."""
        found = EXPERTS.match(name)
        if found and (counts := self.experts[int(found[2])]):
            ends = list(accumulate(counts))
            held = [number for number, count in enumerate(counts) if count]
            for part, number in enumerate(held):
                own = f"{found[1]}.parts.{part}.{found[3]}"
                yield Piece(own, number, ends[number] - counts[number], ends[number])
        else:
            layer = LAYER.match(name)
            yield Piece(name, self.layers[int(layer[1])] if layer else 0)


class Layer(NamedTuple):
    """What a layer takes, in bytes."""

    rest: int  #: weights that stay together
    expert: int  #: one of its experts, if they go apart; else 0
    cache: int  #: keys and values


def plan(
    text: TextConfig,
    sizes: Mapping[str, int],
    devices: Sequence[Device],
    context: int,
    cache_dtype: torch.dtype,
    way: str = "layers",
) -> Plan:
    """Divides a model so that the fullest device, by its memory, is as empty as can be.

    `sizes` are the bytes of its tensors by name (`checkpoint.tensor_bytes`), `context` the tokens
    that the caches hold.
    """
    _require_sense(text, devices, way)
    layers = _layers(text, sizes, context, cache_dtype, apart=way == "experts")
    experts = tuple(
        dealt(text.num_local_experts, number, len(devices)) if layer.expert else ()
        for number, layer in enumerate(layers)
    )
    used = [0] * len(devices)
    used[0] = sum(size for name, size in sizes.items() if not LAYER.match(name))
    for layer, counts in zip(layers, experts, strict=True):
        for number, count in enumerate(counts):
            used[number] += count * layer.expert
    runs = divided([layer.rest + layer.cache for layer in layers], used, devices)
    loads = tuple(
        Load(
            device,
            weights_bytes=used[number] + sum(layer.rest for layer in layers[first:end]),
            cache_bytes=sum(layer.cache for layer in layers[first:end]),
            layers=(first, end),
        )
        for number, (device, (first, end)) in enumerate(zip(devices, runs, strict=True))
    )
    place = tuple(number for number, (first, end) in enumerate(runs) for _ in range(first, end))
    return Plan(way, loads, place, experts)


def dealt(experts: int, layer: int, devices: int) -> tuple[int, ...]:
    """How many experts of a layer each device has. Those that are left over go to other devices in
    each layer."""
    each, left = divmod(experts, devices)
    return tuple(each + ((number - layer * left) % devices < left) for number in range(devices))


def divided(
    sizes: Sequence[int], used: Sequence[int], devices: Sequence[Device]
) -> list[tuple[int, int]]:
    """Runs of neighbours, one for each device, so that the largest share of a device's memory, with
    what is used of it before, is as small as can be: the share is halved towards the least with
    which devices that are filled one after another take everything."""
    low, high = 0.0, (sum(sizes) + sum(used)) / min(device.memory_bytes for device in devices)
    for _ in range(SHARE_STEPS):
        middle = (low + high) / 2
        if _filled(sizes, used, devices, middle) is None:
            low = middle
        else:
            high = middle
    runs = _filled(sizes, used, devices, high)
    assert runs is not None  # every device could hold all of it
    return runs


def advice(
    text: TextConfig,
    sizes: Mapping[str, int],
    devices: Sequence[Device],
    context: int,
    cache_dtype: torch.dtype,
    way: str,
) -> str:
    """What would fit where this plan does not: more devices like the first, or a shorter text."""

    def fits(some: Sequence[Device], tokens: int) -> bool:
        return plan(text, sizes, some, tokens, cache_dtype, way).fits

    need = sum(sizes.values()) + cache_bytes(text, context, cache_dtype)
    least = max(len(devices) + 1, int(need / (USABLE * devices[0].memory_bytes)))
    counts = range(least, 2 * least + text.num_hidden_layers)
    more = next((n for n in counts if fits([devices[0]] * n, context)), None)
    halves = [context >> n for n in range(1, context.bit_length()) if context >> n >= LEAST_TOKENS]
    shorter = next((tokens for tokens in halves if fits(devices, tokens)), None)
    ways = [f"{more} of {devices[0].memory_bytes / 2**30:,.0f} GiB"] if more else []
    ways += [f"{shorter:,} tokens of context"] if shorter else []
    return f"it would fit with {' or '.join(ways) or 'larger devices'}"


def spread(transformer: Transformer, plan: Plan) -> None:
    """Puts groups of experts in the place of those that go apart: before weights are loaded."""
    for block, counts in zip(transformer.blocks, plan.experts, strict=True):
        mixture = cast(Block, block).feed_forward
        if not counts or not isinstance(mixture, MoE):
            continue
        _, inner, width = mixture.experts.down.shape
        with torch.device("meta"):
            groups = [Experts(count, width, inner) for count in counts if count]
        mixture.experts = cast(Experts, PlacedExperts(groups))


def connect(transformer: Transformer) -> None:
    """Lets what goes into each layer come to where its weights are, and what comes out of the last
    to where it began: after weights are loaded."""
    entrances: dict[torch.device, Entrance] = {}
    for module in (*transformer.blocks, transformer.norm):
        device = _home(module)
        module.register_forward_pre_hook(entrances.setdefault(device, Entrance(device)))


class PlacedExperts(nn.Module):
    """In the place of `moe.Experts`: groups of neighbours, each on a device."""

    def __init__(self, parts: Sequence[Experts]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.counts = [len(part.gate_up) for part in parts]

    def forward(self, x_MD: Tensor, tokens_E: list[int]) -> Tensor:
        """As `moe.Experts`: `tokens_E` says how many rows of x belong to each expert, in order."""
        ends = [0, *accumulate(self.counts)]
        tokens = [tokens_E[first:end] for first, end in pairwise(ends)]
        groups = torch.split(x_MD, [sum(some) for some in tokens])
        asked = zip(self.parts, groups, tokens, strict=True)
        # All are sent out before the first is asked for: devices work at the same time.
        sent = [(part, x_mD.to(_home(part)), some) for part, x_mD, some in asked if len(x_mD)]
        out = [part(x_mD, some) for part, x_mD, some in sent]
        return torch.cat([y_mD.to(x_MD.device) for y_mD in out])

    def expert(self, number: int, x_mD: Tensor) -> Tensor:
        """All rows through the same one."""
        for part, count in zip(self.parts, self.counts, strict=True):
            if number < count:
                return cast(Experts, part).expert(number, x_mD.to(_home(part))).to(x_mD.device)
            number -= count
        raise IndexError(f"there are {sum(self.counts)} experts")


class Entrance:
    """What is done before a module runs: all that it is given comes to its device. What many
    layers are given, the sight or the view, comes once."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._came: tuple[Any, Any] = (None, None)  #: as it was given, and here

    def __call__(self, _module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(self._bring(value) for value in given)

    def _bring(self, value: Any) -> Any:
        if not isinstance(value, Sight | Sights | View):
            return moved(value, self.device)
        if self._came[0] is not value:
            self._came = (value, moved(value, self.device))
        return self._came[1]


def moved(value: Any, device: torch.device) -> Any:
    """The same on this device, whatever holds the tensors. The cache of a layer moves for good."""
    if isinstance(value, LayerCache):
        value.move(device)
    elif isinstance(value, Tensor):
        return value.to(device)
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(item, device) for item in value))
    elif isinstance(value, tuple):
        return tuple(moved(item, device) for item in value)
    elif is_dataclass(value) and not isinstance(value, type):
        each = {field.name: moved(getattr(value, field.name), device) for field in fields(value)}
        return replace(value, **each)
    return value


def _require_sense(text: TextConfig, devices: Sequence[Device], way: str) -> None:
    if way not in WAYS:
        raise PlacementError(f"{way!r} is no way to place a model: use {' or '.join(WAYS)}")
    if not devices:
        raise PlacementError("a model needs at least one device to lie on")
    if way == "experts" and text.is_dense:
        raise PlacementError("a dense model has no experts: place it by layers")


def _layers(
    text: TextConfig,
    sizes: Mapping[str, int],
    context: int,
    cache_dtype: torch.dtype,
    *,
    apart: bool,
) -> list[Layer]:
    rest, experts = ([0] * text.num_hidden_layers for _ in range(2))
    for name, size in sizes.items():
        if found := LAYER.match(name):
            into = experts if apart and EXPERTS.match(name) else rest
            into[int(found[1])] += size
    return [
        Layer(
            rest[n],
            experts[n] // max(text.num_local_experts, 1),
            _cache(text, n, context, cache_dtype),
        )
        for n in range(text.num_hidden_layers)
    ]


def _cache(text: TextConfig, layer: int, context: int, dtype: torch.dtype) -> int:
    """Bytes of the keys and values of a text; a layer that looks at images holds none of it."""
    if layer in text.cross_attention_layers:
        return 0
    return layer_bytes(text, min(context, text.chunk(layer) or context), dtype)


def _filled(
    sizes: Sequence[int], used: Sequence[int], devices: Sequence[Device], share: float
) -> list[tuple[int, int]] | None:
    """Devices filled one after another up to a share of their memory; None: something is left."""
    runs: list[tuple[int, int]] = []
    first = 0
    for device, own in zip(devices, used, strict=True):
        room, end = share * device.memory_bytes - own, first
        if room < 0:
            return None
        while end < len(sizes) and sizes[end] <= room:
            room -= sizes[end]
            end += 1
        runs.append((first, end))
        first = end
    return runs if first == len(sizes) else None


def _home(module: nn.Module) -> torch.device:
    """Where its weights are: the first of them, since a mixture's experts may be elsewhere too."""
    tensors = chain(module.parameters(), module.buffers())
    return next(tensors).device
