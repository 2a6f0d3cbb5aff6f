"""Pictures of PDFs: which of them are figures, and where they stand on the page."""

from __future__ import annotations

import io

import pymupdf
import pytest
from PIL import Image

from mmapp.documents import Reader
from mmapp.documents.figures import MOST_FIGURES, Painted, PaintedPage, figures, joined
from mmapp.documents.quotes import shown_box
from mmapp.errors import EncryptedFile
from mmapp.types import Box, Picture

AREA = 600.0 * 800


def png(colour: str, size: tuple[int, int] = (40, 40)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def painted(*pages: list[Box]) -> list[PaintedPage]:
    """Pages of pictures that all differ."""
    keys = iter(range(10_000))
    return [
        PaintedPage(number, AREA, tuple(Painted(box, (next(keys), 1, 1)) for box in boxes))
        for number, boxes in enumerate(pages, 1)
    ]


def test_logos_backgrounds_and_ornaments_are_no_figures(reader: Reader) -> None:
    with pymupdf.open() as document:
        for number in range(3):
            page = document.new_page(width=600, height=800)
            page.insert_image((0, 0, 600, 800), stream=png("grey", (60, 80)))
            page.insert_image((20, 20, 80, 80), stream=png("blue"))
            page.insert_image((300, 700, 320, 720), stream=png("green", (41 + number, 40)))
            page.insert_image((100, 200 + 50 * number, 300, 400 + 50 * number), stream=png("red"))
        found = reader.pictures(document.tobytes())
    assert found.found == tuple(
        Picture(number, (100, 150 + 50 * number, 300, 350 + 50 * number)) for number in (1, 2, 3)
    )
    assert found.left_out == {"tiny": 3, "repeated": 3, "page_sized": 3, "beyond": 0}


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_figure_stands_where_its_page_shows_it(reader: Reader, rotation: int) -> None:
    with pymupdf.open() as document:
        page = document.new_page(width=600, height=800)
        page.insert_image((100, 200, 300, 350), stream=png("red"), keep_proportion=False)
        page.set_rotation(rotation)
        data = document.tobytes()
    (picture,) = reader.pictures(data).found
    (read,) = reader.read("turned.pdf", data).pages
    drawn = Image.open(io.BytesIO(reader.render(data, 1, dpi=72))).convert("RGB")
    x0, y0, x1, y1 = (round(edge) for edge in shown_box(read, picture.box))
    inside = drawn.crop((x0 + 2, y0 + 2, x1 - 2, y1 - 2)).getcolors()
    assert inside is not None
    assert all(red > 200 > 60 > blue for _, (red, _, blue) in inside)
    assert drawn.getpixel((x0 - 4, y0 - 4)) == (255, 255, 255)


def test_a_picture_beyond_the_page_is_cut_and_slices_are_one(reader: Reader) -> None:
    with pymupdf.open() as document:
        page = document.new_page(width=600, height=800)
        for row in range(10):
            box = (500, 100 + 20 * row, 700, 120 + 20 * row)
            page.insert_image(box, stream=png("red", (50, 5 + row)), keep_proportion=False)
        (picture,) = reader.pictures(document.tobytes()).found
    assert picture == Picture(1, (500, 100, 600, 300))


def test_boxes_that_touch_through_others_are_one() -> None:
    parts: list[Box] = [(0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10), (10, 0, 20, 10)]
    assert joined(parts) == [(0, 0, 30, 10), (40, 0, 50, 10)]


def test_no_more_than_the_bound_are_found_and_the_rest_is_counted() -> None:
    corners = [(60.0 * x, 60.0 * y) for x in range(10) for y in range(13)]
    places: list[Box] = [(x, y, x + 50, y + 50) for x, y in corners]
    found = figures(painted(places, places, places))
    assert len(found.found) == MOST_FIGURES
    assert found.left_out["beyond"] == 3 * len(places) - MOST_FIGURES


def test_an_encrypted_file_is_refused(reader: Reader) -> None:
    with pymupdf.open() as document:
        document.new_page()
        data = document.tobytes(encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="secret")
    with pytest.raises(EncryptedFile):
        reader.pictures(data)
