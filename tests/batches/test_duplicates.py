"""Photos that were saved anew are found again, other products are not. On the sample photos."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import combinations

import pytest
from PIL import Image, ImageEnhance

from mmapp.batches.duplicates import BLOCK, mark, near_groups
from mmapp.samples import FOLDER

PHOTOS = [Image.open(path).convert("RGB") for path in sorted((FOLDER / "photos").iterdir())]


def saved_badly(photo: Image.Image) -> Image.Image:
    file = io.BytesIO()
    photo.resize((photo.width // 3, photo.height // 3)).save(file, "JPEG", quality=40)
    return Image.open(file)


def brighter(photo: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(photo).enhance(1.15)


def harder(photo: Image.Image) -> Image.Image:
    return ImageEnhance.Contrast(photo).enhance(1.2)


@pytest.mark.parametrize("edited", [saved_badly, brighter, harder])
def test_edited_photos_are_near_their_own_and_no_others(
    edited: Callable[[Image.Image], Image.Image],
) -> None:
    count = len(PHOTOS)
    marks = [mark(photo) for photo in [*PHOTOS, *map(edited, PHOTOS)]]
    assert near_groups(marks) == [[number, number + count] for number in range(count)]


def test_the_same_shape_in_another_colour_is_another_product() -> None:
    peppers = Image.open(FOLDER / "photos" / "red-bell-peppers.jpg").convert("RGB")
    one, other = mark(peppers), mark(Image.merge("RGB", peppers.split()[::-1]))
    assert (one.shape ^ other.shape).bit_count() <= 10
    assert near_groups([one, other]) == []


def test_flat_pictures_are_told_apart_by_their_colours() -> None:
    colours = ["red", "blue", "white", "black"]
    marks = [mark(Image.new("RGB", (64, 48), colour)) for colour in [*colours, "red"]]
    assert near_groups(marks) == [[0, 4]]


def test_groups_reach_over_blocks_and_the_way_is_told() -> None:
    marks = [mark(photo) for photo in PHOTOS]
    filler = [mark(Image.new("RGB", (8, 8), (0, 0, 0)))] * BLOCK
    told: list[tuple[int, int]] = []
    groups = near_groups([*marks, *filler, *marks], lambda done, total: told.append((done, total)))
    assert [group for group in groups if len(group) == 2] == [
        [number, len(marks) + BLOCK + number] for number in range(len(marks))
    ]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == told[-1][1] == len(marks) * 2 + BLOCK


def test_the_sample_photos_differ() -> None:
    marks = [mark(photo) for photo in PHOTOS]
    assert near_groups(marks) == []
    assert all((a.shape ^ b.shape).bit_count() > 10 for a, b in combinations(marks, 2))
