"""A CPU that says it is several devices, for tests of models that lie on more than one.

Every tensor has a place among cpu:0, cpu:1, … or is the host's (cpu), which is told wherever its
device is asked for. As GPUs do, it refuses to compute with tensors of two places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves


class Machine(TorchFunctionMode):
    """A CPU that says it is several. What goes through `torch` in here has a place."""

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[int, torch.device] = {}  #: by the address of the storage
        self.computed: set[torch.device] = set()  #: where products of matrices were made

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func == Tensor.device.__get__:
            return self._place(args[0])
        wanted = [one for one in (*args, kwargs.get("device")) if isinstance(one, torch.device)]
        if func is Tensor.to and wanted:
            return self._sent(func, args, kwargs, wanted[0])
        places = {self._place(one) for one in _tensors(func, args, kwargs)}
        if len(places) > 1 and func is not Tensor.copy_:
            raise RuntimeError(f"{func} was given tensors on {sorted(map(str, places))}")
        home = wanted[0] if wanted else next(iter(places), torch.device("cpu"))
        if func is torch.nn.functional.linear:
            self.computed.add(home)
        return self._put(func(*args, **kwargs), home)

    def _sent(self, func: Callable[..., Any], args: Any, kwargs: Any, device: torch.device) -> Any:
        if device == self._place(args[0]):
            return self._put(func(*args, **kwargs), device)
        return self._put(func(args[0].clone(), *args[1:], **kwargs), device)

    def _put(self, out: Any, device: torch.device) -> Any:
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and not tensor.is_meta and tensor.numel():
                self._places[tensor.untyped_storage().data_ptr()] = device
        return out

    def _place(self, tensor: Tensor) -> torch.device:
        if tensor.is_meta:
            return tensor.device
        return self._places.get(tensor.untyped_storage().data_ptr(), torch.device("cpu"))


def _tensors(func: Callable[..., Any], args: Any, kwargs: Any) -> list[Tensor]:
    """Those that must be in one place: not numbers, nor what is counted out on the host."""
    if func is Tensor.__getitem__:
        args = args[:1]
    leaves = tree_leaves([args, kwargs])
    return [one for one in leaves if isinstance(one, Tensor) and one.ndim and one.numel()]
