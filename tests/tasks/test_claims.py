import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmapp.tasks.claims import MOST_CHARACTERS, MOST_CLAIMS, take_claims
from mmapp.types import Listing


def claims(title="Mug", description="", **attributes):
    return take_claims(Listing((), title, description, attributes))[0]


def pairs(found):
    return [(claim.attribute, claim.text) for claim in found]


def words(listing, claim):
    value = {"title": listing.title, "description": listing.description}.get(claim.field)
    return (listing.attributes[claim.attribute] if value is None else value)[
        claim.start : claim.end
    ]


def test_title_attributes_and_description_each_give_claims():
    found = claims("Red mug", "Holds 300 ml. It isn't for children!", material="clay")
    assert pairs(found) == [
        ("title", "Red mug"),
        ("material", "clay"),
        ("description", "Holds 300 ml."),
        ("description", "It isn't for children!"),
    ]
    assert [claim.names_product for claim in found] == [True, False, False, False]


@pytest.mark.parametrize(
    ("title", "parts"),
    [
        ("Granny Smith apples, organic, 1 kg", ["Granny Smith apples", "organic", "1 kg"]),
        ("Red, white and blue flag", ["Red, white and blue flag"]),
        ("Nails (steel) | 3,000 pcs - new", ["Nails", "3,000 pcs", "new", "steel"]),
        ("【新款】纯棉T恤，红色", ["纯棉T恤", "红色", "新款"]),
        ("T-Shirt", ["T-Shirt"]),
    ],
)
def test_a_title_names_the_product_first(title, parts):
    found = claims(title)
    assert [claim.text for claim in found] == parts
    assert [claim.names_product for claim in found] == [True] + [False] * (len(parts) - 1)


def test_a_named_line_of_the_description_is_about_that_name():
    found = claims(description="- Colour: not red\n颜色：蓝色\nSee http://a.b/c for more")[1:]
    assert pairs(found) == [
        ("Colour", "not red"),
        ("颜色", "蓝色"),
        ("description", "See http://a.b/c for more"),
    ]


def test_chinese_sentences_are_claims_with_their_negations():
    found = claims("杯子", "100% 陶瓷；不含铅。可机洗！")[1:]
    assert [claim.text for claim in found] == ["100% 陶瓷；", "不含铅。", "可机洗！"]


def test_empty_values_and_repetitions_give_no_claim():
    found = claims("Mug", "Mug!\n\n---\nClay\nclay", colour="  ", size="")
    assert pairs(found) == [("title", "Mug"), ("description", "Mug!"), ("description", "Clay")]


def test_claims_beyond_the_bound_are_given_back_apart():
    description = "\n".join(f"It has the property number {n}." for n in range(MOST_CLAIMS + 5))
    checked, unchecked = take_claims(Listing((), "Mug", description))
    assert len(checked) == MOST_CLAIMS
    assert len(unchecked) == 6


TEXT = st.text(alphabet="aB 1,.:!(|-*)\n红，。；：（）【】•", max_size=80)


@given(TEXT, TEXT, st.dictionaries(TEXT, TEXT, max_size=3), st.integers(1, 30))
def test_a_claim_never_has_words_that_the_listing_has_not(title, description, attributes, times):
    listing = Listing((), title, description * times, attributes)
    for part in take_claims(listing):
        for claim in part:
            assert words(listing, claim) == claim.text
            assert claim.text == claim.text.strip()
            assert 0 < len(claim.text) <= MOST_CHARACTERS
