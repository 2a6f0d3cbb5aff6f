"""What a pattern can tell in a text: dates, money, percentages, addresses, numbers, spans of time.

Each kind has its English and Chinese forms, and a normal form (`2024-03-05`, `CNY 50000`, `P30D`)
where the words leave no doubt: `03/04/2024` has none, and `$` stays a `$`. A pattern understands
nothing: that a date is the day of delivery it can't say. Refuses nothing; called by `extract`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from mmapp.tasks.numerals import CHINESE, ENGLISH, FORMAL, number


class Kind(StrEnum):
    DATE = "date"
    AMOUNT = "amount"
    PERCENTAGE = "percentage"
    EMAIL = "email"
    PHONE = "phone"
    NUMBER = "number"
    TERM = "term"


@dataclass(frozen=True, slots=True)
class Match:
    """Characters `start` to `end` of a text, and what they mean; empty where that is not clear."""

    start: int
    end: int
    normal: str = ""


def matches(kind: Kind, text: str) -> list[Match]:
    """All values of a kind in a text, in order; of those that overlap the longest."""
    found = [
        Match(*_span(match), normal)
        for pattern, read in _PATTERNS[kind]
        for match in pattern.finditer(text)
        if (normal := read(match)) is not None
    ]
    kept: list[Match] = []
    for match in sorted(found, key=lambda one: (one.start, -one.end)):
        if not kept or match.start >= kept[-1].end:
            kept.append(match)
    return kept


def kind_of(field: str) -> Kind | None:
    """The kind that a field's name speaks of: `delivery date` and `交货日期` are dates."""
    name = field.casefold()
    for kind in (Kind.EMAIL, Kind.PHONE):
        if any(word in name for word in _NAMES[kind]):
            return kind
    chinese = [
        (name.rfind(word) + len(word), kind)
        for kind, words in _NAMES.items()
        for word in words
        if not word.isascii() and word in name
    ]
    if chinese:
        return max(chinese)[1]
    # The head of an English name: "date of payment", "payment date".
    for word in reversed(re.findall(r"[a-z-]+", name.split(" of ")[0])):
        for kind, words in _NAMES.items():
            if word in words or word.removesuffix("s") in words:
                return kind
    return None


def is_all_of_kind(field: str) -> bool:
    """Whether a field asks for every value of its kind: `dates`, `金额`."""
    name = field.strip().casefold()
    return name in _WHOLE or name.removesuffix("s") in _WHOLE


def own_words(field: str) -> list[str]:
    """What a field's name says beside its kind: `delivery` of `delivery date`, 交货 of 交货日期.

    All of its words where it says nothing else: `deposit`.
    """
    name = field.casefold()
    kinds = sorted((word for words in _NAMES.values() for word in words), key=len, reverse=True)
    if not name.isascii():
        kind = next((kind for kind in kinds if name.endswith(kind)), "")
        rest = name.removesuffix(kind).strip()
        # One character says little: 月 of 月租金 stands in every date.
        return [rest] if len(rest) > 1 else [one for one in (rest, kind) if one]
    words = [word for word in re.findall(r"[a-z0-9-]+", name) if word not in ("of", "the")]
    return [word for word in words if word.removesuffix("s") not in kinds] or words


#: Names of fields that ask for all values of a kind.
_WHOLE = (
    *("date", "amount", "percentage", "email", "e-mail", "phone", "number", "reference", "term"),
    *("日期", "金额", "百分比", "比例", "邮箱", "电子邮件", "电话", "编号", "号码", "期限"),
)
#: Words of fields' names.
_NAMES: dict[Kind, tuple[str, ...]] = {
    Kind.EMAIL: ("email", "e-mail", "邮箱", "电子邮件", "邮件地址"),
    Kind.PHONE: ("phone", "telephone", "mobile", "fax", "电话", "手机", "传真"),
    Kind.DATE: ("date", "日期", "之日", "日"),
    Kind.PERCENTAGE: (
        *("percentage", "percent", "rate", "比例", "百分比", "利率", "税率", "费率"),
    ),
    Kind.AMOUNT: (
        *("amount", "price", "cost", "fee", "total", "sum", "rent", "salary", "deposit"),
        *("金额", "价格", "价款", "费用", "总价", "单价", "总额", "租金", "工资", "押金", "货款"),
    ),
    Kind.NUMBER: (
        *("number", "no", "reference", "id", "code"),
        *("编号", "号码", "单号", "账号", "代码", "证号", "合同号"),
    ),
    Kind.TERM: (
        *("term", "duration", "period", "deadline", "期限", "有效期", "工期", "周期", "时限"),
    ),
}

Read = Callable[["re.Match[str]"], str | None]


def _span(match: re.Match[str]) -> tuple[int, int]:
    """The whole match, or its part `value` where words before it only say what it is."""
    return match.span("value") if "value" in match.re.groupindex else match.span()


# --- dates ---------------------------------------------------------------------------------------

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<month>(?=[A-Z])(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?"
    r"|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?))\.?"
)
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_CN = CHINESE[: CHINESE.index("万")]


def _date(match: re.Match[str]) -> str | None:
    """The date in ISO 8601, `2024-03` without a day; None where there is no such day."""
    groups = match.groupdict()
    year, month = number(groups["year"]), _month(groups["month"])
    day = number(groups["day"]) if groups.get("day") else None
    try:
        whole = date(int(year or 0), int(month or 0), int(day or 1))
    except ValueError:
        return None
    return whole.isoformat() if day else whole.isoformat()[:7]


def _month(text: str) -> float | None:
    return (
        float(_MONTHS.index(text[:3].casefold()) + 1)
        if text.isalpha() and text.isascii()
        else (number(text))
    )


def _numeric_date(match: re.Match[str]) -> str | None:
    """`31/12/2024` and `31.12.2024` are plain; `03/04/2024` is a date, and nobody knows which."""
    first, second, year = int(match["first"]), int(match["second"]), int(match["year"])
    is_day_first = match["sign"] == "." or first > 12
    if not is_day_first and second <= 12 and first != second:
        return "" if first and second else None
    day, month = (first, second) if is_day_first else (second, first)
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None


_DATES = (
    (re.compile(rf"\b{_DAY}(?:\s+day)?(?:\s+of)?\s+{_MONTH},?\s+(?P<year>\d{{4}})\b"), _date),
    (re.compile(rf"\b{_MONTH}\s+{_DAY},?\s+(?P<year>\d{{4}})\b"), _date),
    (re.compile(rf"\b{_MONTH}\s+(?P<year>(?:19|20)\d\d)\b"), _date),
    (
        re.compile(
            r"(?<![\d./-])(?P<year>\d{4})(?P<sign>[-/.])(?P<month>\d{1,2})(?P=sign)"
            r"(?P<day>\d{1,2})(?![\d/-]|\.\d)"
        ),
        _date,
    ),
    (
        re.compile(
            r"(?<![\d./-])(?P<first>\d{1,2})(?P<sign>[-/.])(?P<second>\d{1,2})(?P=sign)"
            r"(?P<year>(?:19|20)\d\d)(?![\d/-]|\.\d)"
        ),
        _numeric_date,
    ),
    (
        re.compile(
            r"(?<!\d)(?P<year>\d{4})\s*年\s*(?P<month>\d{1,2})\s*月"
            r"(?:\s*(?P<day>\d{1,2})\s*[日号])?"
        ),
        _date,
    ),
    (
        re.compile(
            r"(?P<year>[〇零○一二三四五六七八九]{4})年(?P<month>[一二三四五六七八九十]{1,2})月"
            r"(?:(?P<day>[一二三四五六七八九十]{1,3})[日号])?"
        ),
        _date,
    ),
)

# --- money and shares ----------------------------------------------------------------------------

_NUMBER = r"(?P<number>\d{1,3}(?:[,，]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)"
_SCALES = {"thousand": 1e3, "k": 1e3, "million": 1e6, "mn": 1e6, "m": 1e6}
_SCALES |= {"billion": 1e9, "bn": 1e9, "trillion": 1e12}
_SCALE = rf"(?:\s?(?P<scale>{'|'.join(_SCALES)})\b)?"
_CURRENCIES = {"us$": "USD", "hk$": "HKD", "a$": "AUD", "c$": "CAD", "nt$": "TWD", "€": "EUR"}
_CURRENCIES |= {"£": "GBP", "₹": "INR", "￥": "¥", "rmb": "CNY", "人民币": "CNY", "元": "CNY"}
_CURRENCIES |= {"圆": "CNY", "yuan": "CNY", "renminbi": "CNY", "美元": "USD", "欧元": "EUR"}
_CURRENCIES |= {"英镑": "GBP", "日元": "JPY", "港元": "HKD", "港币": "HKD", "euro": "EUR"}
_CURRENCIES |= {"dollar": "$", "us dollar": "USD", "pounds sterling": "GBP", "yen": "JPY"}
_CODE = r"USD|EUR|GBP|CNY|RMB|JPY|HKD|CHF|AUD|CAD|TWD|SGD|INR"
_SYMBOL = r"(?:US|HK|NT|[AC])?\$|[€£¥￥₹]"
_YUAN = r"美元|欧元|英镑|日元|港元|港币|元"


def _amount(match: re.Match[str]) -> str | None:
    groups = match.groupdict()
    value = number(groups["number"] + (groups.get("myriad") or ""))
    if value is None:
        return None
    value *= _SCALES.get((groups.get("scale") or "").casefold(), 1.0)
    names = (groups.get(name) for name in ("after", "before"))
    # 人民币5万元 and US$ 5 dollars name their money twice.
    told = {_currency(name) for name in names if name}
    plain = f"{value:.2f}".removesuffix(".00")
    return f"{told.pop()} {plain}" if len(told) == 1 else ""


def _currency(name: str) -> str:
    name = " ".join(name.casefold().split())
    return _CURRENCIES.get(name) or _CURRENCIES.get(name.removesuffix("s")) or name.upper()


_AMOUNTS = (
    (re.compile(rf"(?<!\w)(?P<before>{_SYMBOL}|{_CODE})\s?{_NUMBER}{_SCALE}", re.I), _amount),
    (
        re.compile(
            rf"(?<![\w.,]){_NUMBER}{_SCALE}\s?"
            rf"(?P<after>(?:{_CODE}|(?:US )?dollars?|euros?|pounds sterling|yuan|renminbi|yen)\b"
            r"|€)",
            re.I,
        ),
        _amount,
    ),
    (
        re.compile(
            rf"(?:(?P<before>人民币|￥|¥)\s*)?{_NUMBER}\s*(?P<myriad>[十百千万亿]*)\s*(?P<after>{_YUAN})整?"
        ),
        _amount,
    ),
    (re.compile(rf"(?P<before>人民币)\s*[:：]?\s*{_NUMBER}\s*(?P<myriad>[十百千万亿]*)"), _amount),
    (re.compile(rf"(?P<before>[¥￥])\s*{_NUMBER}\s*(?P<myriad>[万亿])"), _amount),
    (
        re.compile(
            rf"(?:(?P<before>人民币)\s*)?(?P<number>[{FORMAL}]{{2,}})(?P<after>[元圆])[整正]?"
        ),
        _amount,
    ),
    (re.compile(rf"(?P<before>人民币)\s*(?P<number>[{CHINESE}]+)(?P<after>[元圆])整?"), _amount),
    (re.compile(rf"(?P<number>[{CHINESE}]{{2,}})(?P<after>元)(?![件化素])"), _amount),
)


def _percentage(match: re.Match[str]) -> str | None:
    value = number(match["number"])
    return None if value is None else f"{value:g}{'‰' if '‰' in match.group() else '%'}"


_PERCENTAGES = (
    (re.compile(rf"(?<![\w.,]){_NUMBER}\s?(?:[%％‰]|per ?cent\b)"), _percentage),
    (re.compile(rf"百分之(?P<number>\d+(?:\.\d+)?|[{_CN}]+)"), _percentage),
)

# --- addresses and numbers -----------------------------------------------------------------------


def _plain(match: re.Match[str]) -> str:
    start, end = _span(match)
    return re.sub(r"\s+", "", match.string[start:end])


def _digits(match: re.Match[str]) -> str | None:
    start, end = _span(match)
    text = match.string[start:end]
    digits = re.sub(r"\D", "", text)
    return (
        ("+" if text.lstrip().startswith("+") else "") + digits if 6 <= len(digits) <= 15 else None
    )


def _reference(match: re.Match[str]) -> str | None:
    value = match["value"]
    return value if re.search(r"\d", value) and len(value) > 2 else None


_EMAILS = ((re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]*@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}"), _plain),)
_PHONES = (
    (re.compile(r"(?<![\w+])\+\d{1,3}(?:[ ().-]{0,2}\d){6,12}(?!\d)"), _digits),
    (re.compile(r"(?<!\d)1[3-9]\d(?:[ -]?\d{4}){2}(?!\d)"), _digits),
    (re.compile(r"(?<![\d-])(?:0\d{2,3}[- ]\d{7,8}|400-\d{3,4}-\d{3,4})(?![\d-])"), _digits),
    (re.compile(r"(?<![\d-])\(?\d{3}\)?[-. ]\d{3}[-.]\d{4}(?![\d-])"), _digits),
    (
        re.compile(
            r"(?:(?i:\b(?:tele)?phone|\btel|\bfax|\bmobile)\.?|电话|传真|手机)(?:号码)?\s*[:：]?\s*"
            r"(?P<value>[+(\d][\d ()/.-]{4,}\d)"
        ),
        _digits,
    ),
)
_VALUE = r"(?P<value>[A-Za-z0-9]+(?:[-/._][A-Za-z0-9]+)*)"
_NUMBERS = (
    (
        re.compile(
            r"\b(?i:(?:invoice|order|contract|case|policy|account|reference|ref|registration|file"
            r"|licen[cs]e|serial|patent|document|customer|tax|vat|agreement|project|tender)"
            r"\s+(?:no|number|id|nr|ref)|ref|no|nr)\b\.?\s*[:#]?\s*" + _VALUE
        ),
        _reference,
    ),
    (
        re.compile(
            r"(?:编号|合同号|单号|账号|帐号|证号|号码|信用代码|发票号|文号)(?:为|是)?\s*[:：]?\s*"
            + _VALUE
        ),
        _reference,
    ),
    (
        re.compile(
            r"(?P<value>[（(]\d{4}[)）][\u4e00-\u9fff]{1,4}\d{0,4}[\u4e00-\u9fff]{1,4}\d+号)"
        ),
        _plain,
    ),
)

# --- spans of time -------------------------------------------------------------------------------

_PERIODS = {"hour": "PT{}H", "day": "P{}D", "week": "P{}W", "month": "P{}M", "year": "P{}Y"}
_PERIODS |= {"小时": "PT{}H", "天": "P{}D", "日": "P{}D", "自然日": "P{}D", "日历日": "P{}D"}
_PERIODS |= {"周": "P{}W", "星期": "P{}W", "月": "P{}M", "年": "P{}Y", "周年": "P{}Y"}


def _term(match: re.Match[str]) -> str | None:
    """In ISO 8601; working days have no form there."""
    value, unit = number(match["number"]), match["unit"].casefold().removesuffix("s")
    if value is None:
        return None
    form = "" if match.groupdict().get("working") else _PERIODS.get(unit, "")
    return form.format(f"{value:g}")


_TERMS = (
    (
        re.compile(
            rf"\b(?P<number>{ENGLISH}|\d{{1,4}})(?:\s?\(\s?[\w-]{{1,12}}\s?\))?[-\s]"
            r"(?P<working>(?:business|working)\s)?(?:calendar\s|consecutive\s|full\s)?"
            r"(?P<unit>hours?|days?|weeks?|months?|years?)\b",
            re.I,
        ),
        _term,
    ),
    (
        re.compile(
            rf"(?<![\d第{CHINESE}年月.])(?P<number>\d{{1,3}}|[{_CN}]{{1,4}})\s*个?"
            r"(?P<working>工作)?(?P<unit>(?<=个)月|(?<=工作)日|自然日|日历日|星期|周年|周|小时|天"
            r"|日(?=[内以之]|前)|年)(?!\s?[\d一二三四五六七八九十]{1,2}\s?月|\d|[代级])"
        ),
        _term,
    ),
)

_PATTERNS: dict[Kind, tuple[tuple[re.Pattern[str], Read], ...]] = {
    Kind.DATE: _DATES,
    Kind.AMOUNT: _AMOUNTS,
    Kind.PERCENTAGE: _PERCENTAGES,
    Kind.EMAIL: _EMAILS,
    Kind.PHONE: _PHONES,
    Kind.NUMBER: _NUMBERS,
    Kind.TERM: _TERMS,
}
