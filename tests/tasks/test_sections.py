import pytest

from mmapp.documents.quotes import PageText
from mmapp.tasks.sections import Place, by_section, outline_of
from mmapp.types import Bookmark, Document, Line, MediaType, Page
from tests.tasks.fakes import text_page

MORE = "Bees live in all of the gardens of the city and fly far to find flowers. " * 4
MORE_CHINESE = "蜜蜂生活在城市的所有花园里，飞得很远去找花。" * 8


def sized_page(number, *blocks):
    """A page of (font size, text) blocks; a letter is half as wide as high, Chinese as wide."""
    lines, y = [], 72.0
    for block, (size, text) in enumerate(blocks):
        edges = [72.0]
        for character in text:
            edges.append(edges[-1] + (size if character > "\u2e80" else size / 2))
        box = (72.0, y, edges[-1], y + 1.2 * size)
        lines.append(Line(text, box, tuple(edges), block))
        y += 3 * size
    return PageText(Page(number, 595, 842, tuple(lines)))


def outline(pages, bookmarks=()):
    document = Document("d", "d.pdf", MediaType.PDF, 1, len(pages), outline=tuple(bookmarks))
    return outline_of(document, pages)


def told(found):
    return [(heading.level, heading.title, heading.start.page) for heading in found.headings]


@pytest.mark.parametrize(
    ("title", "parts", "more"),
    [
        ("The Life of Bees", ["Where They Live", "What They Eat"], MORE),
        ("蜜蜂的生活", ["它们住在哪里", "它们吃什么"], MORE_CHINESE),
    ],
)
def test_headings_are_told_by_the_size_of_their_letters(title, parts, more):
    pages = [
        sized_page(1, (24, title), (11, more), (16, parts[0]), (11, more)),
        sized_page(2, (11, more), (16, parts[1]), (11, more)),
    ]
    found = outline(pages)
    assert told(found) == [(1, title, 1), (2, parts[0], 1), (2, parts[1], 2)]
    assert found.source == "headings"
    for heading in found.headings:
        (span,) = heading.spans
        text = next(page.text for page in pages if page.page.number == span.page)
        assert text[span.start : span.end] == heading.title


@pytest.mark.parametrize(
    ("titles", "levels", "more"),
    [
        (["1 Bees", "1.1 Honey", "2 Wasps"], [1, 2, 1], MORE),
        (["Part I Insects", "Chapter 1 Bees", "Section 2 Honey"], [1, 2, 3], MORE),
        (["第一章 蜜蜂", "第二节 蜂蜜", "第二章 黄蜂"], [1, 2, 1], MORE_CHINESE),
        (["一、蜜蜂", "（一）蜂蜜", "二、黄蜂"], [1, 2, 1], MORE_CHINESE),
    ],
)
def test_headings_are_told_by_their_numbers(titles, levels, more):
    blocks = [block for title in titles for block in ((11, title), (11, more))]
    for pages in (
        [sized_page(1, *blocks)],
        [PageText(text_page(1, "\n\n".join(text for _, text in blocks)))],
    ):
        assert told(outline(pages)) == [
            (level, title, 1) for level, title in zip(levels, titles, strict=True)
        ]


def test_markdown_has_its_own_marks_and_code_has_none():
    text = "# Bees #\n\nThey fly.\n\n```\n# a comment\n```\n\n## Honey\n\nIt is sweet."
    assert told(outline([PageText(text_page(1, text))])) == [(1, "Bees", 1), (2, "Honey", 1)]


@pytest.mark.parametrize(
    "blocks",
    [
        [(11, "1. Take the cover off"), (11, "2. Turn it round"), (11, "3. Put it back")],
        [(11, "1 Bees ..... 3"), (11, MORE), (11, "2 Wasps ..... 9"), (11, MORE)],
        [(11, MORE), (18, "x = y + 2 · z"), (11, MORE)],
        [(11, MORE), (18, "It ends like a sentence."), (11, MORE)],
        [(11, "1 " + MORE), (11, "2 " + MORE)],
    ],
    ids=["list", "contents", "formula", "sentence", "paragraphs"],
)
def test_what_only_looks_like_a_heading_is_none(blocks):
    assert told(outline([sized_page(1, *blocks)])) == []


def test_a_running_header_is_no_heading():
    pages = [sized_page(n, (16, "The Life of Bees"), (11, MORE)) for n in range(1, 6)]
    assert told(outline(pages)) == []


def test_bookmarks_begin_where_their_titles_stand():
    pages = [
        sized_page(1, (11, MORE), (11, "1  Bees"), (11, MORE), (11, "Bees"), (11, MORE)),
        sized_page(2, (11, "WHAT THEY"), (11, "EAT"), (11, MORE)),
    ]
    found = outline(
        pages,
        [
            Bookmark(1, "Bees", 1),
            Bookmark(2, "Bees", 1),
            Bookmark(1, "What they eat", 2),
            Bookmark(1, "Nowhere to be seen", 2),
            Bookmark(1, "On a page without words", 3),
        ],
    )
    assert found.source == "bookmarks"
    starts = {heading.title: heading.start for heading in found.headings}
    first, second = (h.start.at for h in found.headings if h.title == "Bees")
    assert 0 < first < second
    assert starts["What they eat"] == Place(2, 0)
    assert starts["Nowhere to be seen"] == Place(2, 0)
    assert starts["On a page without words"] == Place(3, 0)


def test_sections_are_of_the_outermost_level_that_divides_the_document():
    marks = [(1, "Book"), (2, "One"), (3, "One a"), (2, "Two"), (3, "Two a")]
    pages = [sized_page(n, (11, MORE)) for n in range(1, 6)]
    found = outline(pages, [Bookmark(level, title, n) for n, (level, title) in enumerate(marks, 1)])
    assert [heading.title for heading in found.sections()] == ["Book", "One", "Two"]
    places = [Place(1, 5), Place(2, 9), Place(3, 0), Place(5, 7)]
    assert by_section(found.sections(), places) == [[], [0], [1, 2], [3]]


def test_a_document_without_headings_has_no_sections():
    found = outline([sized_page(1, (11, MORE))])
    assert (found.sections(), found.source) == ([], "none")
