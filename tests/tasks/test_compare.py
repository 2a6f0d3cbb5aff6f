"""Two versions of a document: what changed is told with both quotes, and nothing else is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from mmapp import tasks
from mmapp.documents.quotes import page_text
from mmapp.errors import NoText
from mmapp.tasks import VersionsInput
from mmapp.types import CompareParams, Line, MediaType, Page, TaskName
from tests.tasks.fakes import FakeEngine, Reports, document, likes, pdf_page, text_page

OLD = """\
This agreement begins on 1 May 2024 and ends after two years. The tenant pays 500 euros
each month for the house. The well-known house has three rooms, a kitchen and a cel-
lar.

The landlord repairs the roof within thirty days. Pets are not allowed in the house at all.

Nothing else was agreed by the parties."""
CHINESE = (
    "本合同自2024年5月1日起生效，有效期三年。乙方每月支付租金五千元。\n\n双方应当友好协商解决争议。"
)


def compare(old: Sequence[Page], new: Sequence[Page]) -> dict[str, Any]:
    inputs = VersionsInput(document(*old), document(*new))
    return tasks.run(
        TaskName.COMPARE, FakeEngine(likes()), inputs, CompareParams("o", "n"), Reports()
    )


def compared(old: str, new: str) -> list[tuple[str, list[str], list[str]]]:
    """Each change with the words that differ, or the whole text of what came, went or moved."""
    payload = compare([pdf_page(1, old)], [pdf_page(1, new)])
    return [
        (change["kind"], differing(change["old"]), differing(change["new"]))
        for change in payload["changes"]
    ]


def differing(side: dict[str, Any] | None) -> list[str]:
    if side is None:
        return []
    parts = [side["text"][one["start"] : one["end"]] for one in side["differs"]]
    return parts or [side["text"]]


def test_a_document_has_no_changes_to_itself() -> None:
    payload = compare([pdf_page(1, OLD)], [pdf_page(1, OLD)])
    assert payload["changes"] == []
    assert set(payload["counts"].values()) == {0}
    assert payload["sentences"]["old"] == payload["sentences"]["new"] > 0


def test_changed_words_are_marked_on_both_sides() -> None:
    new = OLD.replace("1 May", "1 June").replace("500 euros", "550 euros")
    assert compared(OLD, new) == [
        ("changed", ["May"], ["June"]),
        ("changed", ["500"], ["550"]),
    ]


def test_every_quote_stands_on_its_page_and_every_difference_in_its_boxes() -> None:
    new = OLD.replace("three rooms, a kitchen", "four rooms, two kitchens")
    pages = {"old": pdf_page(1, OLD), "new": pdf_page(1, new)}
    (change,) = compare([pages["old"]], [pages["new"]])["changes"]
    for side, page in pages.items():
        told = change[side]
        assert told["supported"]
        assert all(one["quote"] in page_text(page) for one in told["evidence"])
        (sentence,) = told["evidence"]
        for one in told["differs"]:
            assert told["text"][one["start"] : one["end"]].split()[0] in (
                "three",
                "a",
                "four",
                "two",
            )
            for x0, y0, x1, y1 in one["boxes"]:
                assert any(
                    a <= x0 < x1 <= c and b <= y0 < y1 <= d for a, b, c, d in sentence["boxes"]
                )


def test_sentences_that_came_went_or_moved_are_told_so() -> None:
    new = OLD.replace("The landlord repairs the roof within thirty days. ", "")
    new = new.replace("\n\nPets are not allowed in the house at all.", "")
    new += " Pets are not allowed in the house at all.\n\nThe garden may be used by everybody."
    assert compared(OLD, new) == [
        ("removed", ["The landlord repairs the roof within thirty days."], []),
        ("moved", *[["Pets are not allowed in the house at all."]] * 2),
        ("added", [], ["The garden may be used by everybody."]),
    ]


def test_a_sentence_that_moved_may_differ_in_a_few_words() -> None:
    moved = "The landlord repairs the roof and the gate within thirty days."
    new = OLD.replace("The landlord repairs the roof within thirty days. ", "") + f"\n\n{moved}"
    assert compared(OLD, new) == [
        ("moved", ["The landlord repairs the roof within thirty days."], ["and the gate"])
    ]
    chinese = CHINESE.replace("双方应当友好协商解决争议。", "")
    assert compared(CHINESE, f"双方应友好协商解决争议。\n\n{chinese}") == [
        ("moved", ["当"], ["双方应友好协商解决争议。"])
    ]


def test_neighbours_of_one_paragraph_that_share_a_fate_are_one_change() -> None:
    gone = OLD.split("\n\n")[1]
    assert compared(OLD, OLD.replace(gone + "\n\n", "")) == [("removed", [gone], [])]


def test_other_lines_and_hyphens_at_their_ends_are_no_change() -> None:
    new = OLD.replace("The well-known", "The well-\nknown").replace("cel-\nlar", "cellar")
    new = new.replace("euros\neach", "euros each").replace("ends after", "ends\nafter")
    assert compared(OLD, new) == []
    assert compared(OLD, OLD.replace("well-known", "well known")) != []


def test_another_page_break_is_no_change_nor_are_headers_and_page_numbers() -> None:
    body = [f"Sentence number {n} tells of the {n}th of forty things in it." for n in range(40)]

    def paged(size: int, header: str) -> list[Page]:
        pages = [body[at : at + size] for at in range(0, len(body), size)]
        return [
            pdf_page(number, "\n\n".join([header, "\n".join(lines), str(number)]))
            for number, lines in enumerate(pages, 1)
        ]

    assert compare(paged(10, "The house"), paged(8, "The house, draft 2"))["changes"] == []


def test_a_sentence_over_a_page_break_is_quoted_from_both_pages() -> None:
    old = [
        pdf_page(1, "The house has a roof of red tiles that was\nrepaired by the landlord"),
        pdf_page(2, "in the year 1999 with new beams of oak."),
    ]
    new = [pdf_page(1, page_text(old[0]) + "\nin the year 2001 with new beams of oak.")]
    (change,) = compare(old, new)["changes"]
    assert [one["page"] for one in change["old"]["evidence"]] == [1, 2]
    assert [(one["page"], differing(change["old"])) for one in change["old"]["differs"]] == [
        (2, ["1999"])
    ]
    assert differing(change["new"]) == ["2001"]


def test_a_sentence_cut_in_two_is_one_change() -> None:
    old = "The tenant pays the rent each month, and the landlord pays the taxes each year."
    new = "The tenant pays the rent each month. The landlord pays the taxes each year."
    assert compared(old, new) == [("changed", [", and the"], [". The"])]


def test_chinese_is_compared_by_character() -> None:
    new = CHINESE.replace("5月", "6月").replace("支付租金五千元", "应支付租金\n五千元整")
    assert compared(CHINESE, new + "协商不成的，提交仲裁。") == [
        ("changed", ["5"], ["6"]),
        ("changed", ["乙方每月支付租金五千元。"], ["应", "整"]),
        ("added", [], ["协商不成的，提交仲裁。"]),
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("The oﬃce was moved to another house.", "The office was moved to another house."),
        ("She said “no” to it, didn’t she?", 'She said "no" to it, didn\'t she?'),
        ("租金为５千元（不含税），每月支付。", "租金为5千元(不含税),每月支付。"),
    ],
)
def test_the_way_in_which_characters_are_drawn_is_no_change(old: str, new: str) -> None:
    assert compared(old, new) == []


def test_what_means_something_else_is_a_change_however_small() -> None:
    assert compared("The area is 102 m wide.", "The area is 10² m wide.") != []
    assert compared("We shall resign the lease now.", "We shall re-sign the lease now.") != []
    assert compared("The rate is 4.5 per cent.", "The rate is 45 per cent.") == [
        ("changed", ["4.5"], ["45"])
    ]


def test_text_files_are_compared_with_their_headings_and_tables() -> None:
    old = "# Prices\n\n| shirt | 10 |\n| shoes | 40 |\n\nAll prices are in euros, taxes included."
    new = old.replace("| 40 |", "| 45 |")
    payload = tasks.run(
        TaskName.COMPARE,
        FakeEngine(likes()),
        VersionsInput(
            *(document(text_page(1, text), media_type=MediaType.TEXT) for text in (old, new))
        ),
        CompareParams("o", "n"),
        Reports(),
    )
    (change,) = payload["changes"]
    assert (differing(change["old"]), differing(change["new"])) == (["40"], ["45"])


def test_a_version_without_words_is_refused() -> None:
    with pytest.raises(NoText):
        compare([pdf_page(1, OLD)], [Page(1, 595, 842, (Line(" "),))])


def test_three_hundred_pages_are_compared_in_seconds() -> None:
    lines = [
        f"Item {n} costs {n * 7 % 101} euros and is kept in hall {n % 13}.\nIt fills box {n}."
        for n in range(300 * 12)
    ]
    changed = [line.replace("hall 5.", "hall 55.") for line in lines[:1_000] + lines[1_500:]]
    changed += lines[1_000:1_500]
    old, new = (
        [
            pdf_page(number + 1, "\n\n".join(body[at : at + 12]))
            for number, at in enumerate(range(0, len(body), 12))
        ]
        for body in (lines, changed)
    )
    began = time.process_time()
    payload = compare(old, new)
    assert time.process_time() - began < 15
    assert payload["counts"]["moved"] < 20, "five hundred items moved together"
    assert payload["counts"]["changed"] == sum(
        "hall 5." in one for one in lines[:1_000] + lines[1_500:]
    )
