"""Which images a token sees where images are looked at by cross-attention (Llama 3.2 Vision).

One token stands for an image. It and the text after it see this image until the next one comes;
images that follow each other without text between them are seen together. Text before the first
image sees none. So tokens that see the same are neighbours, and no mask is needed.

Pure, without weights. Called by `cross_attention` and `transformer`; a `Cache` holds the gaze of
the last token that it has read. It refuses images that are fewer or more than their tokens.

Letters: V image features, D model width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor


class Gaze(NamedTuple):
    """What a token sees of all image features read up to it, which are counted from 0."""

    first: int = 0
    end: int = 0  #: one after the last; also how many features have been read
    on_image: bool = False  #: the token itself stands for an image


class Run(NamedTuple):
    """Neighbouring tokens that see the same image features."""

    tokens: int
    first: int
    end: int

    @property
    def is_blind(self) -> bool:
        return self.first == self.end


class View(NamedTuple):
    """What each of some neighbouring tokens sees."""

    runs: tuple[Run, ...]
    gaze: Gaze  #: of the last of them
    features_VD: Tensor | None = None  #: of the images that stand among them

    @property
    def blind(self) -> int:
        """Tokens before the first image; all that follow see something."""
        return self.runs[0].tokens if self.runs and self.runs[0].is_blind else 0


def onwards(gaze: Gaze, tokens: int) -> View:
    """Text that goes on sees what the token before it saw."""
    return View((Run(tokens, gaze.first, gaze.end),), gaze._replace(on_image=False))


def view_along(
    gaze: Gaze, token_ids: Sequence[int], image_token: int, features: Sequence[Tensor]
) -> View:
    """Tokens with images among them, after a token with this gaze.

    `features` are those of each image, (V, D), in the order of the tokens that stand for them.
    """
    images = sum(token_id == image_token for token_id in token_ids)
    if images != len(features):
        raise ValueError(
            f"the text has {images} image tokens (id {image_token}) and there are {len(features)} "
            "images: write one token for each image"
        )
    gazes = list(_gazes(gaze, token_ids, image_token, [len(some) for some in features]))
    seen = groupby(gazes, key=lambda each: (each.first, each.end))
    runs = tuple(Run(sum(1 for _ in same), first, end) for (first, end), same in seen)
    if not features:
        return View(runs, gazes[-1])
    return View(runs, gazes[-1], torch.cat(list(features)))


def _gazes(
    gaze: Gaze, token_ids: Sequence[int], image_token: int, sizes: Sequence[int]
) -> Iterator[Gaze]:
    """The gaze of each token."""
    left = iter(sizes)
    for token_id in token_ids:
        if token_id == image_token:
            first = gaze.first if gaze.on_image else gaze.end
            gaze = Gaze(first, gaze.end + next(left), on_image=True)
        else:
            gaze = gaze._replace(on_image=False)
        yield gaze
