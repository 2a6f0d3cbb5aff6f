from mmapp.documents.order import Chunk, reading_order


def chunk(first, *boxes):
    return Chunk(tuple(range(first, first + len(boxes))), boxes)


def lines(first, x0, x1, top, count):
    """A block of `count` lines, 12 points each."""
    return chunk(first, *[(x0, top + 12 * n, x1, top + 12 * n + 10) for n in range(count)])


def order(*chunks):
    return [line for part in reading_order(chunks, 600) for line in part.lines]


TITLE = chunk(90, (150, 20, 450, 40))
LEFT = lines(0, 50, 290, 60, 5)
LEFT_BELOW = lines(10, 50, 290, 200, 5)
RIGHT = lines(20, 310, 550, 60, 5)
RIGHT_BELOW = lines(30, 310, 550, 200, 5)
NUMBER = chunk(99, (298, 700, 304, 710))
COLUMNS = [90, *range(5), *range(10, 15), *range(20, 25), *range(30, 35), 99]


def test_columns_are_read_one_after_the_other_in_whatever_order_they_were_drawn():
    assert order(TITLE, LEFT, LEFT_BELOW, RIGHT, RIGHT_BELOW, NUMBER) == COLUMNS
    assert order(NUMBER, RIGHT_BELOW, LEFT_BELOW, TITLE, RIGHT, LEFT) == COLUMNS
    assert order(TITLE, LEFT, RIGHT, LEFT_BELOW, RIGHT_BELOW, NUMBER) == COLUMNS


def test_a_bar_across_the_columns_is_read_between_what_is_above_and_below():
    bar = chunk(50, (50, 160, 550, 180))
    assert order(LEFT, LEFT_BELOW, RIGHT, RIGHT_BELOW, bar) == [
        *range(5), *range(20, 25), 50, *range(10, 15), *range(30, 35)
    ]  # fmt: skip


def test_three_columns_are_read_from_left_to_right():
    columns = [lines(10 * n, 50 + 180 * n, 210 + 180 * n, 60, 4) for n in range(3)]
    assert order(columns[2], columns[0], columns[1]) == [*range(4), *range(10, 14), *range(20, 24)]


def test_columns_drawn_line_by_line_are_found_inside_one_block():
    boxes = []
    for n in range(5):
        boxes += [(50, 60 + 12 * n, 290, 70 + 12 * n), (310, 60 + 12 * n, 550, 70 + 12 * n)]
    assert order(chunk(0, *boxes)) == [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]


def test_a_table_is_read_by_rows():
    rows = [
        chunk(10 * n, *[(50 + 100 * c, 60 + 14 * n, 80 + 100 * c, 70 + 14 * n) for c in range(4)])
        for n in range(6)
    ]
    assert order(*rows) == [10 * n + c for n in range(6) for c in range(4)]


def test_a_footer_drawn_first_is_read_last():
    assert order(NUMBER, LEFT, LEFT_BELOW) == [*range(5), *range(10, 15), 99]


def test_the_parts_of_a_formula_keep_their_order():
    formula = [
        chunk(0, (50, 100, 90, 112)),
        chunk(1, (92, 90, 99, 98)),
        chunk(2, (92, 112, 99, 118)),
    ]
    after = chunk(3, (101, 100, 150, 112))
    assert order(*formula, after) == [0, 1, 2, 3]


def test_no_chunks_are_no_order():
    assert order() == []
