import math

import pytest

from model.lexical import K1, B, Lexical, terms


def test_terms_are_words_and_chinese_characters_and_pairs() -> None:
    assert terms("The Get-Item cmdlet, v2") == ["the", "get", "item", "cmdlet", "v2"]
    assert terms("安装USB驱动") == ["安", "装", "安装", "usb", "驱", "动", "驱动"]
    assert terms(" — … ") == []


def test_the_score_is_the_documented_formula() -> None:
    passages = ["red fox", "red red hen in the barn", "blue fish swims"]
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    mean = (2 + 6 + 3) / 3

    def expected(times: int, length: int) -> float:
        return idf * times / (times + K1 * (1 - B + B * length / mean))

    assert Lexical(passages).scores("Red, red?") == pytest.approx(
        [expected(1, 2), expected(2, 6), 0.0], rel=1e-5
    )


def test_the_passage_with_the_rare_words_comes_first() -> None:
    passages = ["The code of the gate is 1.", "The code of the lake is 2.", "大门的密码是三。"]
    lexical = Lexical(passages)
    for question, best in (("What is the code of the lake?", 1), ("大门的密码是多少？", 2)):
        scores = lexical.scores(question)
        assert max(range(3), key=scores.__getitem__) == best


def test_nothing_to_match_scores_nothing() -> None:
    assert Lexical([]).scores("who?") == []
    assert Lexical(["", "a b"]).scores("") == [0.0, 0.0]
