import itertools
import json
import lzma
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import model
from model.engine import Engine
from model.train.calibration import AnswerCalibration
from model.train.documents import TextDocument, read_documents
from model.train.evaluate import evaluate
from model.train.measure.answers import (
    Offered,
    Rule,
    Score,
    Searched,
    answer_figures,
    best_threshold,
    calibrate,
    draw_cases,
    search,
)
from model.train.measure.cases import (
    RUN,
    Case,
    Passage,
    meetings,
    own_questions,
    paged,
    passages,
)
from model.train.measure.facts import HIDDEN, WORDINGS, draw_fact, key_facts
from model.train.recipe import Prompts, Recipe, read_prompts

CHARACTERS = 1_200
PAGES = (
    "The cat sat on the mat.\nThe dog slept in the garden.",
    "The code of the gate is 48213.\nNobody came to the door today.",
)
CASE = Case("en/0", "key facts en", "en", PAGES, "What is the code?", ("48213",), page=2)
ABSENT = replace(CASE, id="en/1", question="Who came?", answers=(), page=None)


@pytest.fixture(scope="module")
def engine(text_checkpoint: Path) -> Engine:
    return model.load(text_checkpoint, dtype="float32")


@pytest.fixture(scope="module")
def patient_engine(text_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The same, reading more than a page at once."""
    folder = tmp_path_factory.mktemp("patient")
    shutil.copytree(text_checkpoint, folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["max_position_embeddings"] = 8192
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return model.load(folder, dtype="float32")


@pytest.fixture(scope="module")
def prompts(recipe: Recipe) -> Prompts:
    return read_prompts(recipe.prompts)


@pytest.fixture(scope="module")
def facts_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six documents of 20 sentences in each language."""
    said = {
        "en": "The printer number {} of group {} prints a page.",
        "zh": "第{}组的第{}台打印机正在打印一页文件并发送通知。",
    }
    rows = [
        {
            "id": f"{lang}{number}",
            "source": "handbook",
            "lang": lang,
            "summary": None,
            "text": "\n\n".join(form.format(number, sentence) for sentence in range(20)),
        }
        for lang, form in said.items()
        for number in range(6)
    ]
    return written(tmp_path_factory.mktemp("facts"), rows)


@pytest.fixture
def meeting_data(tmp_path: Path) -> Path:
    turns = [f"Speaker {n}: This is turn number {n}  of them all ." for n in range(100)]
    queries = [
        {"query": "What was said?", "answer": "Turns.", "turns": [["98", "99"]]},
        {"query": "And then?", "answer": "More.", "turns": [["2", "3"], ["7", "7"]]},
        {"query": "Unmarked?", "answer": "Nothing.", "turns": []},
    ]
    row = {"id": "m", "source": "QMSum", "lang": "en", "summary": None, "queries": queries}
    row["text"] = "\n".join(turns)
    return written(tmp_path, [row])


def written(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """The rows as the val split of a data folder."""
    (folder / "documents").mkdir()
    with lzma.open(folder / "documents" / "val.jsonl.xz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


def silent(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


def texts(data: Path, lang: str) -> list[TextDocument]:
    return [document for document in read_documents(data, "val") if document.lang == lang]


def found(
    number: int, offered: Sequence[tuple[float, float, bool]], *, answerable: bool = True
) -> Searched:
    """One of two cases about a document, with (margin, z, right) of each passage."""
    case = replace(CASE if answerable else ABSENT, id=str(number), document=str(number // 2))
    rows = tuple(Offered(right, 1, margin, z, said=z, bm25=z) for margin, z, right in offered)
    return Searched(case, rows, passages=100, rights=sum(row.right for row in rows))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_hidden_fact_is_once_in_its_document_and_some_passage_answers(
    facts_data: Path, lang: str
) -> None:
    cases = key_facts(texts(facts_data, lang), lang, seed=5, count=16, characters=CHARACTERS)
    assert len(cases) == 16
    for case in cases:
        answering = [passage for passage in passages(case.pages) if case.answered_by(passage)]
        assert bool(answering) == case.answerable
        assert (case.page is not None) == case.answerable
        for answer in case.answers:
            assert "\n".join(case.pages).count(answer) == 1
            assert case.page is not None
            assert answer in case.pages[case.page - 1]


def test_the_fourth_question_about_a_document_has_no_answer(facts_data: Path) -> None:
    cases = key_facts(texts(facts_data, "en"), "en", seed=5, count=10, characters=CHARACTERS)
    assert [case.answerable for case in cases] == [
        *[True] * 3,
        False,
        *[True] * 3,
        False,
        True,
        True,
    ]
    groups = [list(group) for _, group in itertools.groupby(cases, lambda case: case.document)]
    assert [len(group) for group in groups] == [4, 4, 2]
    for group in groups:
        assert len({case.pages for case in group}) == 1
        assert len({case.answers for case in group}) == len(group)


def test_facts_are_hidden_at_every_depth(facts_data: Path) -> None:
    cases = key_facts(texts(facts_data, "en"), "en", seed=5, count=12, characters=CHARACTERS)
    depths = [
        text.index(answer) / len(text)
        for case in cases
        for text in ["\n".join(case.pages)]
        for answer in case.answers
    ]
    assert all(depth < 0.45 for depth in depths[::HIDDEN])
    assert all(depth > 0.55 for depth in depths[HIDDEN - 1 :: HIDDEN])
    assert sorted(depths)[0] < 0.2
    assert sorted(depths)[-1] > 0.8


def test_the_same_seed_gives_the_same_cases(facts_data: Path) -> None:
    def draw(seed: int) -> list[Case]:
        documents = texts(facts_data, "en")
        return key_facts(documents, "en", seed=seed, count=6, characters=CHARACTERS)

    assert draw(5) == draw(5)
    assert draw(5) != draw(6)


def test_too_little_text_is_refused(facts_data: Path) -> None:
    with pytest.raises(ValueError, match="ask for shorter"):
        key_facts(texts(facts_data, "en"), "en", seed=5, count=4, characters=1_000_000)


@pytest.mark.parametrize("lang", WORDINGS)
def test_each_wording_says_the_answers_to_its_questions(lang: str) -> None:
    for number, wording in enumerate(WORDINGS[lang]):
        fact = draw_fact(lang, random.Random(number), wording)
        for question, answer in (fact.same, fact.other):
            assert answer in fact.text
            assert answer not in question
            assert fact.name in question
            assert "{" not in fact.text + question + answer


def test_passages_stand_where_they_say() -> None:
    text = "\n".join(PAGES)
    found = passages(PAGES)
    assert [passage.page for passage in found] == [1, 1, 2, 2, 1, 2]
    for passage in found:
        assert " ".join(text[passage.start : passage.end].split()) == passage.text
    assert found[4].text.count(".") == RUN


def test_chinese_runs_have_no_blanks() -> None:
    found = passages(["请先安装驱动程序。\n然后重新启动计算机。"])
    assert found[-1].text == "请先安装驱动程序。然后重新启动计算机。"


def test_pages_hold_every_line() -> None:
    lines = ["a" * 10, "b" * 25, "c" * 5, "d" * 5]
    pages = list(paged(lines, 20))
    assert pages == ["a" * 10, "b" * 25, "c" * 5 + "\n" + "d" * 5]


def test_marked_turns_count_from_zero_and_include_the_last(meeting_data: Path) -> None:
    last, early = meetings(meeting_data)
    assert len(last.pages) > 1
    text = "\n".join(last.pages)
    words = "Speaker {0}: This is turn number {0} of them all ."
    assert [text[a:b] for a, b in last.spans] == [f"{words.format(98)}\n{words.format(99)}"]
    assert text[slice(*early.spans[1])] == words.format(7)
    inside, outside = text.index("number 3 "), text.index("number 4 ")
    assert early.answered_by(Passage("", 1, inside, inside + 5))
    assert not early.answered_by(Passage("", 1, outside, outside + 5))


def test_a_folder_without_meetings_has_none(tmp_path: Path) -> None:
    assert meetings(tmp_path) == []


def test_own_questions_are_answered_by_what_their_row_says() -> None:
    document = TextDocument("7", "own", "en", "\n".join(PAGES), (), (), "What is  it?", ("48213",))
    silent_one = replace(document, id="8", question="")
    unanswered = replace(document, id="9", answers=())
    first, second = own_questions([document, silent_one, unanswered])
    assert (first.kind, first.question) == ("own questions en", "What is it?")
    assert first.answered_by(Passage("The code is 48213.", 1, 0, 18))
    assert not second.answerable


def test_a_few_questions_of_each_meeting_are_drawn(facts_data: Path, meeting_data: Path) -> None:
    drawn = draw_cases(meeting_data, 1)
    assert [case.id for case in drawn] == ["m/0"]
    kinds = [case.kind for case in draw_cases(facts_data, 6)]
    every = ("key facts en", "key facts zh", "key facts on a page en", "key facts on a page zh")
    assert kinds == [kind for kind in every for _ in range(8)]


def test_the_model_is_asked_about_every_passage(engine: Engine, prompts: Prompts) -> None:
    asked, absent = search(engine, prompts, [CASE, ABSENT], 100, silent)
    assert len(asked.offered) == len(absent.offered) == asked.passages == 6
    assert sum(one.right for one in asked.offered) == asked.rights == 3
    assert max(asked.offered, key=lambda one: one.z).right
    assert not any(one.right for one in absent.offered)


def test_a_shared_reading_changes_no_margin(engine: Engine, prompts: Prompts) -> None:
    together = search(engine, prompts, [CASE, ABSENT], 100, silent)
    alone = [one for case in (CASE, ABSENT) for one in search(engine, prompts, [case], 100, silent)]
    for one, other in zip(together, alone, strict=True):
        margins = [offered.margin for offered in other.offered]
        assert [offered.margin for offered in one.offered] == pytest.approx(margins, abs=1e-4)


def test_only_the_closest_by_words_are_asked_about(engine: Engine, prompts: Prompts) -> None:
    (every,) = search(engine, prompts, [CASE], 100, silent)
    (some,) = search(engine, prompts, [CASE], 2, silent)
    best = sorted((one.z for one in every.offered), reverse=True)[:2]
    assert sorted((one.z for one in some.offered), reverse=True) == pytest.approx(best)
    assert (some.passages, some.rights) == (6, 3)


def test_what_does_not_fit_the_context_is_read_in_portions(
    engine: Engine, prompts: Prompts
) -> None:
    pages = tuple(f"The {word} cat sat on the mat. " * 9 for word in ("red", "big", "old", "sad"))
    case = replace(CASE, pages=pages, answers=("old",), page=3)
    assert sum(map(engine.count_tokens, pages)) > engine.context_length - 100
    (searched,) = search(engine, prompts, [case], 4, silent)
    assert len(searched.offered) == 4


@pytest.mark.parametrize("page", ["| a | b |", "The cat sat on the mat. " * 100])
def test_a_document_that_cannot_be_asked_about_is_passed_over(
    engine: Engine, prompts: Prompts, page: str
) -> None:
    assert search(engine, prompts, [replace(CASE, pages=(page,))], 4, silent) == []


def test_words_that_match_can_turn_a_choice() -> None:
    """Margins say nothing here, and words all."""
    rows = [found(n, [(n % 2, -1.0, False), (1 - n % 2, 1.0, True)]) for n in range(8)]
    calibration = calibrate(rows)
    assert calibration.terms > 0
    assert calibration.threshold == 0.5
    figures = answer_figures(rows)["key facts en"]
    assert figures["right passage first"] == 1.0
    assert figures["BM25 alone right passage first"] == 1.0
    assert figures["margin alone right passage first"] == 0.5
    assert figures["chance right passage first"] == pytest.approx(0.01)
    assert figures["right passage among the closest 64"] == 1.0
    assert "decided rightly" not in figures


def test_words_that_mislead_count_nothing() -> None:
    rows = [found(n, [(1.0 + n % 3, -1.0, True), (-1.0, 1.0 + n % 2, False)]) for n in range(8)]
    assert calibrate(rows).terms == 0.0


def test_the_threshold_parts_answers_from_none() -> None:
    rows = [
        one
        for n in range(0, 16, 2)
        for one in (
            found(n, [(4.0 + n / 10, 1.0, True), (-3.0, 0.5, False)]),
            found(n + 1, [(1.0 + n / 10, 1.0, False), (-3.0, 0.0, False)], answerable=False),
        )
    ]
    margin: Score = lambda one: one.margin  # noqa: E731
    least = best_threshold(rows, margin, margin)
    assert least is not None
    assert 2.4 < least < 4.0
    calibration = calibrate(rows)
    rule = Rule(margin, margin, least)
    assert all(map(rule.decides_rightly, rows))
    assert calibration.probability(4.0, 1.0) >= calibration.threshold
    assert calibration.probability(2.4, 1.0) < calibration.threshold
    figures = answer_figures(rows)["key facts en"]
    assert figures["decided rightly"] == 1.0
    assert figures["told that it is not there"] == 1.0
    assert figures["margin alone decided rightly"] == 1.0
    assert figures["BM25 alone decided rightly"] == 0.5
    assert 0 <= figures["expected calibration error"] < 0.5


def test_a_threshold_survives_the_profile() -> None:
    calibration = AnswerCalibration(64, bias=-9.0).deciding(0.000123456)
    assert calibration.stored()["threshold"] == 0.0001235
    assert set(calibration.stored()) == {
        "temperature", "terms", "certainty", "share", "bias", "threshold", "closest",
    }  # fmt: skip


def test_answers_are_measured_and_calibrated(
    patient_engine: Engine, prompts: Prompts, tmp_path: Path
) -> None:
    text = "\n\n".join(f"The printer number {n} prints a page." for n in range(60))
    row = {"id": "a", "source": "handbook", "lang": "en", "summary": None, "text": text}
    data = written(tmp_path, [row])
    measured = evaluate(patient_engine, prompts, data, only=["answers"], limit=1)
    assert measured.figures["key facts en"]["questions"] == 1
    assert measured.calibration["ask"].stored()["closest"] == 64
