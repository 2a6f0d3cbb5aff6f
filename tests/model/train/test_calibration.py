import math
import random
from collections.abc import Callable

import pytest

from model.train.calibration import (
    AnswerCalibration,
    Calibration,
    Offered,
    SummaryCalibration,
    expected_error,
    fit,
    fit_answers,
    fit_choices,
    fit_ranks,
)
from model.train.measure.listings import auroc, balanced_accuracy


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


def test_the_fit_of_two_scores_finds_what_made_the_answers() -> None:
    chance = random.Random(2)

    def drawn(truth: Callable[[float, float], float]) -> list[tuple[float, float, bool]]:
        scores = [(chance.gauss(0, 4), chance.gauss(1, 2)) for _ in range(4000)]
        return [(m, z, chance.random() < truth(m, z)) for m, z in scores]

    truth = AnswerCalibration(64, certainty=0.3, share=0.8, bias=-3.0)
    ranked = fit_ranks(drawn(lambda m, z: Calibration(2.0, 0.0).probability(m + 1.6 * z)), 64)
    assert ranked.temperature == pytest.approx(2.0, rel=0.15)
    assert ranked.terms == pytest.approx(0.8, rel=0.15)
    found = fit_answers(ranked, drawn(truth.probability))
    assert (found.temperature, found.terms) == (ranked.temperature, ranked.terms)
    assert found.certainty == pytest.approx(0.3, rel=0.15)
    assert found.share == pytest.approx(0.8, rel=0.15)
    assert found.bias == pytest.approx(-3.0, abs=0.3)
    assert (found.closest, found.threshold) == (64, 0.5)


def test_nothing_to_fit_leaves_two_scores_as_they_are() -> None:
    assert fit_ranks([(1.0, 1.0, False)], 8) == AnswerCalibration(8)
    assert fit_ranks([], 8) == AnswerCalibration(8)
    assert fit_answers(AnswerCalibration(8), [(1.0, 1.0, True)]) == AnswerCalibration(8)


def test_certainty_that_is_wrong_half_the_time_is_half_an_error() -> None:
    assert expected_error([(0.99, True), (0.99, False)]) == pytest.approx(0.49)


def test_auroc_counts_ties_as_half() -> None:
    assert auroc([3.0, 1.0], [1.0, 0.0]) == pytest.approx((1 + 1 + 0.5 + 1) / 4)


def test_balanced_accuracy_weighs_both_kinds_alike() -> None:
    assert balanced_accuracy([(0.9, True), (0.9, True), (0.9, True), (0.9, False)]) == 0.5


def drawn_documents(
    truth: SummaryCalibration, chance: random.Random
) -> list[tuple[list[Offered], list[float]]]:
    """Documents whose sentences are chosen as often as the truth has it."""
    documents = []
    for _ in range(300):
        some = [
            Offered(chance.gauss(0, 2), chance.randrange(0, 101, 10), place)
            for place in range(1, chance.randint(3, 12))
        ]
        weights = [math.exp(truth.score(offered)) for offered in some]
        documents.append((some, [weight / sum(weights) for weight in weights]))
    return documents


def test_choices_are_fitted_by_margin_title_and_place() -> None:
    truth, chance = SummaryCalibration(temperature=2.0, title=1.5, early=0.7), random.Random(3)
    found = fit_choices(drawn_documents(truth, chance))
    assert found.temperature == pytest.approx(2.0, rel=0.05)
    assert found.title == pytest.approx(1.5, rel=0.1)
    assert found.early == pytest.approx(0.7, rel=0.1)


def test_title_and_place_never_count_against_a_sentence() -> None:
    truth, chance = SummaryCalibration(1.0, title=-2.0, early=-1.0), random.Random(4)
    found = fit_choices(drawn_documents(truth, chance))
    assert (found.title, found.early) == (0.0, 0.0)


def test_without_documents_the_margin_alone_counts() -> None:
    assert fit_choices([]) == SummaryCalibration()
