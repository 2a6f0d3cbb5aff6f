"""Pictures drawn for training: products whose every property is known, and pages of a document.

Photos name what they show and little else. Here a product of a few simple shapes is drawn with a
known colour, pattern, number and printed words, so that claims about each can be made that hold,
that do not, and that no picture can show. What a claim is about is large: the model sees the
picture at 120 px. The fonts are those inside Pillow and PyMuPDF; none of the system is needed.

Called by the curriculum. The pictures must not be mirrored or cropped afterwards: mirrored words
are no words, and a crop changes the number. Refuses: fewer claims than one; it draws no glyph
that its fonts lack (they stand as boxes on a page).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from model.train.chinese import COLOURS
from model.train.listings import UNSEEN, Claim, Photo

Rgb = tuple[int, int, int]
Box = tuple[float, float, float, float]
Piece = tuple[str, tuple[float, ...]]  # a form, and its numbers as shares of the item's tile

SIDE = 192  # of a product picture
CHINESE_SHARE = 0.35
UNCLEAR_SHARE = 0.09
DENIED_SHARE = 0.14
RIVALS_SHARE = 0.7
INVENTED_SHARE = 0.3  # of Latin words, so that letters are read and not a list learnt by heart
LEAST_LETTER = 13.0  # px of width that a printed letter needs; Chinese characters need twice that


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
SHADES: dict[str, Rgb] = {
    "black": (28, 28, 32), "white": (244, 244, 242), "grey": (132, 134, 138),
    "red": (208, 28, 38), "orange": (246, 134, 14), "brown": (116, 70, 34),
    "yellow": (248, 214, 36), "green": (36, 146, 62), "blue": (34, 84, 204),
    "purple": (122, 46, 164), "pink": (246, 146, 188),
}  # fmt: skip
ALIKE_COLOURS = (
    {"red", "orange"}, {"red", "pink"}, {"orange", "yellow"}, {"orange", "brown"},
    {"brown", "red"}, {"purple", "pink"}, {"purple", "blue"}, {"white", "grey"},
    {"grey", "black"}, {"brown", "black"},
)  # fmt: skip
PATTERNS = {
    "plain": ("plain colour", "纯色"),
    "striped": ("stripes", "条纹"),
    "dotted": ("dots", "圆点"),
    "checked": ("checks", "格子"),
}
NUMBERS = {
    1: ("one", "一"),
    2: ("two", "两"),
    3: ("three", "三"),
    4: ("four", "四"),
    5: ("five", "五"),
}
LETTER_SIZES = ("S", "M", "L", "XL", "XXL")
VOLUMES = ("250 ml", "500 ml", "1 L", "2 L")
MASSES = ("200 g", "500 g", "1 kg")
SIZES = (*LETTER_SIZES, *VOLUMES, *MASSES)
_LATIN = """
    NORDIC LUMO VERA KILO ZENO ALBA MIRA PIKO TERRA SOLAR AURA BOREAL KORA VIVO NOVA LIMA OSLO FJORD
    ARBOR DELTA EKO FLORA GAIA HELIO INDIGO JUNO KARMA LOTUS MONTE NIMBUS ORBIT POLAR QUANTO RIVA
    SENSO TANGO URBAN VELA WAVE XENON YUKON ZEBRA ATLAS BRISA CASA DOMO ETNA FARO GLORIA HAVEN
    Milk|Green_Tea|Coffee|Juice|Water|Honey|Sugar|Salt|Rice|Bread|Butter|Cocoa|Oats|Lemon|Apple
    Mint|Soap|Cream|Shampoo|Candy|Pasta|Olive|Pepper|Yoghurt|Berry|Cherry|Mango|Vanilla|Ginger
    Organic|Fresh|Pure|Nature|Classic|Premium|Sport|Baby|Home|Happy|Summer|Winter|Ocean|Forest
    Sun|Moon|Star|Sky|Cloud|River|Stone|Wood|Paper|Music|Love|Peace|Smile|Dream|Magic|Garden
    Paris|Tokyo|London|Berlin|Rome|Madrid|Vitamin|Protein|Energy|Cola|Soda|Beer|Wine|Cake|Pizza
    """
LATIN = tuple(_LATIN.replace("|", " ").split())
_CHINESE = """
    牛奶 绿茶 有机 咖啡 果汁 蜂蜜 红茶 酸奶 大米 面包 白糖 海盐 豆浆 可可 燕麦 柠檬 苹果 薄荷 香皂
    洗发水 糖果 面条 橄榄油 酱油 饼干 草莓 芒果 香草 生姜 新鲜 天然 经典 运动 宝贝 快乐 夏天 冬天
    海洋 森林 太阳 月亮 星空 白云 小河 花园 音乐 平安 微笑 梦想 北京 上海 东方 长城 龙井 普洱 福
    喜 茶 水 米 春 家 好 乐 矿泉水 巧克力 纯净水 乌龙茶 维生素 蛋白粉 花生油 山茶花 小熊 大象
    农夫山泉 冰糖雪梨 四季平安 东方美人
"""
CHINESE = tuple(_CHINESE.split())

# What can be said about each property. {value} and its forms are put in by `_say`.
ATTRIBUTES: dict[str, dict[str, tuple[str, ...]]] = {
    "shape": {"en": ("title", "product", "type", "description"), "zh": ("title", "产品", "类别")},
    "colour": {"en": ("color", "colour", "description"), "zh": ("颜色", "color", "描述")},
    "pattern": {"en": ("pattern", "design", "description"), "zh": ("图案", "款式", "描述")},
    "count": {"en": ("count", "quantity", "description"), "zh": ("数量", "件数", "描述")},
    "text": {"en": ("text", "description", "brand", "print"), "zh": ("文字", "描述", "品牌")},
    "size": {"en": ("size", "description"), "zh": ("尺寸", "规格", "描述")},
    "written": {"en": ("text", "description"), "zh": ("文字", "描述")},
}
WORDINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "shape": {
        "en": ("{value}", "{Value}", "{single}", "The photo shows {single}.", "This is {single}."),
        "zh": ("{value}", "这是{value}。", "图中是{value}。"),
    },
    "colour": {
        "en": ("{value}", "{Value}", "{value} {name}", "{The} {is} {value}.", "in {value}"),
        "zh": ("{value}", "{name}是{value}的。", "{value}{name}", "{value}款"),
    },
    "pattern": {
        "en": ("{value}", "{Value}", "{The} {is} {value}.", "with {noun}", "{value} {name}"),
        "zh": ("{value}", "{name}是{value}的。", "{value}{name}", "{value}款"),
    },
    "count": {
        "en": (
            "{n} {pieces}", "pack of {n}", "{number} {items}", "set of {number}", "{n} {names}",
            "Contains {number} {names}.", "{n}",
        ),
        "zh": (
            "{n} 件", "{number}{measure}装", "共 {n} {measure}", "{number}{measure}{name}", "{n}",
        ),
    },
    "text": {
        "en": (
            "The package says {value}.", "says “{value}”", "{value}", "“{value}” on the front",
            'It reads "{value}".', "printed with {value}",
        ),
        "zh": (
            "包装上写着“{value}”。", "印有“{value}”", "{value}", "正面写着{value}",
            "有“{value}”字样",
        ),
    },
    "size": {
        "en": ("{value}", "Size {value}", "{value} is printed on it."),
        "zh": ("{value}", "规格 {value}", "印有 {value}"),
    },
    "written": {
        "en": ("There is text on the picture.", "with printed words"),
        "zh": ("图上有文字。", "印有文字"),
    },
}  # fmt: skip
DENIALS: dict[str, dict[str, tuple[str, ...]]] = {
    "shape": {
        "en": ("not {single}", "This is not {single}."),
        "zh": ("不是{value}", "图中不是{value}。"),
    },
    "colour": {
        "en": ("not {value}", "{The} {is} not {value}."),
        "zh": ("不是{value}", "{name}不是{value}的。"),
    },
    "pattern": {
        "en": ("not {value}", "no {noun}", "without {noun}"),
        "zh": ("不是{value}", "没有{value}"),
    },
    "count": {
        "en": ("not {n} {pieces}", "not {number} {names}"),
        "zh": ("不是 {n} 件", "不是{number}{measure}"),
    },
    "text": {
        "en": ("does not say {value}", "The package does not say “{value}”."),
        "zh": ("包装上没有写“{value}”。", "没有“{value}”字样"),
    },
    "size": {
        "en": ("not {value}", "{value} is not printed on it."),
        "zh": ("不是 {value}", "没有印 {value}"),
    },
    "written": {
        "en": ("There is no text on the picture.", "without words"),
        "zh": ("图上没有文字。", "没有文字"),
    },
}
LETTERS = (str, str, str, str.upper, str.title)  # how a seller may write what is printed
WEIGHTS = {"shape": 3.0, "colour": 2.5, "count": 2.0, "pattern": 1.5, "title": 3.0, "text": 4.0}
UNKNOWABLE = (
    *UNSEEN,
    ("en", "material", "Made of recycled material."),
    ("en", "brand owner", "Family business since 19{n:02d}."),
    ("en", "description", "Tested by dermatologists."),
    ("en", "shelf life", "{n} weeks"),
    ("en", "description", "Smells of lavender."),
    ("zh", "材质", "可回收材料"),
    ("zh", "保质期", "{n} 天"),
    ("zh", "描述", "经过皮肤科测试。"),
)
MEASURED = {  # attributes that a printed size would answer, and what else they may say
    "size": LETTER_SIZES, "尺码": LETTER_SIZES, "weight": MASSES, "重量": MASSES,
}  # fmt: skip


def draw_product(
    chance: random.Random, backgrounds: Sequence[Photo], count: int
) -> tuple[Image.Image, list[Claim]]:
    """A product picture, `SIDE` pixels square, and `count` claims about it."""
    facts = draw_facts(chance)
    picture = paint(facts, chance, backgrounds)
    return picture, claims_about(facts, count, chance)


def draw_facts(chance: random.Random) -> Facts:
    """What a picture will show."""
    shape = chance.choice(list(SHAPES))
    colour = chance.choice(list(COLOURS))
    text = _word(chance) if chance.random() < 0.72 else None
    count = chance.choices((1, 2, 3, 4, 5), weights=(32, 18, 17, 16, 17))[0]
    has_size = count <= 2 and chance.random() < 0.22
    far = [name for name in ("white", "black", "yellow") if name not in _alike(colour)]
    label = ("white" if chance.random() < 0.7 else chance.choice(far)) if far else "black"
    return Facts(
        shape=shape,
        colour=colour,
        pattern=chance.choices(list(PATTERNS), weights=(40, 22, 19, 19))[0],
        count=count,
        text=text,
        banner=text is not None and not _fits(text, SHAPES[shape], count),
        size=chance.choice(SIZES) if has_size else None,
        second="white" if "white" in far else chance.choice(far),
        label=label,
        rgb=_vary(colour, chance),
    )


def claims_about(facts: Facts, count: int, chance: random.Random) -> list[Claim]:
    """`count` claims about a picture: at most one group of rivals, then others at random."""
    if count < 1:
        raise ValueError(f"{count} claims were asked for; ask for one or more")
    claims: list[Claim] = []
    if count >= 3 and chance.random() < RIVALS_SHARE:
        claims += _rivals(facts, min(count, chance.choice((3, 4))), chance)
    said = {claim.text for claim in claims}
    while len(claims) < count:
        claim = _claim(facts, chance)
        if claim.text not in said:
            said.add(claim.text)
            claims.append(claim)
    return claims


def _rivals(facts: Facts, count: int, chance: random.Random) -> list[Claim]:
    weights = {"text": 5 if facts.text else 0, "count": 2, "colour": 2, "shape": 2, "pattern": 1}
    kind = chance.choices(list(weights), weights=list(weights.values()))[0]
    wrong = _wrong(facts, kind, chance)[: count - 1]
    lang = _language(chance)
    attribute = chance.choice(ATTRIBUTES[kind][lang])
    wording = chance.choice(WORDINGS[kind][lang])
    letters = chance.choice(LETTERS) if kind == "text" else str
    return [
        Claim(attribute, _say(facts, kind, letters(value), lang, wording), truth, 1, kind)
        for value, truth in ((_right(facts, kind), "yes"), *((value, "no") for value in wrong))
    ]


def _claim(facts: Facts, chance: random.Random) -> Claim:
    if chance.random() < UNCLEAR_SHARE:
        return _unclear(facts, chance)
    holds = chance.random() < 0.5
    weights = WEIGHTS | {"written": 0.6, "size": 2.0 if facts.size else 0.0}
    if not facts.text:
        weights["text"] = 1.5
    kind = chance.choices(list(weights), weights=list(weights.values()))[0]
    lang = _language(chance)
    if kind == "title":
        return _title(facts, holds, lang, chance)
    denied = chance.random() < DENIED_SHARE
    if kind == "text" and not facts.text:
        denied = holds  # no word stands there, so that only its absence can hold
    if kind == "written":
        denied = holds != bool(facts.text or facts.size)
    right = holds != denied
    value = _right(facts, kind) if right else _wrong(facts, kind, chance)[0]
    wording = chance.choice((DENIALS if denied else WORDINGS)[kind][lang])
    attributes = [name for name in ATTRIBUTES[kind][lang] if facts.text or name not in _BRANDS]
    letters = chance.choice(LETTERS) if kind == "text" else str
    text = _say(facts, kind, letters(value), lang, wording)
    about = "negation" if denied else kind
    return Claim(chance.choice(attributes), text, "yes" if holds else "no", kind=about)


_BRANDS = {"brand", "品牌"}  # nobody can tell the brand of what bears no word


def _title(facts: Facts, holds: bool, lang: str, chance: random.Random) -> Claim:
    said = {"colour": facts.colour, "shape": facts.shape}
    if facts.text and chance.random() < 0.7:
        said["text"] = facts.text
    if facts.pattern != "plain" and chance.random() < 0.7:
        said["pattern"] = facts.pattern
    if not holds:
        # One part is wrong, and seldom two: the whole title must be read.
        parts = [*said] if "pattern" in said else [*said, "pattern"]
        for kind in chance.sample(parts, chance.choice((1, 1, 1, 2))):
            said[kind] = _wrong(facts, kind, chance)[0]
    words = {kind: _name(kind, value, lang) for kind, value in said.items()}
    truth = "yes" if holds else "no"
    if "text" in words and chance.random() < 0.5:
        order = ("text", "colour", "pattern", "shape")
    else:
        order = ("colour", "pattern", "shape", "text")
    ordered = [words[kind] for kind in order if kind in words]
    if lang == "zh":
        title = "".join(f" {part} " if part.isascii() else part for part in ordered).strip()
        return Claim(chance.choice(("title", "标题")), title, truth, kind="title")
    title = " ".join(ordered)
    title = title[0].upper() + title[1:]
    return Claim(chance.choice(("title", "title", "name")), title, truth, kind="title")


def _unclear(facts: Facts, chance: random.Random) -> Claim:
    choices = [row for row in UNKNOWABLE if not (facts.size and row[1] in MEASURED)]
    _, attribute, text = chance.choice(choices)
    if attribute in MEASURED and chance.random() < 0.5:
        return Claim(attribute, chance.choice(MEASURED[attribute]), "unclear")
    return Claim(attribute, text.format(n=chance.randint(2, 90)), "unclear")


def _right(facts: Facts, kind: str) -> str:
    """The value of a property that holds; nothing where the picture has none."""
    return {
        "shape": facts.shape,
        "colour": facts.colour,
        "pattern": facts.pattern,
        "count": str(facts.count),
        "text": facts.text or "",
        "size": facts.size or "",
        "written": "",
    }[kind]


def _wrong(facts: Facts, kind: str, chance: random.Random) -> list[str]:
    """Values of a property that surely do not hold, in random order."""
    if kind == "shape":
        near = {facts.shape}.union(*(group for group in ALIKE_SHAPES if facts.shape in group))
        values = [name for name in SHAPES if name not in near]
    elif kind == "colour":
        near = _alike(facts.colour).union(facts.accents)
        values = [name for name in COLOURS if name not in near]
    elif kind == "pattern":
        values = [name for name in PATTERNS if name != facts.pattern]
    elif kind == "count":
        return _other_counts(facts.count, chance)
    elif kind == "size":
        values = [size for size in SIZES if size != facts.size]
    elif kind == "text":
        return _other_words(facts.text, chance)
    else:
        values = [""]
    chance.shuffle(values)
    return values


def _other_counts(count: int, chance: random.Random) -> list[str]:
    """Wrong numbers, near ones. One comes first more often than not: as single items are drawn
    most, it would else be right nearly wherever it is claimed."""
    near = [number for number in NUMBERS if 0 < abs(number - count) <= 2 or count == 1 < number]
    chance.shuffle(near)
    if 1 in near and chance.random() < 0.6:
        near.sort(key=lambda number: number != 1)
    return [str(number) for number in near]


def _other_words(text: str | None, chance: random.Random) -> list[str]:
    """Words of the same script and about the same length, neither in the other."""
    found: list[str] = []
    if text is None:
        return [_word(chance)]
    is_latin = text.isascii()
    slack = 1 if is_latin else 0
    while len(found) < 3:
        other = _latin_word(chance) if is_latin else chance.choice(CHINESE)
        slack += 1 if chance.random() < 0.02 else 0  # few words may be as long as this one
        same = any(one in two or two in one for one, two in _pairs(other, [text, *found]))
        if not same and abs(len(other) - len(text)) <= slack:
            found.append(other)
    return found


def _pairs(word: str, others: Sequence[str]) -> list[tuple[str, str]]:
    return [(word.lower(), other.lower()) for other in others]


def _say(facts: Facts, kind: str, value: str, lang: str, wording: str) -> str:
    """A statement in words. The item is called by its right name, whatever else is wrong."""
    shape = SHAPES[facts.shape]
    word = _name(kind, value, lang)
    names: dict[str, str] = {"value": word, "Value": word[:1].upper() + word[1:]}
    if lang == "zh":
        names |= {"name": shape.chinese, "measure": shape.measure}
    else:
        one = facts.count == 1
        names |= {
            "name": shape.name if one else shape.plural,
            "The": f"The {shape.name}" if one else f"The {shape.plural}",
            "is": "is" if one else "are",
        }
    if kind == "shape":
        names["single"] = SHAPES[value].single
    if kind == "pattern":
        names["noun"] = PATTERNS[value][0]
    if kind == "count":
        number = int(value)
        names |= {
            "n": value,
            "number": NUMBERS[number][lang == "zh"],
            "pieces": "piece" if number == 1 else "pieces",
            "items": "item" if number == 1 else "items",
            "names": shape.name if number == 1 else shape.plural,
        }
    return wording.format(**names)


def _name(kind: str, value: str, lang: str) -> str:
    if lang == "en":
        return value
    if kind == "shape":
        return SHAPES[value].chinese
    if kind == "colour":
        return COLOURS[value]
    return PATTERNS[value][1] if kind == "pattern" else value


def _word(chance: random.Random) -> str:
    return chance.choice(CHINESE) if chance.random() < CHINESE_SHARE else _latin_word(chance)


def _latin_word(chance: random.Random) -> str:
    if chance.random() >= INVENTED_SHARE:
        return chance.choice(LATIN).replace("_", " ")
    syllables = range(chance.choice((2, 2, 3)))
    word = "".join(chance.choice("BDFGKLMNPRSTVZ") + chance.choice("AEIOU") for _ in syllables)
    return word + chance.choice(("", "", "N", "S", "X", "R"))


def _language(chance: random.Random) -> str:
    return "zh" if chance.random() < CHINESE_SHARE else "en"


def _alike(colour: str) -> set[str]:
    return {colour}.union(*(group for group in ALIKE_COLOURS if colour in group))


def paint(facts: Facts, chance: random.Random, backgrounds: Sequence[Photo]) -> Image.Image:
    """The picture of what the facts say."""
    picture = _background(facts, chance, backgrounds)
    shape = SHAPES[facts.shape]
    top, bottom = 0, SIDE
    if facts.text and facts.banner:
        high = chance.randint(38, 46)
        at_top = chance.random() < 0.5
        top, bottom = (high, SIDE) if at_top else (0, SIDE - high)
        _banner(picture, facts.text, (0, 0 if at_top else bottom, SIDE, high), facts, chance)
    tilt = chance.uniform(-8, 8)
    columns, rows, tall = _grid(shape, facts.count, bottom - top, tilt)
    tall *= chance.uniform(0.9, 1.0)
    item = _item(facts, shape, (max(8, round(tall * shape.aspect)), max(8, round(tall))), chance)
    for number in range(facts.count):
        row, column = divmod(number, columns)
        in_row = min(columns, facts.count - row * columns)
        x = SIDE * (column + 0.5) / in_row
        y = top + (bottom - top) * (row + 0.5) / rows
        _put(picture, item, (x, y), tilt + chance.uniform(-1, 1), (top, bottom), chance)
    if facts.size:
        _badge(picture, facts.size, top, bottom, chance)
    return _weather(picture, chance)


def _background(facts: Facts, chance: random.Random, photos: Sequence[Photo]) -> Image.Image:
    kind = chance.choices(("photo", "flat", "gradient", "noise"), weights=(5, 2, 2, 1))[0]
    if kind == "photo" and photos:
        picture = _photo_crop(chance.choice(photos), bool(facts.text), chance)
        middle = picture.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
        assert isinstance(middle, tuple)
        if _distance((middle[0], middle[1], middle[2]), facts.rgb) < 130:
            other = (255, 255, 255) if _light(facts.rgb) < 120 else (30, 32, 40)
            picture = Image.blend(picture, Image.new("RGB", picture.size, other), 0.6)
        return picture
    one, two = _far_shade(facts.rgb, chance), _far_shade(facts.rgb, chance)
    if kind == "flat":
        return Image.new("RGB", (SIDE, SIDE), one)
    if kind == "noise":
        cells = chance.choice((6, 12, 48))
        grains = Image.frombytes("L", (cells, cells), chance.randbytes(cells * cells))
        mask = grains.resize((SIDE, SIDE), Image.Resampling.BICUBIC).point(lambda v: v * 0.4)
    else:
        mask = Image.linear_gradient("L").resize((SIDE, SIDE))
        mask = mask.transpose(Image.Transpose.ROTATE_90) if chance.random() < 0.4 else mask
    ground = Image.new("RGB", (SIDE, SIDE), one)
    ground.paste(two, (0, 0), mask)
    return ground


def _photo_crop(photo: Photo, may_be_sharp: bool, chance: random.Random) -> Image.Image:
    """A part of a photo: blurred, or so small a part that it shows no second product. It is always
    blurred where no word is printed, for photos may show words of their own."""
    picture = photo.open()
    sharp = may_be_sharp and chance.random() < 0.6
    side = max(8, round(min(picture.size) * chance.uniform(0.2, 0.45 if sharp else 1.0)))
    left = chance.randint(0, max(0, picture.width - side))
    top = chance.randint(0, max(0, picture.height - side))
    box = (left, top, left + side, top + side)
    if sharp:
        return picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box)
    small = picture.resize((48, 48), Image.Resampling.BILINEAR, box)
    small = small.filter(ImageFilter.BoxBlur(chance.choice((2, 3, 4))))
    return small.resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def _far_shade(rgb: Rgb, chance: random.Random) -> Rgb:
    """A shade, mostly a pale one as in shops, that differs clearly from the item's."""
    while True:
        low = 150 if chance.random() < 0.6 else 0
        found = (chance.randint(low, 255), chance.randint(low, 255), chance.randint(low, 255))
        if _distance(found, rgb) > 150:
            return found


def _grid(shape: Shape, count: int, high: int, tilt: float) -> tuple[int, int, float]:
    """Columns and rows in which the tilted items become largest, and how high one is then."""
    sin, cos = abs(math.sin(math.radians(tilt))), math.cos(math.radians(tilt))
    found = []
    for columns in range(1, count + 1):
        rows = math.ceil(count / columns)
        by_height = 0.92 * high / rows / (cos + shape.aspect * sin)
        by_width = 0.92 * SIDE / columns / (shape.aspect * cos + sin)
        found.append((min(by_height, by_width), columns, rows))
    tall, columns, rows = max(found)
    return columns, rows, tall


def _fits(text: str, shape: Shape, count: int) -> bool:
    """Whether a word can be read on the items; if not, it gets a banner of its own."""
    if shape.front is None:
        return False
    wide = _grid(shape, count, SIDE, 5)[2] * shape.aspect * (shape.front[2] - shape.front[0])
    letters = len(text) if text.isascii() else 1.8 * len(text)
    return wide * 0.88 >= letters * LEAST_LETTER


def _item(facts: Facts, shape: Shape, size: tuple[int, int], chance: random.Random) -> Image.Image:
    """One item on a transparent ground, drawn at twice its size so that edges become smooth."""
    wide, high = 2 * size[0], 2 * size[1]
    mask = Image.new("L", (wide, high), 0)
    pen = ImageDraw.Draw(mask)
    for piece in shape.body:
        _draw(pen, piece, wide, high, 255)
    skin = _skin(facts, wide, high, chance)
    pen, mask_pen = ImageDraw.Draw(skin), pen
    for tone, piece in shape.trim:
        _draw(pen, piece, wide, high, _tone(tone, facts.rgb))
        _draw(mask_pen, piece, wide, high, 255)
    if chance.random() < 0.6:
        _shade(skin, chance)
    if facts.text and not facts.banner and shape.front:
        left, top, right, bottom = shape.front
        box = (left * wide, top * high, right * wide, bottom * high)
        _label(skin, facts.text, box, facts, chance)
    skin.putalpha(mask)
    return skin.reduce(2)


def _draw(pen: ImageDraw.ImageDraw, piece: Piece, wide: int, high: int, fill: int | Rgb) -> None:
    form, numbers = piece
    points = [
        (x * (wide - 1), y * (high - 1)) for x, y in zip(numbers[::2], numbers[1::2], strict=False)
    ]
    if form == "polygon":
        pen.polygon(points, fill=fill)
    elif form == "ellipse":
        pen.ellipse(points, fill=fill)
    elif form == "round":
        pen.rounded_rectangle(points[:2], radius=numbers[4] * wide, fill=fill)
    elif form == "ring":
        pen.ellipse(points[:2], outline=fill, width=max(2, round(numbers[4] * wide)))
    else:
        pen.pieslice(points, 180, 360, fill=fill)


def _skin(facts: Facts, wide: int, high: int, chance: random.Random) -> Image.Image:
    """The item's surface with its pattern, not yet cut to its outline."""
    skin = Image.new("RGB", (wide, high), facts.rgb)
    pen = ImageDraw.Draw(skin)
    second = SHADES[facts.second]
    step = max(18, round(min(wide, high) / chance.choice((4, 5, 6))))
    if facts.pattern == "striped":
        upright = chance.random() < 0.5
        for at in range(step // 2, wide if upright else high, step):
            box = (at, 0, at + step * 0.42, high) if upright else (0, at, wide, at + step * 0.42)
            pen.rectangle(box, fill=second)
    elif facts.pattern == "dotted":
        radius = step * 0.27
        for row, y in enumerate(range(step // 2, high + step, step)):
            for x in range(step // 2 - (row % 2) * step // 2, wide + step, step):
                pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=second)
    elif facts.pattern == "checked":
        half = max(9, step * 5 // 8)
        for row, y in enumerate(range(0, high, half)):
            for x in range((row % 2) * half, wide, 2 * half):
                pen.rectangle((x, y, x + half - 1, y + half - 1), fill=second)
    return skin


def _tone(tone: str, rgb: Rgb) -> Rgb:
    if tone == "dark":
        return _mix(rgb, (0, 0, 0), 0.35)
    if tone == "light":
        return _mix(rgb, (255, 255, 255), 0.3)
    return {"grey": (176, 178, 182), "white": (246, 246, 246), "black": (36, 36, 36)}[tone]


def _shade(skin: Image.Image, chance: random.Random) -> None:
    """Light from one side."""
    slope = Image.linear_gradient("L").transpose(
        Image.Transpose.ROTATE_90 if chance.random() < 0.5 else Image.Transpose.ROTATE_270
    )
    depth = chance.uniform(0.15, 0.4)
    skin.paste((0, 0, 0), (0, 0), slope.point(lambda v: max(0, v - 110) * depth).resize(skin.size))


def _label(skin: Image.Image, text: str, box: Box, facts: Facts, chance: random.Random) -> None:
    """The word on the item's front; on a label unless the ground is one colour already."""
    left, top, right, bottom = box
    ground = facts.rgb
    if facts.pattern != "plain" or chance.random() < 0.5:
        ground = SHADES[facts.label]
        ImageDraw.Draw(skin).rectangle((left, top, right, bottom), fill=ground)
    edge = (right - left) * 0.04
    inner = (left + edge, top + edge, right - edge, bottom - edge)
    _write(skin, text, inner, ground, chance)


def _banner(
    picture: Image.Image, text: str, place: tuple[int, int, int, int], facts: Facts,
    chance: random.Random,
) -> None:  # fmt: skip
    left, top, wide, high = place
    ground = SHADES[facts.label]
    ImageDraw.Draw(picture).rectangle((left, top, left + wide, top + high), fill=ground)
    _write(picture, text, (left + 8, top + 3, left + wide - 8, top + high - 3), ground, chance)


def _badge(picture: Image.Image, text: str, top: int, bottom: int, chance: random.Random) -> None:
    """A printed size in a corner, as shops put it over a photo."""
    wide, high = min(24 + 15 * len(text), 96), 40
    x = chance.choice((3, SIDE - wide - 3))
    y = chance.choice((top + 3, bottom - high - 3))
    ground = SHADES[chance.choice(("white", "black"))]
    pen = ImageDraw.Draw(picture)
    pen.rounded_rectangle((x, y, x + wide, y + high), 9, fill=ground, outline=(128, 128, 128))
    _write(picture, text, (x + 7, y + 6, x + wide - 7, y + high - 6), ground, chance)


def _write(picture: Image.Image, text: str, box: Box, ground: Rgb, chance: random.Random) -> None:
    """A word as large as its box allows, in a colour that stands out from the ground."""
    face = chance.choice(BOLD) if text.isascii() else "china-s"
    word = _stamp(text, face)
    wide, high = box[2] - box[0], box[3] - box[1]
    # Narrow faces exist: a word may be drawn out in height or width before it stays small.
    across = min(wide / word.width, 1.35 * high / word.height)
    down = min(high / word.height, 1.35 * across)
    size = (max(1, round(word.width * across)), max(1, round(word.height * down)))
    word = word.resize(size, Image.Resampling.BILINEAR)
    at = round((box[0] + box[2] - size[0]) / 2), round((box[1] + box[3] - size[1]) / 2)
    picture.paste(chance.choice(_inks(ground)), at, word)


def _inks(ground: Rgb) -> tuple[Rgb, ...]:
    if _light(ground) > 150:
        return (10, 10, 12), (20, 24, 90), (90, 10, 20)
    return ((255, 255, 255),) if _light(ground) > 80 else ((255, 255, 255), (255, 240, 190))


@lru_cache(maxsize=2048)
def _stamp(text: str, face: str) -> Image.Image:
    """A word as a mask without margins; one size for all, so that each font is loaded once."""
    font = _font(face, 72)
    left, top, right, bottom = font.getbbox(text)
    mask = Image.new("L", (max(1, math.ceil(right - left)), max(1, math.ceil(bottom - top))), 0)
    ImageDraw.Draw(mask).text((-left, -top), text, fill=255, font=font)
    return mask


def _put(
    picture: Image.Image,
    item: Image.Image,
    middle: tuple[float, float],
    tilt: float,
    between: tuple[int, int],
    chance: random.Random,
) -> None:
    """An item set on the picture with a thin edge, so that it stands out from any background."""
    turned = item.rotate(tilt, Image.Resampling.BILINEAR, expand=True)
    alpha = turned.getchannel("A")
    left = round(middle[0] - turned.width / 2 + chance.uniform(-3, 3))
    top = round(middle[1] - turned.height / 2 + chance.uniform(-3, 3))
    left = min(max(left, 1), max(1, SIDE - turned.width - 2))
    top = min(max(top, between[0] + 1), max(between[0] + 1, between[1] - turned.height - 2))
    edge = (40, 40, 44)
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1), (2, 2)):
        picture.paste(edge, (left + dx, top + dy), alpha)
    picture.paste(turned, (left, top), alpha)


def _weather(picture: Image.Image, chance: random.Random) -> Image.Image:
    """Light, grain and a little blur, as cameras have them."""
    picture = ImageEnhance.Brightness(picture).enhance(chance.uniform(0.85, 1.12))
    if chance.random() < 0.4:
        grain = Image.frombytes("L", picture.size, chance.randbytes(picture.width * picture.height))
        picture = Image.blend(picture, grain.convert("RGB"), chance.uniform(0.02, 0.09))
    if chance.random() < 0.15:
        picture = picture.filter(ImageFilter.BoxBlur(0.8))
    return picture


def _mix(one: Rgb, two: Rgb, share: float) -> Rgb:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, two, strict=True))
    return red, green, blue


def _distance(one: Rgb, two: Rgb) -> float:
    return math.dist(one, two)


def _light(rgb: Rgb) -> float:
    return 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]


def _vary(colour: str, chance: random.Random) -> Rgb:
    """One of a colour's shades; those of grey have no hue."""
    steps = [chance.randint(-14, 14) for _ in range(3)]
    if colour in ("black", "grey", "white"):
        steps = steps[:1] * 3
    red, green, blue = (
        min(255, max(0, part + by)) for part, by in zip(SHADES[colour], steps, strict=True)
    )
    return red, green, blue


PAGE = (480, 640)
BOLD = ("hebo", "tibo", "cobo", "pillow", "helv")
READING = ("helv", "tiro", "cour", "pillow")


def draw_page(text: str, chance: random.Random) -> Image.Image:
    """A page of a document as a picture: its first line as a title, then what fits of the rest."""
    wide, high = PAGE
    paper = chance.randint(226, 255)
    page = Image.new("L", PAGE, paper)
    ink = chance.randint(0, 60)
    face = chance.choice(READING) if text.isascii() or not _is_chinese(text) else "china-s"
    margin = chance.randint(24, 48)
    first, _, rest = text.strip().partition("\n")
    title = _font(face, chance.choice((36, 44)))
    body = _font(face, chance.choice((14, 18)))
    y = float(margin)
    for line in _wrap(first, title, wide - 2 * margin, 3):
        _set(page, (margin, y), line, title, ink)
        y += title.size * 1.2
    y += body.size * 0.8
    leading = body.size * chance.uniform(1.25, 1.5)
    most = max(0, int((high - margin - y) / leading))
    for line in _wrap(rest, body, wide - 2 * margin, most):
        _set(page, (margin, y), line, body, ink)
        y += leading
    if chance.random() < 0.5:
        page = page.rotate(chance.uniform(-1.5, 1.5), Image.Resampling.BILINEAR, fillcolor=paper)
    grain = Image.frombytes("L", (wide // 2, high // 2), chance.randbytes(wide * high // 4))
    page = Image.blend(page, grain.resize(PAGE), chance.uniform(0.0, 0.06))
    return page.convert("RGB")


def _is_chinese(text: str) -> bool:
    return any("\u3000" <= letter <= "\u9fff" for letter in text)


def _wrap(text: str, font: ImageFont.FreeTypeFont, wide: float, most: int) -> list[str]:
    """The first lines of a text set in a width: broken at blanks, Chinese anywhere."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line, used = "", 0.0
        for word in _words(paragraph):
            length = sum(_advance(font, letter) for letter in word)
            if line and used + length > wide:
                lines.append(line.rstrip())
                line, used = "", 0.0
                if len(lines) >= most:
                    return lines[:most]
                word = word.lstrip()
            line, used = line + word, used + length
        lines.append(line.rstrip())
        if len(lines) >= most:
            break
    return lines[:most]


def _words(paragraph: str) -> list[str]:
    words: list[str] = []
    for letter in paragraph:
        if words and letter.isascii() and words[-1][-1:].isascii() and not words[-1].endswith(" "):
            words[-1] += letter
        else:
            words.append(letter)
    return words


def _set(
    page: Image.Image,
    start: tuple[float, float],
    line: str,
    font: ImageFont.FreeTypeFont,
    ink: int,
) -> None:
    """A line letter by letter from kept glyphs: FreeType would take a page's time for each line."""
    x, y = start
    for letter in line:
        if letter != " ":
            page.paste(ink, (round(x), round(y)), _glyph(font, letter))
        x += _advance(font, letter)


@lru_cache(maxsize=16384)
def _glyph(font: ImageFont.FreeTypeFont, letter: str) -> Image.Image:
    size = (math.ceil(_advance(font, letter)) + 2, math.ceil(font.size * 1.4))
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).text((0, 0), letter, fill=255, font=font)
    return mask


@lru_cache(maxsize=16384)
def _advance(font: ImageFont.FreeTypeFont, letter: str) -> float:
    return font.getlength(letter)


@lru_cache(maxsize=64)
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    if face == "pillow":
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont)
        return font
    return ImageFont.truetype(BytesIO(_font_bytes(face)), size)


@lru_cache(maxsize=16)
def _font_bytes(face: str) -> bytes:
    import pymupdf  # heavy, and needed by nothing else here

    buffer: bytes = pymupdf.Font(face).buffer  # type: ignore[no-untyped-call]
    return buffer
