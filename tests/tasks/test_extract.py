"""Fields of a document: which way found a value is told, and each value stands on its page."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmapp import tasks
from mmapp.documents.quotes import page_text
from mmapp.errors import BadInput, NoText
from mmapp.tasks.extract import check_fields
from mmapp.types import ExtractParams, Line, MediaType, Page, TaskName
from tests.tasks.fakes import FakeEngine, Parts, Reports, Rule, document, pdf_page, text_page

LEASE = """\
Lease agreement

Contract number: LA-2024-017

Landlord: Acme Homes Ltd., Leeds
Tenant (the lessee): Maria Lopez

This lease was signed on 5 March 2024. The monthly rent is £1,250.00, and the
deposit is £2,500. The keys are handed over on 28 March 2024.

The lease, signed on March 5, 2024, runs for twelve (12) months. A cat called Tom may
live in the house."""
CHINESE = """\
房屋租赁合同

合同编号：HT-2024-001
甲方（出租方）：北京安居物业有限公司
乙方（承租方）：张三

双方于2024年3月5日签订本合同，租赁期限为两年。租金为每月人民币5,800元，押金一万元。
交房日期为二〇二四年三月二十八日。"""


def says_yes_to(*words: str) -> Rule:
    """Yes to a question about a passage that has all of these words, no to others."""

    def rule(_parts: Parts, question: str, answer: str) -> float:
        is_yes = all(word in question for word in words)
        return 4.0 if (answer == "yes") is is_yes else 0.0

    return rule


def extract(
    *pages: Page, fields: tuple[str, ...] = (), rule: Rule | None = None, **profile: Any
) -> dict[str, Any]:
    engine = FakeEngine(rule or says_yes_to("never said"), profile=profile)
    params = ExtractParams("d" * 64, fields)
    return tasks.run(TaskName.EXTRACT, engine, document(*pages), params, Reports())


def values(payload: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    return {
        one["name"]: [(value["text"], value["found_by"]) for value in one["values"]]
        for one in payload["fields"]
    }


def test_without_names_the_usual_fields_are_found() -> None:
    assert values(extract(pdf_page(1, LEASE))) == {
        "parties": [("Acme Homes Ltd., Leeds", "label"), ("Maria Lopez", "label")],
        "dates": [("5 March 2024", "pattern"), ("28 March 2024", "pattern")],
        "amounts": [("£1,250.00", "pattern"), ("£2,500", "pattern")],
        "terms": [("twelve (12) months", "pattern")],
    }


def test_chinese_fields_are_found_alike() -> None:
    assert values(extract(pdf_page(1, CHINESE))) == {
        "parties": [("北京安居物业有限公司", "label"), ("张三", "label")],
        "dates": [("2024年3月5日", "pattern"), ("二〇二四年三月二十八日", "pattern")],
        "amounts": [("人民币5,800元", "pattern"), ("一万元", "pattern")],
        "terms": [("两年", "pattern")],
    }


def test_a_value_is_proved_at_every_place_where_it_stands() -> None:
    page = pdf_page(1, LEASE)
    first = extract(page, fields=("dates",))["fields"][0]["values"][0]
    assert [one["quote"] for one in first["evidence"]] == ["5 March 2024", "March 5, 2024"]
    assert all(one["quote"] in page_text(page) and one["boxes"] for one in first["evidence"])
    assert (first["normal"], first["supported"], first["places"]) == ("2024-03-05", True, 2)
    assert first["context"].startswith("This lease was signed on 5 March 2024. The monthly")


def test_named_fields_are_found_by_label_and_by_their_words_nearby() -> None:
    names = ("contract number", "lessee", "monthly rent", "deposit", "handed over date", "colour")
    assert values(extract(pdf_page(1, LEASE), fields=names)) == {
        "contract number": [("LA-2024-017", "label")],
        "lessee": [("Maria Lopez", "label")],
        "monthly rent": [("£1,250.00", "name nearby")],
        "deposit": [("£2,500", "name nearby")],
        "handed over date": [("28 March 2024", "name nearby")],
        "colour": [],
    }
    chinese = ("合同编号", "出租方", "月租金", "押金", "交房日期", "颜色")
    assert values(extract(pdf_page(1, CHINESE), fields=chinese)) == {
        "合同编号": [("HT-2024-001", "label")],
        "出租方": [("北京安居物业有限公司", "label")],
        "月租金": [("人民币5,800元", "name nearby")],
        "押金": [("一万元", "name nearby")],
        "交房日期": [("二〇二四年三月二十八日", "name nearby")],
        "颜色": [],
    }


def test_a_label_may_have_its_value_in_a_table_or_on_the_next_line() -> None:
    table = text_page(1, "| Colour | dark blue |\n| Size | XL |\n\nMaterial:\n\ncotton\n\nCare:")
    found = values(extract(table, fields=("colour", "size", "material", "care")))
    assert [one[0][0] if one else "" for one in found.values()] == ["dark blue", "XL", "cotton", ""]


def test_what_needs_understanding_is_asked_of_the_model() -> None:
    rule = says_yes_to("What is the pet?", "A cat called Tom")
    payload = extract(pdf_page(1, LEASE), fields=("pet", "colour"), rule=rule)
    pet, colour = payload["fields"]
    (value,) = pet["values"]
    assert value["text"] == "A cat called Tom may live in the house."
    assert (value["found_by"], value["probability"] > 0.9) == ("model", True)
    assert len(value["evidence"][0]["boxes"]) == 2
    assert (pet["asked"], colour["values"]) == (True, [])
    chinese = extract(
        pdf_page(1, CHINESE), fields=("双方",), rule=says_yes_to("双方是什么？", "签订本合同")
    )
    assert values(chinese)["双方"][0] == ("双方于2024年3月5日签订本合同，租赁期限为两年。", "model")


def test_of_a_passage_of_the_model_the_words_of_the_fields_kind_count() -> None:
    rule = says_yes_to("What is the entry date?", "keys are handed over")
    payload = extract(pdf_page(1, LEASE), fields=("entry date",), rule=rule)
    (value,) = payload["fields"][0]["values"]
    assert (value["text"], value["normal"]) == ("28 March 2024", "2024-03-28")
    assert (value["found_by"], value["probability"] > 0.9) == ("model and pattern", True)
    nothing = extract(
        pdf_page(1, LEASE), fields=("entry date",), rule=says_yes_to("entry date", "A cat called")
    )
    assert nothing["fields"][0]["values"] == []


def test_all_fields_are_asked_about_after_one_reading() -> None:
    engine = FakeEngine(says_yes_to("nothing"))
    params = ExtractParams("d" * 64, ("pet", "garden", "colour"))
    tasks.run(TaskName.EXTRACT, engine, document(pdf_page(1, LEASE)), params, Reports())
    assert (len(engine.prefixes), engine.score_calls) == (1, 1)


def test_a_checkpoint_that_knows_no_questions_is_not_asked_and_that_is_told() -> None:
    rule = says_yes_to("")
    payload = extract(pdf_page(1, LEASE), fields=("pet", "dates"), rule=rule, calibration={})
    assert [(one["asked"], bool(one["values"])) for one in payload["fields"]] == [
        (False, False),
        (False, True),
    ]
    assert payload["usage"]["tokens"] == {"read": 0, "scored": 0}


def test_a_payload_is_plain_json() -> None:
    payload = extract(pdf_page(1, LEASE))
    assert json.loads(json.dumps(payload))["fields"][0]["kind"] is None


def test_names_that_are_none_and_documents_without_words_are_refused() -> None:
    for names, problem in ((("  ",), "no name"), (("x" * 101,), "no name"), (("a",) * 31, "31")):
        with pytest.raises(BadInput, match=problem):
            check_fields(names)
    check_fields(("交货日期", "price"))
    with pytest.raises(NoText):
        extract(Page(1, 595, 842, (Line(" "),)))


def test_a_text_file_has_values_without_boxes() -> None:
    inputs = document(text_page(1, LEASE), media_type=MediaType.TEXT)
    params = ExtractParams("d" * 64, ("dates",))
    payload = tasks.run(TaskName.EXTRACT, FakeEngine(says_yes_to("x")), inputs, params, Reports())
    assert payload["fields"][0]["values"][0]["evidence"][0]["boxes"] == []
