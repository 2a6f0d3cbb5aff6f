import random

import pytest

from model.train.calibration import Calibration, expected_error, fit
from model.train.evaluate import auroc, balanced_accuracy


def test_the_fit_finds_the_calibration_that_made_the_answers() -> None:
    truth, chance = Calibration(temperature=2.0, bias=-0.5), random.Random(1)
    margins = [chance.gauss(0, 4) for _ in range(4000)]
    pairs = [(margin, chance.random() < truth.probability(margin)) for margin in margins]
    found = fit(pairs)
    assert found.temperature == pytest.approx(2.0, rel=0.15)
    assert found.bias == pytest.approx(-0.5, abs=0.15)
    assert expected_error([(found.probability(m), right) for m, right in pairs]) < 0.03


def test_separable_pairs_give_a_finite_calibration() -> None:
    found = fit([(-3.0, False), (-2.0, False), (2.0, True), (3.0, True)])
    assert found.probability(3.0) > 0.9
    assert found.probability(-3.0) < 0.1


def test_one_kind_of_pairs_alone_changes_nothing() -> None:
    assert fit([(1.0, True), (2.0, True)]) == Calibration()


def test_certainty_that_is_wrong_half_the_time_is_half_an_error() -> None:
    assert expected_error([(0.99, True), (0.99, False)]) == pytest.approx(0.49)


def test_auroc_counts_ties_as_half() -> None:
    assert auroc([3.0, 1.0], [1.0, 0.0]) == pytest.approx((1 + 1 + 0.5 + 1) / 4)


def test_balanced_accuracy_weighs_both_kinds_alike() -> None:
    assert balanced_accuracy([(0.9, True), (0.9, True), (0.9, True), (0.9, False)]) == 0.5
