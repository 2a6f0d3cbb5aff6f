import pytest

from model.train.rouge import rouge, units


def test_words_are_lower_cased_and_chinese_characters_stand_alone() -> None:
    assert units("The BM25 打印机, re-run_2") == ["the", "bm25", "打", "印", "机", "re", "run", "2"]


def test_a_text_against_itself_is_perfect() -> None:
    score = rouge("the cat sat on the mat", "The cat sat on the mat.")
    assert (score.one, score.two, score.longest) == (1.0, 1.0, 1.0)


def test_scores_are_those_worked_out_by_hand() -> None:
    score = rouge("the cat the dog", "the dog and the bird")
    # Words shared: the, the, dog of 4 and 5. Pairs shared: "the dog" of 3 and 4. Longest: the, the.
    assert score.one == pytest.approx(2 * 3 / (4 + 5))
    assert score.two == pytest.approx(2 * 1 / (3 + 4))
    assert score.longest == pytest.approx(2 * 2 / (4 + 5))


def test_of_several_references_the_best_counts() -> None:
    assert rouge("安装驱动", ["卸载", "安装驱动"]).one == 1.0


def test_nothing_shared_scores_nothing() -> None:
    score = rouge("alpha beta", "gamma")
    assert (score.one, score.two, score.longest) == (0.0, 0.0, 0.0)
