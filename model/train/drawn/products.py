"""Pictures of products: the items of given facts on a background, with what is printed on them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from model.train.drawn.colours import SHADES, Box, Rgb, distance, light, toned
from model.train.drawn.facts import Facts
from model.train.drawn.layout import SIDE, grid
from model.train.drawn.lettering import write
from model.train.drawn.shapes import SHAPES, Piece, Shape
from model.train.listings import Photo


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
    columns, rows, tall = grid(shape, facts.count, bottom - top, tilt)
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
        if distance((middle[0], middle[1], middle[2]), facts.rgb) < 130:
            other = (255, 255, 255) if light(facts.rgb) < 120 else (30, 32, 40)
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
        if distance(found, rgb) > 150:
            return found


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
        _draw(pen, piece, wide, high, toned(tone, facts.rgb))
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
    write(skin, text, inner, ground, chance)


def _banner(
    picture: Image.Image, text: str, place: tuple[int, int, int, int], facts: Facts,
    chance: random.Random,
) -> None:  # fmt: skip
    left, top, wide, high = place
    ground = SHADES[facts.label]
    ImageDraw.Draw(picture).rectangle((left, top, left + wide, top + high), fill=ground)
    write(picture, text, (left + 8, top + 3, left + wide - 8, top + high - 3), ground, chance)


def _badge(picture: Image.Image, text: str, top: int, bottom: int, chance: random.Random) -> None:
    """A printed size in a corner, as shops put it over a photo."""
    wide, high = min(24 + 15 * len(text), 96), 40
    x = chance.choice((3, SIDE - wide - 3))
    y = chance.choice((top + 3, bottom - high - 3))
    ground = SHADES[chance.choice(("white", "black"))]
    pen = ImageDraw.Draw(picture)
    pen.rounded_rectangle((x, y, x + wide, y + high), 9, fill=ground, outline=(128, 128, 128))
    write(picture, text, (x + 7, y + 6, x + wide - 7, y + high - 6), ground, chance)


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
