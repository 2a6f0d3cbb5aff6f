"""Numbers in words: Chinese numerals, everyday and formal, and the English ones of contracts.

Pure; called by `patterns`. What is no number is None, never a guess.
"""

from __future__ import annotations

import re

#: Everyday and formal (banking) digits, as in GB/T 15835 and on Chinese cheques.
_DIGITS = {
    **dict(zip("零一二三四五六七八九", range(10), strict=True)),
    **dict(zip("〇壹贰叁肆伍陆柒捌玖", range(10), strict=True)),
    "○": 0,
    "两": 2,
}
_UNITS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1_000, "仟": 1_000}
_MYRIADS = {"万": 10_000, "萬": 10_000, "亿": 100_000_000, "億": 100_000_000}

#: Characters of a Chinese number.
CHINESE = "".join((*_DIGITS, *_UNITS, *_MYRIADS))
#: Of these, the ones that only money is written with.
FORMAL = "零壹贰叁肆伍陆柒捌玖拾佰仟萬億万亿"

_ENGLISH = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
#: A number below a hundred in English words.
ENGLISH = (
    rf"(?:(?:{'|'.join(_TENS)})(?:-(?:{'|'.join(_ENGLISH[1:10])}))?|{'|'.join(_ENGLISH[::-1])})"
)


def number(text: str) -> float | None:
    """The value of digits, of a Chinese numeral, of digits before 万 or 亿, or of English words."""
    text = text.strip().casefold()
    plain = re.sub(r"[,，\s](?=\d{3})", "", text)
    with_scale = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([十百千万亿]*)", plain)
    if with_scale:
        value = float(with_scale[1])
        for unit in with_scale[2]:
            value *= _UNITS.get(unit) or _MYRIADS[unit]
        return value
    return _chinese(text) if text and text[0] in CHINESE else _english(text)


def _chinese(text: str) -> float | None:
    if any(character not in CHINESE for character in text):
        return None
    if all(character in _DIGITS for character in text):
        return float("".join(str(_DIGITS[character]) for character in text))
    total = section = digit = 0
    for character in text:
        if character in _DIGITS:
            digit = _DIGITS[character]
        elif character in _UNITS:
            # 十五 is 15: no digit before ten is one.
            section += (digit or 1) * _UNITS[character]
            digit = 0
        elif _MYRIADS[character] == 10_000:
            total += (section + digit) * 10_000
            section = digit = 0
        else:
            # All before 亿 counts: 一万亿 is a million millions.
            total = (total + section + digit) * 100_000_000
            section = digit = 0
    return float(total + section + digit)


def _english(text: str) -> float | None:
    tens, _, ones = text.partition("-")
    if tens in _TENS:
        rest = _ENGLISH.index(ones) if ones in _ENGLISH else 0
        return float(10 * (_TENS.index(tens) + 2) + rest)
    return float(_ENGLISH.index(text)) if text in _ENGLISH else None
