import math
import statistics
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.lexical import (
    AROUND,
    K1,
    B,
    Lexical,
    shared_words,
    standardised,
    surroundings,
    telling,
    terms,
)

CODES = [
    "The code of the gate is 1.",
    "The code of the lake is 2.",
    "大门的密码是三。",
    "She bought a USB键盘.",
]


def lexical(passages: list[str], apart: float = 10_000.0) -> Lexical:
    return Lexical(passages, [place * apart for place in range(len(passages))])


def best(values: list[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def test_terms_are_words_and_chinese_characters_and_pairs() -> None:
    assert terms("The Get-Item cmdlet, v2") == ["the", "get", "item", "cmdlet", "v2"]
    assert terms("安装USB驱动") == ["安", "装", "安装", "usb", "驱", "动", "驱动"]
    assert terms(" — … ") == []


def test_the_plain_score_is_the_documented_formula() -> None:
    passages = ["red fox", "red red hen in the barn", "blue fish swims"]
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    mean = (2 + 6 + 3) / 3

    def expected(times: int, length: int) -> float:
        return idf * times / (times + K1 * (1 - B + B * length / mean))

    assert lexical(passages).bm25(["red"]) == pytest.approx(
        [expected(1, 2), expected(2, 6), 0.0], rel=1e-5
    )


@pytest.mark.parametrize(
    ("question", "place"),
    [("What is the code of the lake?", 1), ("大门的密码是多少？", 2), ("Who has a USB键盘?", 3)],
)
def test_the_passage_with_the_rare_words_matches_best(question: str, place: int) -> None:
    assert best(lexical(CODES).matches(question)) == place


def test_a_passage_with_all_that_is_asked_by_has_the_whole_share_in_any_document() -> None:
    question, others = "What is the code of the lake?", ["Bees fly.", "The code of the gate is 7."]
    for passages in (
        ["The code of the lake is 48213.", *others],
        ["The code of the lake", *others * 50],
    ):
        shares = lexical(passages).shares(question)
        assert shares[0] == pytest.approx(1.0)
        assert shares[1] == 0.0
        assert 0.0 < shares[2] < 0.5  # "code" stands in more passages than "lake"
    assert lexical(["湖的密码是七。", "大门开着。"]).shares("大门的密码是多少？")[1] > 0
    assert lexical([]).shares("who?") == []
    assert lexical(["", "a b"]).shares("") == [0.0, 0.0]


def test_words_of_asking_count_only_where_there_are_no_others() -> None:
    assert telling("What did the group decide about the remote control?") == ["remote", "control"]
    assert telling("总结蜂箱") == ["总", "结", "蜂", "箱", "结蜂", "蜂箱"]
    assert telling("What did they say?") == ["what", "did", "they", "say"]


def test_of_equal_passages_the_one_among_others_that_match_is_better() -> None:
    passages = ["Rain falls.", "Bees fly.", "Snow.", "Honey from bees.", "Bees fly.", "Old bees."]
    middles = [0.0, 100.0, 200.0, 9_000.0, 9_100.0, 9_200.0]
    assert best(Lexical(passages, middles).matches("Do bees fly?")) == 4


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0, 5000)), max_size=12))
def test_the_surroundings_are_the_weighted_mean_of_all(pairs: list[tuple[float, float]]) -> None:
    values, middles = [value for value, _ in pairs], [middle for _, middle in pairs]

    def plainly(here: float) -> float:
        weights = [math.exp(-abs(here - there) / AROUND) for there in middles]
        return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)

    expected = [plainly(middle) for middle in middles]
    assert surroundings(values, middles) == pytest.approx(expected, abs=1e-9)


def test_nothing_to_match_scores_nothing() -> None:
    assert lexical([]).matches("who?") == []
    assert lexical(["", "a b"]).matches("") == [0.0, 0.0]
    assert lexical(["", " — "]).matches("who?") == [0.0, 0.0]


def test_scores_are_standardised_over_all_passages() -> None:
    z = standardised([0.0, 0.0, 3.0, 9.0])
    assert (statistics.fmean(z), statistics.pstdev(z)) == pytest.approx((0.0, 1.0))
    assert z == sorted(z)


@pytest.mark.parametrize("values", [[], [2.5], [0.0, 0.0], [0.1] * 7])
def test_equal_scores_say_nothing(values: list[float]) -> None:
    assert standardised(values) == [0.0] * len(values)


def test_what_a_sentence_has_of_the_title_is_told_in_tens_of_per_cent() -> None:
    texts = ["The gate's code.", "Lakes.", "The code of the lake", "湖的代码"]
    assert shared_words("The code of the lake", texts) == [50, 0, 100, 0]
    assert shared_words("# —", texts) == [0, 0, 0, 0]


def test_a_long_question_about_a_long_document_takes_time_linear_in_both() -> None:
    """Ten thousand passages, a thousand terms: each term in each passage would be ten million."""
    passages = [f"Garden {number} has its own bees and roofs." for number in range(10_000)]
    started = time.process_time()
    index, question = lexical(passages, 40.0), " ".join(f"word{number}" for number in range(1000))
    index.matches(question)
    index.shares(question)
    assert time.process_time() - started < 5


def test_what_has_no_need_of_torch_does_not_load_it() -> None:
    code = "import sys, model.lexical; sys.exit('torch' in sys.modules or 'bm25s' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
