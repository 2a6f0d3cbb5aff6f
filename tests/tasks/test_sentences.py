import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmapp.documents.quotes import PageText
from mmapp.tasks.sentences import candidates, sentence_spans
from tests.tasks.fakes import pdf_page, text_page


def split(text):
    return [text[start:end] for start, end in sentence_spans(text)]


def offered(*pages):
    return [sentence.text for sentence in candidates([PageText(page) for page in pages])]


@pytest.mark.parametrize(
    "sentences",
    [
        ["We follow Smith et al. (2019) and use Fig. 3.", "It works, e.g. for U.S. data."],
        ["Version 3.5 is out.", "See http://a.b/c.html.", "Dr. Who came at 5 p.m.", "He left."],
        ['"Is it?" he said.', "It costs $3.50.", "J. K. Rowling wrote it!", "Yes?", "No."],
        ["It was shown before.[12]", "(So they say.)", "**Bold ends.**", "“Quoted.”", "End."],
        ["1. First do this.", "2. Then do that."],
        ["蜜蜂在飞。", "“你好！”", "他说：是吗？", "版本5。0发布了……", "完了；", "还有"],
        ["请回答“有用吗？”并留言。", "“走？”", "好。"],
        ["我们使用 ASP.NET Core 3.1 项目。", "请参阅 about_Parsing.", "好!", "再见"],
        ["Okay .", "Right , so we begin .", "Mm-hmm ."],
    ],
)
def test_sentences_end_where_a_reader_ends_them(sentences):
    is_chinese = "。" in "".join(sentences)
    assert split(("" if is_chinese else " ").join(sentences)) == sentences


@given(st.text(alphabet="aB1 .!?。！；…”)*\n蜂", max_size=200))
def test_the_sentences_of_a_text_are_all_of_it(text):
    spans = sentence_spans(text)
    ends = [0, *(edge for span in spans for edge in span), len(text)]
    assert ends == sorted(ends)
    gaps = "".join(text[end:start] for end, start in zip(ends[::2], ends[1::2], strict=True))
    assert not gaps.strip()


@pytest.mark.parametrize("piece", ["A. ", "e.g. a ", "Bees fly home. ", "蜂。", '"', "?!)"])
def test_splitting_takes_time_linear_in_the_text(piece):
    started = time.process_time()
    sentence_spans(piece * (1_000_000 // len(piece)))
    assert time.process_time() - started < 5


MARKDOWN = """\
# Bees of the city are many and they are happy.

![A bee on a flower is shown here.](bee.png)
!INCLUDE[banner of the whole city of bees.]

> [!NOTE]
> Bees are protected by law in every
> country of the union.

- They must not be killed by anybody.
- [ ] Their nests must stay where they are.
1. First, **count** the bees on the roof.

| Kind | Bees live in this kind of house. |
|------|------|

```sh
echo This is code and no sentence at all.
```

Hard-wrapped lines are one paragraph, and so
this sentence goes on over the line.
"""


def test_markdown_gives_its_sentences_without_its_marks():
    assert offered(text_page(1, MARKDOWN)) == [
        "Bees are protected by law in every country of the union.",
        "They must not be killed by anybody.",
        "Their nests must stay where they are.",
        "First, **count** the bees on the roof.",
        "Hard-wrapped lines are one paragraph, and so this sentence goes on over the line.",
    ]


def test_the_quotation_mark_of_markdown_is_left_out_between_spans():
    (page,) = [PageText(text_page(1, MARKDOWN))]
    spans = candidates([page])[0].spans
    quotes = [page.text[span.start : span.end] for span in spans]
    assert quotes == ["Bees are protected by law in every", "country of the union."]


def test_speakers_of_a_transcript_are_not_run_together():
    transcript = "Anna: Shall we begin the meeting now\nBen: Yes , I think that we should .\n" + (
        "Anna: " + "Good , then let us look at the plan for the garden . " * 3
    )
    assert offered(text_page(1, transcript))[0] == "Ben: Yes , I think that we should ."


def test_running_headers_and_page_numbers_are_no_sentences():
    pages = [
        pdf_page(
            n,
            f"Annual report of the bee society, {2000 + n}.\n\n"
            f"In year {n} the society grew {word}.\n\nPage {n} of 3",
        )
        for n, word in enumerate(["slowly", "quickly", "again"], start=1)
    ]
    header = "All rights to this report are reserved."
    pages = [pdf_page(p.number, f"{header}\n\n" + PageText(p).text) for p in pages]
    found = offered(*pages)
    assert "In year 2 the society grew quickly." in found
    assert not any("reserved" in text or text.startswith("Page") for text in found)


def test_a_page_break_inside_a_sentence_skips_footer_and_header():
    pages = [
        pdf_page(1, "Bee News\n\nIt was found that all of\nthe younger bees\n\n1"),
        pdf_page(2, "Bee News\n\nare able to find their way home.\n\n2"),
        pdf_page(3, "Bee News\n\nThat is a good thing.\n\n3"),
    ]
    expected = "It was found that all of the younger bees are able to find their way home."
    assert offered(*pages) == [expected, "That is a good thing."]


def test_a_bullet_on_a_line_of_its_own_begins_an_item():
    page = pdf_page(1, "The bees need three things\n•\nThey need much water.\n•\nThey need a home.")
    assert offered(page) == ["They need much water.", "They need a home."]


def test_a_number_at_the_start_of_a_wrapped_line_is_no_list_mark():
    page = pdf_page(
        1, "The story of the bees is told in chapter\n12. Then follows the index of it."
    )
    assert offered(page)[0] == "The story of the bees is told in chapter 12."


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("SALE\n\nBees 5.00\n\nHoney", ["SALE", "Bees 5.00", "Honey"]),
        ("蜂蜜\n\n十元", ["蜂蜜", "十元"]),
        ("12\n\n13 + 4", ["12", "13 + 4"]),
    ],
)
def test_a_document_without_sentences_gives_its_lines(text, lines):
    assert offered(pdf_page(1, text)) == lines


def test_a_document_in_small_letters_gives_its_sentences_all_the_same():
    assert offered(text_page(1, "bees fly home at night! and sleep.\n\nok")) == [
        "bees fly home at night! and sleep."
    ]


def test_a_list_of_links_is_no_sentence_but_a_wrapped_text_without_full_stop_is():
    links = (
        "Walkthrough\nSetting up and invoicing sales prepayments\nFinance\nPersonalize your work"
    )
    wrapped = "A wrapped text that never ends with any mark at all\nbut that goes on over " + (
        "to further lines of which\nthe last may be short"
    )
    assert offered(
        text_page(1, links + "\n\n" + "See `http://a.b/c`.\n\nThis is one sentence.")
    ) == ["This is one sentence."]
    assert len(offered(pdf_page(1, wrapped + "\n\nThis is one sentence."))) == 2
