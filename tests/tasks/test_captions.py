"""Which words are about which figure, in English and Chinese, on pages set line by line."""

from __future__ import annotations

import pytest

from mmapp.documents.quotes import PageText
from mmapp.tasks.captions import About, FoundBy, words_about
from mmapp.types import Box, Line, Page, Picture

#: A picture in the middle of a page of 600 by 800 points.
PICTURE: Box = (100, 200, 400, 400)


def page(*blocks: tuple[float, str], number: int = 1, rotation: int = 0) -> PageText:
    """A page of blocks at their heights, with the lines of a block below each other."""
    lines = [
        Line(text, (100, top + 14 * row, 100 + 7 * len(text), top + 12 + 14 * row), block=block)
        for block, (top, words) in enumerate(blocks)
        for row, text in enumerate(words.split("\n"))
    ]
    return PageText(Page(number, 600, 800, tuple(lines), rotation=rotation))


def said(pages: list[PageText], *pictures: Picture) -> list[tuple[str, str, FoundBy] | None]:
    """Words, label and way of each figure."""
    texts = {one.page.number: one.text for one in pages}

    def told(about: About | None) -> tuple[str, str, FoundBy] | None:
        if about is None:
            return None
        span = about.span
        return texts[span.page][span.start : span.end], about.label, about.found_by

    return [told(about) for about in words_about(pictures or (Picture(1, PICTURE),), pages)]


@pytest.mark.parametrize(
    ("written", "label", "words"),
    [
        ("Figure 3: A red shirt.", "Figure 3", "A red shirt."),
        ("Fig. 2.1 A red shirt", "Fig. 2.1", "A red shirt"),
        ("FIGURE 3 – Shirts of cotton,\nall red.", "FIGURE 3", "Shirts of cotton, all red."),
        ("Photo 12. A red shirt", "Photo 12", "A red shirt"),
        ("图3 红色衬衫", "图3", "红色衬衫"),
        ("图 3：红色衬衫，\n纯棉。", "图 3", "红色衬衫，纯棉。"),
        ("图2-1　红色衬衫", "图2-1", "红色衬衫"),
        ("照片三：红色衬衫", "照片三", "红色衬衫"),
    ],
)
def test_a_caption_is_what_follows_its_label(written: str, label: str, words: str) -> None:
    for top in (410.0, 170.0):
        pages = [page((50, "Text."), (top, written), (700, "More text."))]
        assert said(pages) == [(words, label, FoundBy.CAPTION)]


@pytest.mark.parametrize(
    "written",
    [
        "Table 3: Prices of shirts",
        "表3 价格",
        "Figure 3 shows that shirts are red.",
        "图3显示了红色衬衫。",
        "图书馆有三层。",
        "Figures are given in euros.",
        "A red shirt",
    ],
)
def test_what_is_no_caption_tells_nothing(written: str) -> None:
    assert said([page((50, "Text."), (410, written))]) == [None]


def test_a_caption_far_away_or_beside_is_not_taken() -> None:
    assert said([page((480, "Figure 1: A red shirt"))]) == [None]
    beside = Picture(1, (450, 380, 560, 400))
    assert said([page((410, "Figure 1: A shirt"))], beside) == [None]


def test_each_caption_goes_to_its_nearest_picture() -> None:
    upper, lower = Picture(1, (100, 100, 400, 200)), Picture(1, (100, 240, 400, 340))
    pages = [page((210, "Figure 1: A shirt."), (350, "Figure 2: A shoe."))]
    assert [words for words, *_ in filter(None, said(pages, upper, lower))] == [
        "A shirt.",
        "A shoe.",
    ]


def test_on_a_turned_page_below_is_as_it_is_shown() -> None:
    # Shown turned by 90 degrees, the stored right side is the bottom.
    line = Line("Figure 1: A shirt.", (410, 200, 422, 330))
    turned = PageText(Page(1, 800, 600, (line,), rotation=90))
    assert said([turned]) == [("A shirt.", "Figure 1", FoundBy.CAPTION)]


@pytest.mark.parametrize(
    ("label", "sentence", "words"),
    [
        ("Figure 3", "As shown in Figure 3, the shirt is red. It sold well.", "the shirt is red."),
        ("Figure 3", "All was well. The shirt is red (see Fig. 3). Sold.", "The shirt is red"),
        ("Fig. 3", "Figure 3 shows a red shirt.", "a red shirt."),
        ("图3", "生意很好。如图3所示，衬衫是红色的。", "衬衫是红色的。"),
        ("图3", "衬衫是红色的（见图 3）。生意很好。", "衬衫是红色的"),
    ],
)
def test_a_bare_label_is_told_by_the_sentence_that_names_it(
    label: str, sentence: str, words: str
) -> None:
    pages = [page((50, f"Figure 31 is blue. {sentence}")), page((410, label), number=2)]
    (found,) = said(pages, Picture(2, PICTURE))
    assert found is not None
    assert (found[0], found[2]) == (words, FoundBy.REFERENCE)


def test_without_any_label_figures_are_counted() -> None:
    pages = [page((50, "Figure 2 shows a red shirt."), (480, "More."))]
    first, second = Picture(1, PICTURE), Picture(1, (100, 500, 400, 700))
    assert said(pages, first, second) == [None, ("a red shirt.", "Figure 2", FoundBy.COUNTED)]
    labelled = [page((50, "Figure 2 shows a red shirt."), (410, "Figure 1: A shoe."))]
    assert said(labelled, first, second)[1] is None


def test_long_blanks_cost_no_time() -> None:
    """The patterns go over a hostile line once; by backtracking this would take hours."""
    blank = " " * 3_000
    words = f"The shirt{blank}is red{blank}(see{blank}Figure 1{blank}and"
    (found,) = said([page((50, words), (480, f"as{blank}is{blank}shown{blank}in{blank}"))])
    assert found is not None
    assert found[0].startswith("The shirt")
