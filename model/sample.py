"""Choosing the next token: the most likely one, or one drawn by temperature and top-p; and the
constraint that an answer must be one of some strings.

Refuses: a negative temperature, a top-p outside (0, 1], a constraint without any choice.
Called by: engine.py.

Shapes: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


class SamplingError(ValueError):
    """Nothing can be drawn like this; the message names the setting and its value."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Temperature 0 takes the most likely token (greedy)."""

    temperature: float = 0.0
    top_p: float = 1.0  #: draw among the likeliest tokens that together have this probability
    seed: int | None = None  #: the same seed draws the same tokens; None draws anew each time

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise SamplingError(f"temperature must be 0 or more, not {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise SamplingError(f"top_p must be above 0 and at most 1, not {self.top_p}")

    def generator(self) -> torch.Generator:
        """A fresh source of randomness, on the CPU whatever the model runs on."""
        generator = torch.Generator()
        if self.seed is None:
            generator.seed()
        else:
            generator.manual_seed(self.seed)
        return generator


def choose(
    logits_V: Tensor,
    options: Sequence[int] | None,
    sampling: Sampling,
    generator: torch.Generator,
) -> int:
    """The next token's id, among `options` if there are any."""
    if options is None:
        return _draw(logits_V, sampling, generator)
    ids = torch.tensor(sorted(set(options)), device=logits_V.device)
    return int(ids[_draw(logits_V[ids], sampling, generator)])


def _draw(logits_V: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    if sampling.temperature == 0:
        return int(logits_V.argmax())
    probabilities_V = torch.softmax(logits_V.float().cpu() / sampling.temperature, dim=-1)
    kept_V = _nucleus(probabilities_V, sampling.top_p)
    return int(torch.multinomial(kept_V, 1, generator=generator))


def _nucleus(probabilities_V: Tensor, top_p: float) -> Tensor:
    """Zero for all but the fewest tokens that reach top_p (Holtzman et al., 2020)."""
    if top_p == 1:
        return probabilities_V
    sorted_V, order_V = probabilities_V.sort(descending=True)
    before_V = sorted_V.cumsum(0) - sorted_V
    return probabilities_V.index_fill(0, order_V[before_V >= top_p], 0)


@dataclass
class Choices:
    """A tree of token ids: each path from the root to an end is one allowed answer."""

    _next: dict[int, Choices] = field(default_factory=dict)
    _is_end: bool = False
    _depth: int = 0  #: tokens of the longest answer from here

    @staticmethod
    def among(answers: Iterable[Sequence[int]]) -> Choices:
        root = Choices()
        for answer in answers:
            root._add(answer)
        if not root._next:
            raise SamplingError("the allowed strings are none or empty: give at least one")
        return root

    @property
    def longest(self) -> int:
        """Tokens of the longest answer."""
        return self._depth

    def after(self, written: Sequence[int], stop: Sequence[int]) -> Sequence[int]:
        """What may follow; the `stop` tokens too where one answer ends and a longer one goes on."""
        node = self
        for token_id in written:
            node = node._next[token_id]
        following = list(node._next)
        return following + list(stop) if node._is_end and following else following

    def _add(self, answer: Sequence[int]) -> None:
        node = self
        for place, token_id in enumerate(answer):
            node._depth = max(node._depth, len(answer) - place)
            node = node._next.setdefault(token_id, Choices())
        node._is_end = True
