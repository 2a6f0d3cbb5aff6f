"""The quantized matrices of a checkpoint: which of its tensors belong together, and their way into
the model and back.

Which weights are quantized, to how many bits and in what groups, is told by the tensors' names,
types and shapes: a config that lists them in words of its own need not be understood. A matrix is
made as soon as all its tensors are there; experts that are stored one by one are gathered in a
stack. Called by `checkpoint`. Refuses, with `LayoutError`, what does not fit together.

Letters: E experts, O outputs, I inputs, G groups of a row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from model.config import Quantization
from model.quantized.layers import (
    CENTRE,
    FLOAT8,
    Quantized,
    QuantizedExperts,
    QuantizedLinear,
    QuantizedWeight,
    replace,
)
from model.quantized.layouts import (
    PARTS,
    LayoutError,
    read_fused_experts,
    read_matrix,
    write_matrix,
)

LOW = (FLOAT8, torch.int8)  #: types of a `weight` that means something only with its scale
UNUSED = ("input_scale", "input_zero_point")  #: of activations, which are not quantized here
EXPERT = re.compile(r"(.+\.experts)\.(\d+)\.(gate|up|down)_proj")
FUSED = re.compile(r"(.+\.experts\.(?:gate_up|down)_proj)(?:_(scale))?")

#: What stays a float, in the words of compressed-tensors; the first, unless it was asked for.
UNEMBEDDING = "re:.*lm_head"
IGNORE = ("re:.*router", "re:.*vision_model.*", "re:.*multi_modal_projector.*")

Turn = Callable[[str, Tensor], Tensor]  #: a weight, by our name, with its rows in our order


class Header(NamedTuple):
    """What a file says of a tensor before it is read."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        return torch.Size(self.shape).numel()

    @property
    def nbytes(self) -> int:
        return self.numbers * self.dtype.itemsize


class Place(NamedTuple):
    """What a tensor of the checkpoint is."""

    module: str  #: the name of its matrix in the checkpoint
    part: str  #: which of `PARTS`
    ours: str  #: our name of the weight
    shape: tuple[int, ...]  #: of the matrix, (O, I); of fused experts (E, I, O)
    expert: int = 0  #: whose matrix it is, and ...
    first_row: int = 0  #: ... where its rows begin, in a stack of experts


class QuantizedWeights:
    """The quantized matrices of one checkpoint while it is loaded."""

    def __init__(
        self,
        quantization: Quantization | None,
        headers: Mapping[str, Header],
        ours_of: Mapping[str, str],
        shapes: Mapping[str, torch.Size],
    ) -> None:
        """`ours_of` are our names by the checkpoint's, and `shapes` the shapes by our names, as if
        nothing were quantized; without a quantization nothing is."""
        self._quantization = quantization or Quantization("compressed-tensors")
        self._shapes = shapes
        headers = headers if quantization is not None else {}
        found = ((name, _place(name, headers[name], ours_of, shapes)) for name in headers)
        self._places = {name: place for name, place in found if place is not None}
        self._missing: dict[str, set[str]] = {}  # parts that have not come yet, by module
        self._parts: dict[str, dict[str, Tensor]] = {}
        for place in self._places.values():
            self._missing.setdefault(place.module, set()).add(place.part)
        self._made: dict[str, Quantized] = {}
        self._rows_to_fill = {
            place.ours: shapes[place.ours][0] * shapes[place.ours][2]
            for place in self._places.values()
            if len(shapes[place.ours]) == 3
        }

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def ours_of(self, name: str) -> str:
        """Our name of the weight that a tensor is, or is a part of."""
        return self._places[name].ours

    @property
    def ours(self) -> set[str]:
        """Our names of the weights that are quantized."""
        return {place.ours for place in self._places.values()}

    def add(self, name: str, tensor: Tensor, device: torch.device | str, turn: Turn) -> None:
        """A tensor that came. When it is the last of its matrix, that is made, on the device."""
        place = self._places[name]
        self._missing[place.module].remove(place.part)
        parts = self._parts.setdefault(place.module, {})
        if place.part not in UNUSED:
            parts[place.part] = tensor
        if self._missing[place.module]:
            return
        try:
            self._keep(place, self._read(self._parts.pop(place.module), place.shape), device, turn)
        except LayoutError as error:
            raise LayoutError(f"{place.module}: {error}") from None

    def install(self, model: nn.Module) -> None:
        """Put them in the places of the model's linear layers and experts."""
        experts: dict[str, dict[str, Quantized]] = {}
        for ours, made in self._made.items():
            where, _, last = ours.rpartition(".")
            if last == "weight":
                replace(model, where, QuantizedLinear(made))
            else:
                experts.setdefault(where, {})[last] = _without_needless_zeros(made)
        for where, stacks in experts.items():
            lacking = [ours for ours, rows in self._rows_to_fill.items() if rows]
            if lacking or stacks.keys() != {"gate_up", "down"}:
                raise LayoutError(f"{where}: not all experts are there, quantized alike")
            replace(model, where, QuantizedExperts(**stacks))

    def _read(self, parts: Mapping[str, Tensor], shape: tuple[int, ...]) -> Quantized:
        if len(shape) == 3:
            return read_fused_experts(parts, (shape[0], shape[1], shape[2]))
        return read_matrix(
            parts,
            (shape[0], shape[1]),
            self._quantization.method,
            self._quantization.zero_offset,
        )

    def _keep(self, place: Place, read: Quantized, device: torch.device | str, turn: Turn) -> None:
        made = read.by_row(lambda x: turn(place.ours, x).to(device).contiguous())
        if made.order_I is not None:
            made = made._replace(order_I=made.order_I.to(device))
        if place.ours not in self._rows_to_fill:
            self._made[place.ours] = made
            return
        self._rows_to_fill[place.ours] -= made.values_OJ[..., 0].numel()
        if len(place.shape) == 3:
            self._made[place.ours] = made
        else:
            self._put_into_stack(place, made)

    def _put_into_stack(self, place: Place, matrix: Quantized) -> None:
        """Writes the rows of one expert; the first one tells what all are like."""
        if matrix.order_I is not None:
            raise LayoutError(
                "experts with columns in an order of their own are not read: quantize without "
                "desc_act (act-order)"
            )
        matrix = matrix._replace(zeros_OG=_zeros(matrix))
        experts, _, rows = self._shapes[place.ours]
        if place.ours not in self._made:
            self._made[place.ours] = matrix.by_row(lambda x: x.new_empty(experts, rows, x.shape[1]))
        for whole, part in zip(self._made[place.ours][:3], matrix[:3], strict=True):
            if whole is None or part is None:
                continue
            if (whole.dtype, whole.shape[-1]) != (part.dtype, part.shape[-1]):
                raise LayoutError("the experts of a layer are not quantized alike")
            whole[place.expert, place.first_row : place.first_row + len(part)] = part


def _place(
    name: str,
    header: Header,
    ours_of: Mapping[str, str],
    shapes: Mapping[str, torch.Size],
) -> Place | None:
    """None: the tensor is a float as it stands, or no weight of the model."""
    fused = FUSED.fullmatch(name)
    if fused and fused[1] in ours_of and (fused[2] or header.dtype in LOW):
        ours = ours_of[fused[1]]
        return Place(fused[1], "weight_scale" if fused[2] else "weight", ours, tuple(shapes[ours]))
    module, _, part = name.rpartition(".")
    if part not in PARTS or (part == "weight" and header.dtype not in LOW):
        return None
    if f"{module}.weight" in ours_of:
        ours = ours_of[f"{module}.weight"]
        return Place(module, part, ours, tuple(shapes[ours]))
    expert = EXPERT.fullmatch(module)
    if expert is None:
        return None
    is_down = expert[3] == "down"
    ours = ours_of.get(f"{expert[1]}.{'down' if is_down else 'gate_up'}_proj", "")
    if not ours or int(expert[2]) >= shapes[ours][0]:
        return None
    _, columns, rows = shapes[ours]
    rows = rows if is_down else rows // 2  # gate and up, one after another
    first_row = rows if expert[3] == "up" else 0
    return Place(module, part, ours, (rows, columns), int(expert[2]), first_row)


def _zeros(matrix: Quantized) -> Tensor:
    """Those that are meant where none are stored, so that all experts have them."""
    if matrix.zeros_OG is not None:
        return matrix.zeros_OG
    centre = CENTRE if matrix.bits == 4 else 0
    return torch.full_like(matrix.scales_OG, centre, dtype=torch.int16)


def _without_needless_zeros(stack: Quantized) -> Quantized:
    centre = CENTRE if stack.bits == 4 else 0
    if stack.zeros_OG is None or bool((stack.zeros_OG != centre).any()):
        return stack
    return stack._replace(zeros_OG=None)


def tensors_of(
    model: nn.Module, theirs_of: Callable[[str], str], turn: Turn
) -> Iterator[tuple[str, Tensor]]:
    """The tensors of all quantized modules and their names in a checkpoint, in the layout of
    compressed-tensors; `theirs_of` is the checkpoint's name for ours, `turn` puts rows in its
    order."""
    for name, module in model.named_modules():
        if isinstance(module, QuantizedLinear):
            ours = f"{name}.weight"
            weight = module.all.by_row(partial(turn, ours))
            yield from _named(theirs_of(ours).removesuffix(".weight"), weight)
        if isinstance(module, QuantizedExperts):
            theirs = theirs_of(f"{name}.down").removesuffix(".down_proj")
            for number in range(len(module.down.values)):
                gate_up = module.gate_up.matrix(number)
                middle = gate_up.shape[0] // 2
                yield from _named(f"{theirs}.{number}.gate_proj", gate_up.rows(0, middle))
                yield from _named(f"{theirs}.{number}.up_proj", gate_up.rows(middle, 2 * middle))
                yield from _named(f"{theirs}.{number}.down_proj", module.down.matrix(number))


def quantization_config(model: nn.Module) -> dict[str, Any]:
    """The `quantization_config` of what `tensors_of` writes; empty if nothing is quantized."""
    weights = [part.all for part in model.modules() if isinstance(part, QuantizedWeight)]
    if not weights:
        return {}
    kinds = {
        (weight.values_OJ.dtype, weight.scales_OG.shape[-1] == 1, weight.zeros_OG is None)
        for weight in weights
    }
    groups = {weight.group for weight in weights if weight.scales_OG.shape[-1] > 1}
    if len({dtype for dtype, *_ in kinds}) > 1 or len(groups) > 1:
        raise LayoutError(
            "matrices of several precisions are not written: quantize from the original weights"
        )
    low = {name for name, part in model.named_modules() if isinstance(part, QuantizedLinear)}
    has_low_unembedding = "unembedding" in low
    is_float = weights[0].values_OJ.dtype == FLOAT8
    scheme = {
        "num_bits": weights[0].bits,
        "type": "float" if is_float else "int",
        "strategy": "group" if groups else "channel",
        "group_size": min(groups, default=None),
        "symmetric": all(is_symmetric for *_, is_symmetric in kinds),
        "dynamic": False,
    }
    group = {
        "targets": ["Linear"],
        "weights": scheme,
        "input_activations": None,
        "output_activations": None,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "float-quantized" if is_float else "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": [*([] if has_low_unembedding else [UNEMBEDDING]), *IGNORE],
        "kv_cache_scheme": None,
    }


def _named(module: str, weight: Quantized) -> Iterator[tuple[str, Tensor]]:
    for part, tensor in write_matrix(weight).items():
        yield f"{module}.{part}", tensor
