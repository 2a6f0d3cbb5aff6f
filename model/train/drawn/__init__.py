"""Pictures drawn for training: products whose every property is known, and pages of a document.

Photos name what they show and little else. Here a product of a few simple shapes is drawn with a
known colour, pattern, number and printed words, so that claims about each can be made that hold,
that do not, and that no picture can show. What a claim is about is large: the model sees the
picture at 120 px. The fonts are those inside Pillow and PyMuPDF; none of the system is needed.

Called by the curriculum and by the measurement of drawn products. The pictures must not be mirrored
or cropped afterwards: mirrored words are no words, and a crop changes the number.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from PIL import Image

from model.train.drawn.claims import claims_about
from model.train.drawn.facts import draw_facts
from model.train.drawn.pages import draw_page
from model.train.drawn.products import paint
from model.train.listings import Claim, Photo

__all__ = ["draw_page", "draw_product"]


def draw_product(
    chance: random.Random, backgrounds: Sequence[Photo], count: int
) -> tuple[Image.Image, list[Claim]]:
    """A product picture, `SIDE` pixels square, and `count` claims about it."""
    facts = draw_facts(chance)
    picture = paint(facts, chance, backgrounds)
    return picture, claims_about(facts, count, chance)
