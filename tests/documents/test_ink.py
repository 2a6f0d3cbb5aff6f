"""Which pages show words that their text lacks, told before anything is recognised."""

from __future__ import annotations

import pymupdf
import pytest

from mmapp.documents import Reader
from mmapp.documents.ink import is_text
from mmapp.types import Line, Recognition
from tests.documents.scans import CHINESE, ENGLISH, encoded, picture, scanned, written


def state(reader: Reader, data: bytes) -> Recognition:
    return reader.read("page.pdf", data).pages[0].recognition


@pytest.mark.parametrize("lines", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_words_in_pictures_are_wanted_and_words_of_the_text_are_not(reader, lines):
    assert state(reader, written(lines).tobytes()) is Recognition.NOT_NEEDED
    assert state(reader, scanned(picture(written(lines)))) is Recognition.WANTED
    assert state(reader, scanned(picture(written(lines)), lines)) is Recognition.WANTED
    assert state(reader, encoded(picture(written(lines)))) is Recognition.WANTED


def test_one_small_line_in_a_picture_beside_text_is_wanted(reader):
    document = written(ENGLISH)
    stamp = picture(written(["Total 12.50"], size=8, top=100), dpi=150)
    document[0].insert_image(pymupdf.Rect(0, 90, 420, 290), stream=encoded(stamp))
    assert state(reader, document.tobytes()) is Recognition.WANTED


def test_rules_boxes_and_shades_are_no_writing(reader):
    document = written(ENGLISH)
    page = document[0]
    for row in range(5):
        page.draw_line((40, 100 + 18 * row), (380, 100 + 18 * row))
    page.draw_rect((40, 100, 380, 172))
    page.draw_line((200, 100), (200, 172), width=3)
    page.draw_rect((60, 180, 300, 195), color=None, fill=(0.8, 0.9, 1))
    assert state(reader, document.tobytes()) is Recognition.NOT_NEEDED


def test_nothing_is_wanted_of_blank_pages(reader):
    blank = pymupdf.open()
    blank.new_page()
    assert state(reader, blank.tobytes()) is Recognition.NOT_NEEDED
    assert state(reader, scanned(picture(written([])))) is Recognition.NOT_NEEDED


def test_signs_without_meaning_are_no_text():
    assert is_text([Line("Price 12")])
    assert is_text([Line("价格 12")])
    assert not is_text([Line("\ufffd\ue000\ue001 \ue002 a")])
