import itertools
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from mmapp.documents.quotes import PageText, page_text
from mmapp.tasks.passages import passages
from mmapp.tasks.sentences import MOST_CHARACTERS
from tests.tasks.fakes import pdf_page, text_page


def offered(*pages):
    return [passage.text for passage in passages([PageText(page) for page in pages])]


def test_sentences_stand_alone_and_with_their_neighbours():
    sentences = [f"Garden number {n} has its own bees." for n in range(5)]
    assert offered(text_page(1, " ".join(sentences))) == [
        *sentences,
        " ".join(sentences[0:3]),
        " ".join(sentences[2:5]),
    ]


def test_any_two_neighbours_are_in_one_passage():
    for count in range(2, 9):
        sentences = [f"第{n}个花园里有自己的蜜蜂。" for n in range(count)]
        found = offered(text_page(1, "\n\n".join(sentences)))
        pairs = itertools.pairwise(sentences)
        assert all(any(a + b in passage for passage in found) for a, b in pairs)


def test_headings_rows_and_code_are_offered_with_what_stands_beside_them():
    page = text_page(
        1, "# Prices\n\n| Honey | 4.20 € |\n\nAll prices are for one glass.\n\n`buy 1`"
    )
    found = offered(page)
    assert "# Prices | Honey | 4.20 € | All prices are for one glass." in found
    assert "# Prices" not in found
    assert "All prices are for one glass. `buy 1`" in found


def test_a_document_of_one_scrap_or_one_repeated_line_still_has_passages():
    assert offered(text_page(1, "4711")) == ["4711"]
    assert offered(text_page(1, "Draft"), text_page(2, "Draft"), text_page(3, "Draft"))


def test_a_run_over_a_page_break_has_a_span_on_each_page():
    pages = [
        pdf_page(1, "The first hive was lost in the great storm."),
        pdf_page(2, "Nobody found the second hive again either."),
    ]
    (run,) = (p for p in passages([PageText(page) for page in pages]) if len(p.spans) > 1)
    assert [span.page for span in run.spans] == [1, 2]


def test_text_without_full_stops_is_cut_between_words():
    words = " ".join(f"word{n}" for n in range(1000))
    found = offered(text_page(1, words))
    single = [text for text in found if len(text) <= MOST_CHARACTERS]
    assert " ".join(single) == words


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(alphabet="aB1 .!?。；#|-`\n蜂", max_size=80), min_size=1, max_size=4))
def test_every_passage_stands_on_its_pages(blocks):
    page = text_page(1, "\n\n".join(blocks))
    text = page_text(page)
    for passage in passages([PageText(page)]):
        assert all(text[span.start : span.end] for span in passage.spans)
        quotes = [text[span.start : span.end] for span in passage.spans]
        assert "".join("".join(quotes).split()) == "".join(passage.text.split())


def test_a_long_document_takes_time_linear_in_its_length():
    """Twenty thousand sentences: a second or two, where comparing all with all takes minutes."""
    words = "\n\n".join(f"Garden {number} has its own bees." for number in range(20_000))
    started = time.process_time()
    passages([PageText(text_page(1, words))])
    assert time.process_time() - started < 20
