"""What people say makes claims and scores honest and moves the threshold; too little moves none."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from mmapp.errors import BadInput
from mmapp.tasks.claims import take_claims
from mmapp.tasks.verdict import Calibration, consistency, judge
from mmapp.types import Listing
from workers.evaluation.reviewed import Reviewed, outcome

TITLES = ("Blue cotton shirt", "红色陶瓷杯子")


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def checked(count: int, made_with: Calibration, *, overdone: float = 3.0) -> list[dict[str, Any]]:
    """Listings of a model whose margins are `overdone`, with what a person says of each claim."""
    chance = random.Random(7)
    listings = []
    for number in range(count):
        listing = Listing(("p",), TITLES[number % 2], "It is new. 有口袋。")
        claims, _ = take_claims(listing)
        honest = [chance.gauss(0.8 if number % 3 else -0.8, 1.0) for _ in claims]
        said = {
            str(place): "SUPPORTED" if chance.random() < sigmoid(x) else "REFUTED"
            for place, x in enumerate(honest, 1)
        }
        said["0"] = "SUPPORTED" if chance.random() < sigmoid(honest[0]) else "REFUTED"
        stored = [
            {
                "text": claim.text,
                "visible": True,
                "probabilities": probabilities(x * overdone, made_with),
            }
            for claim, x in zip(claims, honest, strict=True)
        ]
        params = {"photos": ["p"], "title": listing.title, "description": listing.description}
        constants = {"temperature": made_with.temperature, "bias": made_with.bias}
        listings.append({"params": params, "claims": stored, "made_with": constants, "said": said})
    return listings


def probabilities(margin: float, calibration: Calibration) -> dict[str, float]:
    """As a result has them: rounded."""
    found = judge(triple(margin), calibration)
    return {
        "supported": round(found.supported, 4),
        "refuted": round(found.refuted, 4),
        "unseen": round(found.unseen, 4),
    }


def triple(margin: float) -> tuple[float, float, float]:
    return math.log(0.7 * sigmoid(margin)), math.log(0.7 * sigmoid(-margin)), math.log(0.3)


@pytest.mark.parametrize("made_with", [Calibration(), Calibration(temperature=2.0, bias=0.5)])
def test_sure_words_come_to_mean_what_they_say(made_with: Calibration) -> None:
    found = outcome({"current": {}, "listings": checked(250, made_with)})
    assert found["constants"]["temperature"] == pytest.approx(3.0, rel=0.2)
    assert found["constants"]["bias"] == pytest.approx(0.0, abs=0.2)
    before, after = found["figures"]["before"], found["figures"]["after"]
    for of in ("claims", "listings"):
        assert after[of]["ece"] < before[of]["ece"]
        assert after[of]["count"] == before[of]["count"]
        assert after[of]["auroc"] == pytest.approx(before[of]["auroc"], abs=0.02)
    assert found["constants"]["consistent"] - found["constants"]["inconsistent"] == pytest.approx(
        0.3
    )
    assert (found["left_out"], found["missing"]) == (0, {"claims": "", "listings": ""})


def test_a_score_is_that_of_the_check_itself() -> None:
    """From a rounded result to the score under another calibration."""
    margins, other = (2.0, -1.5, 0.3, 4.0), Calibration(temperature=1.7, bias=-0.4, score_bias=0.2)
    listing = Listing(("p",), TITLES[0], "It is new. 有口袋。")
    claims, _ = take_claims(listing)
    asked = [margins[place % 4] for place in range(len(claims))]
    stored = {
        "params": {"photos": ["p"], "title": listing.title, "description": listing.description},
        "claims": [
            {"text": claim.text, "probabilities": probabilities(margin, Calibration())}
            for claim, margin in zip(claims, asked, strict=True)
        ],
        "made_with": {},
        "said": {},
    }
    read = Reviewed.read(stored)
    assert read is not None
    exact = consistency(claims, [judge(triple(margin), other) for margin in asked], other)
    assert read.score(other) == pytest.approx(exact, abs=0.002)


def test_claims_alone_are_fitted_alone() -> None:
    listings = checked(60, Calibration())
    for one in listings:
        del one["said"]["0"]
    found = outcome({"current": {"consistent": 0.7}, "listings": listings})
    assert found["constants"]["temperature"] > 1.5
    assert found["constants"]["consistent"] == 0.7
    assert found["constants"]["score_temperature"] == 1.0
    assert found["missing"]["listings"] == (
        "10 more that people support and 10 more that people refute"
    )


def test_too_few_reviews_fit_nothing_and_say_how_many_are_missing() -> None:
    listings = checked(12, Calibration())
    for one in listings:
        one["said"] = {"0": "SUPPORTED"}
    with pytest.raises(BadInput, match="10 more that people refute are needed among whole") as few:
        outcome({"current": {}, "listings": listings})
    assert "10 more that people support and 10 more" in str(few.value)


def test_a_listing_that_is_cut_otherwise_today_is_left_out() -> None:
    listings = checked(60, Calibration())
    listings[0]["claims"][0]["text"] = "Blue"
    assert outcome({"current": {}, "listings": listings})["left_out"] == 1
