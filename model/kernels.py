"""The functions of `kernels.c`: compiled on this machine, and called with tensors.

Where few tokens are read at a time, as in decoding, torch's products use little of the rate at
which memory can be read, least where weights are not float32. Where there are more, weights in
bfloat16 have to be widened before torch multiplies them well. These serve on CPUs, without
gradients, where there is a C compiler; without one, everything is computed by torch. A large
product is cut among as many threads as torch may use. Compiling takes 2.5 seconds, once on a
machine: the library is kept in the user's cache folder. Called by `products`, `moe` and
`quantized.layers`, which ask `serve` first, and by `decoding`.

Letters: N rows of activations, _x any leading dimensions, D inputs, F outputs, J bytes of a row, G
groups of a row that share a scale.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("kernels.c")
COMPILERS = ("cc", "gcc", "clang")
#: Sums may be taken in any order; nan and infinity mean what they mean.
FLAGS = (
    "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros",
    "-fassociative-math", "-freciprocal-math", "-shared", "-fPIC",
)  # fmt: skip
COMPILE_SECONDS = 120

FEW_ROWS = 8  #: the most for which weights are not laid out anew,
FEWER_ROWS = 4  #: and where they are input-major
PANEL = 16  #: outputs that `kernels.c` multiplies together
THREAD_WEIGHTS = 2**20  #: for fewer another thread is not worth waking: it takes some 50 us

#: How `kernels.c` calls what tensors hold.
KINDS = {
    torch.float32: 0,
    torch.bfloat16: 1,
    torch.int8: 2,
    torch.float8_e4m3fn: 3,
    torch.uint8: 4,  # two 4-bit numbers
}
COMPUTED = (torch.float32, torch.bfloat16)  #: of activations, scales, norms and caches


class Matrix(ctypes.Structure):
    """A matrix in memory, or a stack of them; the tensors must live as long as this."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("zeros", ctypes.c_void_p),
        ("kind", ctypes.c_int64),
        ("scale_kind", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("groups", ctypes.c_int64),
        ("is_input_major", ctypes.c_int64),
    )

    @classmethod
    def of(
        cls,
        weight: Tensor,
        scales: Tensor | None = None,
        zeros: Tensor | None = None,
        *,
        is_input_major: bool = False,
    ) -> Matrix:
        """Of weights (F, D) or (F, J), or input-major (D, F), or of a norm's (F); scales and zeros
        (F, G), zeros int16. With E in front of each shape, a stack."""
        outputs, inputs = weight.shape[-2:] if weight.dim() > 1 else (len(weight), 1)
        if is_input_major:
            outputs, inputs = inputs, outputs
        return cls(
            weight.data_ptr(),
            scales.data_ptr() if scales is not None else None,
            zeros.data_ptr() if zeros is not None else None,
            KINDS[weight.dtype],
            KINDS[scales.dtype] if scales is not None else 0,
            outputs,
            2 * inputs if weight.dtype == torch.uint8 else inputs,
            scales.shape[-1] if scales is not None else 0,
            is_input_major,
        )


@cache
def library() -> ctypes.CDLL | None:
    """None: there is no compiler, or it failed."""
    if not hasattr(os, "getuid"):
        return None
    machine = f"{torch.cpu.get_capabilities()} {FLAGS}".encode()
    name = hashlib.sha256(SOURCE.read_bytes() + machine).hexdigest()[:16] + ".so"
    path = _cache_folder() / name
    if not path.exists() and not _compile(path):
        return None
    return ctypes.CDLL(str(path))


def _cache_folder() -> Path:
    """A folder that nobody else can write in; what others leave there would be run."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "mmapp" / "kernels"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp())
    is_ours = folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK)
    return folder if is_ours else Path(tempfile.mkdtemp())


def _compile(path: Path) -> bool:
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        return False
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    command = [compiler, *FLAGS, str(SOURCE), "-o", str(partial), "-lm"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=COMPILE_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return False
    partial.replace(path)  # another process may have been as fast: the file is the same
    return True


def serve(x_xD: Tensor, *weights: Tensor) -> bool:
    """Whether the functions here multiply this many rows with weights of these kinds faster."""
    rows = x_xD.numel() // max(1, x_xD.shape[-1])
    return (
        rows > 0
        and x_xD.dtype in COMPUTED
        and not torch.is_grad_enabled()
        and all(can_be_read(weight) for weight in weights)
        and (rows <= FEW_ROWS or _multiplies_all(weights))
        and library() is not None
    )


def _multiplies_all(weights: tuple[Tensor, ...]) -> bool:
    """With many rows: in float32 torch is as fast."""
    return multiplies() and all(weight.dtype == torch.bfloat16 for weight in weights)


@cache
def multiplies() -> bool:
    """Whether many rows are multiplied here: tiles are made for the registers of AVX2, and torch
    uses wider ones where a CPU has them."""
    abilities = torch.cpu.get_capabilities()
    return bool(abilities.get("avx2") and not abilities.get("avx512_f"))


def can_be_read(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype in KINDS and weight.is_contiguous()


def linear(x_xD: Tensor, weight_FJ: Tensor, *low: Tensor | None) -> Tensor:
    """x W^T in the type of x. Of weights in few bits, `low` are scales (F, G), bfloat16 or float32,
    and for 4-bit ones zeros, if 8 does not mean 0."""
    scales, zeros = (*low, None, None)[:2]
    zeros = None if zeros is None else zeros.to(torch.int16)
    matrix = Matrix.of(weight_FJ, scales, zeros)
    return _product("linear_nibbles" if weight_FJ.dtype == torch.uint8 else "linear", matrix, x_xD)


def times(x_xD: Tensor, weight_DF: Tensor) -> Tensor:
    """x W for input-major weights, in the type of x."""
    return _product("add_times", Matrix.of(weight_DF, is_input_major=True), x_xD)


def _product(name: str, matrix: Matrix, x_xD: Tensor) -> Tensor:
    x_ND = x_xD.reshape(-1, x_xD.shape[-1]).float().contiguous()
    are_many = len(x_ND) > (FEWER_ROWS if matrix.is_input_major else FEW_ROWS)
    stride = matrix.inputs if are_many or matrix.is_input_major else matrix.outputs
    run = _function("multiply" if are_many else name)
    make = x_ND.new_zeros if run is _function("add_times") else x_ND.new_empty
    y_NF = make(len(x_ND), matrix.outputs)

    def run_part(first: int, last: int) -> None:
        run(ctypes.byref(matrix), x_ND.data_ptr(), y_NF.data_ptr(), len(x_ND), stride, first, last)

    _in_parts(run_part, matrix, len(x_ND))
    return y_NF.to(x_xD.dtype).view(*x_xD.shape[:-1], matrix.outputs)


@cache
def _function(name: str) -> Callable[..., None]:
    found = library()
    assert found is not None
    function = getattr(found, name)
    function.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_long] * 4
    function.restype = None
    return function  # type: ignore[no-any-return]


def _in_parts(run: Callable[[int, int], None], matrix: Matrix, rows: int) -> None:
    """Calls it for all outputs, whole panels of them, in as many threads as are worth it."""
    outputs = matrix.outputs
    parts = threads_for(outputs * matrix.inputs * max(1, rows // FEW_ROWS))
    ends = [outputs * part // parts // PANEL * PANEL for part in range(parts)] + [outputs]
    others = [_threads(os.getpid()).submit(run, *ends[part : part + 2]) for part in range(1, parts)]
    run(0, ends[1])
    for other in others:
        other.result()


def threads_for(weights: int) -> int:
    """How many threads are worth it where so many weights are multiplied with few rows."""
    return max(1, min(torch.get_num_threads(), weights // THREAD_WEIGHTS))


@cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Of this process: threads do not survive a fork."""
    return ThreadPoolExecutor(os.cpu_count(), f"kernels-{process}")
