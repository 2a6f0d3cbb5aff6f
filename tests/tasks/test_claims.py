import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmapp.tasks.claims import MOST_CHARACTERS, MOST_CLAIMS, Kind, take_claims
from mmapp.tasks.claims.kinds import find_words, kind_of, listed
from mmapp.types import Listing


def claims(title="Mug", description="", **attributes):
    found = take_claims(Listing((), title, description, attributes))[0]
    return [claim for claim in found if not claim.is_detail]


def details(title):
    """Words, kind and attribute of each detail of a title."""
    found = take_claims(Listing((), title))[0]
    return [(c.text, c.kind.value, c.attribute) for c in found if c.is_detail]


def kinds(text):
    return [(text[word.start : word.end], word.kind.value) for word in find_words(text)]


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


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        (
            "Red cotton T-shirt without hood",
            [
                ("Red", "colour", "colour"),
                ("cotton", "material", "material"),
                ("T-shirt", "product", "type"),
                ("without hood", "negation", "title"),
            ],
        ),
        (
            "Nike blue and white striped shoes with white laces for children",
            [
                ("Nike", "brand", "brand"),
                ("blue and white", "colour", "colour"),
                ("striped", "pattern", "pattern"),
                ("shoes", "product", "type"),
                ("with white laces", "colour", "title"),
            ],
        ),
        (
            "新款黑色真皮不带帽卫衣 2件装 包邮",
            [
                ("黑色", "colour", "颜色"),
                ("真皮", "material", "材质"),
                ("不带帽", "negation", "title"),
                ("卫衣", "product", "类别"),
                ("2件装", "count", "数量"),
                ("包邮", "delivery", "title"),
            ],
        ),
        (
            "蓝白条纹衬衫",
            [
                ("蓝白", "colour", "颜色"),
                ("条纹", "pattern", "图案"),
                ("衬衫", "product", "类别"),
            ],
        ),
        (
            "Mug without lid, free delivery",
            [
                ("Mug", "product", "type"),
                ("without lid", "negation", "title"),
                ("free delivery", "delivery", "title"),
            ],
        ),
        ("Green tea", []),
        ("红茶", []),
        ("Bed for small brown dogs", [("Bed", "product", "type")]),
    ],
)
def test_a_title_is_taken_apart_into_what_it_says(title, expected):
    assert details(title) == expected


def test_what_a_title_says_elsewhere_is_not_said_again_by_a_detail():
    found = take_claims(Listing((), "Red mug, red", "", {"colour": "red"}))[0]
    assert [(c.text, c.field, c.is_detail) for c in found] == [
        ("Red mug", "title", False),
        ("mug", "title", True),
        ("red", "title", False),
        ("red", "attributes", False),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("orange dress", [("orange", "colour"), ("dress", "product")]),
        ("orange", [("orange", "product")]),
        ("orange juice", [("orange juice", "product")]),
        ("glass mug", [("glass", "material"), ("mug", "product")]),
        ("wine glasses", [("wine glasses", "product")]),
        ("红茶和黄瓜", [("红茶", "product"), ("黄瓜", "product")]),
        ("不锈钢锅", [("不锈钢", "material"), ("锅", "product")]),
        ("非常好", []),
        ("infrared", []),
        ("bluetooth", [("bluetooth", "performance")]),
        ("1,500 g", [("1,500 g", "weight")]),
    ],
)
def test_the_longest_word_that_fits_its_place_tells_the_kind(text, expected):
    found = kinds(text)
    assert found == expected


@pytest.mark.parametrize(
    ("text", "attribute", "kind"),
    [
        ("Free delivery within 3 days.", "", "delivery"),
        ("Two-year warranty included.", "", "warranty"),
        ("Super soft and comfortable", "", "feel"),
        ("Made in Portugal", "", "origin"),
        ("500 g", "", "weight"),
        ("Costs 12 dollars.", "", "price"),
        ("Spain", "Country of origin", "origin"),
        ("500", "weight", "weight"),
        ("包邮", "", "delivery"),
        ("柔软舒适", "", "feel"),
        ("两年质保。", "", "warranty"),
        ("西班牙", "产地", "origin"),
        ("99 元", "", "price"),
        ("The shirt is soft.", "description", "feel"),
    ],
)
def test_what_no_photo_can_show_is_told_by_its_words_or_its_name(text, attribute, kind):
    assert kind_of(text, attribute) == kind
    assert not Kind(kind).is_visible


@pytest.mark.parametrize(
    ("text", "attribute", "kind"),
    [
        ("Soft red wool", "", "several"),
        ("dark blue", "Farbe", "colour"),
        ("not red", "colour", "negation"),
        ("没有图案", "图案", "negation"),
        ("anything", "品牌", "brand"),
        ("Comes with a lid.", "", "other"),
        ("softball", "", "other"),
        ("The label says “Milk”.", "", "several"),
        ("九成新", "", "condition"),
    ],
)
def test_what_a_photo_may_show_is_asked(text, attribute, kind):
    assert kind_of(text, attribute) == kind
    assert Kind(kind).is_visible


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", [k for k in Kind if k not in (Kind.SEVERAL, Kind.OTHER)])
def test_every_listed_word_is_found_whole(language, kind):
    """In its own kind or in one that goes first; a word that another hides would be dead."""
    assert listed(kind, language)
    for word in listed(kind, language):
        assert [text for text, _ in kinds(word)] in ([word], [word.strip()]), word


TEXT = st.text(alphabet="aB 1,.:!(|-*)\n红，。；：（）【】•", max_size=80)


@given(TEXT, TEXT, st.dictionaries(TEXT, TEXT, max_size=3), st.integers(1, 30))
def test_a_claim_never_has_words_that_the_listing_has_not(title, description, attributes, times):
    listing = Listing((), title, description * times, attributes)
    for part in take_claims(listing):
        for claim in part:
            assert words(listing, claim) == claim.text
            assert claim.text == claim.text.strip()
            assert 0 < len(claim.text) <= MOST_CHARACTERS
