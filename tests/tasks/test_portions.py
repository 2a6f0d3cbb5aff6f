from hypothesis import given, settings
from hypothesis import strategies as st

from mmapp.tasks.portions import LEAD_SHARE, portions
from mmapp.tasks.sections import Heading, Place


def tokens(_number, text):
    return len(text) // 4 + 3


PAGES = st.lists(
    st.text(st.sampled_from("abc .\n。"), min_size=1, max_size=400), min_size=1, max_size=12
)


@given(PAGES, st.integers(70, 400), st.data())
@settings(max_examples=150, deadline=None)
def test_every_character_is_in_one_portion_and_each_fits(pages, room, data):
    texts = list(enumerate(pages, 1))
    numbers = st.integers(1, len(pages))
    headings = [
        Heading(level, "t", Place(number, min(at, len(pages[number - 1]) - 1)))
        for level, number, at in data.draw(
            st.lists(st.tuples(st.integers(1, 3), numbers, st.integers(0, 399)), max_size=8)
        )
    ]
    headings.sort(key=lambda heading: heading.start)
    cut = portions(texts, room, tokens, lead_tokens=tokens, headings=lambda: headings)
    read = {number: "" for number, _ in texts}
    for portion in cut:
        for span, count in zip(portion.spans, portion.tokens, strict=True):
            assert len(read[span.page]) == span.start
            read[span.page] += dict(texts)[span.page][span.start : span.end]
            assert count == tokens(span.page, dict(texts)[span.page][span.start : span.end])
        assert sum(portion.tokens) + sum(portion.lead_tokens) <= room
        assert all(count <= LEAD_SHARE * room for count in portion.lead_tokens)
    assert list(read.values()) == pages


def test_a_portion_ends_where_an_outer_section_does():
    page = "x" * 400
    headings = [
        Heading(1, "A", Place(1, 0)),
        Heading(2, "a", Place(3, 0)),
        Heading(1, "B", Place(3, 100)),
        Heading(2, "b", Place(3, 300)),
    ]
    texts = [(n, page) for n in range(1, 7)]
    first, second = portions(texts, 350, tokens, headings=lambda: headings)[:2]
    assert (first.spans[-1].page, first.spans[-1].end) == (3, 100)
    assert second.start == Place(3, 100)


def test_a_portion_is_led_by_the_opening_and_by_what_precedes_it():
    texts = [(n, f"Title {n}\nA {n}\n" + f"B {n} " * 90 + f"\nThe end of {n}") for n in range(1, 9)]
    _, *others = portions(texts, 300, tokens, lead_tokens=tokens)
    assert others
    for portion in others:
        opening, before = [dict(texts)[span.page][span.start : span.end] for span in portion.lead]
        assert opening.startswith("Title 1\nA 1")
        assert before == f"The end of {portion.start.page - 1}"


def test_what_fits_is_not_cut_and_asks_for_no_headings():
    def never():
        raise AssertionError

    (portion,) = portions([(1, "a b"), (2, "c")], 100, tokens, lead_tokens=tokens, headings=never)
    assert [span.page for span in portion.spans] == [1, 2]
    assert portion.lead == ()
