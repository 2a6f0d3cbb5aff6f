import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmapp.documents.characters import clean, is_cjk
from mmapp.documents.quotes import PageText, boxes_of, page_text, shown_box
from mmapp.types import Line, Page

WORDS = st.text(st.sampled_from("ab c文字。é"), min_size=1, max_size=12).map(
    lambda text: clean(text)[0]
)


@st.composite
def pages(draw):
    """A page of stacked lines in blocks; line n is the band n*20..n*20+10, characters 5 wide."""
    lines = []
    block = 0
    for number, text in enumerate(draw(st.lists(WORDS, max_size=8))):
        block += draw(st.integers(0, 1))
        top = number * 20.0
        edges = tuple(50.0 + 5 * index for index in range(len(text) + 1))
        has_edges = draw(st.booleans())
        box = (50.0, top, edges[-1], top + 10)
        lines.append(Line(text, box, edges if has_edges else (), block))
    return Page(1, 600.0, 800.0, tuple(lines))


@given(pages(), st.data())
def test_the_boxes_of_any_part_are_those_of_its_lines_cut_to_it(page, data):
    text = PageText(page)
    start = data.draw(st.integers(0, len(text.text)))
    end = data.draw(st.integers(start, len(text.text)))
    expected = []
    for placed in text.lines:
        columns = [i - placed.start for i in range(start, end) if placed.start <= i < placed.end]
        if columns:
            _, top, right, bottom = placed.line.box
            if placed.line.edges:
                expected.append((50.0 + 5 * columns[0], top, 55.0 + 5 * columns[-1], bottom))
            else:
                expected.append((50.0, top, right, bottom))
    assert list(text.boxes_of(start, end)) == expected
    assert boxes_of(page, start, end) == text.boxes_of(start, end)


@given(pages())
def test_every_character_is_placed_where_its_line_says(page):
    text = PageText(page)
    for index, character in enumerate(text.text):
        number, column = text.place(index)
        line = text.lines[number].line.text
        assert character == (line[column] if column < len(line) else text.text[index])
        assert column <= len(line)


@given(pages())
def test_the_text_is_the_lines_and_single_separators(page):
    text = page_text(page)
    assert text == PageText(page).text
    assert text.replace(" ", "").replace("\n", "") == "".join(
        line.text.replace(" ", "") for line in page.lines
    )
    assert "  " not in text
    assert "\n\n" not in text
    assert not text.startswith((" ", "\n"))


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        ("two", "words", "two words"),
        ("hyphen-", "ated", "hyphen- ated"),
        ("中文", "文字", "中文文字"),
        ("句子。", "“引", "句子。 “引"),
        ("中文", "word", "中文 word"),
        ("word", "中文", "word 中文"),
        ("ひら", "がな", "ひらがな"),
        ("한국", "말", "한국 말"),
    ],
)
def test_lines_are_joined_as_their_scripts_ask(first, second, joined):
    page = Page(1, 0, 0, (Line(first), Line(second)))
    assert page_text(page) == joined


def test_lines_without_geometry_have_no_boxes():
    assert boxes_of(Page(1, 0, 0, (Line("words"),)), 0, 5) == ()


def test_a_line_from_right_to_left_is_cut_too():
    line = Line("abc", (10, 0, 40, 10), (40, 30, 20, 10))
    assert boxes_of(Page(1, 100, 100, (line,)), 1, 2) == ((20, 0, 30, 10),)


def test_on_a_page_turned_by_90_degrees_edges_count_downwards():
    line = Line("abc", (10, 0, 20, 30), (30, 20, 10, 0))
    page = Page(1, 100, 50, (line,), rotation=90)
    assert boxes_of(page, 0, 2) == ((10, 10, 20, 30),)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_shown_box_stays_on_the_page_and_keeps_its_area(rotation):
    width, height = (200, 100) if rotation % 180 else (100, 200)
    page = Page(1, width, height, rotation=rotation)
    x0, y0, x1, y1 = shown_box(page, (10, 20, 40, 30))
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert (x1 - x0) * (y1 - y0) == 300


def test_shown_boxes_turn_clockwise():
    corner = (0, 0, 10, 5)
    assert shown_box(Page(1, 200, 100, rotation=90), corner) == (195, 0, 200, 10)
    assert shown_box(Page(1, 100, 200, rotation=180), corner) == (90, 195, 100, 200)
    assert shown_box(Page(1, 200, 100, rotation=270), corner) == (0, 90, 5, 100)


@given(st.text())
def test_clean_text_has_no_hidden_characters_and_knows_its_origins(text):
    kept, origins = clean(text)
    assert len(kept) == len(origins)
    assert all(
        text[origin] == c or text[origin].isspace() for c, origin in zip(kept, origins, strict=True)
    )
    assert kept == " ".join(kept.split(" ")).strip(" ")
    assert clean(kept)[0] == kept
    kept.encode()


def test_the_scripts_written_without_spaces():
    assert all(map(is_cjk, "中。，（あカ㐀𠀀"))
    assert not any(map(is_cjk, "a한é“ 1,"))
