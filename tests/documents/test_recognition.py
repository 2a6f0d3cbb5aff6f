"""Written lines as lines of a page: pieces, paragraphs, columns, directions. Nothing is read."""

from __future__ import annotations

import pytest

from mmapp.documents.ocr import Written, WrittenLine
from mmapp.documents.quotes import PageText, page_text, shown_box
from mmapp.documents.recognition import recognised
from mmapp.types import HiddenText, Hiding, Line, Page, Recognition, Source

#: Pixels of a character's width and height; a page of 1,000 by 1,400 pixels has 500 by 700 points.
ACROSS, HIGH = 10, 20


def line(text: str, x: float, y: float, confidence: float = 0.99) -> WrittenLine:
    edges = tuple(x + ACROSS * place for place in range(len(text) + 1))
    box = (x, y, edges[-1], y + HIGH)
    return WrittenLine(text, box, box, edges, confidence)


def on(page: Page, *lines: WrittenLine, turn: int = 0) -> Page:
    return recognised(page, Written((page.width * 2, page.height * 2), turn, lines))


PAGE = Page(1, 500, 700, recognition=Recognition.WANTED)


@pytest.mark.parametrize(
    ("left", "right", "joined"),
    [("pay the", "invoice", "pay the invoice"), ("支付全部", "发票金额", "支付全部发票金额")],
)
def test_pieces_of_one_line_are_one_line(left: str, right: str, joined: str):
    end = 100 + ACROSS * len(left)
    page = on(PAGE, line(right, end + ACROSS, 52), line(left, 100, 50))
    assert [one.text for one in page.lines] == [joined]
    (found,) = page.lines
    assert len(found.edges) == len(joined) + 1
    (box,) = PageText(page).boxes_of(joined.index(right), len(joined))
    assert box[0] * 2 == pytest.approx(end + ACROSS)


def test_lines_of_a_paragraph_are_read_as_one_and_headings_alone():
    page = on(
        PAGE,
        line("Costs", 100, 100),
        line("The costs of the year rose by four per", 100, 130),
        line("cent, as the board had said in spring.", 100, 158),
        line("All else stayed.", 100, 186),
        line("A new paragraph begins after the gap and", 100, 240),
    )
    assert page_text(page).split("\n") == [
        "Costs",
        "The costs of the year rose by four per cent, as the board had said in spring. "
        "All else stayed.",
        "A new paragraph begins after the gap and",
    ]


def test_columns_are_read_one_after_the_other():
    left = [line(f"left column, line number {n} here", 100, 100 + 28 * n) for n in range(5)]
    right = [line(f"right column, line number {n} too", 560, 100 + 28 * n) for n in range(5)]
    words = page_text(on(PAGE, *left, *right))
    assert words.index("left column, line number 4") < words.index("right column, line number 0")


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_boxes_come_back_to_where_the_words_are_shown(rotation: int):
    page = Page(1, 500, 700, rotation=rotation, recognition=Recognition.WANTED)
    read = on(page, line("two words", 100, 50))
    (box,) = PageText(read).boxes_of(4, 9)
    assert shown_box(read, box) == pytest.approx((70, 25, 95, 35))


@pytest.mark.parametrize(
    ("turn", "shown"),
    [(90, (450, 50, 460, 95)), (180, (405, 650, 450, 660)), (270, (40, 605, 50, 650))],
)
def test_what_was_read_in_another_direction_stands_where_it_is(turn: int, shown: tuple[float, ...]):
    """A line 100 pixels from the left and 80 from the top of the picture that was turned."""
    read = on(PAGE, line("two words", 100, 80), turn=turn)
    assert read.lines[0].box == pytest.approx(shown)
    assert read.lines[0].edges == ()


def test_unsure_lines_are_left_out_and_a_page_of_them_is_illegible():
    page = on(PAGE, line("surely read", 100, 50), line("hardly read", 100, 90, 0.6))
    assert (page_text(page), page.recognition) == ("surely read", Recognition.DONE)
    page = on(PAGE, line("hardly read", 100, 90, 0.6))
    assert (page.lines, page.recognition) == ((), Recognition.ILLEGIBLE)


def test_single_signs_are_no_writing_unless_words_stand_beside_them():
    assert on(PAGE, line("V", 100, 50)).lines == ()
    assert page_text(on(PAGE, line("V", 100, 50), line("volts", 100, 300))) == "V\nvolts"
    assert page_text(on(PAGE, line("福", 100, 50))) == "福"


def test_the_own_text_of_a_page_stays_and_is_not_repeated():
    own = Line("own words", (50, 25, 95, 35), tuple(range(50, 96, 5)), 0)
    page = Page(1, 500, 700, (own,), recognition=Recognition.WANTED)
    read = on(page, line("own w0rds", 102, 51), line("in a picture", 100, 300))
    assert [(one.text, one.source) for one in read.lines] == [
        ("own words", Source.LAYER),
        ("in a picture", Source.OCR),
    ]


@pytest.mark.parametrize(
    ("said", "read", "hidden"),
    [
        ("Rent: 400 euros", "Rent: 400 euros", False),
        ("Rent: 400 euros", "Rent: 4OO euros", False),
        ("Rent: 400 euros", "wholly different", True),
        ("Rent: 400 euros", "", True),
        ("租金每月四百元", "租金每月四百元", False),
        ("租金每月四百元", "押金一共两千块", True),
    ],
)
def test_the_unseen_layer_of_a_scan_is_told_where_the_scan_does_not_say_it(
    said: str, read: str, hidden: bool
):
    box = (50.0, 25.0, 50.0 + 5 * len(said), 35.0)
    layer = Line(said, box, source=Source.UNCHECKED)
    page = Page(1, 500, 700, (layer,), recognition=Recognition.WANTED)
    found = on(page, *([line(read, 100, 50)] if read else []))
    assert page_text(found) == read
    assert found.hidden == ((HiddenText(said, Hiding.NOT_IN_SCAN, box),) if hidden else ())


def test_a_layer_in_a_script_that_is_not_read_stays_as_it_is():
    layer = Line("Договор аренды", (50, 25, 120, 35), source=Source.UNCHECKED)
    page = Page(1, 500, 700, (layer,), recognition=Recognition.WANTED)
    read = on(page, line("AoroBop apehAbl", 100, 50))
    assert (read.lines, read.hidden) == ((layer,), ())
