"""The processes that share one training run: each reads its part of every step's rows, and their
gradients are added up before each of them takes the same step.

On a CPU one process for each core is half as fast again as one process with a thread for each:
small operations do not wait for one another. Called by the command line and the training loop.
Refuses nothing; a process whose fellow has died ends with an error of the connection.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing


@dataclass(frozen=True)
class Crew:
    """This process among its fellows; alone by default."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that speaks, saves and decides when to stop."""
        return self.rank == 0

    def part(self, first: int, count: int) -> tuple[int, int]:
        """This process's part of `count` rows from number `first` on: its first, and how many."""
        low, high = (count * rank // self.size for rank in (self.rank, self.rank + 1))
        return first + low, high - low

    def add_up(
        self, gradients: Mapping[str, Tensor], parameters: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The sums over the crew, of every parameter that any of them has a gradient of."""
        if self.size == 1:
            return dict(gradients)
        present = torch.tensor([float(name in gradients) for name in parameters])
        distributed.all_reduce(present)
        names = [
            name for name, holders in zip(parameters, present.tolist(), strict=True) if holders
        ]
        if not names:
            return {}
        shapes = [parameters[name].shape for name in names]
        flat = torch.cat(
            [
                gradients[name].flatten() if name in gradients else torch.zeros(shape.numel())
                for name, shape in zip(names, shapes, strict=True)
            ]
        )
        distributed.all_reduce(flat)
        pieces = torch.split(flat, [shape.numel() for shape in shapes])
        return {
            name: piece.view(shape)
            for name, piece, shape in zip(names, pieces, shapes, strict=True)
        }

    def agree(self, decision: bool) -> bool:
        """What the leading process has decided."""
        if self.size == 1:
            return decision
        told = torch.tensor([decision])
        distributed.broadcast(told, src=0)
        return bool(told)

    def collect(self, value: Any) -> list[Any]:
        """The values of all processes."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values


@contextmanager
def joined(rank: int, size: int, meeting: str) -> Iterator[Crew]:
    """A member of a crew that meets over a file."""
    if size == 1:
        yield Crew()
        return
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the crew is on this machine
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=size
    )
    try:
        yield Crew(rank, size)
    finally:
        distributed.destroy_process_group()


def lead(size: int, work: Callable[..., None], *arguments: Any) -> None:
    """Run `work(crew, *arguments)` in this process and `size - 1` others, and wait for all."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"{folder}/meeting"
        context = multiprocessing.get_context("spawn")
        common = (size, meeting, work, arguments)
        fellows = [
            context.Process(target=_follow, args=(rank, *common), daemon=True)
            for rank in range(1, size)
        ]
        for fellow in fellows:
            fellow.start()
        with joined(0, size, meeting) as crew:
            work(crew, *arguments)
        for fellow in fellows:
            fellow.join()


def _follow(rank: int, size: int, meeting: str, work: Callable[..., None], arguments: Any) -> None:
    with joined(rank, size, meeting) as crew:
        work(crew, *arguments)
