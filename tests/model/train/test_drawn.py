"""Drawn products: what is claimed about them, judged anew from the words of each claim."""

import os
import random
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from model.train.chinese import COLOURS
from model.train.drawn import draw_page, draw_product
from model.train.drawn.claims import claims_about
from model.train.drawn.facts import Facts, draw_facts
from model.train.drawn.layout import SIDE
from model.train.drawn.shapes import SHAPES
from model.train.drawn.words import NUMBERS, PATTERNS, SIZES
from model.train.listings import Claim, Photo, read_product_photos

PRODUCTS = 250
_LONGEST = sorted(SIZES, key=len, reverse=True)  # "2 L" before "L"
VALUES = PATTERNS | {name: (name, chinese) for name, chinese in COLOURS.items()}
DENIED = re.compile(r"\bnot\b|\bno\b|\bwithout\b|不是|没有")


@pytest.fixture(scope="module")
def backgrounds(data: Path) -> list[Photo]:
    return read_product_photos(data, "train")


def drawn(seed: int, count: int = 8) -> tuple[Facts, list[Claim]]:
    chance = random.Random(f"test/{seed}")
    facts = draw_facts(chance)
    return facts, claims_about(facts, count, chance)


def test_the_same_seed_draws_the_same(backgrounds: list[Photo]) -> None:
    for seed in range(12):
        one, first = draw_product(random.Random(seed), backgrounds, 6)
        two, second = draw_product(random.Random(seed), backgrounds, 6)
        assert ImageChops.difference(one, two).getbbox() is None
        assert first == second


def test_another_process_draws_the_same() -> None:
    code = (
        "import random; from model.train.drawn import draw_product;"
        "print([draw_product(random.Random(seed), [], 9)[1] for seed in range(5)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    here = [draw_product(random.Random(seed), [], 9)[1] for seed in range(5)]
    assert done.stdout.strip() == repr(here)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 12])
def test_as_many_claims_as_asked_for_and_none_twice(backgrounds: list[Photo], count: int) -> None:
    for seed in range(20):
        picture, claims = draw_product(random.Random(seed), backgrounds, count)
        assert picture.size == (SIDE, SIDE)
        assert picture.mode == "RGB"
        assert len(claims) == len({claim.text for claim in claims}) == count


def test_no_claims_are_refused() -> None:
    with pytest.raises(ValueError, match="one or more"):
        drawn(0, count=0)


def test_of_rivals_exactly_one_holds() -> None:
    kinds = Counter[str]()
    for seed in range(PRODUCTS):
        rivals = [claim for claim in drawn(seed)[1] if claim.rivals]
        if rivals:
            assert [claim.truth for claim in rivals].count("yes") == 1
            assert 3 <= len(rivals) <= 4
            assert {claim.truth for claim in rivals} == {"yes", "no"}
            assert len({(claim.attribute, claim.rivals, claim.kind) for claim in rivals}) == 1
            kinds[rivals[0].kind] += 1
    assert set(kinds) == {"text", "count", "colour", "shape", "pattern"}


def test_every_truth_is_that_of_the_picture() -> None:
    judged = Counter[str]()
    for seed in range(PRODUCTS):
        facts, claims = drawn(seed)
        for claim in claims:
            assert claim.truth == truth(facts, claim), (facts, claim)
            judged[claim.kind] += 1
    assert min(judged.values()) > 10


def test_answers_cannot_be_guessed_from_the_claim_alone() -> None:
    truths = Counter[str]()
    by_value: dict[str, Counter[str]] = defaultdict(Counter)
    for seed in range(900):
        for claim in drawn(seed)[1]:
            if claim.rivals:
                continue
            truths[claim.truth] += 1
            if claim.kind in ("colour", "pattern"):
                for value, (noun, chinese) in VALUES.items():
                    if re.search(rf"\b({value}|{noun})\b|{chinese}", claim.text.lower()):
                        by_value[value][claim.truth] += 1
    total = truths.total()
    assert abs(truths["yes"] - truths["no"]) < 0.04 * total
    assert 0.07 < truths["unclear"] / total < 0.11
    for value in VALUES:
        assert 0.25 < by_value[value]["yes"] / by_value[value].total() < 0.75, value


def test_a_page_is_a_picture_of_its_text() -> None:
    english = "How to install\nChoose the port that the printer is connected to.\n" * 30
    chinese = "磁盘管理\n请选择打印机所连接的端口并确认。\n" * 30
    for text in (english, chinese, "a", "", "x" * 5000):
        page = draw_page(text, random.Random(1))
        assert page.mode == "RGB"
        assert ImageChops.difference(page, draw_page(text, random.Random(1))).getbbox() is None
    assert ink(draw_page(english, random.Random(1))) > ink(draw_page("a", random.Random(1))) + 1
    assert ink(draw_page(chinese, random.Random(1))) > ink(draw_page("一", random.Random(1))) + 1


def ink(page: Image.Image) -> float:
    """The percentage of dark pixels."""
    return 100 * sum(page.convert("L").histogram()[:128]) / (page.width * page.height)


def truth(facts: Facts, claim: Claim) -> str:
    """What the words of a claim come to, read without the words that made them."""
    if not claim.kind:
        return "unclear"
    holds = all(mentioned(facts, claim))
    denied = DENIED.search(claim.text) is not None
    assert denied == (claim.kind == "negation")
    return "yes" if holds != denied else "no"


def mentioned(facts: Facts, claim: Claim) -> list[bool]:
    """For each thing that a claim mentions, whether the picture has it."""
    text = claim.text
    if re.search(r"\bwords\b|text on the picture|图上.*文字|印有文字|没有文字", text):
        return [bool(facts.text or facts.size)]
    size = next((size for size in _LONGEST if re.search(rf"(?<!\w){size}(?!\w)", text)), None)
    if claim.kind == "size" or size:
        return [size == facts.size]
    if claim.kind == "text" or (claim.kind == "negation" and _quotes(text)):
        # Wrong words neither contain the right one nor stand in it.
        return [bool(facts.text and re.search(_bounded(facts.text), text.lower()))]
    if claim.kind == "title":
        return _title(facts, text)
    return _properties(facts, claim)


def _quotes(text: str) -> bool:
    return "say" in text or "写" in text or "字样" in text


def _title(facts: Facts, text: str) -> list[bool]:
    found = _values(facts, text)
    # What is no property must be the printed word.
    rest = text.lower()
    names = [*COLOURS, *PATTERNS, *COLOURS.values(), *(pair[1] for pair in PATTERNS.values())]
    names += [name for shape in SHAPES.values() for name in (shape.name, shape.chinese)]
    for name in sorted(names, key=len, reverse=True):
        rest = re.sub(_bounded(name), " ", rest)
    if rest.strip():
        found.append(facts.text is not None and rest.strip() == facts.text.lower())
    return found


def _properties(facts: Facts, claim: Claim) -> list[bool]:
    text = claim.text
    number = re.search(r"\d", text)
    words = {word: n for n, pair in NUMBERS.items() for word in pair}
    spelt = next((n for word, n in words.items() if re.search(_bounded(word), text)), None)
    if claim.kind == "count" or number or (claim.kind == "negation" and spelt):
        return [(int(number.group()) if number else spelt) == facts.count]
    found = _values(facts, text)
    assert found, text  # the item itself may be named beside the property
    return found


def _values(facts: Facts, text: str) -> list[bool]:
    lower = text.lower()
    found = []
    for name, chinese in COLOURS.items():
        if re.search(_bounded(name), lower) or chinese in text:
            found.append(name == facts.colour)
    for name, (noun, chinese) in PATTERNS.items():
        if any(re.search(_bounded(word), lower) for word in (name, noun)) or chinese in text:
            found.append(name == facts.pattern)
    for shape in SHAPES.values():
        words = (shape.name.lower(), shape.plural.lower())
        if any(re.search(_bounded(word), lower) for word in words) or shape.chinese in text:
            found.append(shape.name == facts.shape)
    return found


def _bounded(word: str) -> str:
    word = word.lower()
    return rf"(?<![a-z]){re.escape(word)}(?![a-z])" if word.isascii() else re.escape(word)
