"""Continuous batching: many requests share the steps of the model, without padding.

A request is a generator: it yields the tokens that it wants read next and is sent what the model
made of them, until it returns its result. `together` runs many: each step reads the next tokens of
as many as fit, long prompts beside single tokens of answers that are being written; one that ends
makes room for the next. What a request returns does not depend on those beside it. Called by
`engine`, which knows what requests want.

Letters: T tokens, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import NamedTuple, TypeVar

from torch import Tensor

from model.attention import Layout
from model.cache import Cache
from model.image import Tiles

Result = TypeVar("Result")


class Piece(NamedTuple):
    """Some tokens of a prompt with the tiles that stand among them."""

    token_ids: Sequence[int]
    tiles_N3SS: Tensor | None = None
    images: Sequence[Tiles] = ()  #: whole, for cross-attention, instead of tiles


class Wanted(NamedTuple):
    """A piece to read next, of one sequence."""

    piece: Piece
    layout: Layout
    cache: Cache
    extend_cache: bool = True
    predicts: bool = False  #: whether the logits after the last token are asked for

    @property
    def is_step(self) -> bool:
        """Whether it is the next token of an answer that is being written."""
        return self.predicts and len(self.piece.token_ids) == 1

    @property
    def follows(self) -> bool:
        """Whether it simply goes on from what the cache holds, which holds it from then on."""
        layout = self.layout
        return self.extend_cache and layout.segments_BT is None and layout.branches_BT is None


class Found(NamedTuple):
    """What the model made of them."""

    h_TD: Tensor
    logits_V: Tensor | None


Request = Generator[Wanted, Found, Result]


class Tally:
    """Tokens that many requests have read, and those that they have to read, added up. The total
    grows when a request begins."""

    def __init__(self, on_progress: Callable[[int, int], None] | None) -> None:
        self._tell = on_progress
        self._counts: dict[int, tuple[int, int]] = {}

    def of(self, number: int) -> Callable[[int, int], None]:
        """What a request tells how far it is."""

        def told(done: int, total: int) -> None:
            self._counts[number] = done, total
            if self._tell is not None:
                self._tell(*map(sum, zip(*self._counts.values(), strict=True)))

        return told


def alone(request: Request[Result], read: Callable[[list[Wanted]], list[Found]]) -> Result:
    """The result of one request."""
    [result] = together([request], read, room=1, at_once=1)
    return result


def together(
    requests: Iterable[Request[Result]],
    read: Callable[[list[Wanted]], list[Found]],
    *,
    room: int,
    at_once: int,
    on_end: Callable[[int], None] | None = None,
) -> list[Result]:
    """The results, in order. A step has at most `room` tokens, unless one request alone wants more;
    at most `at_once` requests, and with them their caches, are alive. `on_end` is told how many
    have ended; if it raises, all end there."""
    waiting = iter(enumerate(requests))
    wants: dict[int, tuple[Request[Result], Wanted]] = {}
    results: dict[int, Result] = {}

    def go_on(number: int, request: Request[Result], found: Found | None) -> None:
        try:
            wants[number] = request, next(request) if found is None else request.send(found)
        except StopIteration as end:
            wants.pop(number, None)
            results[number] = end.value
            if on_end is not None:
                on_end(len(results))

    while True:
        while len(wants) < at_once and (new := next(waiting, None)) is not None:
            go_on(*new, None)
        if not wants:
            return [results[number] for number in sorted(results)]
        step = _fill([(number, wanted) for number, (_, wanted) in wants.items()], room)
        founds = read([wants[number][1] for number in step])
        for number, found in zip(step, founds, strict=True):
            go_on(number, wants[number][0], found)


def _fill(wants: Sequence[tuple[int, Wanted]], room: int) -> list[int]:
    """The oldest, and after it those that fit beside it."""
    step: list[int] = []
    for number, wanted in wants:
        tokens = len(wanted.piece.token_ids)
        if not step or tokens <= room:
            step.append(number)
            room -= tokens
    return step
