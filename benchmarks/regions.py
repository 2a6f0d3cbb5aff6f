"""`python -m benchmarks.regions FOLDER DATA`: how well each way of finding a claim's region does.

Photos of products are laid at known places on larger pictures: on one colour, and on the photo of
a product of another category. Each way is asked where the product's name is seen, and its region is
compared with the true box: whether the region's middle lies in it (pointing), and how much of both
is common (IoU). The cost is in views: pictures that the model reads. Chance is a point anywhere in
the picture, whose pointing is the mean share that the box has of it.

    python -m benchmarks.regions checkpoints/nano ../shared/data --pictures 40
    python -m benchmarks.regions … --json     the rows as JSON
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image, ImageStat

import model
from mmapp.tasks import prompts, regions
from model.progress import Progress
from model.train.listings import Photo, read_product_photos

SIDE = 384  # pixels of a picture
SHARES = (0.35, 0.6)  # of the side that a product takes
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """A product laid on a ground."""

    picture: Image.Image
    box: Box
    name: str
    ground: str


@dataclass
class Eye:
    """Asks about one claim, and counts the pictures that were read; what another way has asked
    before is remembered, and counted all the same."""

    engine: model.Engine
    question: str
    views: int = 0
    remembered: dict[bytes, float] = field(default_factory=dict)

    def margin(self, picture: Image.Image) -> float:
        """log P(yes) - log P(no) about the picture."""
        self.views += 1
        key = hashlib.sha256(picture.tobytes()).digest()
        if key not in self.remembered:
            prefix = self.engine.prefill(prompts.listing_parts([picture]))
            yes, no, _ = prompts.answers("check_listing")
            first, second = self.engine.score(prefix, [(self.question, yes), (self.question, no)])
            self.remembered[key] = first - second
        return self.remembered[key]


#: A way to find where a claim's answer comes from.
Way = Callable[[Scene, Eye], Box]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regions", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a checkpoint folder")
    parser.add_argument("data", type=Path, metavar="DATA", help="a folder with listings/val.jsonl")
    parser.add_argument("--pictures", type=int, default=40, help="how many scenes are made")
    parser.add_argument("--json", action="store_true", help="rows as JSON on stdout")
    arguments = parser.parse_args(argv)
    scenes = make_scenes(read_product_photos(arguments.data, "val"), arguments.pictures)
    rows = measure(model.load(arguments.folder), scenes)
    sys.stdout.write(json.dumps(rows, indent=2) + "\n" if arguments.json else table(rows))
    return 0


def make_scenes(photos: Sequence[Photo], count: int) -> list[Scene]:
    """Half of them on one colour, half on the photo of a product of another category."""
    scenes = []
    for number in range(count):
        chance = random.Random(f"regions/{number}")
        photo = chance.choice(photos)
        others = [one for one in photos if one.category != photo.category]
        ground = "another photo" if number % 2 else "one colour"
        if ground == "another photo":
            picture = chance.choice(others).open().resize((SIDE, SIDE))
        else:
            colour = tuple(chance.randint(90, 240) for _ in range(3))
            picture = Image.new("RGB", (SIDE, SIDE), colour)
        product = photo.open()
        longest = round(SIDE * chance.uniform(*SHARES))
        product = product.resize(
            (
                round(longest * product.width / max(product.size)),
                round(longest * product.height / max(product.size)),
            )
        )
        left = chance.randint(0, SIDE - product.width)
        top = chance.randint(0, SIDE - product.height)
        picture.paste(product, (left, top))
        box = (left, top, left + product.width, top + product.height)
        scenes.append(Scene(picture, box, photo.product, ground))
    return scenes


def measure(engine: model.Engine, scenes: Sequence[Scene]) -> list[dict[str, Any]]:
    """A row for each way and ground."""
    found: dict[tuple[str, str], list[tuple[bool, float, int]]] = {}
    show = Progress("finding regions", lambda done, total: f"{done} of {total} pictures")
    for number, scene in enumerate(scenes):
        eye = Eye(engine, prompts.listing_question("title", scene.name))
        for name, way in WAYS.items():
            eye.views = 0
            box = way(scene, eye)
            one = (_points(box, scene.box), _iou(box, scene.box), eye.views)
            found.setdefault((name, scene.ground), []).append(one)
        share = _area(scene.box) / SIDE**2
        found.setdefault(("chance", scene.ground), []).append((False, share, 0))
        show(number + 1, len(scenes))
    return [_row(name, ground, some) for (name, ground), some in found.items()]


def _row(name: str, ground: str, some: Sequence[tuple[bool, float, int]]) -> dict[str, Any]:
    count = len(some)
    iou = sum(one[1] for one in some) / count
    pointing = iou if name == "chance" else sum(one[0] for one in some) / count
    views = sum(one[2] for one in some) / count
    return {
        "way": name, "ground": ground, "pictures": count,
        "pointing": pointing, "iou": None if name == "chance" else iou, "views": views,
    }  # fmt: skip


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [f"{'way':<34}{'ground':<16}{'pointing':>9}{'IoU':>8}{'views':>8}"]
    for row in rows:
        iou = "–" if row["iou"] is None else f"{row['iou']:.3f}"
        lines.append(
            f"{row['way']:<34}{row['ground']:<16}{row['pointing']:>9.3f}{iou:>8}{row['views']:>8.1f}"
        )
    return "\n".join(lines) + "\n"


# --- the ways ----------------------------------------------------------------------------------


def windows(box: Box, share: float, steps: int) -> list[Box]:
    """Overlapping parts of a box, `share` of its sides each, `steps` in each direction."""
    left, top, right, bottom = box
    wide, high = round((right - left) * share), round((bottom - top) * share)
    return [
        (x, y, x + wide, y + high)
        for y in _places(top, bottom - high, steps)
        for x in _places(left, right - wide, steps)
    ]


def _places(first: int, last: int, steps: int) -> list[int]:
    return [round(first + (last - first) * step / (steps - 1)) for step in range(steps)]


def occlusion(steps: int, share: float, scene: Scene, eye: Eye) -> Box:
    """The window whose hiding costs most."""
    base = eye.margin(scene.picture)
    found = {
        box: base - eye.margin(_hidden(scene.picture, box))
        for box in windows((0, 0, SIDE, SIDE), share, steps)
    }
    return max(found, key=found.__getitem__)


def occlusion_two_scales(scene: Scene, eye: Eye) -> Box:
    """Large windows, then smaller ones: each place's falls are added up; the box around the places
    that have at least half of the most."""
    base = eye.margin(scene.picture)
    heat: dict[Box, float] = {}
    for steps, share in ((3, 0.5), (4, 0.25)):
        for box in windows((0, 0, SIDE, SIDE), share, steps):
            heat[box] = base - eye.margin(_hidden(scene.picture, box))
    return _hot(heat)


def crops(scene: Scene, eye: Eye) -> Box:
    """The part that alone agrees most."""
    found = _cropped(scene, eye, windows((0, 0, SIDE, SIDE), 0.5, 3))
    return max(found, key=found.__getitem__)


def crops_heat(share: float, steps: int, scene: Scene, eye: Eye) -> Box:
    """Parts alone: the mean margin of the parts that show a place; the box around the best."""
    return _hot(_cropped(scene, eye, windows((0, 0, SIDE, SIDE), share, steps)))


def crops_coarse_to_fine(scene: Scene, eye: Eye) -> Box:
    """The best part, then the best part of it, as long as a smaller one agrees more."""
    best = crops(scene, eye)
    whole = eye.margin(scene.picture.crop(best))
    found = _cropped(scene, eye, windows(best, 0.7, 2))
    finer = max(found, key=found.__getitem__)
    return finer if found[finer] > whole else best


def shipped(scene: Scene, eye: Eye) -> Box:
    """As the application does it."""
    base = eye.margin(scene.picture)
    (region,) = regions.find_regions(
        [scene.picture],
        [base],
        [True],
        lambda views: [[eye.margin(view)] for view in views],
        lambda _done, _total: None,
    )
    return region.box


def middle(scene: Scene, _eye: Eye) -> Box:
    """The middle ninth, whatever is asked."""
    third = scene.picture.width // 3
    return (third, third, 2 * third, 2 * third)


WAYS: dict[str, Way] = {
    "middle": middle,
    "shipped": shipped,
    "occlusion, cells of 1/3": partial(occlusion, 3, 1 / 3),
    "occlusion, windows of 1/2": partial(occlusion, 3, 0.5),
    "occlusion, two scales": occlusion_two_scales,
    "crops of 1/2": crops,
    "crops of 1/2, heat": partial(crops_heat, 0.5, 3),
    "crops, coarse to fine": crops_coarse_to_fine,
}


def _cropped(scene: Scene, eye: Eye, boxes: Sequence[Box]) -> dict[Box, float]:
    return {box: eye.margin(scene.picture.crop(box)) for box in boxes}


CELLS = 12  # of the heat map, in each direction
HOT = 0.5  # share of the range that the hot cells have at least


def _hot(heat: dict[Box, float]) -> Box:
    """The box around the cells joined to the hottest that are nearly as hot; a cell has the mean
    of the boxes over it."""
    step = SIDE / CELLS
    cells: dict[tuple[int, int], float] = {}
    for row in range(CELLS):
        for column in range(CELLS):
            x, y = (column + 0.5) * step, (row + 0.5) * step
            over = [v for (x0, y0, x1, y1), v in heat.items() if x0 <= x < x1 and y0 <= y < y1]
            cells[row, column] = sum(over) / len(over)
    top = max(cells, key=cells.__getitem__)
    least = min(cells.values())
    limit = least + (cells[top] - least) * (1 - (1 - HOT) * 0.5)
    joined, border = {top}, [top]
    while border:
        row, column = border.pop()
        for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if near not in joined and cells.get(near, least - 1) >= limit:
                joined.add(near)
                border.append(near)
    rows, columns = [row for row, _ in joined], [column for _, column in joined]
    return (
        round(min(columns) * step),
        round(min(rows) * step),
        round((max(columns) + 1) * step),
        round((max(rows) + 1) * step),
    )


def _hidden(picture: Image.Image, box: Box) -> Image.Image:
    hidden = picture.copy()
    red, green, blue = (round(value) for value in ImageStat.Stat(picture).mean)
    hidden.paste((red, green, blue), box)
    return hidden


def _points(box: Box, truth: Box) -> bool:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return truth[0] <= x < truth[2] and truth[1] <= y < truth[3]


def _iou(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0, wide) * max(0, high)
    return common / (_area(one) + _area(other) - common)


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


if __name__ == "__main__":
    sys.exit(main())
