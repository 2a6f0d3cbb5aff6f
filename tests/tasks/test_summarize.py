import dataclasses
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmapp import tasks
from mmapp.documents.quotes import page_text
from mmapp.errors import BadInput, CheckpointProblem, DocumentError, JobCancelled, NoText
from mmapp.tasks.summarize import Calibration, refuse_impossible
from mmapp.types import (
    Bookmark,
    MediaType,
    Page,
    Progress,
    Recognition,
    Source,
    SummarizeParams,
    TaskName,
)
from model.train.calibration import Offered, SummaryCalibration
from tests.tasks.fakes import (
    FakeEngine,
    Reports,
    document,
    likes,
    pdf_page,
    quotes_stand,
    text_page,
)

ENGLISH = """\
A study of bees in cities

Bees live in cities too. We counted them on two hundred
roofs for three years. The number of wild bees rose by half.

It rains in the city. Honey was found in every second hive."""
CHINESE = """\
城市里的蜜蜂

蜜蜂也生活在城市里。我们在两百个屋顶上
数了三年蜜蜂。野生蜜蜂的数量增加了一半；每两个蜂箱中就有一个有蜂蜜。"""


def summarize(engine, inputs, sentences=2, report=None):
    params = SummarizeParams(inputs.document.sha256, sentences)
    return tasks.run(
        TaskName.SUMMARIZE, engine, inputs, params, Reports() if report is None else report
    )


@given(st.floats(-9, 9), st.integers(0, 100), st.integers(1, 500))
def test_service_weighs_sentences_as_the_constants_were_fitted(margin, shared, place):
    fitted = SummaryCalibration(temperature=1.3, title=1.5, early=0.3)
    served = Calibration.of({"calibration": {"summarize": fitted.stored()}})
    expected = fitted.score(Offered(margin, shared, place))
    assert served.score(margin, shared, place) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("weights", "chosen"),
    [
        ({}, "Honey was found in every second hive."),
        ({"title": 9.0}, "Bees live in cities too."),
        ({"early": 9.0}, "Bees live in cities too."),
        ({"temperature": 0.1, "title": 9.0}, "Honey was found in every second hive."),
    ],
)
def test_title_and_place_count_as_much_as_the_profile_says(weights, chosen):
    engine = FakeEngine(likes("Honey"), profile={"calibration": {"summarize": weights}})
    payload = summarize(engine, document(pdf_page(1, ENGLISH)), sentences=1)
    assert [sentence["text"] for sentence in payload["summary"]] == [chosen]


def texts(payload):
    return [sentence["text"] for sentence in payload["summary"]]


def test_the_best_sentences_come_in_document_order():
    inputs = document(pdf_page(1, ENGLISH))
    payload = summarize(FakeEngine(likes("Honey", "Honey was", "counted")), inputs)
    assert texts(payload) == [
        "We counted them on two hundred roofs for three years.",
        "Honey was found in every second hive.",
    ]


def test_a_sentence_over_two_lines_has_a_box_for_each_cut_to_its_words():
    (sentence,) = summarize(FakeEngine(likes("counted")), document(pdf_page(1, ENGLISH)), 1)[
        "summary"
    ]
    (evidence,) = sentence["evidence"]
    assert evidence["quote"] == sentence["text"]
    first, second = evidence["boxes"]
    before = "Bees live in cities too. "
    assert first[0] == 72 + 6 * len(before)
    assert second == [72, first[1] + 14, 72 + 6 * len("roofs for three years."), first[3] + 14]


def test_chinese_lines_are_joined_without_a_space():
    payload = summarize(FakeEngine(likes("屋顶")), document(pdf_page(1, CHINESE)), 1)
    assert texts(payload) == ["我们在两百个屋顶上数了三年蜜蜂。"]
    assert len(payload["summary"][0]["evidence"][0]["boxes"]) == 2


def test_a_sentence_over_a_page_break_has_evidence_on_both_pages():
    pages = (
        pdf_page(1, "Journal of Bees\n\nThe bees of the second garden were seen to\nfly much"),
        pdf_page(2, "Journal of Bees\n\nfarther than those of the first. They came back.\n\n2"),
        pdf_page(3, "Journal of Bees\n\nNobody had expected that at all.\n\n3"),
    )
    payload = summarize(FakeEngine(likes("farther")), document(*pages), 1)
    (sentence,) = payload["summary"]
    assert [evidence["page"] for evidence in sentence["evidence"]] == [1, 2]
    assert sentence["text"] == " ".join(evidence["quote"] for evidence in sentence["evidence"])
    assert sentence["text"] == (
        "The bees of the second garden were seen to fly much farther than those of the first."
    )
    assert sentence["supported"]
    assert quotes_stand(payload, pages)


def test_a_chinese_sentence_over_a_page_break_is_joined_without_a_space():
    pages = (
        pdf_page(
            1, "第二个花园里的蜜蜂比第一个花园里的蜜蜂\n飞得更远，因为第二个花园离树林很近，花"
        ),
        pdf_page(2, "也开得比较早。它们都回来了，没有一只丢失在路上。"),
    )
    payload = summarize(FakeEngine(likes("更远")), document(*pages), 1)
    (sentence,) = payload["summary"]
    assert sentence["text"].endswith("花也开得比较早。")
    assert sentence["text"] == "".join(evidence["quote"] for evidence in sentence["evidence"])


def test_what_nearly_repeats_a_chosen_sentence_is_not_chosen():
    page = text_page(
        1,
        "The reactor must be cooled by water all day.\n\n"
        "The reactor must be cooled by water all night.\n\nVisitors are welcome on every Sunday.",
    )
    payload = summarize(FakeEngine(likes("reactor", "cooled")), document(page), 2)
    assert len(texts(payload)) == 2
    assert texts(payload)[1] == "Visitors are welcome on every Sunday."


def test_repetitions_fill_up_where_nothing_else_is_left():
    page = text_page(1, "\n\n".join(f"Garden {n} has its own kind of bees." for n in range(5)))
    assert len(texts(summarize(FakeEngine(likes("bees")), document(page), 3))) == 3
    assert len(texts(summarize(FakeEngine(likes("bees")), document(page), 9))) == 5


def test_all_sentences_are_scored_in_one_call_on_one_prefix():
    engine = FakeEngine(likes("bees"))
    payload = summarize(engine, document(pdf_page(1, ENGLISH)))
    assert (len(engine.prefixes), engine.score_calls) == (1, 1)
    assert payload["usage"]["tokens"]["read"] == engine.prefixes[0].length
    assert payload["usage"]["tokens"]["scored"] > 0


def test_a_page_without_words_is_reported_and_not_passed_over():
    pages = (pdf_page(1, ENGLISH), Page(2, 595, 842), Page(3, 595, 842, error="page is damaged"))
    payload = summarize(FakeEngine(likes("bees")), document(*pages))
    assert payload["coverage"] == {
        "pages": 3,
        "read": 1,
        "ocr": 0,
        "failed": [
            {"page": 2, "reason": "no text layer, and text recognition is off (MMAPP_OCR)"},
            {"page": 3, "reason": "page is damaged"},
        ],
        "blank": 0,
        "undrawn": [],
        "parts": 1,
        "map": [
            {"first": 1, "last": 1, "state": "read", "parts": [1]},
            {"first": 2, "last": 3, "state": "failed", "parts": []},
        ],
    }


@pytest.mark.parametrize(
    ("state", "failed"), [(Recognition.DONE, []), (Recognition.ILLEGIBLE, [2])], ids=str
)
def test_a_recognised_page_without_words_is_no_failure_unless_it_is_illegible(state, failed):
    pages = (pdf_page(1, ENGLISH), Page(2, 595, 842, recognition=state))
    coverage = summarize(FakeEngine(likes("bees")), document(*pages))["coverage"]
    assert [page["page"] for page in coverage["failed"]] == failed
    assert all("illegible" in page["reason"] for page in coverage["failed"])


def test_recognised_words_are_marked_in_their_evidence_and_counted():
    page = pdf_page(1, ENGLISH)
    lines = [replace(line, source=Source.OCR, confidence=0.96) for line in page.lines]
    lines[0] = replace(lines[0], confidence=0.84)
    inputs = document(replace(page, lines=tuple(lines)), pdf_page(2, "No bees here."))
    payload = summarize(FakeEngine(likes("bees")), inputs, 3)
    assert payload["coverage"]["ocr"] == 1
    proofs = [proof for one in payload["summary"] for proof in one["evidence"]]
    marks = {proof["page"]: proof.get("ocr") for proof in proofs}
    assert marks[1] in (0.84, 0.96)
    assert marks.get(2) is None


def test_a_page_that_cannot_be_drawn_is_read_without_its_picture():
    def broken(number: int) -> Image.Image:
        if number == 2:
            raise DocumentError("page 2 can't be drawn")
        return Image.new("RGB", (60, 80), "white")

    engine = FakeEngine(likes("bees"), profile={"page_images": True, "image_tokens": 16})
    pages = [pdf_page(n, f"Page {n} tells of bees and of nothing else.") for n in (1, 2, 3)]
    payload = summarize(engine, document(*pages, page_images=broken))
    assert payload["coverage"]["undrawn"] == [{"page": 2, "reason": "page 2 can't be drawn"}]
    assert payload["coverage"]["read"] == 3
    assert sum(not isinstance(part, str) for part in engine.prefixes[0].parts) == 2


@pytest.mark.parametrize(("colours", "failed"), [((250, 250), 0), ((250, 20), 1)])
def test_a_page_whose_picture_is_blank_is_no_failure(colours, failed):
    picture = Image.new("RGB", (60, 80), (colours[0],) * 3)
    picture.paste((colours[1],) * 3, (20, 20, 30, 25))
    inputs = document(pdf_page(1, ENGLISH), Page(2, 595, 842), page_images=lambda _: picture)
    coverage = summarize(FakeEngine(likes("bees")), inputs)["coverage"]
    assert (len(coverage["failed"]), coverage["read"]) == (failed, 2 - failed)


def test_a_page_that_cannot_be_rendered_is_reported_as_unread():
    def broken(_: int) -> Image.Image:
        raise DocumentError("page 2 can't be rendered")

    inputs = document(pdf_page(1, ENGLISH), Page(2, 595, 842), page_images=broken)
    assert len(summarize(FakeEngine(likes("bees")), inputs)["coverage"]["failed"]) == 1


@pytest.mark.parametrize("media_type", [MediaType.PDF, MediaType.TEXT, MediaType.PNG])
def test_a_document_without_words_says_what_to_do(media_type):
    inputs = document(Page(1, 595, 842), media_type=media_type)
    with pytest.raises(NoText, match=r"paper.*give a file with"):
        summarize(FakeEngine(likes("bees")), inputs)


def test_a_document_longer_than_the_context_is_read_in_portions_and_whole():
    count = 40
    pages = [
        pdf_page(n, f"Page {n} tells of garden number {n} and its bees.\n\n" + ENGLISH)
        for n in range(1, count + 1)
    ]
    pages[37] = pdf_page(38, "A hive with the number 38 was lost on the way home.")
    engine = FakeEngine(likes("number 7 ", "number 38 "), context_length=400)
    reports = Reports()
    payload = summarize(engine, document(*pages), 2, reports)
    assert len(engine.prefixes) > 5
    assert [s["evidence"][0]["page"] for s in payload["summary"]] == [7, 38]
    coverage = payload["coverage"]
    assert (coverage["pages"], coverage["read"], coverage["failed"]) == (count, count, [])
    assert coverage["parts"] == len(engine.prefixes)
    assert [page for run in coverage["map"] for page in range(run["first"], run["last"] + 1)] == [
        page.number for page in pages
    ]
    assert {part for run in coverage["map"] for part in run["parts"]} == set(
        range(1, len(engine.prefixes) + 1)
    )
    read = "".join(part for prefix in engine.prefixes for part in prefix.parts)
    assert all(page_text(page) in read for page in pages)


def test_one_page_longer_than_the_context_is_cut_and_read_whole():
    sentences = [f"Garden number {n} has its own kind of bees in it." for n in range(300)]
    page = text_page(1, " ".join(sentences))
    engine = FakeEngine(likes("number 222 "), context_length=300)
    payload = summarize(engine, document(page), 1)
    assert texts(payload) == [sentences[222]]
    read = "".join(part for prefix in engine.prefixes for part in prefix.parts)
    assert all(sentence in read for sentence in sentences[:5] + sentences[-5:])


def test_words_without_a_blank_fit_the_context_too():
    page = text_page(1, "蜂" * 5000)
    payload = summarize(FakeEngine(likes("蜂"), context_length=300), document(page), 1)
    assert quotes_stand(payload, [page])
    assert payload["summary"]


def test_a_context_too_short_for_any_page_is_a_checkpoint_problem():
    with pytest.raises(CheckpointProblem, match="context of 100 tokens"):
        summarize(FakeEngine(likes("bees"), context_length=100), document(pdf_page(1, ENGLISH)))


def test_page_pictures_are_read_only_by_a_checkpoint_that_looks_at_them():
    picture = Image.new("RGB", (60, 80), "white")
    inputs = document(pdf_page(1, ENGLISH), page_images=lambda _: picture)
    blind, seeing = (
        FakeEngine(likes("bees")),
        FakeEngine(likes("bees"), profile={"page_images": True, "image_tokens": 16}),
    )
    summarize(blind, inputs)
    summarize(seeing, inputs)
    assert picture not in blind.prefixes[0].parts
    assert seeing.prefixes[0].parts[0] is picture
    assert seeing.prefixes[0].parts[1:] == blind.prefixes[0].parts


def test_progress_goes_from_the_first_page_to_the_last():
    pages = [pdf_page(n, ENGLISH) for n in range(1, 9)]
    reports = Reports()
    summarize(FakeEngine(likes("bees")), document(*pages), 2, reports)
    reading = [report for report in reports if report.phase == "reading"]
    assert reading[0].pages_done == 0
    assert reading[-1].pages_done == 8
    assert [r.pages_done for r in reading] == sorted(r.pages_done for r in reading)
    assert len({r.pages_done for r in reading}) > 4
    choosing = [report for report in reports if report.phase == "choosing"]
    assert choosing[-1].done == choosing[-1].total
    assert choosing[-1].unit == "sentences"


def test_the_work_of_a_long_document_only_grows():
    pages = [pdf_page(n, ENGLISH) for n in range(1, 30)]
    reports = Reports()
    summarize(FakeEngine(likes("bees"), context_length=300), document(*pages), 2, reports)
    work = [report.work for report in reports if report.work is not None]
    assert work == sorted(work)
    assert work[-1] == 1.0


CHAPTERS = [
    ("Chapter 1 Bees", "Bees dance. They tell of flowers. Honey bees have five eyes."),
    ("Chapter 2 Wasps", "Wasps sting hard. They eat apples. Honey is not what they make."),
    ("Chapter 3 Ants", "Ants dig deep. They have queens. Honey dew is what they drink."),
]
CHINESE_CHAPTERS = [
    ("第一章 蜜蜂", "蜜蜂会在蜂箱里跳舞。它们说明花朵在哪里。有蜂蜜的蜂箱非常沉重。"),
    ("第二章 黄蜂", "黄蜂蜇人非常疼痛。它们吃树上的苹果。它们从来都不做蜂蜜。"),
    ("第三章 蚂蚁", "蚂蚁的洞挖得很深。它们有自己的蚁后。它们喝的是蜂蜜露水。"),
]


def chaptered(chapters):
    filler = "花园 " * 60
    return [
        pdf_page(n, f"{title}\n\n{text}\n\n{filler}") for n, (title, text) in enumerate(chapters, 1)
    ]


@pytest.mark.parametrize(("chapters", "liked"), [(CHAPTERS, "Honey"), (CHINESE_CHAPTERS, "蜂蜜")])
def test_each_section_has_its_own_sentences_under_its_title(chapters, liked):
    inputs = document(*chaptered(chapters))
    params = SummarizeParams(inputs.document.sha256, 1, sections=True)
    engine = FakeEngine(likes(liked))
    payload = tasks.run(TaskName.SUMMARIZE, engine, inputs, params, Reports())
    assert engine.score_calls == 1
    assert payload["outline"] == "headings"
    for number, (section, (title, text)) in enumerate(
        zip(payload["sections"], chapters, strict=True), 1
    ):
        assert (section["title"], section["page"]) == (title, number)
        assert section["evidence"][0]["quote"] == title
        (sentence,) = section["summary"]
        assert liked in sentence["text"]
        assert sentence["text"] in text
        assert sentence["supported"]


def test_a_documents_own_outline_comes_before_its_headings():
    inputs = document(*chaptered(CHAPTERS))
    outline = (Bookmark(1, "Insects that sting", 1), Bookmark(1, "CHAPTER 3  ants", 3))
    inputs = dataclasses.replace(
        inputs, document=dataclasses.replace(inputs.document, outline=outline)
    )
    params = SummarizeParams(inputs.document.sha256, 1, sections=True)
    payload = tasks.run(TaskName.SUMMARIZE, FakeEngine(likes("Honey")), inputs, params, Reports())
    assert payload["outline"] == "bookmarks"
    first, last = payload["sections"]
    assert (first["title"], first["evidence"]) == ("Insects that sting", [])
    assert last["evidence"][0]["quote"] == "Chapter 3 Ants"


@pytest.mark.parametrize(("share", "expected"), [(0.05, 5), (0.005, 1), (0.5, 50)])
def test_a_share_is_of_the_sentences_that_there_are(share, expected):
    text = " ".join(f"Garden number {n} has {n * n} flowers of kind {n}." for n in range(100))
    inputs = document(text_page(1, text))
    params = SummarizeParams(inputs.document.sha256, share=share)
    payload = tasks.run(TaskName.SUMMARIZE, FakeEngine(likes("kind")), inputs, params, Reports())
    assert len(texts(payload)) == expected
    assert payload["length"] == {"sentences": expected, "of": 100}


@pytest.mark.parametrize("share", [0, -0.1, 0.51, float("nan")])
def test_a_share_that_is_no_summary_is_refused(share):
    with pytest.raises(BadInput, match="share"):
        refuse_impossible(SummarizeParams("d", share=share))


def test_what_another_portion_likes_as_a_whole_counts_half():
    def rule(parts, question, answer):
        late = "Page 30" in "".join(map(str, parts))
        return {"yes": 4.0 * late + 2.5 * ("special" in question), "no": 0.0}.get(answer, -9.0)

    pages = [pdf_page(n, f"Page {n} tells of the garden {n} and more.") for n in range(1, 41)]
    pages[4] = pdf_page(5, "This special garden is what all is about.")
    engine = FakeEngine(rule, context_length=300)
    payload = summarize(engine, document(*pages), 1)
    assert len(engine.prefixes) > 2
    assert texts(payload) == ["This special garden is what all is about."]


@pytest.mark.parametrize("phase", ["preparing", "reading", "choosing"])
def test_a_cancel_stops_the_task_in_every_phase(phase):
    def report(progress: Progress) -> None:
        if progress.phase == phase and progress.done > 0:
            raise JobCancelled("cancelled")

    engine = FakeEngine(likes("bees"))
    with pytest.raises(JobCancelled):
        summarize(engine, document(pdf_page(1, ENGLISH)), 2, report)
    assert engine.score_calls == (phase == "choosing")


def test_the_payload_is_json_in_the_shape_of_the_contract():
    payload = summarize(FakeEngine(likes("bees")), document(pdf_page(1, ENGLISH)))
    assert json.loads(json.dumps(payload)) == payload
    assert list(payload) == ["document", "summary", "length", "coverage", "hidden", "usage"]
    assert payload["document"] == {"name": "paper.pdf", "sha256": "d" * 64, "pages": 1}
    assert list(payload["summary"][0]) == ["text", "supported", "evidence"]
    assert list(payload["summary"][0]["evidence"][0]) == ["page", "quote", "boxes"]
    assert set(payload["usage"]) >= {"tokens", "durations_s", "prompt_sha256"}
    assert tasks.schema_version(TaskName.SUMMARIZE) == 2


SPLIT = (
    "The bees fly home. We, too! Is it 3.5 km? e.g. Dr. Who “yes.” (no) - * > # | ``` 1. • a."
    " 蜜蜂 飞。 花园；很 大！ ‘好’ 了…… 5。0 <b> ![x] [!NOTE] …"
)
WORDS = st.sampled_from([*SPLIT.split(), "\n", "\n\n"])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(WORDS, max_size=60).map(" ".join), min_size=1, max_size=4),
    st.sampled_from([text_page, pdf_page]),
    st.integers(260, 600),
)
def test_whatever_the_document_every_quote_stands_on_its_page(written, make_page, context):
    pages = [make_page(n, text) for n, text in enumerate(written, start=1)]
    engine = FakeEngine(lambda _, question, answer: len(question) % 7 * (answer == "yes"), context)
    try:
        payload = summarize(engine, document(*pages), 5)
    except NoText:
        assert not any(page_text(page).strip() for page in pages)
        return
    assert payload["summary"]
    assert quotes_stand(payload, pages)
    for sentence in payload["summary"]:
        assert sentence["supported"]
        quotes = [evidence["quote"] for evidence in sentence["evidence"]]
        assert "".join(quotes).replace(" ", "") == sentence["text"].replace(" ", "")
    read = "".join(part for prefix in engine.prefixes for part in prefix.parts)
    assert sum(map(len, map(page_text, pages))) <= len(read)
