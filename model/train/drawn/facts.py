"""The facts of a drawn product: what its picture will show, drawn at random from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from model.train.chinese import COLOURS
from model.train.drawn.colours import Rgb, alike, vary
from model.train.drawn.layout import fits
from model.train.drawn.shapes import SHAPES
from model.train.drawn.words import CHINESE, LATIN, PATTERNS, SIZES

CHINESE_SHARE = 0.35
INVENTED_SHARE = 0.3  # of Latin words, so that letters are read and not a list learnt by heart


@dataclass(frozen=True)
class Facts:
    """All that a drawn picture shows."""

    shape: str
    colour: str
    pattern: str
    count: int
    text: str | None  # the word that is printed
    banner: bool  # the word stands over the picture and not on the item
    size: str | None  # the size that is printed on it
    second: str  # the colour of stripes, dots and checks
    label: str  # the colour behind printed words
    rgb: Rgb  # the exact shade of `colour`

    @property
    def accents(self) -> set[str]:
        """Colours on the item that are not its own."""
        label = {self.label} if self.text and not self.banner else set()
        return label if self.pattern == "plain" else {*label, self.second}


def draw_facts(chance: random.Random) -> Facts:
    """What a picture will show."""
    shape = chance.choice(list(SHAPES))
    colour = chance.choice(list(COLOURS))
    text = draw_word(chance) if chance.random() < 0.72 else None
    count = chance.choices((1, 2, 3, 4, 5), weights=(32, 18, 17, 16, 17))[0]
    has_size = count <= 2 and chance.random() < 0.22
    far = [name for name in ("white", "black", "yellow") if name not in alike(colour)]
    label = ("white" if chance.random() < 0.7 else chance.choice(far)) if far else "black"
    return Facts(
        shape=shape,
        colour=colour,
        pattern=chance.choices(list(PATTERNS), weights=(40, 22, 19, 19))[0],
        count=count,
        text=text,
        banner=text is not None and not fits(text, SHAPES[shape], count),
        size=chance.choice(SIZES) if has_size else None,
        second="white" if "white" in far else chance.choice(far),
        label=label,
        rgb=vary(colour, chance),
    )


def draw_word(chance: random.Random) -> str:
    """A word to be printed, Chinese or Latin."""
    return chance.choice(CHINESE) if chance.random() < CHINESE_SHARE else draw_latin_word(chance)


def draw_latin_word(chance: random.Random) -> str:
    """A word to be printed in Latin letters, from the list or invented."""
    if chance.random() >= INVENTED_SHARE:
        return chance.choice(LATIN).replace("_", " ")
    syllables = range(chance.choice((2, 2, 3)))
    word = "".join(chance.choice("BDFGKLMNPRSTVZ") + chance.choice("AEIOU") for _ in syllables)
    return word + chance.choice(("", "", "N", "S", "X", "R"))
