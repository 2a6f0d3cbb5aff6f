"""How well a model foretells a text: its perplexity, exp of the mean surprise of a token in nats.

The text is cut into windows that are read one by one, each from its own beginning. Called by `cli`.

Letters: T tokens of a window, D model width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from model.attention import Layout
from model.transformer import Transformer

WINDOW_TOKENS = 1024
LOGITS_AT_ONCE = 2**24  #: numbers in a slice of logits


@torch.inference_mode()
def perplexity(
    transformer: Transformer,
    windows: Sequence[Tensor],
    on_tokens: Callable[[int, int], None],
) -> float:
    """Of all tokens but the first of each window (T); `on_tokens` gets those read, and all."""
    total = sum(len(window_T) - 1 for window_T in windows)
    surprise, done = 0.0, 0
    for window_T in windows:
        on_tokens(done, total)
        surprise += _surprise(transformer, window_T)
        done += len(window_T) - 1
    on_tokens(done, total)
    return math.exp(surprise / total)


def windows_of(
    token_ids: Sequence[int], bos: int | None, size: int = WINDOW_TOKENS
) -> list[Tensor]:
    """Windows of `size` tokens, each after the token that begins a text; a rest is left out unless
    it is all there is."""
    begin = [] if bos is None else [bos]
    step = size - len(begin)
    starts = range(0, max(1, len(token_ids) - step + 1), step)
    return [torch.tensor([*begin, *token_ids[start : start + step]]) for start in starts]


def _surprise(transformer: Transformer, window_T: Tensor) -> float:
    """Nats of all tokens but the first."""
    device = transformer.embedding.weight.device
    window_T = window_T.to(device)
    layout = Layout.consecutive(0, len(window_T), device=device)
    h_TD = transformer(transformer.embed(window_T[None]), layout)[0, :-1]
    step = max(1, LOGITS_AT_ONCE // transformer.config.text.vocab_size)
    slices = zip(torch.split(h_TD, step), torch.split(window_T[1:], step), strict=True)
    return sum(
        functional.cross_entropy(transformer.unembed(h_SD), wanted_S, reduction="sum").item()
        for h_SD, wanted_S in slices
    )
