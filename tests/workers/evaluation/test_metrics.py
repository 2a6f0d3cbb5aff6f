"""Metrics against values worked out by hand."""

from __future__ import annotations

import itertools

import pytest

from workers.evaluation import metrics

#: Three right, two wrong. Of the 6 pairs 5 are won (0.9 and 0.6 twice, 0.4 once), one is a tie.
SCORES = [0.9, 0.6, 0.4, 0.4, 0.1]
RIGHTS = [True, True, True, False, False]


def test_auroc_counts_a_tie_as_half_a_win() -> None:
    assert metrics.auroc(SCORES, RIGHTS) == pytest.approx(5.5 / 6)


def test_auroc_of_one_kind_of_input_is_not_defined() -> None:
    assert metrics.auroc([0.2, 0.8], [True, True]) is None
    assert metrics.roc([0.2, 0.8], [True, True]) == []


def test_the_area_below_the_curve_is_the_auroc() -> None:
    points = metrics.roc(SCORES, RIGHTS)
    assert points == [(0, 0), (0, 1 / 3), (0, 2 / 3), (0.5, 1), (1, 1)]
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(points))
    assert area == pytest.approx(metrics.auroc(SCORES, RIGHTS))


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    points = metrics.roc([i / 1000 for i in range(1000)], [i % 3 == 0 for i in range(1000)])
    assert len(points) <= metrics.MOST_POINTS + 1
    assert (points[0], points[-1]) == ((0, 0), (1, 1))


def test_balanced_accuracy_weighs_both_kinds_alike() -> None:
    said = [True, True, False, True, False]
    assert metrics.balanced_accuracy(said, RIGHTS) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert metrics.balanced_accuracy([True], [True]) is None


def test_calibration_error_is_the_mean_gap_between_promise_and_truth() -> None:
    # Bin 0.9-1: two inputs promise 0.95 and one is right. Bin 0.2-0.3: one promises 0.2, is wrong.
    bins = metrics.calibration([0.95, 0.95, 0.2], [True, False, False], 10)
    assert [one.count for one in bins] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 2]
    assert metrics.calibration_error(bins) == pytest.approx((2 * 0.45 + 1 * 0.2) / 3)
    assert metrics.calibration_error(metrics.calibration([], [], 10)) is None


def test_a_score_of_one_belongs_to_the_last_bin() -> None:
    assert metrics.calibration([1.0], [True], 15)[-1].count == 1


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("The code is “7-Zulu”.", "7 zulu", True),
        ("The code is 17 Zulu.", "7 Zulu", False),
        ("昨天，密码是四百万。", "密码是四百万", True),
        ("昨天，密码是四百万。", "五百万", False),
        ("anything", "", False),
    ],
)
def test_words_are_found_whatever_stands_between_them(
    text: str, words: str, expected: bool
) -> None:
    assert metrics.contains(text, words) is expected


def test_a_text_mostly_of_chinese_characters_is_chinese() -> None:
    assert metrics.is_chinese("启动 PowerShell 之前，请先安装更新。")
    assert not metrics.is_chinese("The word for harbour is 港口.")
