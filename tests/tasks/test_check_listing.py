import json
import math
from importlib import import_module

import pytest
from PIL import Image

from mmapp import tasks
from mmapp.errors import JobCancelled
from mmapp.tasks import prompts
from mmapp.tasks.regions import windows
from mmapp.tasks.verdict import Calibration, judge
from mmapp.types import Listing, TaskName
from tests.tasks.fakes import FakeEngine, Reports

SHA = "a" * 64


def photo(*red_boxes, size=(90, 60)):
    picture = Image.new("RGB", size, "white")
    for box in red_boxes:
        picture.paste((255, 0, 0), box)
    return picture


def redness(picture):
    """Share of pure red pixels."""
    colours = picture.convert("RGB").getcolors() or []
    reds = sum(count for count, colour in colours if colour == (255, 0, 0))
    return reds / (picture.width * picture.height)


def sees_red(parts, question, answer):
    """Knows redness alone: "red" holds where a photo has some, "blue" is refuted by it."""
    red = sum(redness(part) for part in parts if not isinstance(part, str))
    if "warranty" in question:
        return {"yes": -4.0, "no": -4.0, "unclear": -0.1}[answer]
    sign = -1 if "blue" in question else 1
    margin = sign * (40 * red - 1)
    return {"yes": margin / 2, "no": -margin / 2, "unclear": -3.0}[answer]


def check(photos, title="red mug", description="", *, engine=None, report=None, **attributes):
    listing = Listing((SHA,) * len(photos), title, description, attributes)
    inputs = tasks.ListingInput(listing, tuple(photos))
    engine = engine or FakeEngine(sees_red)
    report = Reports() if report is None else report
    return tasks.run(TaskName.CHECK_LISTING, engine, inputs, listing, report)


def labels(payload):
    return {claim["text"]: claim["label"] for claim in payload["claims"]}


def test_each_claim_gets_its_label_and_the_listing_a_verdict():
    payload = check([photo((0, 0, 30, 20))], "red mug", "A warranty is given.", colour="blue")
    assert labels(payload) == {
        "red mug": "SUPPORTED",
        "red": "SUPPORTED",
        "mug": "SUPPORTED",
        "blue": "REFUTED",
        "A warranty is given.": "NOT_ENOUGH_INFO",
    }
    assert check([photo((0, 0, 30, 20))])["verdict"] == "consistent"
    assert check([photo()])["verdict"] == "inconsistent"


def test_what_no_photo_can_show_is_told_by_code_and_never_asked():
    asked = []

    def rule(_, question, answer):
        asked.append(question)
        return {"yes": 3.0, "no": -3.0, "unclear": -9.0}[answer]

    payload = check(
        [photo()], "红色杯子 包邮", "Soft. Made in Italy.", engine=FakeEngine(rule), weight="2"
    )
    unseen = [claim for claim in payload["claims"] if not claim["visible"]]
    assert [(c["text"], c["kind"]) for c in unseen] == [
        ("包邮", "delivery"), ("2", "weight"), ("Soft.", "feel"), ("Made in Italy.", "origin"),
    ]  # fmt: skip
    for claim in unseen:
        assert (claim["label"], claim["reason"]) == ("NOT_ENOUGH_INFO", "not visible")
        assert claim["probabilities"]["unseen"] == claim["probability"] == 1.0
    assert {*asked} == {
        prompts.listing_question(claim["attribute"], claim["text"])
        for claim in payload["claims"]
        if claim["visible"]
    }


def test_a_listing_of_what_no_photo_can_show_asks_no_model():
    engine = FakeEngine(sees_red)
    payload = check([photo()], "", "Free delivery.", engine=engine)
    assert (payload["verdict"], payload["decided_by"], engine.prefixes) == ("uncertain", None, [])


@pytest.mark.parametrize(
    ("threshold", "verdict"), [(None, "consistent"), (0.5, "consistent"), (0.99, "uncertain")]
)
def test_the_verdict_follows_the_threshold_that_the_person_set(threshold, verdict):
    listing = Listing((SHA,), "red mug", threshold=threshold)
    inputs = tasks.ListingInput(listing, (photo((0, 0, 30, 20)),))
    payload = tasks.run(TaskName.CHECK_LISTING, FakeEngine(sees_red), inputs, listing, Reports())
    assert 0.65 < payload["score"] < 0.99
    assert payload["verdict"] == verdict
    limits = (0.65, 0.35) if threshold is None else (threshold, pytest.approx(1 - threshold))
    assert (payload["rule"]["consistent"], payload["rule"]["inconsistent"]) == limits


def test_the_verdict_names_the_claim_and_the_photo_that_decided():
    payload = check([photo(), photo((0, 0, 30, 20))], "a thing", shade="blue 1", tone="blue")
    assert payload["verdict"] == "inconsistent"
    decided = payload["decided_by"]
    assert payload["claims"][decided["claim"]]["text"] == "blue 1"
    assert decided["image"] == 2


def test_a_profile_may_ask_for_a_nearer_look_and_the_mean_counts():
    """The middle of the photo is all red, the whole of it a ninth: margins 3.4 and 39."""
    picture = [photo((30, 20, 60, 40))]
    once = FakeEngine(sees_red, profile={"regions": False})
    twice = FakeEngine(sees_red, profile={"regions": False, "framings": [{"share": 1 / 3}]})
    alone, both = (check(picture, "a red thing", engine=e)["claims"][0] for e in (once, twice))
    assert [len(prefix.parts) for prefix in twice.prefixes] == [2, 2]
    assert len(once.prefixes) == 1
    unseen = [claim["probabilities"]["unseen"] for claim in (alone, both)]
    yes = (40 / 9 - 1) / 2, ((40 / 9 - 1) / 2 + 39 / 2) / 2
    for found, log_yes in zip(unseen, yes, strict=True):
        weights = [math.exp(value) for value in (log_yes, -log_yes, -3.0)]
        assert found == pytest.approx(weights[2] / sum(weights), abs=1e-3)


def test_large_photos_are_framed_and_taken_apart_one_after_another(monkeypatch):
    profile = {"framings": [{"share": 1 / 3}, {"mirrored": True}]}
    together, alone = (FakeEngine(sees_red, profile=profile) for _ in range(2))
    picture = [photo((30, 20, 60, 40))]
    payloads = [check(picture, engine=together)]
    for name in ("regions", "asking"):
        monkeypatch.setattr(import_module(f"mmapp.tasks.{name}"), "MOST_PIXELS", 1)
    payloads.append(check(picture, engine=alone))
    for payload in payloads:
        del payload["usage"]
    assert payloads[0] == payloads[1]
    assert together.most_at_once == 9
    assert alone.most_at_once == 1


def test_score_is_higher_where_photo_and_words_agree():
    right, wrong = check([photo((0, 0, 60, 60))]), check([photo()])
    assert right["score"] > 0.65 > 0.35 > wrong["score"]


def test_one_refuted_claim_pulls_the_score_down():
    picture = [photo((0, 0, 90, 60))]
    alone = check(picture, "red mug", a="red 1", b="red 2", c="red 3")
    spoiled = check(picture, "red mug", a="red 1", b="red 2", c="blue 3")
    assert spoiled["score"] < alone["score"]


def test_evidence_is_the_part_of_the_photo_that_the_answer_rests_on():
    payload = check([photo((60, 40, 90, 60))])
    (evidence,) = payload["claims"][0]["evidence"]
    assert evidence == {"image": 1, "box": [45.0, 30.0, 90.0, 60.0]}


def test_evidence_names_the_photo_that_matters():
    payload = check([photo(), photo((0, 0, 30, 20)), photo()])
    assert payload["claims"][0]["evidence"] == [{"image": 2, "box": [0.0, 0.0, 45.0, 30.0]}]


def test_evidence_is_the_whole_photo_where_no_part_says_it_more_clearly():
    payload = check([photo((0, 0, 90, 60))])
    assert payload["claims"][0]["label"] == "SUPPORTED"
    assert payload["claims"][0]["evidence"] == [{"image": 1, "box": [0.0, 0.0, 90.0, 60.0]}]


def test_a_refutation_has_the_photo_that_refutes_most_and_no_place_in_it():
    engine = FakeEngine(sees_red)
    payload = check([photo(), photo((30, 20, 60, 40))], "a blue thing", engine=engine)
    assert payload["claims"][0]["label"] == "REFUTED"
    assert payload["claims"][0]["evidence"] == [{"image": 2, "box": [0.0, 0.0, 90.0, 60.0]}]
    assert len(engine.prefixes) == 1 + 2


def test_a_claim_without_an_answer_has_no_evidence():
    payload = check([photo()], "warranty")
    assert payload["claims"][0]["evidence"] == []
    assert (payload["verdict"], payload["score"]) == ("uncertain", pytest.approx(0.5, abs=0.05))


def test_a_checkpoint_can_turn_regions_off():
    engine = FakeEngine(sees_red, profile={"regions": False})
    payload = check([photo((0, 0, 30, 20)), photo()], engine=engine)
    assert [e["image"] for e in payload["claims"][0]["evidence"]] == [1, 2]
    assert len(engine.prefixes) == 1


def test_all_claims_are_asked_in_one_call_on_one_prefix():
    engine = FakeEngine(sees_red, profile={"regions": False})
    check([photo()], "red mug", "Warranty. Red.", engine=engine, colour="blue")
    assert (len(engine.prefixes), engine.score_calls) == (1, 1)


def test_the_search_for_regions_is_bounded():
    engine = FakeEngine(sees_red)
    attributes = {f"a{n}": f"red {n}" for n in range(60)}
    check([photo((0, 0, 30, 20))] * 12, engine=engine, **attributes)
    assert len(engine.prefixes) <= 1 + 12 + 4 * 9


def test_without_photos_nothing_is_claimed_to_be_seen():
    engine = FakeEngine(sees_red)
    payload = check([], engine=engine, colour="red")
    assert set(labels(payload).values()) == {"NOT_ENOUGH_INFO"}
    assert (payload["verdict"], payload["score"]) == ("uncertain", 0.5)
    assert not engine.prefixes


def test_supported_claims_fall_with_a_refuted_product():
    def rule(_, question, answer):
        margin = -3.0 if "mug" in question else 3.0
        return {"yes": margin, "no": 0.0, "unclear": -5.0}[answer]

    payload = check([photo()], "mug", engine=FakeEngine(rule), colour="red")
    assert labels(payload) == {"mug": "REFUTED", "red": "NOT_ENOUGH_INFO"}
    mug, red = payload["claims"]
    assert red["probability"] == mug["probability"]
    assert red["evidence"] == []


def test_other_claims_stand_when_the_product_is_supported():
    def rule(_, question, answer):
        margin = 3.0 if "mug" in question else -3.0
        return {"yes": margin, "no": 0.0, "unclear": -5.0}[answer]

    payload = check([photo()], "mug", engine=FakeEngine(rule), colour="red")
    assert labels(payload) == {"mug": "SUPPORTED", "red": "REFUTED"}


def test_calibration_of_the_profile_is_applied():
    fitted = {"calibration": {"check_listing": {"temperature": 2.0, "bias": -1.0, "pull": 0}}}
    calibration = Calibration.of(fitted)
    assert (calibration.temperature, calibration.bias, calibration.pull) == (2.0, -1.0, 0.0)
    assert calibration.consistent == 0.65
    judgement = judge((-1.0, -2.0, -50.0), calibration)
    assert judgement.label == "REFUTED"
    assert judgement.log_odds == pytest.approx(-0.5)


@pytest.mark.parametrize(
    "answers", [(-0.1, -5.0, -4.0), (-5.0, -0.1, -4.0), (-5.0, -4.0, -0.1), (-900.0, 0.0, -900.0)]
)
def test_a_label_is_the_likeliest_answer_and_probabilities_sum_to_one(answers):
    judgement = judge(answers, Calibration())
    three = {
        "SUPPORTED": judgement.supported,
        "REFUTED": judgement.refuted,
        "NOT_ENOUGH_INFO": judgement.unseen,
    }
    assert sum(three.values()) == pytest.approx(1)
    assert judgement.probability == three[judgement.label] == max(three.values())


@pytest.mark.parametrize("size", [(100, 61), (1, 1), (3, 200)])
def test_the_windows_of_a_photo_cover_it(size):
    picture = Image.new("L", size)
    for box in windows(picture):
        assert picture.crop(box).size == (box[2] - box[0], box[3] - box[1])
        picture.paste(1, box)
    assert picture.getextrema() == (1, 1)


def test_more_claims_than_can_be_checked_are_reported():
    payload = check([photo()], "mug", **{f"a{n}": f"red {n}" for n in range(50)})
    assert (len(payload["claims"]), len(payload["unchecked"])) == (40, 11)


@pytest.mark.parametrize("phase", ["reading", "checking", "locating"])
def test_a_cancel_stops_the_check_in_every_phase(phase):
    def report(progress):
        if progress.phase == phase:
            raise JobCancelled("cancelled")

    engine = FakeEngine(sees_red)
    with pytest.raises(JobCancelled):
        check([photo((0, 0, 30, 20))], engine=engine, report=report)
    assert len(engine.prefixes) <= 1


def test_the_payload_is_json_in_the_shape_of_the_contract():
    reports = Reports()
    payload = check([photo((0, 0, 30, 20))], colour="blue", report=reports)
    assert json.loads(json.dumps(payload)) == payload
    assert list(payload) == [
        "verdict", "score", "rule", "decided_by", "claims", "unchecked", "photos", "usage",
    ]  # fmt: skip
    assert set(payload["claims"][0]) >= {"text", "attribute", "label", "probability", "evidence"}
    assert [claim["span"] for claim in payload["claims"]] == [[0, 7], [0, 3], [4, 7], [0, 4]]
    assert payload["photos"] == [{"sha256": SHA, "width": 90, "height": 60}]
    assert set(payload["usage"]) == {"tokens", "durations_s", "prompt_sha256"}
    assert [r.phase for r in reports][-1] == "locating"
    assert tasks.schema_version(TaskName.CHECK_LISTING) == 1
