"""Meta's `consolidated.NN.pth`: the only place where a pickle is opened, and none is ever run.

Each file holds one slice of the model (model parallelism); all are mapped into memory, not read.
It refuses a pickle that holds anything but tensors, slices that do not belong together, and
quantised weights. Called by `meta`.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.checkpoint import READABLE
from model.convert.errors import ConvertError

#: In the files beside the weights, and not needed: tables computed from the config, statistics of
#: training, and the state of the library that trained it.
IGNORED = re.compile(
    r"(^|\.)(rope\.freqs|freqs?_cis)$|\._extra_state$"
    r"|\.(global|running)_gate_stats_3E$|\.expert_activation_DE$"
)


def weight_files(folder: Path) -> list[Path]:
    """The slices in their order; empty if the folder is not Meta's."""
    one = folder / "consolidated.pth"
    return [one] if one.is_file() else sorted(folder.glob("consolidated.[0-9]*.pth"))


def open_slices(files: Sequence[Path]) -> list[dict[str, Tensor]]:
    """The weights of each file by Meta's names."""
    slices = [_open(path) for path in files]
    names = slices[0].keys()
    for path, other in zip(files, slices, strict=True):
        if odd := sorted(names ^ other.keys()):
            raise ConvertError(
                f"{path} does not belong to {files[0].name}: only one of them has {odd[0]}; "
                "download the folder again"
            )
    return slices


def _open(path: Path) -> dict[str, Tensor]:
    state = _unpickle(path)
    if not isinstance(state, dict):
        raise ConvertError(f"{path} holds a {type(state).__name__}, not weights by name")
    kept = {str(name): value for name, value in state.items() if not IGNORED.search(str(name))}
    for name, value in kept.items():
        if not isinstance(value, Tensor):
            raise ConvertError(f"{path}: {name} is a {type(value).__name__}, not a tensor")
        if value.dtype not in READABLE:
            raise ConvertError(
                f"{path}: {name} is stored as {value.dtype}, not as a plain float: use the files "
                "that are not quantised"
            )
    return kept


def _unpickle(path: Path) -> Any:
    # BytesIO: how Meta's training library left its own state, which is not looked at.
    with torch.serialization.safe_globals([io.BytesIO]):
        try:
            return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        except pickle.UnpicklingError as error:
            raise ConvertError(
                f"{path} holds code beside the weights, and was not run: get the original file "
                f"from its publisher ({_first_sentence(error)})"
            ) from None
        except (RuntimeError, EOFError, OSError, ValueError) as error:
            raise ConvertError(
                f"{path} is not a whole weights file of PyTorch: download it again "
                f"({_first_sentence(error)})"
            ) from None


def _first_sentence(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].split(". ")[0] if lines else type(error).__name__
