"""Foreign words stay words, and what is drawn stands where it should."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from mmapp.types import (
    Document,
    Estimate,
    Job,
    Listing,
    MediaType,
    Outlook,
    Page,
    Priority,
    Progress,
    Status,
    TaskName,
)
from mmapp.web import render, verdicts
from mmapp.web.words import Words

EN, ZH = Words("en"), Words("zh")
ATTACK = """<img src=x onerror=alert(1)>"'${alert(2)}{{alert(3)}}`alert(4)`</script>"""
SHA = "ab" * 32


def job(status: Status = Status.SUCCEEDED, **values: Any) -> Job:
    given: dict[str, Any] = {
        "id": "j1",
        "task": TaskName.SUMMARIZE,
        "status": status,
        "priority": Priority.INTERACTIVE,
        "label": "report.pdf",
        "params": {},
        "attempts": 1,
        "progress": Progress(),
        "created_at": datetime(2026, 11, 22, 3, 50, tzinfo=UTC),
    }
    return Job(**(given | values))


def pdf(pages: int = 3) -> Document:
    return Document(SHA, "report.pdf", MediaType.PDF, 1000, pages)


def sentence(text: str, page: int = 2, box: tuple[float, ...] = (10, 20, 110, 40)) -> Any:
    return {
        "text": text,
        "supported": True,
        "evidence": [{"page": page, "quote": text, "boxes": [list(box)]}],
    }


def summary(*sentences: Any, failed: Any = (), page: Page | None = None) -> str:
    payload = {
        "summary": list(sentences),
        "coverage": {"pages": 3, "read": 3 - len(failed), "ocr": 0, "failed": list(failed)},
    }
    shown = render.ShownDocument(pdf(), {2: page or Page(2, 200, 400)})
    return render.quotes(EN, job(), payload, {"checkpoint": "nano"}, shown)


def answer(*found: Any) -> str:
    payload = {
        "found": bool(found),
        "answer": list(found),
        "probability": 0.25,
        "coverage": {"pages": 3, "read": 3, "ocr": 0, "failed": []},
    }
    shown = render.ShownDocument(pdf(), {2: Page(2, 200, 400)})
    return render.quotes(EN, job(task=TaskName.ASK), payload, {"checkpoint": "nano"}, shown)


def viewer_data(markup: str) -> Any:
    (found,) = re.findall(r'data-viewer="([^"]*)"', markup)
    return json.loads(html.unescape(found))


def tags(markup: str) -> set[str]:
    return set(re.findall(r"<(\w+)", markup))


def test_escaped_text_has_nothing_that_html_or_a_template_would_read() -> None:
    assert not set(render.escape(ATTACK)) & set("<>\"'${}`")
    assert html.unescape(render.escape(ATTACK)) == ATTACK


def test_a_hostile_document_adds_no_tag_to_its_summary() -> None:
    kind, hostile = summary(sentence("Kind words.")), summary(sentence(ATTACK))
    assert tags(kind) == tags(hostile)
    assert "${" not in hostile
    assert viewer_data(hostile)["marks"][0]["quote"] == ATTACK


def test_a_hostile_listing_adds_no_tag_to_its_verdict() -> None:
    assert tags(verdict(Listing((SHA,), ATTACK, ATTACK, {ATTACK: ATTACK}), ATTACK)) == tags(
        verdict(Listing((SHA,), "Shirt", "Blue", {"colour": "blue"}), "Shirt")
    )


def verdict(listing: Listing, text: str, **values: Any) -> str:
    claim = {
        "text": text,
        "attribute": "title",
        "field": "title",
        "span": [0, len(text)],
        "label": "REFUTED",
        "probability": 0.8,
        "evidence": [{"image": 1, "box": [0.0, 0.0, 50.0, 100.0]}],
    }
    payload = {"verdict": "inconsistent", "score": 0.2, "claims": [claim | values]}
    return verdicts.verdict(EN, job(), listing, payload, {}, [Page(1, 100, 200)])


def test_an_answer_is_marked_on_its_page_and_a_missing_one_is_said() -> None:
    assert viewer_data(answer(sentence("Words.")))["marks"][0]["page"] == 2
    missing = answer()
    assert "Not in this document." in missing
    assert "Probability 25%" in missing
    assert viewer_data(missing)["marks"] == []
    payload = {"found": False}
    asked = job(task=TaskName.ASK)
    assert render.headline(ZH, asked, "not in this document", payload) == "文档中没有答案。"


def test_a_mark_is_placed_in_percent_of_its_page() -> None:
    (mark,) = viewer_data(summary(sentence("Words.")))["marks"]
    assert mark["boxes"] == [[5.0, 5.0, 50.0, 5.0]]


def test_a_mark_on_a_turned_page_is_turned_with_it() -> None:
    turned = Page(2, 400, 200, rotation=90)
    (mark,) = viewer_data(summary(sentence("Words."), page=turned))["marks"]
    assert mark["boxes"] == [[90.0, 5.0, 5.0, 50.0]]


def test_a_sentence_leads_to_its_page() -> None:
    assert 'data-sentence="0" data-page="2"' in summary(sentence("Words."))


def test_a_sentence_without_proof_says_so() -> None:
    markup = summary({"text": "Words.", "supported": False, "evidence": []})
    assert "not proved" in markup
    assert "data-sentence" not in markup


def test_the_coverage_map_has_a_square_for_each_page() -> None:
    markup = summary(sentence("Words."), failed=[{"page": 3, "reason": "no text layer"}])
    assert re.findall(r'class="cell (\w+)"', markup) == ["read", "proof", "failed"]
    assert "2 of 3 pages were read" in markup
    assert "Page 3: no text layer" in markup


def test_pages_of_a_long_document_share_squares() -> None:
    failed = [{"page": 5000, "reason": "broken"}]
    covered = {"pages": 5000, "read": 4999, "ocr": 0, "failed": failed}
    markup = render.coverage(EN, covered, {22})
    cells = re.findall(r'class="cell (\w+)" data-page="(\d+)"', markup)
    assert len(cells) <= render.COVERAGE_CELLS
    assert cells[1] == ("proof", "22")
    assert cells[-1][0] == "failed"
    assert "Pages 4999–5000" in markup or "Pages 4990–5000" in markup


@pytest.mark.parametrize(
    ("say", "told"),
    [(EN, "p. 2 · text recognition, 97% sure"), (ZH, "第 2 页 · 文字识别，把握 97%")],
)
def test_a_quote_from_a_scan_says_how_sure_its_words_are(say: Words, told: str) -> None:
    assert told in render._cite(say, {"page": 2, "ocr": 0.967})
    assert "·" not in render._cite(say, {"page": 2})


def test_claims_are_coloured_where_they_stand() -> None:
    listing = Listing((SHA,), "A blue shirt", "", {"colour": "blue", "fit": "slim"})
    markup = verdict(listing, "blue", field="attributes", attribute="colour", span=[0, 4])
    assert '<dd><mark class="REFUTED">blue</mark></dd>' in markup
    assert "<h3>A blue shirt</h3>" in markup
    assert "<dd>slim</dd>" in markup


def test_a_detail_is_coloured_inside_the_statement_that_it_stands_in() -> None:
    claims = [
        {"field": "title", "attribute": "title", "span": [0, 12], "label": "SUPPORTED"},
        {"field": "title", "attribute": "colour", "span": [2, 6], "label": "REFUTED"},
    ]
    markup = verdicts.listing_words(EN, Listing((SHA,), "A blue shirt"), {"claims": claims})
    assert (
        '<mark class="SUPPORTED">A </mark><mark class="REFUTED">blue</mark>'
        '<mark class="SUPPORTED"> shirt</mark>'
    ) in markup


def test_a_claim_that_no_photo_can_show_says_that_no_model_was_asked() -> None:
    listing = Listing((SHA,), "Shirt", "Soft")
    markup = verdict(listing, "Soft", field="description", kind="feel", visible=False, evidence=[])
    assert "no photo can show this" in markup
    assert "the model was not asked" in markup
    assert "80%" not in markup


def test_a_verdict_says_its_rule_and_what_decided() -> None:
    claim = {"text": "Shirt", "label": "REFUTED"}
    payload = {
        "verdict": "inconsistent",
        "score": 0.2,
        "claims": [claim],
        "rule": {"consistent": 0.8, "inconsistent": 0.2},
        "decided_by": {"claim": 0, "image": 2},
    }
    markup = verdicts.headline(EN, payload)
    assert "Decided by “Shirt” on photo 2." in markup
    assert "They agree from 80% on, and disagree from 20% down." in markup


def test_a_proposal_says_what_is_sure_what_is_closest_and_what_to_change() -> None:
    sure = {"kind": "colour", "en": "yellow", "zh": "黄色", "known": 11, "share": 0.9}
    unsure = {"kind": "product", "en": "Melon", "zh": "甜瓜", "known": 115, "share": 0.3}
    closest = [
        {"en": "Melon", "zh": "甜瓜", "share": 0.3},
        {"en": ATTACK, "zh": "梨", "share": 0.2},
    ]
    words = {"title": "", "description": "Yellow.", "attributes": {}}
    proposed = {
        "choices": [
            {**sure, "proposed": True, "closest": []},
            {**unsure, "proposed": False, "closest": closest},
        ],
        "en": words,
        "zh": words,
    }
    change = {"old": "Red", "new": "Yellow", "refuted": 0.97, "share": 0.9}
    corrected = {"changes": [change], "title": f"Yellow {ATTACK}", "attributes": {}}
    payload = {"claims": [], "proposal": proposed}
    alone = verdicts.verdict(EN, job(), Listing((SHA,), ""), payload, {}, [None])
    assert "closest known names: Melon · " in alone
    assert "90% of 11 known names" in alone
    assert "table class=" not in alone
    claim = {"text": "Red", "attribute": "title", "field": "title", "span": [0, 3]}
    claim |= {"label": "REFUTED", "probability": 0.9, "evidence": []}
    payload = {"verdict": "inconsistent", "score": 0.1, "claims": [claim], "proposal": proposed}
    payload |= {"correction": corrected}
    markup = verdicts.verdict(ZH, job(), Listing((SHA,), "Red"), payload, {}, [None])
    assert "<del>Red</del> → <ins>Yellow</ins>" in markup
    assert "旧词不符 97%，新词 90%" in markup
    assert ATTACK not in markup


def test_an_unchecked_claim_is_told() -> None:
    payload = {"claims": [], "unchecked": [{"text": "one too many"}]}
    assert "one too many" in verdicts.listing_words(EN, Listing((SHA,), "Shirt"), payload)


def test_a_verdict_counts_its_labels() -> None:
    assert "0 supported, 1 refuted, 0 not to be seen" in verdict(Listing((SHA,), "Shirt"), "Shirt")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0.2, "about 1 s left"),
        (89, "about 89 s left"),
        (600, "about 10 min left"),
        (9000, "about 2 h left"),
    ],
)
def test_the_time_left_is_said_in_a_fitting_unit(seconds: float | None, words: str) -> None:
    assert render.eta(EN, seconds) == words


def test_progress_counts_pages_and_tokens() -> None:
    progress = Progress("reading", 1500, 6000, "tokens", 3, 12, 40.0)
    words = "Reading · 3 of 12 pages · 1,500 of 6,000 tokens · about 40 s left"
    assert render.progress_words(EN, progress) == words
    running = render.unfinished(EN, job(Status.RUNNING, progress=progress))
    assert 'aria-valuenow="25"' in running


def test_a_phase_without_a_word_is_shown_as_it_came() -> None:
    assert (
        render.progress_words(ZH, Progress("dreaming", 1, 2, "sheep")) == "dreaming · 1 / 2 sheep"
    )


def test_a_failed_job_says_why() -> None:
    markup = render.unfinished(EN, job(Status.FAILED, error="No words; run OCR first"))
    assert "No words; run OCR first" in markup
    assert 'role="alert"' in markup


def test_an_address_leaves_out_what_is_empty() -> None:
    address = render.url("zh", "results", q="湖 & see", task="", offset=30)
    assert address == "/zh/results?q=%E6%B9%96+%26+see&offset=30"


def test_a_verdict_in_a_list_is_said_in_the_readers_language() -> None:
    check = job(task=TaskName.CHECK_LISTING)
    payload = {"verdict": "inconsistent", "score": 0.2}
    assert render.headline(ZH, check, "inconsistent 0.20", payload) == "照片与文字不符（20%）"
    assert render.headline(ZH, job(), "Words.", {"summary": []}) == "Words."


def test_a_long_list_links_to_its_neighbours() -> None:
    markup = render.pager(EN, first=30, shown=30, count=70, back="/a?x=1&y=2", on="/b")
    assert 'href="/a?x=1&amp;y=2"' in markup
    assert "31–60 of 70" in markup
    assert render.pager(EN, first=0, shown=5, count=5, back="", on="") == ""


def test_the_coverage_map_tells_of_parts_and_of_blank_pages() -> None:
    covered = {
        "pages": 500,
        "read": 499,
        "ocr": 0,
        "failed": [{"page": 250, "reason": "damaged"}],
        "blank": 1,
        "undrawn": [],
        "parts": 2,
        "map": [
            {"first": 1, "last": 248, "state": "read", "parts": [1]},
            {"first": 249, "last": 249, "state": "blank", "parts": []},
            {"first": 250, "last": 250, "state": "failed", "parts": []},
            {"first": 251, "last": 500, "state": "read", "parts": [2]},
        ],
    }
    markup = render.coverage(EN, covered, {499})
    assert markup.count("<button") == 167
    assert "499 of 500 pages were read; 1 could not be. Blank: 1. Read in 2 parts." in markup
    assert 'title="Pages 250–252: not read, part 2"' in markup
    assert 'title="Pages 1–3: read, part 1"' in markup
    assert 'title="Pages 499–500: holds a proof, part 2" ' in markup
    assert "第 250–252 页：未读，第 2 部分" in render.coverage(ZH, covered, {499})


def test_a_written_summary_says_what_is_not_proved() -> None:
    told = {
        "written": 3,
        "supported": 2,
        "rate": 0.6667,
        "repeated": 0,
        "dropped": [
            {
                "text": "<b>It</b> cost 9 euros.",
                "supported": False,
                "evidence": [],
                "missing": [
                    {"kind": "money", "text": "9 euros"},
                    {"kind": "page", "text": "It cost", "page": 3, "found_on": [2, 5]},
                ],
            }
        ],
    }
    markup = render.support(EN, told)
    assert "2 of 3 written sentences are proved" in markup
    assert "amount 9 euros; “It cost” is on page 2, 5, not on page 3" in markup
    assert "<b>" not in markup
    assert "金额 9 euros" in render.support(ZH, told)


def test_a_job_that_waits_says_what_is_before_it_and_what_it_takes() -> None:
    estimate = Estimate(9, 20_000, 0, 2, tokens=31_000, parts=3, seconds=150.0)
    english = render.outlook(EN, estimate, Outlook(2, 30.0, 180.0))
    assert "2 jobs before it · begins in about 30 s · takes about 2 min" in english
    assert "text recognition of 2 pages first · 31,000 tokens" in english
    assert "read in 3 parts" in english
    chinese = render.outlook(ZH, estimate, Outlook(1, 30.0, 180.0))
    assert "前面还有 1 个任务 · 约 30 秒后开始 · 预计用时约 2 分钟" in chinese
    assert "先对 2 页进行文字识别 · 共需读取和提问 31,000 个词元 · 分 3 部分读取" in chinese
    assert [render.duration(EN, seconds) for seconds in (0, 0.2, 89)] == ["0 s", "1 s", "89 s"]
    unknown = render.outlook(EN, Estimate(1, 5, 0, 0), Outlook(0, None, None))
    assert ">Next in line<" in unknown
