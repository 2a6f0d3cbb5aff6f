import json
import math

import pytest

from mmapp import tasks
from mmapp.documents.quotes import PageText, page_text
from mmapp.errors import JobCancelled, NoText, NotPossible
from mmapp.tasks import prompts
from mmapp.tasks.ask import Calibration
from mmapp.tasks.passages import passages
from mmapp.types import AskParams, MediaType, Page, Progress, SummarizeParams, TaskName
from model.train.calibration import AnswerCalibration
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
        ({"certainty": 0.5}, 0.7311, True),
        ({"certainty": 0.5, "bias": -2.0, "threshold": 0.25}, 0.2689, True),
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


def test_every_task_begins_its_prompt_with_the_document_alone():
    pages = [pdf_page(1, ENGLISH), pdf_page(2, CHINESE)]
    engine = FakeEngine(likes())
    ask(engine, document(*pages), "How many roofs?")
    ask(engine, document(*pages), "谁来数？")
    tasks.run(TaskName.SUMMARIZE, engine, document(*pages), SummarizeParams("d" * 64), Reports())
    texts = [(page.number, page_text(page)) for page in pages]
    assert [list(prefix.parts) for prefix in engine.prefixes] == 3 * [prompts.document_parts(texts)]


@pytest.mark.parametrize("steps", [32, 10**6])
def test_a_document_is_cut_alike_whatever_is_asked(monkeypatch, steps):
    monkeypatch.setattr("mmapp.tasks.portions.QUESTION_STEPS", steps)
    pages = [pdf_page(n, f"Garden number {n} has its own bees.") for n in range(1, 200)]
    cuts = []
    for question in ("Who has bees?", "Who of all the neighbours in the street has any bees?"):
        engine = FakeEngine(likes(), context_length=1_280)
        ask(engine, document(*pages), question)
        cuts.append([prefix.parts for prefix in engine.prefixes])
    assert len(cuts[0]) > 1
    assert (cuts[0] == cuts[1]) == (steps == 32)


def narrowing(rule, **constants):
    """An engine of a checkpoint with these constants, and the passages that it is asked about."""
    asked = []

    def keep(parts, passage, answer):
        if answer == "yes":
            asked.append(passage.strip())
        return rule(parts, passage, answer)

    return FakeEngine(keep, profile={"calibration": {"ask": constants}}), asked


GARDENS = " ".join(f"Garden number {n} has its own bees." for n in range(20))
CHINESE_GARDENS = "".join(f"第{n}个花园里有自己的蜜蜂。" for n in range(20))


@pytest.mark.parametrize(
    ("gardens", "hidden", "question"),
    [
        (GARDENS, "The gate of the lake opens at noon.", "When does the gate open?"),
        (CHINESE_GARDENS, "湖边的大门中午打开。", "大门什么时候打开？"),
    ],
)
def test_only_the_closest_by_their_words_are_put_to_the_model(gardens, hidden, question):
    text = gardens + " " + hidden
    engine, asked = narrowing(likes(hidden), closest=3)
    payload = ask(engine, document(text_page(1, text)), question)
    assert len(asked) == payload["usage"]["candidates"] == 3
    assert any(hidden in passage for passage in asked)
    assert hidden in payload["answer"][0]["text"]
    assert payload["usage"]["passages"] > 20
    assert engine.prefixes[0].parts[0].count(hidden) == 1
    assert payload["scores"]["words"] > 0.3


@pytest.mark.parametrize("constants", [{}, {"closest": None}, {"closest": 1000}])
def test_without_narrowing_all_passages_are_put_to_the_model(constants):
    engine, asked = narrowing(likes("number 7 "), **constants)
    usage = ask(engine, document(text_page(1, GARDENS)), "Which?")["usage"]
    assert len(asked) == usage["candidates"] == usage["passages"]


def test_an_answer_that_shares_no_word_with_the_question_can_be_missed_when_narrowed():
    text = GARDENS + " Twelve euros and fifty cents for each."
    for closest, found in ((None, True), (3, False)):
        engine, _ = narrowing(likes("Twelve euros"), closest=closest, threshold=0.7)
        payload = ask(engine, document(text_page(1, text)), "Which garden has a price?")
        assert payload["found"] is found


def test_both_scores_rank_and_decide_and_are_told():
    text = "The honey of the old garden is dark. " + GARDENS
    question = "How dark is the honey of the old garden?"
    by_model, by_words = "Garden number 7 has its own bees.", "The honey of the old garden is dark."
    for terms, best in ((0.0, by_model), (4.0, by_words)):
        engine, _ = narrowing(
            likes("number 7 "), terms=terms, temperature=2.0, certainty=0.5, share=3.0, bias=1.0
        )
        payload = ask(engine, document(text_page(1, text)), question)
        margin, said = payload["scores"]["model"], payload["scores"]["words"]
        log_odds = 0.5 * margin + 3.0 * said + 1.0
        assert payload["probability"] == pytest.approx(1 / (1 + math.exp(-log_odds)), abs=1e-3)
        assert best in payload["answer"][0]["text"]
        assert margin == (1.0 if best == by_model else 0.0)
        assert said == (1.0 if best == by_words else pytest.approx(0.05, abs=0.05))


@pytest.mark.parametrize(
    ("text", "asked", "other"),
    [
        ("The rent is 900 euros a month. The lease ends in May. Pets are welcome.",
         "How much is the rent a month?", "Which insurance is needed?"),
        ("每月租金为九百元。租期至五月结束。可以养宠物。", "每月租金是多少？", "需要什么保险？"),
    ],
)  # fmt: skip
def test_a_document_of_a_few_sentences_answers_as_a_long_one_does(text, asked, other):
    for more in ("", GARDENS + " " + CHINESE_GARDENS):
        for question, found in ((asked, True), (other, False)):
            engine, _ = narrowing(
                likes("nothing"), terms=1.0, certainty=0.0, share=2.5, bias=-0.6, threshold=0.45
            )
            payload = ask(engine, document(text_page(1, text + " " + more)), question)
            assert payload["found"] is found


def test_answers_are_weighed_in_service_as_they_were_fitted():
    fitted = AnswerCalibration(
        8, temperature=2.5, terms=0.4, certainty=0.3, share=2.5, bias=-0.6, threshold=0.4
    )
    served = Calibration.of({"calibration": {"ask": fitted.stored()}})
    assert (served.closest, served.threshold) == (fitted.closest, fitted.threshold)
    for margin, z, said in ((0.0, 0.0, 0.0), (-3.5, 4.0, 0.25), (60.0, -1.0, 1.0)):
        assert served.rank(margin, z) == pytest.approx(fitted.rank(margin, z))
        probability = fitted.probability(margin, said)
        assert served.probability(margin, said) == pytest.approx(probability)


def test_the_first_by_rank_is_taken_where_probabilities_are_all_one_but_for_rounding():
    engine = FakeEngine(lambda _parts, passage, answer: 90.0 + len(passage) * (answer == "yes"))
    payload = ask(engine, document(text_page(1, GARDENS)))
    longest = max(passages([PageText(text_page(1, GARDENS))]), key=lambda one: len(one.text))
    assert (payload["probability"], payload["answer"][0]["text"]) == (1.0, longest.text)


def test_of_equals_the_first_of_the_document_is_taken():
    engine, asked = narrowing(likes("bees"), closest=4, terms=1.0)
    payload = ask(engine, document(text_page(1, GARDENS)), "Anything else?")
    assert asked == [f"Garden number {n} has its own bees." for n in range(4)]
    assert payload["answer"][0]["text"] == asked[0]
    assert payload["scores"]["words"] == 0.0


def test_narrowed_portions_without_a_close_passage_are_read_all_the_same():
    pages = [pdf_page(n, f"Garden number {n} has its own bees.") for n in range(1, 41)]
    engine, asked = narrowing(likes("number 38 "), closest=1)
    engine.context_length = 220
    payload = ask(engine, document(*pages), "What has number 38?")
    assert len(engine.prefixes) == payload["usage"]["portions"] > 3
    assert (len(asked), engine.score_calls) == (1, 1)
    assert payload["answer"][0]["evidence"][0]["page"] == 38
    assert payload["coverage"]["read"] == 40


def test_a_document_longer_than_the_context_is_read_whole_and_its_page_named():
    pages = [pdf_page(n, f"Garden {n} is here.\n\n" + ENGLISH) for n in range(1, 41)]
    pages[37] = pdf_page(38, "The hive with the number 38 was lost on the way home.")
    engine = answers("number 38")
    engine.context_length = 500
    payload = ask(engine, document(*pages))
    assert len(engine.prefixes) > 5
    assert payload["answer"][0]["evidence"][0]["page"] == 38
    assert (payload["coverage"]["read"], payload["coverage"]["failed"]) == (40, [])
    assert payload["coverage"]["parts"] == len(engine.prefixes)


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
        "scores",
        "coverage",
        "hidden",
        "usage",
    ]


def test_a_checkpoint_that_was_not_trained_for_questions_refuses_to_guess():
    engine = FakeEngine(likes("roofs"), profile={"calibration": {"check_listing": {}}})
    with pytest.raises(NotPossible, match="was not trained to answer questions"):
        ask(engine, document(pdf_page(1, ENGLISH)))
