import json

import pytest

from mmapp import tasks
from mmapp.errors import JobCancelled, NoText, NotPossible
from mmapp.tasks import prompts
from mmapp.types import AskParams, MediaType, Page, Progress, TaskName
from tests.tasks.fakes import FakeEngine, Reports, document, likes, pdf_page, text_page

ENGLISH = """\
A study of bees in cities

Bees live in cities too. We counted them on two hundred
roofs for three years. The number of wild bees rose by half.

It rains in the city. Honey was found in every second hive."""
CHINESE = """\
城市里的蜜蜂

蜜蜂也生活在城市里。我们在两百个屋顶上
数了三年蜜蜂。野生蜜蜂的数量增加了一半。"""
MEETING = """\
Marta: What do we pay for the remote control?

Jonas: Twelve euros and fifty cents for each of them.

Marta: Then we can sell it for twenty-five.

Jonas: The lunch was good today."""


def ask(engine, inputs, question="How many roofs?", report=None):
    params = AskParams(inputs.document.sha256, question)
    return tasks.run(TaskName.ASK, engine, inputs, params, Reports() if report is None else report)


def answers(*words):
    """Yes to a passage by how many of these words are in it and how short it is, else no."""

    def rule(_parts, passage, answer):
        found = sum(word in passage for word in words)
        return (4.0 * found - len(passage) / 100 - 2.0) if answer == "yes" else 0.0

    return FakeEngine(rule)


def test_the_answer_is_quoted_with_page_and_boxes():
    pages = (pdf_page(1, "Nothing is said here about them."), pdf_page(2, ENGLISH))
    payload = ask(answers("roofs"), document(*pages))
    (answer,) = payload["answer"]
    (evidence,) = answer["evidence"]
    assert answer["text"] == "We counted them on two hundred roofs for three years."
    assert (evidence["page"], evidence["quote"]) == (2, answer["text"])
    assert len(evidence["boxes"]) == 2
    assert (payload["found"], answer["supported"]) == (True, True)


def test_a_chinese_question_is_answered_from_chinese():
    payload = ask(answers("屋顶"), document(pdf_page(1, CHINESE)), "有多少个屋顶？")
    assert payload["answer"][0]["text"] == "我们在两百个屋顶上数了三年蜜蜂。"


def test_an_answer_over_two_turns_of_a_meeting_is_whole():
    payload = ask(answers("remote", "euros"), document(text_page(1, MEETING)), "What does it cost?")
    (answer,) = payload["answer"]
    assert "remote control? Jonas: Twelve euros" in answer["text"]
    assert answer["supported"]
    assert " ".join(one["quote"] for one in answer["evidence"]) == answer["text"]


def test_what_is_not_in_the_document_is_said_so():
    payload = ask(answers("submarine"), document(pdf_page(1, ENGLISH)))
    assert (payload["found"], payload["answer"]) == (False, [])
    assert payload["probability"] < 0.5


@pytest.mark.parametrize(
    ("calibration", "probability", "found"),
    [
        ({}, 0.8808, True),
        ({"threshold": 0.9}, 0.8808, False),
        ({"temperature": 2.0}, 0.7311, True),
        ({"temperature": 2.0, "bias": -2.0, "threshold": 0.25}, 0.2689, True),
    ],
)
def test_the_probability_is_the_calibrated_one(calibration, probability, found):
    engine = FakeEngine(likes("counted", "roofs"), profile={"calibration": {"ask": calibration}})
    payload = ask(engine, document(pdf_page(1, ENGLISH)), "How?")
    assert (payload["probability"], payload["found"]) == (probability, found)


def test_all_passages_are_scored_in_one_call_with_the_question():
    asked = []

    def rule(parts, passage, _answer):
        asked.append(parts[-1] + passage)
        return 0.0

    engine = FakeEngine(rule)
    usage = ask(engine, document(pdf_page(1, ENGLISH)), "  How many\nroofs? ")["usage"]
    assert (len(engine.prefixes), engine.score_calls) == (1, 1)
    assert prompts.ask_question("How many roofs?", "It rains in the city.") in asked
    assert len(asked) == 2 * usage["candidates"]


def test_a_document_longer_than_the_context_is_read_whole_and_its_page_named():
    pages = [pdf_page(n, f"Garden {n} is here.\n\n" + ENGLISH) for n in range(1, 41)]
    pages[37] = pdf_page(38, "The hive with the number 38 was lost on the way home.")
    engine = answers("number 38")
    engine.context_length = 500
    payload = ask(engine, document(*pages))
    assert len(engine.prefixes) > 5
    assert payload["answer"][0]["evidence"][0]["page"] == 38
    assert payload["coverage"] == {"pages": 40, "read": 40, "ocr": 0, "failed": []}


def test_pages_that_were_not_read_are_told_beside_a_missing_answer():
    pages = (pdf_page(1, ENGLISH), Page(2, 595, 842))
    payload = ask(answers("submarine"), document(*pages))
    assert [page["page"] for page in payload["coverage"]["failed"]] == [2]


def test_a_document_without_words_is_refused():
    with pytest.raises(NoText, match="give a file with text"):
        ask(answers("roofs"), document(Page(1, 0, 0), media_type=MediaType.TEXT))


def test_progress_counts_passages_and_a_cancel_stops_it():
    inputs = document(pdf_page(1, ENGLISH))
    reports = Reports()
    payload = ask(answers("roofs"), inputs, report=reports)
    assert {report.phase for report in reports} == {"preparing", "reading", "searching"}
    last = reports[-1]
    assert (last.done, last.unit) == (payload["usage"]["candidates"], "passages")

    def cancel(progress: Progress) -> None:
        if progress.phase == "searching":
            raise JobCancelled("cancelled")

    with pytest.raises(JobCancelled):
        ask(answers("roofs"), inputs, report=cancel)


def test_the_payload_is_json_in_the_shape_of_the_contract():
    payload = ask(answers("roofs"), document(pdf_page(1, ENGLISH)))
    assert json.loads(json.dumps(payload)) == payload
    assert list(payload) == [
        "document",
        "question",
        "found",
        "answer",
        "probability",
        "coverage",
        "usage",
    ]


def test_a_checkpoint_that_was_not_trained_for_questions_refuses_to_guess():
    engine = FakeEngine(likes("roofs"), profile={"calibration": {"check_listing": {}}})
    with pytest.raises(NotPossible, match="was not trained to answer questions"):
        ask(engine, document(pdf_page(1, ENGLISH)))
