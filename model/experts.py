"""Which experts a model sends tokens to: by layer, and by kind of token.

It looks on while an engine reads, and changes nothing. Called by `python -m model experts`. Refuses
models without mixtures of experts.

Letters: N tokens, D model width, E experts, K experts chosen per token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from html import escape

import torch
from torch import Tensor, nn

from model.engine import Engine, EngineError, OnProgress
from model.moe import MoE
from model.prompt import Part, open_turn

KINDS = ("text", "image")  #: image: the places of image features; text: all other tokens
CELL_WIDTH, CELL_HEIGHT, NAME_WIDTH, HEAD_HEIGHT = 26, 18, 110, 24  #: of the plot, in pixels

Routes = dict[int, list[Tensor]]  #: by layer: the experts (N, K) of each piece that was read


@dataclass(frozen=True)
class ExpertUse:
    """Where one layer sent tokens of one kind."""

    layer: int  #: from 0
    kind: str  #: one of `KINDS`
    tokens: int
    shares_E: tuple[float, ...]  #: of the choices; they add up to 1

    @property
    def experts_in_use(self) -> float:
        """How many experts, used equally, are as hard to foretell: exp of the shares' entropy."""
        return math.exp(-sum(share * math.log(share) for share in self.shares_E if share))


def expert_use(
    engine: Engine, documents: Sequence[Sequence[Part]], on_progress: OnProgress | None = None
) -> list[ExpertUse]:
    """Reads each document from its beginning; kinds that no token has are left out."""
    text = engine.transformer.config.text
    if not any(isinstance(part, MoE) for part in engine.transformer.modules()):
        raise EngineError(f"{engine.name} has no experts: it is a dense model")
    counts: dict[tuple[int, str], Tensor] = {}
    tokens: dict[str, int] = dict.fromkeys(KINDS, 0)
    for parts in documents:
        is_image_N = _is_image(engine, parts)
        with watched(engine.transformer) as routes:
            engine.prefill(parts, on_progress)
        for kind, is_kind_N in zip(KINDS, (~is_image_N, is_image_N), strict=True):
            tokens[kind] += int(is_kind_N.sum())
            for layer, pieces in routes.items():
                chosen = torch.cat(pieces)[is_kind_N].flatten()
                count_E = chosen.bincount(minlength=text.num_local_experts)
                counts[layer, kind] = counts.get((layer, kind), 0) + count_E
    return [
        ExpertUse(layer, kind, tokens[kind], tuple((count_E / count_E.sum()).tolist()))
        for (layer, kind), count_E in sorted(counts.items(), key=lambda item: item[0][0])
        if tokens[kind]
    ]


@contextmanager
def watched(transformer: nn.Module) -> Iterator[Routes]:
    """Collects the choices of all routers, on the CPU, while the model reads."""
    routes: Routes = {}
    with ExitStack() as hooks:
        for name, part in transformer.named_modules():
            if isinstance(part, MoE):
                layer = int(name.split(".")[1])  # blocks.3.feed_forward
                note = partial(_note, routes.setdefault(layer, []))
                hooks.callback(part.register_forward_pre_hook(note).remove)
        yield routes


def table(uses: Sequence[ExpertUse]) -> str:
    """A line for each layer and kind: per cent of the choices by expert."""
    experts = range(len(uses[0].shares_E))
    head = f"{'layer':>5} {'kind':5} {'tokens':>8} {'in use':>6}"
    lines = [head + "".join(f"{expert:>6}" for expert in experts)]
    for use in uses:
        line = f"{use.layer:>5} {use.kind:5} {use.tokens:>8,} {use.experts_in_use:>6.1f}"
        lines.append(line + "".join(f"{100 * share:>6.1f}" for share in use.shares_E))
    return "\n".join(lines) + "\n"


def plot(uses: Sequence[ExpertUse], title: str) -> str:
    """The same as SVG: a row for each layer and kind, a cell for each expert, the darker the more
    it is used; the darkest has twice the share that all would have if they were equal, or more."""
    experts = len(uses[0].shares_E)
    width = NAME_WIDTH + experts * CELL_WIDTH + 8
    height = HEAD_HEIGHT * 2 + len(uses) * CELL_HEIGHT + 8
    words = [_words(4, 16, title)]
    words += [
        _words(NAME_WIDTH + expert * CELL_WIDTH + 4, HEAD_HEIGHT * 2 - 6, str(expert))
        for expert in range(experts)
    ]
    cells = []
    for row, use in enumerate(uses):
        top = HEAD_HEIGHT * 2 + row * CELL_HEIGHT
        words.append(_words(4, top + 13, f"layer {use.layer}, {use.kind}"))
        cells += [
            f'<rect x="{NAME_WIDTH + expert * CELL_WIDTH}" y="{top}" width="{CELL_WIDTH - 1}" '
            f'height="{CELL_HEIGHT - 1}" fill="#1f5fbf" '
            f'fill-opacity="{min(1.0, share * experts / 2):.3f}">'
            f"<title>{100 * share:.1f} %</title></rect>"
            for expert, share in enumerate(use.shares_E)
        ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>'
        f"{''.join(words)}{''.join(cells)}</svg>\n"
    )


def _is_image(engine: Engine, parts: Sequence[Part]) -> Tensor:
    """Which tokens (N) of the prompt are places of image features."""
    prompt = open_turn(parts, engine.tokenizer, engine.image_processor)
    config = engine.transformer.config
    patch = config.image_token_index if config.vision is not None else -1
    return torch.tensor(prompt.token_ids) == patch


def _note(chosen: list[Tensor], moe: nn.Module, given: tuple[Tensor]) -> None:
    assert isinstance(moe, MoE)
    chosen.append(moe.route(given[0]).topk(moe.chosen_per_token, dim=-1).indices.cpu())


def _words(x: float, y: float, words: str) -> str:
    return f'<text x="{x}" y="{y}" fill="#222">{escape(words)}</text>'
