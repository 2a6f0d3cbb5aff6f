"""What patterns tell in English and Chinese, and what they leave alone."""

from __future__ import annotations

import pytest

from mmapp.tasks.numerals import number
from mmapp.tasks.patterns import Kind, is_all_of_kind, kind_of, matches, own_words


def told(kind: Kind, text: str) -> dict[str, str]:
    return {text[one.start : one.end]: one.normal for one in matches(kind, text)}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(
            ("1,234.5", 1234.5),
            ("3.5亿", 3.5e8),
            ("十五", 15),
            ("二〇二四", 2024),
            ("两百零五", 205),
        ),
        *(("一万二千", 12_000), ("壹万贰仟叁佰", 12_300), ("thirty", 30), ("forty-two", 42)),
        *(("三亿零五万", 300_050_000), ("", None), ("many", None), ("一些", None)),
    ],
)
def test_numbers_in_words_have_their_value(text: str, value: float | None) -> None:
    assert number(text) == value


def test_dates_are_told_with_their_iso_form_where_it_is_plain() -> None:
    text = (
        "5 March 2024, the 5th day of May, 2023, March 6, 2024, Dec. 2024, 2024-03-07, 31/12/2024,"
        " 08.03.2024, 03/04/2024"
    )
    assert told(Kind.DATE, text) == {
        "5 March 2024": "2024-03-05",
        "5th day of May, 2023": "2023-05-05",
        "March 6, 2024": "2024-03-06",
        "Dec. 2024": "2024-12",
        "2024-03-07": "2024-03-07",
        "31/12/2024": "2024-12-31",
        "08.03.2024": "2024-03-08",
        "03/04/2024": "",
    }
    assert told(Kind.DATE, "2024年3月5日、2024 年 12 月和二〇二四年十二月三十一日") == {
        "2024年3月5日": "2024-03-05",
        "2024 年 12 月": "2024-12",
        "二〇二四年十二月三十一日": "2024-12-31",
    }
    assert told(Kind.DATE, "2024-13-40, we may 2024 times, 2024年, 1.2.3") == {}


def test_amounts_are_told_with_their_currency() -> None:
    text = "US$ 5 million, $1,234.56, 4.2 million euros, 100 USD, £3m and RMB 5,000"
    assert told(Kind.AMOUNT, text) == {
        "US$ 5 million": "USD 5000000",
        "$1,234.56": "$ 1234.56",
        "4.2 million euros": "EUR 4200000",
        "100 USD": "USD 100",
        "£3m": "GBP 3000000",
        "RMB 5,000": "CNY 5000",
    }
    chinese = "人民币5万元、￥1,234.00、3.5亿元、人民币壹万贰仟元整、5,000 美元、一百二十元"
    assert told(Kind.AMOUNT, chinese) == {
        "人民币5万元": "CNY 50000",
        "￥1,234.00": "¥ 1234",
        "3.5亿元": "CNY 350000000",
        "人民币壹万贰仟元整": "CNY 12000",
        "5,000 美元": "USD 5000",
        "一百二十元": "CNY 120",
    }
    assert told(Kind.AMOUNT, "一元化、多元的社会有2024个单元, 12 apples, room 5") == {}


@pytest.mark.parametrize(
    ("kind", "text", "values"),
    [
        (Kind.PERCENTAGE, "4.5%, 12 per cent, 百分之五", ["4.5%", "12%", "5%"]),
        (Kind.EMAIL, "Write to a.b@c-d.com. 邮箱x@y.cn。", ["a.b@c-d.com", "x@y.cn"]),
        (
            Kind.PHONE,
            "+49 30 123456-7, 010-12345678, 13812345678, (415) 555-0123; 电话：62751234; "
            "2024-03-05",
            ["+49301234567", "01012345678", "13812345678", "4155550123", "62751234"],
        ),
        (
            Kind.NUMBER,
            "Invoice No. 2024-001, contract number: XY-7/2, no. 5, 合同编号：HT-2024-001，"
            "（2023）京01民初123号",
            ["2024-001", "XY-7/2", "HT-2024-001", "（2023）京01民初123号"],
        ),
        (
            Kind.TERM,
            "thirty (30) days, 2 years, six-month, 5 business days; 三年，30日内，15个工作日，"
            "六个月，24小时",
            ["P30D", "P2Y", "P6M", "", "P3Y", "P30D", "", "P6M", "PT24H"],
        ),
        (Kind.TERM, "2024年3月5日，第三年，3月5日，二〇二四年三月，May 5", []),
    ],
)
def test_other_kinds_are_told_in_both_languages(kind: Kind, text: str, values: list[str]) -> None:
    assert [one.normal for one in matches(kind, text)] == values


@pytest.mark.parametrize(
    ("field", "kind", "words"),
    [
        ("Delivery date", Kind.DATE, ["delivery"]),
        ("date of payment", Kind.DATE, ["payment"]),
        ("交货日期", Kind.DATE, ["交货"]),
        ("deposit", Kind.AMOUNT, ["deposit"]),
        ("月租金", Kind.AMOUNT, ["月", "租金"]),
        ("phone number", Kind.PHONE, []),
        ("interest rate", Kind.PERCENTAGE, ["interest"]),
        ("合同编号", Kind.NUMBER, ["合同"]),
        ("landlord", None, ["landlord"]),
    ],
)
def test_a_fields_name_tells_its_kind(field: str, kind: Kind | None, words: list[str]) -> None:
    assert kind_of(field) is kind
    assert not words or own_words(field) == words
    assert not is_all_of_kind(field)


@pytest.mark.parametrize("field", ["dates", "Date", "金额", "terms", "e-mail"])
def test_a_name_of_a_kind_asks_for_all_of_it(field: str) -> None:
    assert is_all_of_kind(field)
    assert kind_of(field) is not None
