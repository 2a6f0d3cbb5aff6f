"""Results as Markdown: everything is there, and foreign words stay words."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from mmapp.exports import markdown, marks, plain
from mmapp.types import Job, Mark, Priority, Progress, Result, Status, TaskName

NOW = datetime(2026, 11, 22, tzinfo=UTC)
HOSTILE = "![x](http://evil.example) <script>alert(1)</script> | **a**\n# Title\n- item"
RECORD = {"checkpoint": "nano", "weights_sha256": "ab" * 32, "code": "mmapp 1"}
PROOF = {"page": 2, "quote": HOSTILE, "boxes": [[1, 2, 3, 4], [5, 6, 7, 8]]}
SUMMARY = {
    "summary": [{"text": HOSTILE, "supported": True, "evidence": [PROOF]}],
    "coverage": {"pages": 3, "read": 2, "ocr": 0, "failed": [{"page": 3, "reason": HOSTILE}]},
    "hidden": {"words": 2, "pages": [1], "texts": [{"page": 1, "text": HOSTILE, "why": "tiny"}]},
}
CHECK = {
    "verdict": "inconsistent",
    "score": 0.2,
    "claims": [
        {
            "text": HOSTILE,
            "attribute": "colour",
            "label": "REFUTED",
            "probability": 0.9,
            "evidence": [{"image": 1, "box": [0, 0, 1, 1]}],
        }
    ],
}


def made(task: TaskName, payload: dict[str, Any]) -> tuple[Job, Result]:
    job = Job("j1", task, Status.SUCCEEDED, Priority.INTERACTIVE, HOSTILE, {}, 1, Progress(), NOW)
    return job, Result("j1", task, 1, payload, RECORD, NOW)


@pytest.mark.parametrize(
    ("task", "payload"), [(TaskName.SUMMARIZE, SUMMARY), (TaskName.CHECK_LISTING, CHECK)]
)
def test_foreign_words_are_words_in_markdown(task: TaskName, payload: dict[str, Any]) -> None:
    text = markdown(*made(task, payload))
    assert text.count(plain(HOSTILE)) >= 2
    assert "evil" not in text.replace(plain(HOSTILE), "")


def test_every_sign_that_markdown_reads_is_escaped() -> None:
    assert not re.search(r"(?<!\\)[<>\[\]()*#|!_:.-]", plain(HOSTILE))
    assert "\n" not in plain(HOSTILE)
    assert re.sub(r"\\(.)", r"\1", plain(HOSTILE)) == " ".join(HOSTILE.split())


def test_a_summary_tells_proofs_pages_and_what_was_hidden() -> None:
    text = markdown(*made(TaskName.SUMMARIZE, SUMMARY))
    assert "   - page 2: “" in text
    assert "Read 2 of 3 pages." in text
    assert "- page 3 was not read: " in text
    assert "2 words that the pages do not show were left out:" in text
    assert "Job j1. Made by nano abababababab" in text


def test_every_proof_is_a_mark_with_its_claim_and_listings_have_none() -> None:
    (mark,) = marks(made(TaskName.SUMMARIZE, SUMMARY)[1])
    assert mark == Mark(2, ((1, 2, 3, 4), (5, 6, 7, 8)), HOSTILE)
    assert marks(made(TaskName.CHECK_LISTING, CHECK)[1]) == []
