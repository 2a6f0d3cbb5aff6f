"""Claims about a drawn product that hold, that do not, and that no picture can show.

Refuses: fewer claims than one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from model.train.chinese import COLOURS
from model.train.drawn.colours import alike
from model.train.drawn.facts import CHINESE_SHARE, Facts, draw_latin_word, draw_word
from model.train.drawn.shapes import ALIKE_SHAPES, SHAPES
from model.train.drawn.words import (
    ATTRIBUTES,
    CHINESE,
    DENIALS,
    MEASURED,
    NUMBERS,
    PATTERNS,
    SIZES,
    UNKNOWABLE,
    WORDINGS,
)
from model.train.listings import Claim

UNCLEAR_SHARE = 0.09
DENIED_SHARE = 0.14
RIVALS_SHARE = 0.7
LETTERS = (str, str, str, str.upper, str.title)  # how a seller may write what is printed
WEIGHTS = {"shape": 3.0, "colour": 2.5, "count": 2.0, "pattern": 1.5, "title": 3.0, "text": 4.0}
_BRANDS = {"brand", "品牌"}  # nobody can tell the brand of what bears no word


def claims_about(facts: Facts, count: int, chance: random.Random) -> list[Claim]:
    """`count` claims about a picture: at most one group of rivals, then others at random."""
    if count < 1:
        raise ValueError(f"{count} claims were asked for; ask for one or more")
    claims: list[Claim] = []
    if count >= 3 and chance.random() < RIVALS_SHARE:
        claims += _rivals(facts, min(count, chance.choice((3, 4))), chance)
    said = {claim.text for claim in claims}
    while len(claims) < count:
        claim = _claim(facts, chance)
        if claim.text not in said:
            said.add(claim.text)
            claims.append(claim)
    return claims


def _rivals(facts: Facts, count: int, chance: random.Random) -> list[Claim]:
    weights = {"text": 5 if facts.text else 0, "count": 2, "colour": 2, "shape": 2, "pattern": 1}
    kind = chance.choices(list(weights), weights=list(weights.values()))[0]
    wrong = _wrong(facts, kind, chance)[: count - 1]
    lang = _language(chance)
    attribute = chance.choice(ATTRIBUTES[kind][lang])
    wording = chance.choice(WORDINGS[kind][lang])
    letters = chance.choice(LETTERS) if kind == "text" else str
    return [
        Claim(attribute, _say(facts, kind, letters(value), lang, wording), truth, 1, kind)
        for value, truth in ((_right(facts, kind), "yes"), *((value, "no") for value in wrong))
    ]


def _claim(facts: Facts, chance: random.Random) -> Claim:
    if chance.random() < UNCLEAR_SHARE:
        return _unclear(facts, chance)
    holds = chance.random() < 0.5
    weights = WEIGHTS | {"written": 0.6, "size": 2.0 if facts.size else 0.0}
    if not facts.text:
        weights["text"] = 1.5
    kind = chance.choices(list(weights), weights=list(weights.values()))[0]
    lang = _language(chance)
    if kind == "title":
        return _title(facts, holds, lang, chance)
    denied = chance.random() < DENIED_SHARE
    if kind == "text" and not facts.text:
        denied = holds  # no word stands there, so that only its absence can hold
    if kind == "written":
        denied = holds != bool(facts.text or facts.size)
    right = holds != denied
    value = _right(facts, kind) if right else _wrong(facts, kind, chance)[0]
    wording = chance.choice((DENIALS if denied else WORDINGS)[kind][lang])
    attributes = [name for name in ATTRIBUTES[kind][lang] if facts.text or name not in _BRANDS]
    letters = chance.choice(LETTERS) if kind == "text" else str
    text = _say(facts, kind, letters(value), lang, wording)
    about = "negation" if denied else kind
    return Claim(chance.choice(attributes), text, "yes" if holds else "no", kind=about)


def _title(facts: Facts, holds: bool, lang: str, chance: random.Random) -> Claim:
    said = {"colour": facts.colour, "shape": facts.shape}
    if facts.text and chance.random() < 0.7:
        said["text"] = facts.text
    if facts.pattern != "plain" and chance.random() < 0.7:
        said["pattern"] = facts.pattern
    if not holds:
        # One part is wrong, and seldom two: the whole title must be read.
        parts = [*said] if "pattern" in said else [*said, "pattern"]
        for kind in chance.sample(parts, chance.choice((1, 1, 1, 2))):
            said[kind] = _wrong(facts, kind, chance)[0]
    words = {kind: _name(kind, value, lang) for kind, value in said.items()}
    truth = "yes" if holds else "no"
    if "text" in words and chance.random() < 0.5:
        order = ("text", "colour", "pattern", "shape")
    else:
        order = ("colour", "pattern", "shape", "text")
    ordered = [words[kind] for kind in order if kind in words]
    if lang == "zh":
        title = "".join(f" {part} " if part.isascii() else part for part in ordered).strip()
        return Claim(chance.choice(("title", "标题")), title, truth, kind="title")
    title = " ".join(ordered)
    title = title[0].upper() + title[1:]
    return Claim(chance.choice(("title", "title", "name")), title, truth, kind="title")


def _unclear(facts: Facts, chance: random.Random) -> Claim:
    choices = [row for row in UNKNOWABLE if not (facts.size and row[1] in MEASURED)]
    _, attribute, text = chance.choice(choices)
    if attribute in MEASURED and chance.random() < 0.5:
        return Claim(attribute, chance.choice(MEASURED[attribute]), "unclear")
    return Claim(attribute, text.format(n=chance.randint(2, 90)), "unclear")


def _right(facts: Facts, kind: str) -> str:
    """The value of a property that holds; nothing where the picture has none."""
    return {
        "shape": facts.shape,
        "colour": facts.colour,
        "pattern": facts.pattern,
        "count": str(facts.count),
        "text": facts.text or "",
        "size": facts.size or "",
        "written": "",
    }[kind]


def _wrong(facts: Facts, kind: str, chance: random.Random) -> list[str]:
    """Values of a property that surely do not hold, in random order."""
    if kind == "shape":
        near = {facts.shape}.union(*(group for group in ALIKE_SHAPES if facts.shape in group))
        values = [name for name in SHAPES if name not in near]
    elif kind == "colour":
        near = alike(facts.colour).union(facts.accents)
        values = [name for name in COLOURS if name not in near]
    elif kind == "pattern":
        values = [name for name in PATTERNS if name != facts.pattern]
    elif kind == "count":
        return _other_counts(facts.count, chance)
    elif kind == "size":
        values = [size for size in SIZES if size != facts.size]
    elif kind == "text":
        return _other_words(facts.text, chance)
    else:
        values = [""]
    chance.shuffle(values)
    return values


def _other_counts(count: int, chance: random.Random) -> list[str]:
    """Wrong numbers, near ones. One comes first more often than not: as single items are drawn
    most, it would else be right nearly wherever it is claimed."""
    near = [number for number in NUMBERS if 0 < abs(number - count) <= 2 or count == 1 < number]
    chance.shuffle(near)
    if 1 in near and chance.random() < 0.6:
        near.sort(key=lambda number: number != 1)
    return [str(number) for number in near]


def _other_words(text: str | None, chance: random.Random) -> list[str]:
    """Words of the same script and about the same length, neither in the other."""
    found: list[str] = []
    if text is None:
        return [draw_word(chance)]
    is_latin = text.isascii()
    slack = 1 if is_latin else 0
    while len(found) < 3:
        other = draw_latin_word(chance) if is_latin else chance.choice(CHINESE)
        slack += 1 if chance.random() < 0.02 else 0  # few words may be as long as this one
        same = any(one in two or two in one for one, two in _pairs(other, [text, *found]))
        if not same and abs(len(other) - len(text)) <= slack:
            found.append(other)
    return found


def _pairs(word: str, others: Sequence[str]) -> list[tuple[str, str]]:
    return [(word.lower(), other.lower()) for other in others]


def _say(facts: Facts, kind: str, value: str, lang: str, wording: str) -> str:
    """A statement in words. The item is called by its right name, whatever else is wrong."""
    shape = SHAPES[facts.shape]
    word = _name(kind, value, lang)
    names: dict[str, str] = {"value": word, "Value": word[:1].upper() + word[1:]}
    if lang == "zh":
        names |= {"name": shape.chinese, "measure": shape.measure}
    else:
        one = facts.count == 1
        names |= {
            "name": shape.name if one else shape.plural,
            "The": f"The {shape.name}" if one else f"The {shape.plural}",
            "is": "is" if one else "are",
        }
    if kind == "shape":
        names["single"] = SHAPES[value].single
    if kind == "pattern":
        names["noun"] = PATTERNS[value][0]
    if kind == "count":
        number = int(value)
        names |= {
            "n": value,
            "number": NUMBERS[number][lang == "zh"],
            "pieces": "piece" if number == 1 else "pieces",
            "items": "item" if number == 1 else "items",
            "names": shape.name if number == 1 else shape.plural,
        }
    return wording.format(**names)


def _name(kind: str, value: str, lang: str) -> str:
    if lang == "en":
        return value
    if kind == "shape":
        return SHAPES[value].chinese
    if kind == "colour":
        return COLOURS[value]
    return PATTERNS[value][1] if kind == "pattern" else value


def _language(chance: random.Random) -> str:
    return "zh" if chance.random() < CHINESE_SHARE else "en"
