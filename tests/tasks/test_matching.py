import statistics
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmapp.tasks import matching
from mmapp.tasks.matching import matches, standardised
from model import lexical

WORDS = st.text(alphabet="aBcé1 _-.?\n蜜蜂屋顶", max_size=30)


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=8), WORDS)
def test_serving_matches_words_as_the_constants_were_fitted(passages, question):
    assert matches(passages, question) == lexical.Lexical(passages).scores(question)


def test_the_formula_has_the_constants_it_was_fitted_with():
    assert (matching.K1, matching.B) == (lexical.K1, lexical.B)


@pytest.mark.parametrize(
    ("question", "best"),
    [("What is the code of the lake?", 1), ("大门的密码是多少？", 2), ("Who has a USB键盘?", 3)],
)
def test_the_passage_with_the_rare_words_matches_best(question, best):
    passages = [
        "The code of the gate is 1.",
        "The code of the lake is 2.",
        "大门的密码是三。",
        "She bought a USB键盘.",
    ]
    scores = matches(passages, question)
    assert max(range(4), key=scores.__getitem__) == best


def test_scores_are_standardised_over_all_passages():
    z = standardised([0.0, 0.0, 3.0, 9.0])
    assert (statistics.fmean(z), statistics.pstdev(z)) == pytest.approx((0.0, 1.0))
    assert z == sorted(z)


@pytest.mark.parametrize("scores", [[], [2.5], [0.0, 0.0], [0.1] * 7])
def test_equal_scores_say_nothing(scores):
    assert standardised(scores) == [0.0] * len(scores)


def test_a_long_question_about_a_long_document_takes_time_linear_in_both():
    """Ten thousand passages, a thousand terms: each term in each passage would be ten million."""
    passages = [f"Garden {number} has its own bees and roofs." for number in range(10_000)]
    started = time.process_time()
    matches(passages, " ".join(f"word{number}" for number in range(1000)))
    assert time.process_time() - started < 5
