"""The kinds of product that can be drawn: their words, and the pieces they are drawn with."""

from __future__ import annotations

from dataclasses import dataclass

from model.train.drawn.colours import Box

Piece = tuple[str, tuple[float, ...]]  # a form, and its numbers as shares of the item's tile


@dataclass(frozen=True)
class Shape:
    """A kind of product: its words, and how one is drawn in a tile `aspect` as wide as high."""

    name: str
    plural: str
    single: str
    chinese: str
    measure: str  # the Chinese word between a number and the noun
    aspect: float
    body: tuple[Piece, ...]
    trim: tuple[tuple[str, Piece], ...] = ()  # tone and piece, drawn over the body
    front: Box | None = None  # where words may stand


SHAPES = {
    shape.name: shape
    for shape in (
        Shape(
            "bottle", "bottles", "a bottle", "瓶子", "个", 0.52,
            (
                ("round", (0.02, 0.34, 0.98, 1.0, 0.16)),
                (
                    "polygon",
                    (0.36, 0.12, 0.64, 0.12, 0.66, 0.26, 0.94, 0.42, 0.06, 0.42, 0.34, 0.26),
                ),
            ),
            (("white", ("round", (0.31, 0.0, 0.69, 0.13, 0.04))),),
            (0.02, 0.48, 0.98, 0.86),
        ),
        Shape(
            "box", "boxes", "a box", "盒子", "个", 1.1,
            (("polygon", (0.0, 0.2, 0.18, 0.0, 1.0, 0.0, 1.0, 0.8, 0.82, 1.0, 0.0, 1.0)),),
            (
                ("dark", ("polygon", (0.82, 0.2, 1.0, 0.0, 1.0, 0.8, 0.82, 1.0))),
                ("light", ("polygon", (0.0, 0.2, 0.18, 0.0, 1.0, 0.0, 0.82, 0.2))),
            ),
            (0.03, 0.34, 0.79, 0.86),
        ),
        Shape(
            "can", "cans", "a can", "易拉罐", "个", 0.62,
            (
                ("round", (0.0, 0.06, 1.0, 0.95, 0.08)),
                ("ellipse", (0.0, 0.0, 1.0, 0.16)),
                ("ellipse", (0.0, 0.84, 1.0, 1.0)),
            ),
            (
                ("grey", ("ellipse", (0.03, 0.0, 0.97, 0.15))),
                ("dark", ("ellipse", (0.4, 0.04, 0.6, 0.1))),
            ),
            (0.0, 0.32, 1.0, 0.78),
        ),
        Shape(
            "jar", "jars", "a jar", "罐子", "个", 0.82,
            (("round", (0.0, 0.2, 1.0, 1.0, 0.2)),),
            (("dark", ("round", (0.1, 0.0, 0.9, 0.19, 0.05))),),
            (0.06, 0.4, 0.94, 0.84),
        ),
        Shape(
            "bag", "bags", "a bag", "袋子", "个", 0.84,
            (
                ("polygon", (0.06, 0.3, 0.94, 0.3, 1.0, 1.0, 0.0, 1.0)),
                ("ring", (0.27, 0.02, 0.73, 0.6, 0.07)),
            ),
            (),
            (0.08, 0.46, 0.92, 0.86),
        ),
        Shape(
            "mug", "mugs", "a mug", "马克杯", "个", 1.12,
            (("round", (0.0, 0.04, 0.76, 1.0, 0.1)), ("ring", (0.56, 0.2, 1.0, 0.76, 0.09))),
            (("dark", ("ellipse", (0.03, 0.0, 0.73, 0.15))),),
            (0.03, 0.34, 0.73, 0.82),
        ),
        Shape(
            "T-shirt", "T-shirts", "a T-shirt", "T恤", "件", 1.08,
            (
                (
                    "polygon",
                    (
                        0.33, 0.03, 0.0, 0.22, 0.1, 0.48, 0.22, 0.4, 0.22, 1.0, 0.78, 1.0,
                        0.78, 0.4, 0.9, 0.48, 1.0, 0.22, 0.67, 0.03, 0.58, 0.12, 0.42, 0.12,
                    ),
                ),
            ),
            (),
            (0.22, 0.34, 0.78, 0.7),
        ),
        Shape(
            "book", "books", "a book", "书", "本", 0.76,
            (("polygon", (0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0)),),
            (
                ("dark", ("polygon", (0.0, 0.0, 0.1, 0.0, 0.1, 1.0, 0.0, 1.0))),
                ("white", ("polygon", (0.94, 0.02, 1.0, 0.05, 1.0, 0.98, 0.94, 0.95))),
                ("white", ("polygon", (0.02, 0.96, 0.94, 0.96, 1.0, 1.0, 0.06, 1.0))),
            ),
            (0.13, 0.14, 0.92, 0.52),
        ),
        Shape(
            "ball", "balls", "a ball", "球", "个", 1.0,
            (("ellipse", (0.0, 0.0, 1.0, 1.0)),),
            (("light", ("ellipse", (0.24, 0.1, 0.42, 0.24))),),
            (0.1, 0.34, 0.9, 0.68),
        ),
        Shape(
            "milk carton", "milk cartons", "a milk carton", "牛奶盒", "个", 0.62,
            (
                ("polygon", (0.0, 0.32, 0.16, 0.09, 0.84, 0.09, 1.0, 0.32, 1.0, 1.0, 0.0, 1.0)),
                ("polygon", (0.12, 0.0, 0.88, 0.0, 0.88, 0.1, 0.12, 0.1)),
            ),
            (
                ("light", ("polygon", (0.0, 0.32, 0.16, 0.09, 0.84, 0.09, 1.0, 0.32))),
                ("white", ("ellipse", (0.4, 0.15, 0.6, 0.27))),
            ),
            (0.03, 0.42, 0.97, 0.84),
        ),
        Shape(
            "dress", "dresses", "a dress", "连衣裙", "条", 0.78,
            (
                (
                    "polygon",
                    (
                        0.27, 0.0, 0.35, 0.0, 0.42, 0.13, 0.58, 0.13, 0.65, 0.0, 0.73, 0.0,
                        0.69, 0.4, 1.0, 1.0, 0.0, 1.0, 0.31, 0.4,
                    ),
                ),
            ),
            (("dark", ("polygon", (0.31, 0.38, 0.69, 0.38, 0.71, 0.44, 0.29, 0.44))),),
        ),
        Shape(
            "hat", "hats", "a hat", "帽子", "顶", 1.45,
            (("ellipse", (0.0, 0.6, 1.0, 1.0)), ("round", (0.2, 0.0, 0.8, 0.86, 0.22))),
            (("dark", ("polygon", (0.2, 0.58, 0.8, 0.58, 0.8, 0.72, 0.2, 0.72))),),
        ),
        Shape(
            "umbrella", "umbrellas", "an umbrella", "雨伞", "把", 1.0,
            (("pie", (0.0, 0.04, 1.0, 1.1)),),
            (
                ("black", ("polygon", (0.475, 0.55, 0.525, 0.55, 0.525, 0.94, 0.475, 0.94))),
                ("black", ("polygon", (0.475, 0.94, 0.64, 0.94, 0.64, 1.0, 0.475, 1.0))),
            ),
        ),
        Shape(
            "sock", "socks", "a sock", "袜子", "只", 0.8,
            (
                (
                    "polygon",
                    (
                        0.14, 0.0, 0.58, 0.0, 0.58, 0.52, 0.92, 0.7, 1.0, 0.84, 0.94, 1.0,
                        0.46, 1.0, 0.14, 0.76,
                    ),
                ),
            ),
            (("light", ("polygon", (0.14, 0.0, 0.58, 0.0, 0.58, 0.13, 0.14, 0.13))),),
        ),
        Shape(
            "backpack", "backpacks", "a backpack", "背包", "个", 0.8,
            (("round", (0.06, 0.12, 0.94, 1.0, 0.24)), ("ring", (0.34, 0.0, 0.66, 0.3, 0.06))),
            (
                ("dark", ("round", (0.14, 0.62, 0.86, 0.93, 0.08))),
                ("white", ("polygon", (0.2, 0.68, 0.8, 0.68, 0.8, 0.7, 0.2, 0.7))),
            ),
            (0.08, 0.28, 0.92, 0.58),
        ),
        Shape(
            "sofa", "sofas", "a sofa", "沙发", "个", 1.7,
            (
                ("round", (0.1, 0.0, 0.9, 0.8, 0.12)),
                ("round", (0.0, 0.3, 0.2, 0.88, 0.1)),
                ("round", (0.8, 0.3, 1.0, 0.88, 0.1)),
            ),
            (
                ("dark", ("polygon", (0.2, 0.5, 0.8, 0.5, 0.8, 0.54, 0.2, 0.54))),
                ("dark", ("polygon", (0.49, 0.5, 0.51, 0.5, 0.51, 0.8, 0.49, 0.8))),
                ("black", ("polygon", (0.06, 0.87, 0.14, 0.87, 0.14, 1.0, 0.06, 1.0))),
                ("black", ("polygon", (0.86, 0.87, 0.94, 0.87, 0.94, 1.0, 0.86, 1.0))),
            ),
        ),
    )
}  # fmt: skip


# Which of these a person would not tell apart with certainty at 120 px.
ALIKE_SHAPES = (
    {"box", "milk carton", "book"}, {"can", "jar", "mug"}, {"bag", "backpack"},
    {"bottle", "jar"},
)  # fmt: skip
