"""Listings for training: photos with what they show, and claims about them that hold or do not.

Reads `listings/{split}.jsonl` of a data folder, and its user's own listings (`tables`). Claims are
made from the product and category names (in English and Chinese), the product's description, the
colours of the photo's middle, and from statements that no photo can show; those about a user's own
listings are made in `own`. Refuses (DataError) an own listing without title, label or photo. Called
by the curriculum and the evaluation.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from model.train import tables
from model.train.chinese import COLOURS, NAMES
from model.train.tables import DataError

# The application calls what stands in a listing's title and description "title" and "description"
# in every language; other attributes are called what the seller calls them.
TITLES = {
    "en": ("title", "title", "title", "product", "name"),
    "zh": ("title", "title", "title", "标题", "产品", "商品名称"),
}
KINDS = {"en": ("category", "type", "title"), "zh": ("类别", "种类", "title")}
COLOUR_WORDS = {"en": ("color", "colour", "description"), "zh": ("颜色", "color")}
UNSEEN = (
    ("en", "price", "Costs {n} dollars."),
    ("en", "description", "Two-year warranty included."),
    ("en", "weight", "{n} g"),
    ("en", "description", "Free delivery within {n} days."),
    ("en", "origin", "Imported from Spain"),
    ("en", "description", "Machine wash at {n} degrees."),
    ("en", "size", "{n}"),
    ("en", "description", "Ships from our warehouse."),
    ("en", "model", "No. {n}"),
    ("en", "stock", "{n} pieces left"),
    ("en", "description", "Rated {n} stars by our customers."),
    ("en", "warranty", "{n} months"),
    ("zh", "价格", "{n} 元"),
    ("zh", "描述", "两年质保。"),
    ("zh", "重量", "{n} 克"),
    ("zh", "描述", "{n} 天内免费送货。"),
    ("zh", "产地", "西班牙进口"),
    ("zh", "尺码", "{n}"),
    ("zh", "描述", "可用 {n} 度水温机洗。"),
    ("zh", "库存", "剩余 {n} 件"),
)
LARGEST_SIDE = (
    1536  # pixels: no tile of a checkpoint shows more, and a camera's photo takes seconds
)
MOST_PHOTOS = 12  # of a listing, as in service
FEWEST_RIVALS = 3  # wrong names of a photo's product
CONSISTENT, INCONSISTENT = LABELS = ("consistent", "inconsistent")
CATEGORY_COLUMNS = ("category", "product category", "类别", "类目", "分类", "品类")
RESULT_COLUMNS = ("verdict", "score", "refuted", "claims", "error")  # of an earlier run


@dataclass(frozen=True)
class Photo:
    """One listing photo, still in its file, and what stands in its record."""

    id: str
    source: str
    product: str
    category: str
    description: str
    path: Path

    def open(self) -> Image.Image:
        """The decoded picture: upright, on white, not needlessly large."""
        with Image.open(self.path, formats=tables.FORMATS) as file:
            file.draft("RGB", (LARGEST_SIDE, LARGEST_SIDE))
            picture = ImageOps.exif_transpose(file)
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        if picture.has_transparency_data:
            shown = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown)
        return picture.convert("RGB")


@dataclass(frozen=True)
class Listing:
    """A row of a user's own table: photos, words, and whether they agree. Which of the words are
    wrong where they don't is not known."""

    id: str
    photos: tuple[Photo, ...]
    title: str
    description: str
    attributes: tuple[tuple[str, str], ...]
    consistent: bool


@dataclass(frozen=True)
class Claim:
    """A statement about a photo. `truth`: 'yes', 'no' or 'unclear'; `rivals`: same group number
    means the same attribute about the same photo, of which exactly one holds (0: none). `product`:
    the one that the claim names. `kind`: the property that a claim about a drawn picture is
    about."""

    attribute: str
    text: str
    truth: str
    rivals: int = 0
    kind: str = ""
    product: str = ""


def read_photos(data: Path, split: str) -> list[Photo]:
    """All listing photos of a split ('train' or 'val'), in file order; last the first photo of each
    of the user's own listings that agree with theirs, the title being the product."""
    own = [listing.photos[0] for listing in read_listings(data, split) if listing.consistent]
    return read_product_photos(data, split) + own


def read_product_photos(data: Path, split: str) -> list[Photo]:
    """Those whose products have names, categories and many photos each: none of the user's own."""
    folder = data / "listings"
    if not any((folder / f"{name}.jsonl").exists() for name in ("train", "val")):
        return []
    lines = (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [
        Photo(
            row["id"], row["source"], row["product"], row["category"], row["description"],
            folder / row["image"],
        )
        for row in rows
    ]  # fmt: skip


def read_listings(data: Path, split: str) -> list[Listing]:
    """The user's own listings of a split, in the table's order."""
    return [_listing(data, row) for row in tables.of_split(tables.listing_rows(data), split)]


def _listing(data: Path, row: tables.Row) -> Listing:
    title, label = row.cells.get("title", ""), row.cells.get("label", "").casefold()
    if not title:
        raise DataError(f"{row.where} has no title; fill in its column title")
    if label not in LABELS:
        said = f"has the label “{label[:40]}”" if label else "has no label"
        raise DataError(f"{row.where} {said}; it must be {CONSISTENT} or {INCONSISTENT}")
    description, attributes = row.cells.get("description", ""), _attributes(row)
    named = {name.casefold(): value for name, value in attributes}
    category = next((named[name] for name in CATEGORY_COLUMNS if name in named), "")
    paths = tables.pictures_of(data, row)
    if len(paths) > MOST_PHOTOS:
        raise DataError(f"{row.where} has {len(paths)} photos; a listing has 1 to {MOST_PHOTOS}")
    photos = [
        Photo(f"{row.id}/{number}", tables.OWN, title, category, description, path)
        for number, path in enumerate(paths, 1)
    ]
    return Listing(
        row.id, tuple(photos), title, description, attributes, consistent=label == CONSISTENT
    )


def _attributes(row: tables.Row) -> tuple[tuple[str, str], ...]:
    """Every further column that has a name, with something in it."""
    no_attributes = ("", *tables.COLUMNS, *RESULT_COLUMNS)
    return tuple(
        (name, value)
        for name, value in row.cells.items()
        if name.casefold() not in no_attributes and value
    )


class Catalogue:
    """The products that a set of photos shows, and claims drawn from them."""

    def __init__(self, photos: Sequence[Photo]) -> None:
        self.category = {photo.product: photo.category for photo in photos}
        self.products = sorted(self.category)
        self._by_source: dict[str, list[str]] = defaultdict(list)
        self._by_category: dict[str, list[str]] = defaultdict(list)
        self._descriptions: dict[str, list[str]] = defaultdict(list)
        for photo in sorted(photos, key=lambda photo: photo.product):
            if photo.product not in self._by_source[photo.source]:
                self._by_source[photo.source].append(photo.product)
                self._by_category[photo.category].append(photo.product)
            for text in description_claims(photo.description):
                if text not in self._descriptions[photo.product]:
                    self._descriptions[photo.product].append(text)

    def other_product(self, photo: Photo, kind: str, chance: random.Random) -> str | None:
        """A product that is not the photo's: of 'same category', 'other category' (of the same
        source) or 'same source'. None where there is none."""
        if kind == "same category":
            names = self._by_category[photo.category]
        else:
            names = self._by_source[photo.source]
        if kind == "other category":
            names = [name for name in names if self.category[name] != photo.category]
        names = [name for name in names if name != photo.product]
        return chance.choice(names) if names else None

    def claims(self, photo: Photo, count: int, chance: random.Random) -> list[Claim]:
        """`count` claims about a photo: its name among wrong ones, then others at random."""
        claims = self._names(photo, max(FEWEST_RIVALS, 2 * count // 3), chance)
        makers = [self._description, self._category, _colour, _unseen]
        while len(claims) < count:
            maker = chance.choices(makers, weights=(4, 3, 3, 1))[0]
            claims += maker(photo, chance)
        return claims[:count]

    def _names(self, photo: Photo, rivals: int, chance: random.Random) -> list[Claim]:
        """The photo's product, and up to `rivals` that it is not."""
        lang = _language(chance)
        attribute = chance.choice(TITLES[lang])
        kinds = [
            ("same category", "other category", chance.choice(("same category", "same source")))[
                i % 3
            ]
            for i in range(rivals)
        ]
        wrong = [self.other_product(photo, kind, chance) for kind in kinds]
        wrong = [name or self.other_product(photo, "other category", chance) for name in wrong]
        style = chance.randrange(6)
        truths = dict.fromkeys((name for name in wrong if name), "no") | {photo.product: "yes"}
        return [
            Claim(attribute, self._title(name, lang, style), truth, rivals=1, product=name)
            for name, truth in truths.items()
        ]

    def _title(self, product: str, lang: str, style: int) -> str:
        category = self.category[product]
        if lang == "zh":
            return NAMES.get(product, product)
        if style == 0:
            return product.lower()
        if style == 1 and category not in product:
            return f"{product} {category}"
        if style == 2:
            return f"Fresh {product}" if category != product else f"{product}."
        return product

    def _category(self, photo: Photo, chance: random.Random) -> list[Claim]:
        lang = _language(chance)
        attribute = chance.choice(KINDS[lang])
        right = photo.category
        other = self.other_product(photo, "other category", chance)
        if other is None or chance.random() < 0.5:
            return [Claim(attribute, _in(lang, right), "yes")]
        return [Claim(attribute, _in(lang, self.category[other]), "no")]

    def _description(self, photo: Photo, chance: random.Random) -> list[Claim]:
        attribute = "description"
        own = self._descriptions[photo.product]
        kind = chance.choice(("same category", "other category", "other category"))
        other = self.other_product(photo, kind, chance)
        if other is None or chance.random() < 0.5:
            return [Claim(attribute, chance.choice(own), "yes")] if own else []
        theirs = [text for text in self._descriptions[other] if text not in own]
        return [Claim(attribute, chance.choice(theirs), "no")] if theirs else []


def _colour(photo: Photo, chance: random.Random) -> list[Claim]:
    shares = colour_shares(photo.open())
    lang = _language(chance)
    attribute = chance.choice(COLOUR_WORDS[lang])
    seen = [name for name, share in shares.items() if share > 0.4]
    absent = [name for name, share in shares.items() if share < 0.02]
    if not seen or not absent:
        return []
    if chance.random() < 0.5:
        return [Claim(attribute, _in(lang, seen[0]), "yes")]
    return [Claim(attribute, _in(lang, chance.choice(absent)), "no")]


def _unseen(_: Photo, chance: random.Random) -> list[Claim]:
    return [unseen_claim(chance)]


def unseen_claim(chance: random.Random) -> Claim:
    """Something that no photo shows."""
    _lang, attribute, text = chance.choice(UNSEEN)
    return Claim(attribute, text.format(n=chance.randint(2, 90)), "unclear")


def description_claims(description: str) -> list[str]:
    """The sentences of a description."""
    return [part for part in re.split(r"(?<=[.!?])\s+", description.strip()) if part]


def _language(chance: random.Random) -> str:
    return "zh" if chance.random() < 0.35 else "en"


def _in(lang: str, word: str) -> str:
    return (NAMES | COLOURS).get(word, word) if lang == "zh" else word


def colour_shares(picture: Image.Image) -> dict[str, float]:
    """How much of the picture's middle has each named colour (the shares sum to 1)."""
    width, height = picture.size
    middle = picture.crop((width * 3 // 10, height * 3 // 10, width * 7 // 10, height * 7 // 10))
    hsv = np.asarray(middle.resize((24, 24)).convert("HSV"), dtype=np.int32).reshape(-1, 3)
    hue, saturation, value = hsv[:, 0] * 360 // 255, hsv[:, 1], hsv[:, 2]
    names = np.full(len(hsv), "grey", dtype=object)
    coloured = saturation > 60
    for name, low, high in _HUES:
        names[coloured & (hue >= low) & (hue < high)] = name
    names[coloured & (names == "orange") & ((value < 160) | (saturation < 130))] = "brown"
    names[coloured & (names == "red") & (saturation < 120) & (value > 140)] = "pink"
    names[~coloured & (value > 175)] = "white"
    names[value < 55] = "black"
    return {name: float(np.mean(names == name)) for name in COLOURS}


_HUES = (
    ("red", 0, 13), ("orange", 13, 42), ("yellow", 42, 62), ("green", 62, 165),
    ("blue", 165, 255), ("purple", 255, 300), ("pink", 300, 340), ("red", 340, 361),
)  # fmt: skip


def augment(picture: Image.Image, chance: random.Random) -> Image.Image:
    """A random crop, mirror image, light and erased patch of a photo. Hues stay as they are."""
    width, height = picture.size
    share = chance.uniform(0.4, 1.0) ** 0.5
    stretch = chance.uniform(0.8, 1.25)
    wide = min(width, max(16, round(width * share * stretch)))
    high = min(height, max(16, round(height * share / stretch)))
    left, top = chance.randint(0, width - wide), chance.randint(0, height - high)
    picture = picture.crop((left, top, left + wide, top + high))
    if chance.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if chance.random() < 0.15:
        picture = picture.rotate(chance.uniform(-12, 12), Image.Resampling.BILINEAR)
    picture = ImageEnhance.Brightness(picture).enhance(chance.uniform(0.6, 1.4))
    picture = ImageEnhance.Contrast(picture).enhance(chance.uniform(0.65, 1.4))
    picture = ImageEnhance.Color(picture).enhance(chance.uniform(0.6, 1.4))
    if chance.random() < 0.35:
        _erase(picture, chance)
    return picture


def _erase(picture: Image.Image, chance: random.Random) -> None:
    width, height = picture.size
    wide, high = int(width * chance.uniform(0.15, 0.4)), int(height * chance.uniform(0.15, 0.4))
    left, top = chance.randint(0, width - wide), chance.randint(0, height - high)
    grey = chance.randint(0, 255)
    picture.paste((grey, grey, grey), (left, top, left + wide, top + high))
