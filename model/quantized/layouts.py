"""The published layouts of one matrix in few bits, read into `Quantized` and written from it.

- compressed-tensors (github.com/vllm-project/compressed-tensors): `weight_packed`, 4- or 8-bit
  numbers in int32 along a row, the first in the lowest bits, with `weight_scale`, and
  `weight_zero_point` packed down the columns; or `weight` in float8 or int8 with `weight_scale`,
  one for the matrix, for each row, or for blocks of it.
- AWQ (github.com/casper-hansen/AutoAWQ, version "gemm"): `qweight` is the transpose, eight columns
  of it in an int32 in an order of their own; `qzeros` likewise, and `scales`.
- GPTQ (github.com/ModelCloud/GPTQModel): `qweight` is the transpose, packed down the columns;
  `qzeros` along the rows, each less by one in the first version; `g_idx` names the group of each
  column.
- FBGEMM and block-wise float8: `weight` with `weight_scale` or `weight_scale_inv`; routed experts
  of Llama 4 in one transposed tensor.

Refuses, with `LayoutError`, shapes that do not belong together and other numbers of bits. Called by
`stored`. Numbers in bytes are little-endian, as safetensors are.

Letters: O outputs, I inputs, J bytes of a row of values, G groups of a row, E experts, R and C rows
and columns of anything.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from model.quantized.layers import CENTRE, FLOAT8, Quantized

#: In AWQ, the column that each of eight numbers of an int32 belongs to, from the lowest bits.
AWQ_COLUMNS = (0, 2, 4, 6, 1, 3, 5, 7)
SIGN = 0x80  #: what makes an unsigned byte, counted from 128, a signed one

#: Names of the tensors of a matrix, after the name of its module.
PARTS = (
    "weight", "weight_packed", "weight_scale", "weight_scale_inv", "weight_zero_point",
    "weight_g_idx", "weight_shape", "qweight", "qzeros", "scales", "g_idx",
    "input_scale", "input_zero_point",
)  # fmt: skip


class LayoutError(ValueError):
    """The tensors of a matrix do not fit together; the message says which."""


def read_matrix(
    parts: Mapping[str, Tensor], shape: tuple[int, int], method: str, zero_offset: int = 0
) -> Quantized:
    """`parts` by their names in `PARTS`; `shape` is (O, I). `zero_offset` is what GPTQ's zeros are
    stored less by."""
    if "weight_packed" in parts:
        return _read_packed(parts, shape)
    if "qweight" in parts:
        return _read_awq(parts, shape) if method == "awq" else _read_gptq(parts, shape, zero_offset)
    return _read_bytes(parts, shape)


def read_fused_experts(parts: Mapping[str, Tensor], shape: tuple[int, int, int]) -> Quantized:
    """Experts in one float8 tensor (E, I, O), with a scale for each row or for each expert;
    `shape` is (E, I, O)."""
    weight_EIO, scale = _part(parts, "weight"), _part(parts, "weight_scale")
    experts, _, rows = shape
    _require(weight_EIO.shape == shape, f"weight has shape {tuple(weight_EIO.shape)}, not {shape}")
    _require(weight_EIO.dtype == FLOAT8, f"fused experts are {weight_EIO.dtype}, not {FLOAT8}")
    _require(
        scale.numel() in (1, experts, experts * rows),
        f"weight_scale has {scale.numel()} numbers for {experts} experts of {rows} rows",
    )
    scales_EO1 = scale.reshape(-1 if scale.numel() > 1 else 1, 1, 1)
    if scale.numel() == experts * rows:
        scales_EO1 = scale.reshape(experts, rows, 1)
    return Quantized(weight_EIO.transpose(1, 2), scales_EO1.expand(experts, rows, 1))


def write_matrix(weight: Quantized) -> dict[str, Tensor]:
    """The tensors of compressed-tensors by their names in `PARTS`."""
    _require(weight.order_I is None, "columns that were sorted by group are not written")
    if weight.values_OJ.dtype == FLOAT8:
        return {"weight": weight.values_OJ, "weight_scale": weight.scales_OG}
    parts = {
        "weight_packed": _packed_values(weight),
        "weight_scale": weight.scales_OG,
        "weight_shape": torch.tensor(weight.shape),
    }
    if weight.zeros_OG is not None:
        parts["weight_zero_point"] = _packed_zeros(weight.zeros_OG, weight.bits)
    return parts


def pack_nibbles(values_RC: Tensor) -> Tensor:
    """4-bit numbers (uint8), two in a byte: (R, C / 2)."""
    return values_RC[:, 0::2] | (values_RC[:, 1::2] << 4)


def _read_packed(parts: Mapping[str, Tensor], shape: tuple[int, int]) -> Quantized:
    rows, columns = shape
    packed_RC = _part(parts, "weight_packed")
    bits = _bits(packed_RC.shape[1], columns)
    if "weight_shape" in parts:
        stored = tuple(parts["weight_shape"].tolist())
        _require(stored == shape, f"weight_shape is {stored}, the config asks for {shape}")
    values_OI = _unpack(packed_RC, bits)[:, :columns]
    zeros_OG = None
    if "weight_zero_point" in parts:
        zeros_OG = _unpack(parts["weight_zero_point"].T.contiguous(), bits).T[:rows]
    scales_OG = _row_scales(_part(parts, "weight_scale"), rows)
    return _quantized(values_OI, scales_OG, zeros_OG, bits, shape, parts.get("weight_g_idx"))


def _read_awq(parts: Mapping[str, Tensor], shape: tuple[int, int]) -> Quantized:
    rows, _ = shape
    packed_IR = _part(parts, "qweight")
    bits = _bits(packed_IR.shape[1], rows)
    _require(bits == 4, f"AWQ weights of {bits} bits are not known: only 4")
    values_OI = _awq_columns(_unpack(packed_IR, bits)).T
    zeros_OG = _awq_columns(_unpack(_part(parts, "qzeros"), bits)).T if "qzeros" in parts else None
    return _quantized(values_OI, _part(parts, "scales").T, zeros_OG, bits, shape)


def _read_gptq(parts: Mapping[str, Tensor], shape: tuple[int, int], zero_offset: int) -> Quantized:
    _, columns = shape
    packed_OR = _part(parts, "qweight").T.contiguous()
    bits = _bits(packed_OR.shape[1], columns)
    values_OI = _unpack(packed_OR, bits)
    zeros_OG = _unpack(_part(parts, "qzeros"), bits).T.to(torch.int16) + zero_offset
    return _quantized(
        values_OI, _part(parts, "scales").T, zeros_OG, bits, shape, parts.get("g_idx")
    )


def _read_bytes(parts: Mapping[str, Tensor], shape: tuple[int, int]) -> Quantized:
    weight_OI = _part(parts, "weight")
    _require(
        weight_OI.dtype in (FLOAT8, torch.int8),
        f"weight is stored as {weight_OI.dtype}: only {FLOAT8} and torch.int8 have scales",
    )
    _require(weight_OI.shape == shape, f"weight has shape {tuple(weight_OI.shape)}, not {shape}")
    name = "weight_scale_inv" if "weight_scale_inv" in parts else "weight_scale"
    scales_OG = _row_scales(_part(parts, name), shape[0])
    zeros = parts.get("weight_zero_point")
    zeros_OG = None if zeros is None or not zeros.any() else _row_scales(zeros, shape[0])
    _require_groups(scales_OG, zeros_OG, shape)
    return Quantized(weight_OI, scales_OG, zeros_OG)


def _quantized(
    values_OI: Tensor,
    scales_OG: Tensor,
    zeros_OG: Tensor | None,
    bits: int,
    shape: tuple[int, int],
    group_I: Tensor | None = None,
) -> Quantized:
    """From unsigned values and zeros; `group_I` is the group of each column."""
    _require(values_OI.shape == shape, f"there are {tuple(values_OI.shape)} values for {shape}")
    _require_groups(scales_OG, zeros_OG, shape)
    centre = CENTRE if bits == 4 else SIGN
    if zeros_OG is not None and bool((zeros_OG == centre).all()):
        zeros_OG = None
    order_I = _order(group_I, scales_OG.shape[1])
    if order_I is not None:
        values_OI = values_OI[:, order_I]
    if bits == 4:
        _require(shape[1] % 2 == 0, f"rows of {shape[1]} 4-bit numbers do not fill whole bytes")
        values_OJ, offset = pack_nibbles(values_OI), 0
    else:
        values_OJ, offset = (values_OI.contiguous() ^ SIGN).view(torch.int8), SIGN
    if zeros_OG is not None:
        zeros_OG = (zeros_OG.to(torch.int16) - offset).contiguous()
    return Quantized(values_OJ.contiguous(), scales_OG.contiguous(), zeros_OG, order_I)


def _order(group_I: Tensor | None, groups: int) -> Tensor | None:
    """How to sort the columns by their group; None: they are sorted."""
    if group_I is None or bool((group_I.diff() >= 0).all()):
        return None
    sizes = group_I.bincount(minlength=groups)
    _require(
        len(sizes) == groups and bool((sizes == len(group_I) // groups).all()),
        "g_idx gives the groups different numbers of columns",
    )
    return group_I.argsort(stable=True)


def _row_scales(scales: Tensor, rows: int) -> Tensor:
    """(O, G), from one for the whole matrix, each row, or each block of rows and columns."""
    scales_RG = scales.reshape(-1, 1) if scales.ndim < 2 else scales
    _require(
        rows % len(scales_RG) == 0, f"{len(scales_RG)} rows of scales do not divide {rows} rows"
    )
    return scales_RG.repeat_interleave(rows // len(scales_RG), 0).contiguous()


def _unpack(packed_RC: Tensor, bits: int) -> Tensor:
    """The unsigned numbers of int32, along each row, from the lowest bits."""
    _require(packed_RC.dtype == torch.int32, f"packed numbers are {packed_RC.dtype}, not int32")
    bytes_RC = packed_RC.contiguous().view(torch.uint8)
    if bits == 8:
        return bytes_RC
    return torch.stack([bytes_RC & 15, bytes_RC >> 4], dim=-1).flatten(1)


def _awq_columns(values_RC: Tensor) -> Tensor:
    """Columns back in the order of the model."""
    place = [AWQ_COLUMNS.index(column) for column in range(len(AWQ_COLUMNS))]
    return torch.unflatten(values_RC, 1, (-1, len(AWQ_COLUMNS)))[..., place].flatten(1)


def _packed_values(weight: Quantized) -> Tensor:
    values_OJ = weight.values_OJ
    if weight.bits == 8:
        values_OJ = values_OJ.contiguous().view(torch.uint8) ^ SIGN
    return _as_int32(values_OJ)


def _packed_zeros(zeros_OG: Tensor, bits: int) -> Tensor:
    """Packed down the columns."""
    if bits == 4:
        zeros_GJ = _as_int32(pack_nibbles(_padded(zeros_OG.to(torch.uint8).T, 2)))
    else:
        zeros_GJ = _as_int32((zeros_OG + SIGN).to(torch.uint8).T)
    return zeros_GJ.T.contiguous()


def _as_int32(bytes_RC: Tensor) -> Tensor:
    return _padded(bytes_RC, 4).contiguous().view(torch.int32)


def _padded(values_RC: Tensor, to: int) -> Tensor:
    return torch.nn.functional.pad(values_RC, (0, -values_RC.shape[1] % to))


def _bits(packed: int, numbers: int) -> int:
    """How many bits a number has, of so many in so many int32."""
    for bits in (4, 8):
        if packed == -(-numbers * bits // 32):
            return bits
    raise LayoutError(f"{packed} int32 for {numbers} numbers: only 4 and 8 bits each are known")


def _require_groups(scales_OG: Tensor, zeros_OG: Tensor | None, shape: tuple[int, int]) -> None:
    rows, columns = shape
    _require(
        scales_OG.shape[0] == rows and columns % scales_OG.shape[1] == 0,
        f"scales of shape {tuple(scales_OG.shape)} for {rows} rows of {columns}",
    )
    _require(
        zeros_OG is None or zeros_OG.shape == scales_OG.shape,
        f"scales of shape {tuple(scales_OG.shape)} and zeros of another",
    )


def _part(parts: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in parts:
        raise LayoutError(f"{name} is missing")
    return parts[name]


def _require(is_right: bool, message: str) -> None:
    if not is_right:
        raise LayoutError(message)
