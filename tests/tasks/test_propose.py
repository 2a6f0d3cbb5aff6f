"""Words proposed for photos: chosen among known names, checked, and never where it is unsure."""

import json

import pytest
from PIL import Image

from mmapp import tasks
from mmapp.types import Listing, TaskName
from tests.tasks.fakes import FakeEngine, Reports

SHA = "a" * 64
PHOTO = Image.new("RGB", (60, 60), "yellow")


def knows(truths, *, unsure=()):
    """Answers yes to the names in `truths`, as surely to those in `unsure`, and no to others."""

    def rule(_, question, answer):
        claim = question.split("this? ")[1].split(": ", 1)[1]
        margin = 6.0 if claim in {*truths, *unsure} else -6.0
        return {"yes": margin / 2, "no": -margin / 2, "unclear": -9.0}[answer]

    return FakeEngine(rule, profile={"regions": False})


def propose(engine, title="", **attributes):
    listing = Listing((SHA,), title, "", attributes, propose=True)
    inputs = tasks.ListingInput(listing, (PHOTO,))
    return tasks.run(TaskName.CHECK_LISTING, engine, inputs, listing, Reports())


def changes(payload):
    return [(one["old"], one["new"]) for one in payload["correction"]["changes"]]


def test_the_likeliest_known_names_are_proposed_in_both_languages():
    payload = propose(knows(["Banana", "yellow"]))
    found = payload["proposal"]
    assert found["en"] == {
        "title": "Banana",
        "description": "Banana, yellow.",
        "attributes": {"colour": "yellow"},
    }
    assert found["zh"] == {
        "title": "香蕉",
        "description": "香蕉，黄色。",
        "attributes": {"颜色": "黄色"},
    }
    product, colour = found["choices"]
    assert (product["kind"], product["label"], product["proposed"]) == (
        "product",
        "SUPPORTED",
        True,
    )
    assert product["known"] > 100
    assert product["closest"][0] == {"en": "Banana", "zh": "香蕉", "share": product["share"]}
    assert colour["known"] == 11
    assert payload["claims"] == []
    assert json.loads(json.dumps(payload)) == payload


@pytest.mark.parametrize("engine", [knows([]), knows([], unsure=["Banana", "Lemon", "Mango"])])
def test_nothing_is_proposed_where_it_is_not_sure(engine):
    """Neither what the checker refutes, nor one of several names that are as likely."""
    payload = propose(engine, "Red Apple")
    assert payload["proposal"]["en"] == {"title": "", "description": "", "attributes": {}}
    for choice in payload["proposal"]["choices"]:
        assert (choice["proposed"], len(choice["closest"])) == (False, 5)
    assert changes(payload) == []
    assert payload["correction"]["title"] == "Red Apple"


def test_refuted_words_are_replaced_where_they_stand_and_others_are_left():
    payload = propose(
        knows(["Banana", "yellow", "fresh"]), "Red apple, fresh", colour="red", weight="1 kg"
    )
    assert changes(payload) == [("Red", "Yellow"), ("apple", "Banana"), ("red", "yellow")]
    assert payload["correction"]["title"] == "Yellow Banana, fresh"
    assert payload["correction"]["attributes"] == {"colour": "yellow", "weight": "1 kg"}


def test_each_change_says_how_sure_both_words_are():
    (change,) = propose(knows(["Banana", "yellow", "Red banana", "banana"]), "Red banana")[
        "correction"
    ]["changes"]
    assert (change["old"], change["new"], change["span"]) == ("Red", "Yellow", [0, 3])
    assert change["refuted"] > 0.9
    assert change["share"] > 0.9
    assert change["probability"] > 0.9


def test_a_chinese_word_is_replaced_by_a_chinese_one():
    payload = propose(knows(["Banana", "yellow"]), "新鲜红色苹果")
    assert changes(payload) == [("红色", "黄色"), ("苹果", "香蕉")]
    assert payload["correction"]["title"] == "新鲜黄色香蕉"


def test_a_profile_says_which_kinds_its_checkpoint_may_propose():
    engine = knows(["striped"])
    engine.profile = {"regions": False, "proposes": ["pattern"]}
    payload = propose(engine)
    assert [choice["kind"] for choice in payload["proposal"]["choices"]] == ["pattern"]
    assert payload["proposal"]["zh"]["attributes"] == {"图案": "条纹"}


def test_without_being_asked_nothing_is_proposed():
    listing = Listing((SHA,), "Mug")
    inputs = tasks.ListingInput(listing, (PHOTO,))
    payload = tasks.run(TaskName.CHECK_LISTING, knows(["Mug"]), inputs, listing, Reports())
    assert "proposal" not in payload
    assert "correction" not in payload
