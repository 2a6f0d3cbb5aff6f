"""What can be checked in a sentence without understanding it: numbers, dates, amounts and names.

A fact is the same however it is written: 1,000 and 1000 and 一千; 2024-03-05, 5 March 2024 and
2024年3月5日; 5 %, five percent and 百分之五; 1.5 km and 1,500 metres; full-width digits and plain
ones. Rules and not a model tell them, for English and Chinese, so what they know is what is written
here. Beyond them are rounding ("about five million"), arithmetic, which number belongs to what,
and names in Chinese that nothing around them marks as names.

Pure; refuses nothing. Called by `verify`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cache
from importlib.resources import files

from mmapp.tasks.paragraphs import CJK


class Kind(StrEnum):
    """What a fact is."""

    NUMBER = "number"
    PERCENT = "percent"
    MONEY = "money"
    #: A number with a unit.
    MEASURE = "measure"
    DATE = "date"
    NAME = "name"
    #: Words between quotation marks.
    QUOTATION = "quotation"


#: Year, month and day, each None where it is not said.
Day = tuple[int | None, int | None, int | None]


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a text says, in its own words, and what that may mean.

    `values` has more than one member where the writing is ambiguous (3/5/2024, 1.234): a number or
    date of the day, or a number with its currency or its dimension.
    """

    kind: Kind
    text: str
    values: frozenset[tuple[object, ...]] = frozenset()


def plain(text: str) -> str:
    """Full-width letters and digits as plain ones, all white space as blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def facts_of(text: str, ordinary: frozenset[str] = frozenset()) -> list[Fact]:
    """Every fact of a text; `ordinary` are words of the document that it writes in lower case."""
    text = plain(text)
    quantities = _quantities(text)
    return [*quantities, *_names(text, ordinary), *_quotations(text)]


class Evidence:
    """What quotes say, to be asked whether they say a fact too."""

    def __init__(self, quotes: Sequence[str]) -> None:
        self._texts = [plain(quote) for quote in quotes]
        facts = [fact for text in self._texts for fact in _quantities(text)]
        self._values: dict[Kind, set[tuple[object, ...]]] = {}
        for fact in facts:
            self._values.setdefault(fact.kind, set()).update(fact.values)
        self._numbers = {value[0] for fact in facts for value in _bare(fact)}
        self._words = [[_stem(word) for word in _WORD.findall(text)] for text in self._texts]
        self._initials = [_initials(text) for text in self._texts]
        self._folded = [_folded(text) for text in self._texts]

    def says(self, fact: Fact) -> bool:
        match fact.kind:
            case Kind.NAME:
                return self._names(fact.text)
            case Kind.QUOTATION:
                return any(_folded(fact.text) in folded for folded in self._folded)
            case Kind.NUMBER:
                return any(value[0] in self._numbers for value in fact.values)
            case Kind.DATE:
                return any(self._dated(value) for value in fact.values)
        return bool(fact.values & self._values.get(fact.kind, set()))

    def _dated(self, said: tuple[object, ...]) -> bool:
        """A date is said by one that says as much or more; a year also by its number."""
        known = self._values.get(Kind.DATE, set())
        year, month, day = said
        if month is None and day is None and year in self._numbers:
            return True
        return any(
            all(own is None or own == other for own, other in zip(said, date, strict=True))
            for date in known
        )

    def _names(self, name: str) -> bool:
        if _CHINESE.search(name):
            return any(_chinese_name_stands(name, folded) for folded in self._folded)
        wanted = [_stem(word) for word in _WORD.findall(name)]
        return any(_stands(wanted, words) for words in self._words) or (
            name.isupper() and any(name.casefold() in found for found in self._initials)
        )


# Quantities: numbers, percentages, money, measures and dates.

_ENGLISH_NUMBERS = {
    word: Decimal(value)
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
} | {
    word: Decimal(10 * value)
    for value, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], start=2
    )
}
_ENGLISH_SCALES = {
    "dozen": Decimal(12),
    "hundred": Decimal(100),
    "thousand": Decimal(1_000),
    "million": Decimal(10**6),
    "billion": Decimal(10**9),
    "trillion": Decimal(10**12),
}
_ORDINALS = {
    word: Decimal(value)
    for value, word in enumerate(
        [
            "second",
            "third",
            "fourth",
            "fifth",
            "sixth",
            "seventh",
            "eighth",
            "ninth",
            "tenth",
            "eleventh",
            "twelfth",
        ],
        start=2,
    )
}
_MULTIPLES = {
    "half": Decimal("0.5"),
    "twice": Decimal(2),
    "double": Decimal(2),
    "doubled": Decimal(2),
    "triple": Decimal(3),
    "tripled": Decimal(3),
    "一半": Decimal("0.5"),
    "半数": Decimal("0.5"),
    "翻倍": Decimal(2),
    "翻了一番": Decimal(2),
}
_CHINESE_DIGITS = dict(
    zip("零〇一二两三四五六七八九", (0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9), strict=True)
)
_CHINESE_SCALES = {"十": 10, "百": 100, "千": 1_000, "万": 10_000, "亿": 10**8}
_WRITTEN_SCALES = {
    **_ENGLISH_SCALES,
    "bn": Decimal(10**9),
    "mn": Decimal(10**6),
    "千": Decimal(1_000),
    "万": Decimal(10_000),
    "百万": Decimal(10**6),
    "千万": Decimal(10**7),
    "亿": Decimal(10**8),
    "万亿": Decimal(10**12),
}
#: Chinese numerals that are words, where they stand alone.
_NO_NUMERALS = frozenset({"万一", "千万", "一一", "三三两两"})

_CURRENCIES = {
    "$": "USD", "us$": "USD", "usd": "USD", "dollar": "USD", "dollars": "USD", "美元": "USD",
    "€": "EUR", "eur": "EUR", "euro": "EUR", "euros": "EUR", "欧元": "EUR",
    "£": "GBP", "gbp": "GBP", "pound": "GBP", "pounds": "GBP", "英镑": "GBP",
    "¥": "CNY", "cny": "CNY", "rmb": "CNY", "yuan": "CNY", "元": "CNY", "人民币": "CNY",
    "jpy": "JPY", "yen": "JPY", "日元": "JPY",
}  # fmt: skip
_CURRENCY_CODES = frozenset({"us", *(name for name in _CURRENCIES if len(name) == 3)}) - {"yen"}
_LENGTHS = {
    "mm": ".001", "cm": ".01", "m": "1", "km": "1000", "mile": "1609.344", "foot": ".3048",
    "feet": ".3048", "inch": ".0254", "inches": ".0254", "millimetre": ".001",
    "millimeter": ".001", "centimetre": ".01", "centimeter": ".01", "metre": "1", "meter": "1",
    "kilometre": "1000", "kilometer": "1000", "毫米": ".001", "厘米": ".01", "米": "1",
    "公里": "1000", "千米": "1000", "英里": "1609.344",
}  # fmt: skip
_MASSES = {
    "mg": ".000001", "g": ".001", "kg": "1", "gram": ".001", "kilogram": "1", "kilo": "1",
    "ton": "1000", "tonne": "1000", "毫克": ".000001", "克": ".001", "公斤": "1", "千克": "1",
    "吨": "1000",
}  # fmt: skip
_TIMES = {
    "ms": ".001", "second": "1", "minute": "60", "min": "60", "hour": "3600", "h": "3600",
    "day": "86400", "week": "604800", "毫秒": ".001", "秒": "1", "分钟": "60", "小时": "3600",
    "天": "86400", "日": "86400", "周": "604800", "星期": "604800",
}  # fmt: skip
_OTHERS = {
    "month": ("month", "1"), "个月": ("month", "1"), "year": ("year", "1"), "年": ("year", "1"),
    "kb": ("byte", "1e3"), "mb": ("byte", "1e6"), "gb": ("byte", "1e9"), "tb": ("byte", "1e12"),
    "w": ("watt", "1"), "kw": ("watt", "1e3"), "mw": ("watt", "1e6"), "gw": ("watt", "1e9"),
    "watt": ("watt", "1"), "千瓦": ("watt", "1e3"), "兆瓦": ("watt", "1e6"),
    "kwh": ("energy", "1"), "mwh": ("energy", "1e3"), "千瓦时": ("energy", "1"),
    "°c": ("celsius", "1"), "摄氏度": ("celsius", "1"), "°f": ("fahrenheit", "1"),
    "m2": ("area", "1"), "km2": ("area", "1e6"), "hectare": ("area", "1e4"),
    "ha": ("area", "1e4"), "平方米": ("area", "1"), "公顷": ("area", "1e4"),
    "平方公里": ("area", "1e6"), "litre": ("volume", "1"), "liter": ("volume", "1"),
    "ml": ("volume", ".001"), "升": ("volume", "1"), "毫升": ("volume", ".001"),
    "km/h": ("speed", "1"), "公里/小时": ("speed", "1"), "hz": ("hertz", "1"),
    "khz": ("hertz", "1e3"), "mhz": ("hertz", "1e6"), "ghz": ("hertz", "1e9"),
    "percentage point": ("point", "1"), "个百分点": ("point", "1"), "volt": ("volt", "1"),
    "v": ("volt", "1"), "kv": ("volt", "1e3"), "伏": ("volt", "1"),
}  # fmt: skip
#: A unit's dimension, and how many of the dimension's first unit it is.
_UNITS: dict[str, tuple[str, Decimal]] = {
    **{unit: ("length", Decimal(factor)) for unit, factor in _LENGTHS.items()},
    **{unit: ("mass", Decimal(factor)) for unit, factor in _MASSES.items()},
    **{unit: ("time", Decimal(factor)) for unit, factor in _TIMES.items()},
    **{unit: (dimension, Decimal(factor)) for unit, (dimension, factor) in _OTHERS.items()},
}

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul",
            "august aug", "september sept sep", "october oct", "november nov", "december dec",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip


def _any_of(words: Sequence[str]) -> str:
    """A pattern of these words, the longest first; Latin ones end where a word does."""
    longest = sorted(words, key=len, reverse=True)
    return "|".join(
        re.escape(word) + (r"s?(?![A-Za-z])" if word[-1].isascii() and word[-1].isalpha() else "")
        for word in longest
    )


_ENGLISH_WORD = "|".join(sorted((*_ENGLISH_NUMBERS, *_ENGLISH_SCALES), key=len, reverse=True))
_NUMERAL = "零〇一二两三四五六七八九十百千万亿"
_DIGITS = r"\d{1,3}(?:[,' ]\d{3})+(?:\.\d+)?(?![\d,]\d)|\d+(?:[.,]\d+)*"
_NUMBER = re.compile(
    rf"(?<![\w.])(?<![A-Z]-)(?:{_DIGITS})(?:st|nd|rd|th|s)?(?![A-Za-z]*\d)|(?<=[{CJK}])(?:{_DIGITS})"
    rf"|\b(?:{_ENGLISH_WORD})s?(?:(?:[-\s]|\sand\s)(?:{_ENGLISH_WORD})s?)*\b"
    rf"|一半|半数|翻倍|翻了一番|[{_NUMERAL}]+(?:点[零一二三四五六七八九]+)?"
    rf"|\b(?:{'|'.join(_ORDINALS)})\b|\b(?:half|twice|doubled?|tripled?)\b",
    re.IGNORECASE,
)
_SCALE = re.compile(rf"\s*(?:{_any_of(list(_WRITTEN_SCALES))})", re.IGNORECASE)
_PERCENT = re.compile(r"\s*(?:%|per\s?cent\b(?!age))", re.IGNORECASE)
_CHINESE_PERCENT = re.compile(r"百分之$")
_CURRENCY_BEFORE = re.compile(
    r"(us\$|[$€£¥]|\b(?:usd|eur|gbp|cny|rmb|jpy)|人民币)\s*$", re.IGNORECASE
)
_SHORT_SCALE = re.compile(r"(k|m|bn|b|tn)\b", re.IGNORECASE)
_SHORT_SCALES = {"k": 10**3, "m": 10**6, "b": 10**9, "bn": 10**9, "tn": 10**12}
_CURRENCY_AFTER = re.compile(
    rf"\s*({_any_of([name for name in _CURRENCIES if name[-1].isalpha()])}|[€£¥$])", re.IGNORECASE
)
_UNIT = re.compile(rf"\s*-?\s*({_any_of(list(_UNITS))})", re.IGNORECASE)
#: What follows a single Chinese numeral that counts.
_COUNTED = re.compile(r"[倍个名位人次家座台条件项种类届期章节页号]")

_MONTH = _any_of([name for name in _MONTHS if len(name) > 3] + ["may", "jan", "feb", "mar", "apr",
    "jun", "jul", "aug", "sep", "oct", "nov", "dec"]).replace("s?(?!", "(?!")  # fmt: skip
_CHINESE_NUMBER = r"(?:\d{1,2}|[一二三四五六七八九十]{1,3})"
_DATES: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)"), ("ymd",)),
    (re.compile(r"(?<!\d)(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})(?!\d)"), ("dmy", "mdy")),
    (
        re.compile(
            rf"(\d{{4}}|[〇零一二三四五六七八九]{{4}})\s*年\s*({_CHINESE_NUMBER})\s*月"
            rf"\s*({_CHINESE_NUMBER})\s*[日号]"
        ),
        ("ymd",),
    ),
    (
        re.compile(rf"(\d{{4}}|[〇零一二三四五六七八九]{{4}})\s*年\s*({_CHINESE_NUMBER})\s*月"),
        ("ym",),
    ),
    (re.compile(rf"({_CHINESE_NUMBER})\s*月\s*({_CHINESE_NUMBER})\s*[日号]"), ("md",)),
    (re.compile(r"(?<!\d)([12]\d{3}|[〇零一二三四五六七八九]{4})\s*年"), ("y",)),
    (re.compile(rf"(?<![\d个])({_CHINESE_NUMBER})\s*月(?!球|亮)"), ("m",)),
    (
        re.compile(
            rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?({_MONTH})\.?,?\s+(\d{{4}})\b",
            re.IGNORECASE,
        ),
        ("dmy",),
    ),
    (
        re.compile(
            rf"\b({_MONTH})\.?\s+(\d{{1,2}})(?:st|nd|rd|th)?,?\s+(\d{{4}})\b", re.IGNORECASE
        ),
        ("mdy",),
    ),
    (re.compile(rf"\b({_MONTH})\.?,?\s+(?:of\s+)?(\d{{4}})\b", re.IGNORECASE), ("my",)),
    (
        re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?({_MONTH})\b", re.IGNORECASE),
        ("dm",),
    ),
    (re.compile(rf"\b({_MONTH})\.?\s+(\d{{1,2}})(?:st|nd|rd|th)?\b(?!\d)", re.IGNORECASE), ("md",)),
    # Alone, only written out and with a capital, for "may" and "march" are verbs too.
    (
        re.compile(
            r"\b(January|February|April|June|July|August|September|October|November|December"
            r"|(?<=[io]n )March|(?<=[io]n )May)\b"
        ),
        ("m",),
    ),
)


def _quantities(text: str) -> list[Fact]:
    dates, rest = _dates(text)
    return [*dates, *_numbers(rest)]


def _dates(text: str) -> tuple[list[Fact], str]:
    """The dates, and the text with blanks in their places."""
    found = []
    for pattern, orders in _DATES:
        for match in list(pattern.finditer(text)):
            values = {day for order in orders if (day := _day(match.groups(), order))}
            if values:
                found.append(Fact(Kind.DATE, match.group().strip(), frozenset(values)))
                gap = "\x00" * len(match.group())
                text = text[: match.start()] + gap + text[match.end() :]
    return found, text.replace("\x00", " ")


def _day(groups: Sequence[str], order: str) -> Day | None:
    parts: dict[str, int] = {}
    for letter, group in zip(order, groups, strict=True):
        number = _MONTHS.get(group.casefold().rstrip("."))
        value = number if number else _small(group)
        if value is None:
            return None
        parts[letter] = value
    if not 1 <= parts.get("m", 1) <= 12 or not 1 <= parts.get("d", 1) <= 31:
        return None
    return parts.get("y"), parts.get("m"), parts.get("d")


def _small(text: str) -> int | None:
    if text.isdecimal():
        return int(text)
    value = _chinese_value(text)
    return None if value is None else int(value)


def _numbers(text: str) -> Iterator[Fact]:
    done = 0
    for match in _NUMBER.finditer(text):
        written = match.group()
        if match.start() < done or _is_no_number(text, match):
            continue
        if re.fullmatch(r"\d+(?:\.\d+){2,}", written):  # a version, which has no value
            yield Fact(Kind.NUMBER, written, frozenset({(written, "")}))
            continue
        values = _values(written)
        if not values:
            continue
        start, end = match.span()
        scale = _SCALE.match(text, end) if written[0].isdigit() else None
        if scale:
            factor = _WRITTEN_SCALES[_singular(scale.group().strip(), _WRITTEN_SCALES)]
            values, end = {value * factor for value in values}, scale.end()
        fact, done = _with_unit(text, start, end, values)
        yield fact


def _with_unit(text: str, start: int, end: int, values: set[Decimal]) -> tuple[Fact, int]:
    """The number with what stands beside it (a percent sign, a currency or a unit), and its end."""
    percent = _PERCENT.match(text, end)
    if percent or _CHINESE_PERCENT.search(text, 0, start):
        start = start if percent else start - len("百分之")
        end = percent.end() if percent else end
        return _fact(Kind.PERCENT, text[start:end], values), end
    before = _CURRENCY_BEFORE.search(text, 0, start)
    if before:
        short = _SHORT_SCALE.match(text, end)
        if short:
            values = {value * _SHORT_SCALES[short.group().casefold()] for value in values}
            end = short.end()
        currency = _CURRENCIES[before.group(1).casefold()]
        return _fact(Kind.MONEY, text[before.start() : end], values, currency), end
    after = _CURRENCY_AFTER.match(text, end)
    if after:
        currency = _CURRENCIES[_singular(after.group(1), _CURRENCIES)]
        return _fact(Kind.MONEY, text[start : after.end()], values, currency), after.end()
    unit = _UNIT.match(text, end)
    if unit:
        dimension, factor = _UNITS[_singular(unit.group(1), _UNITS)]
        values = {value * factor for value in values}
        return _fact(Kind.MEASURE, text[start : unit.end()], values, dimension), unit.end()
    return _fact(Kind.NUMBER, text[start:end], values), end


def _fact(kind: Kind, text: str, values: set[Decimal], of: str = "") -> Fact:
    """`of` is a currency or a dimension."""
    return Fact(kind, text.strip(), frozenset((value, of) for value in values))


def _bare(fact: Fact) -> Iterator[tuple[object]]:
    """The numbers that a fact of a quote allows to be said without what stands beside them."""
    if fact.kind is Kind.PERCENT:
        return
    if fact.kind is Kind.MEASURE:
        for match in _NUMBER.finditer(fact.text):
            yield from ((value,) for value in _values(match.group()))
        return
    for value in fact.values:
        yield from ((part,) for part in value if isinstance(part, Decimal | int))


def _singular(
    word: str, known: dict[str, Decimal] | dict[str, str] | dict[str, tuple[str, Decimal]]
) -> str:
    """The word as the table has it."""
    folded = word.casefold()
    return folded if folded in known else folded.removesuffix("s")


def _is_no_number(text: str, match: re.Match[str]) -> bool:
    """Words that only look like numbers where they stand."""
    written = match.group()
    if written.casefold() in ("one", "ones", "one and"):
        return True
    if written[0] not in _NUMERAL:
        return False
    if written in _NO_NUMERALS:
        return True
    if written == "十" and text.startswith("十分", match.start()):  # "very"
        return True
    after = text[match.end() : match.end() + 2]
    is_percent = bool(_CHINESE_PERCENT.search(text, 0, match.start()))
    if len(written) > 1 or is_percent or text[: match.start()].endswith("第"):
        # "百分" of "百分之" is no hundred.
        return after.startswith("分之") and written.endswith("百")
    counts = bool(_COUNTED.match(after) or _UNIT.match(text, match.end()))
    return written in "零〇一百千万亿" or not (counts or _CURRENCY_AFTER.match(text, match.end()))


def _values(written: str) -> set[Decimal]:
    """What a number may mean; more than one where the marks in it are ambiguous."""
    word = written.casefold()
    if word in _MULTIPLES:
        return {_MULTIPLES[word]}
    if word in _ORDINALS:
        return {_ORDINALS[word]}
    if written[0].isdigit():
        return _decimal_values(re.sub(r"(?:st|nd|rd|th|s)$", "", word))
    value = _chinese_value(written) if written[0] in _NUMERAL else _english_value(word)
    return set() if value is None else {value}


def _decimal_values(written: str) -> set[Decimal]:
    """1,234 is a thousand and more; 1.234 may be that or one and a bit; 3,5 is a decimal."""
    if re.fullmatch(r"\d{1,3}(?:[,' ]\d{3})+(?:\.\d+)?", written):
        return {Decimal(re.sub(r"[,' ]", "", written))}
    found = set()
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?", written):
        found.add(Decimal(written.replace(".", "").replace(",", ".")))
    if re.fullmatch(r"\d+(?:[.,]\d+)?", written) and not (found and written.endswith(".000")):
        found.add(Decimal(written.replace(",", ".")))
    return found


def _english_value(words: str) -> Decimal | None:
    total = group = Decimal(0)
    for word in re.split(r"[-\s]+", words):
        word = (
            word if word in _ENGLISH_NUMBERS or word in _ENGLISH_SCALES else word.removesuffix("s")
        )
        if word in _ENGLISH_NUMBERS:
            group += _ENGLISH_NUMBERS[word]
        elif word in ("hundred", "dozen"):
            group = (group or 1) * _ENGLISH_SCALES[word]
        elif word in _ENGLISH_SCALES:
            total, group = total + (group or 1) * _ENGLISH_SCALES[word], Decimal(0)
        elif word != "and":
            return None
    return total + group


def _chinese_value(written: str) -> Decimal | None:
    whole, _, fraction = written.partition("点")
    if not whole or any(c not in _CHINESE_DIGITS and c not in _CHINESE_SCALES for c in whole):
        return None
    if all(character in _CHINESE_DIGITS for character in whole):
        value = int("".join(str(_CHINESE_DIGITS[character]) for character in whole))
    else:
        value = _chinese_integer(whole)
    after = "".join(str(_CHINESE_DIGITS[c]) for c in fraction if c in _CHINESE_DIGITS)
    return Decimal(f"{value}.{after}" if after else value)


def _chinese_integer(written: str) -> int:
    total = section = digit = 0
    for character in written:
        if character in _CHINESE_DIGITS:
            digit = _CHINESE_DIGITS[character]
        elif character in "十百千":
            section, digit = section + (digit or 1) * _CHINESE_SCALES[character], 0
        else:
            total = (total + section + digit or 1) * _CHINESE_SCALES[character]
            section = digit = 0
    return total + section + digit


# Names and quotations.

_CHINESE = re.compile(f"[{CJK}]")
_WORD = re.compile(rf"[^\W{CJK}_]+(?:['’&.-][^\W{CJK}_]+)*")
_SENTENCE_START = re.compile(r"(?:^|[.!?:;]\s)[\s\"'“‘(]*$")
_QUOTED = re.compile(r"[“\"]([^“”\"]{2,200})[”\"]|《([^》]{1,100})》|「([^」]{2,200})」")

_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘蒋蔡余杜叶程苏魏吕"
    "丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严"
    "覃武戴莫孔向汤"
)
_COMPOUND = "欧阳|上官|司马|诸葛|东方|皇甫|尉迟|公孙"
_TITLES = (
    "教授|博士|先生|女士|医生|院长|校长|主任|经理|总裁|董事长|主席|部长|局长|市长|省长|县长|总理|总统"
    "|记者|工程师|研究员|律师|老师|所长|作者|创始人|负责人|组长|队长|秘书长"
)
_DOINGS = (
    "表示|认为|指出|说|称|强调|介绍|宣布|领导|带领|率领|主持|撰写|发现|提出|创立|创办|发明|担任|负责|获得"
    "|完成|于|在|和|与|将|曾|为|是|对|、|,|，"
)
_BEFORE_NAME = "|".join(
    f"(?<={title})" for title in ("^", *_TITLES.split("|"), *"，。；：、“,;由和与及")
)
_PERSON = re.compile(
    rf"(?:{_BEFORE_NAME})(?:(?:{_COMPOUND})[{CJK}]{{1,2}}?|[{_SURNAMES}][{CJK}]{{1,2}}?)"
    rf"(?={_TITLES}|{_DOINGS})"
)
_FOREIGN = re.compile(rf"[{CJK}]{{1,6}}(?:[·•・][{CJK}]{{1,6}})+")
_BODIES = re.compile(
    rf"[{CJK}]{{2}}(?:公司|集团|大学|学院|银行|研究所|研究院|实验室|委员会|医院|协会|法院|基金会|出版社"
    rf"|博物馆|机场|车站)"
)
_PLACES = re.compile(rf"[{CJK}]{{2}}[省市县州镇岛河湖桥](?![{CJK}]?长)")
_COUNTRIES = re.compile(
    "中国|美国|英国|法国|德国|日本|韩国|朝鲜|俄罗斯|印度|巴西|加拿大|澳大利亚|意大利|西班牙|荷兰|瑞士|瑞典"
    "|挪威|芬兰|丹麦|波兰|土耳其|埃及|南非|墨西哥|泰国|越南|新加坡|马来西亚|印度尼西亚|乌克兰|欧盟|欧洲"
    "|非洲|亚洲|北京|上海|天津|重庆|广州|深圳|香港|澳门|台湾|南京|武汉|成都|西安|伦敦|巴黎|东京|纽约|柏林"
)
#: Before a general noun, so that no name stands there: "this company", "the city's".
_GENERAL = frozenset("该这那各本此家个的了在是和与为对由及其所有一某每全几座条两")


@cache
def _ordinary_words() -> frozenset[str]:
    lines = files(__package__).joinpath("ordinary.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


def _names(text: str, ordinary: frozenset[str]) -> Iterator[Fact]:
    for run in _capitalised_runs(text):
        name = _without_ordinary(run, text, ordinary)
        if name:
            yield Fact(Kind.NAME, name)
    for pattern in (_PERSON, _FOREIGN, _COUNTRIES):
        yield from (
            Fact(Kind.NAME, match.group()) for match in pattern.finditer(text) if _named(match)
        )
    for pattern in (_BODIES, _PLACES):
        for match in pattern.finditer(text):
            if not _GENERAL & set(match.group()[:2]) and _named(match, at_end=True):
                yield Fact(Kind.NAME, match.group())


def _named(match: re.Match[str], *, at_end: bool = False) -> bool:
    """Whether what looks like a Chinese name is no ordinary word."""
    name = match.group()
    pair = name[-2:] if at_end else name[:2]
    return pair not in _ordinary_words()


def _capitalised_runs(text: str) -> Iterator[list[re.Match[str]]]:
    """Neighbouring words that begin with a capital, or mix letters with capitals or digits."""
    run: list[re.Match[str]] = []
    for match in _WORD.finditer(text):
        word = match.group()
        joins = bool(run) and text[run[-1].end() : match.start()] == " "
        if not _is_capitalised(word):
            if run:
                yield run
            run = []
        elif joins:
            run.append(match)
        else:
            if run:
                yield run
            run = [match]
    if run:
        yield run


def _is_capitalised(word: str) -> bool:
    has_letter = any(character.isalpha() for character in word)
    odd = any(c.isupper() for c in word[1:]) or bool(re.search(r"[^\W\d_]\d", word))
    is_ordinal = re.fullmatch(r"\d+(?:st|nd|rd|th|s|[a-zA-Z]{1,2})?(?:-.*)?", word)
    is_name = has_letter and (word[0].isupper() or odd) and not is_ordinal
    return len(word) > 1 and is_name and word.casefold() not in _CURRENCY_CODES


def _without_ordinary(run: list[re.Match[str]], text: str, ordinary: frozenset[str]) -> str:
    """The name in a run of capitalised words: a sentence's first word may be any, and words as
    President or Minister before a name need not stand in its proof."""
    words = list(run)
    if _SENTENCE_START.search(text, 0, words[0].start()) and _is_ordinary(
        words[0].group(), ordinary
    ):
        del words[0]
    proper = list(words)
    while proper and _is_ordinary(proper[0].group(), ordinary):
        del proper[0]
    kept = proper or words
    if not kept or " ".join(word.group() for word in kept).casefold() in _MONTHS:
        return ""
    return text[kept[0].start() : kept[-1].end()]


def _is_ordinary(word: str, ordinary: frozenset[str]) -> bool:
    if any(character.isupper() for character in word[1:]) or any(c.isdigit() for c in word):
        return False
    folded = re.sub(r"['’]s$", "", word.casefold())
    forms = {folded, *(folded.removesuffix(end) for end in ("s", "es", "ed", "d", "ing", "ly"))}
    return any(form in ordinary or form in _ordinary_words() for form in forms)


def _quotations(text: str) -> Iterator[Fact]:
    for match in _QUOTED.finditer(text):
        said = next(group for group in match.groups() if group)
        yield Fact(Kind.QUOTATION, said)


def _stem(word: str) -> str:
    """A word without its case, its possessive and its plural."""
    folded = re.sub(r"['’]s?$", "", word.casefold())
    return folded.removesuffix("s") if len(folded) > 3 else folded


def _stands(wanted: Sequence[str], words: Sequence[str]) -> bool:
    size = len(wanted)
    return any(words[i : i + size] == list(wanted) for i in range(len(words) - size + 1))


def _initials(text: str) -> set[str]:
    """The first letters of runs of capitalised words, which an acronym may stand for."""
    found = set()
    for run in _capitalised_runs(text):
        letters = "".join(match.group()[0] for match in run).casefold()
        found |= {letters[i:j] for i in range(len(letters)) for j in range(i + 2, len(letters) + 1)}
    return found


def _folded(text: str) -> str:
    """Letters and digits alone, without case."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


def _chinese_name_stands(name: str, folded: str) -> bool:
    """Of a foreign name in parts, its ends may have caught a neighbouring character."""
    parts = re.split(r"[·•・]", name)
    if len(parts) > 1:
        name = "".join((parts[0][-2:], *parts[1:-1], parts[-1][:2]))
    return _folded(name) in folded
