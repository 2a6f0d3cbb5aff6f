"""Comparisons and extractions as jobs: what they depend on, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmapp import exports, records
from mmapp.errors import BadInput, NotFound
from mmapp.jobs import Jobs
from mmapp.types import CompareParams, ExtractParams, Status, TaskName
from tests.jobs.conftest import AddText
from tests.jobs.scenes import TEXT, engine
from tests.tasks.fakes import Parts


def says_no(_parts: Parts, _question: str, answer: str) -> float:
    return 0.0 if answer == "no" else -5.0


def test_a_comparison_depends_on_no_model(jobs: Jobs, add_text: AddText) -> None:
    old = add_text(TEXT, "old.txt")
    new = add_text(TEXT.replace("4.2", "5.1"), "new.txt")
    params = CompareParams(old.sha256, new.sha256)
    job = jobs.submit(TaskName.COMPARE, params)
    jobs.run(job.id, engine(), "w1")
    result = jobs.result(job.id)
    assert job.label == "old.txt → new.txt"
    assert result.record["checkpoint"] == "no model, code alone"
    assert (result.record["weights_sha256"], result.record["documents"]) == (
        "",
        [old.sha256, new.sha256],
    )
    elsewhere = Jobs.open(jobs.settings.model_copy(update={"checkpoint": Path("nowhere")}))
    with elsewhere:
        assert elsewhere.submit(TaskName.COMPARE, params).status is Status.SUCCEEDED
    (row, _) = jobs.results("euros")
    assert row.headline == "1 changed"
    swapped = jobs.submit(TaskName.COMPARE, CompareParams(new.sha256, old.sha256))
    assert swapped.status is Status.QUEUED


def test_fields_are_stored_searched_and_found_again(jobs: Jobs, add_text: AddText) -> None:
    document = add_text("Landlord: Acme Ltd\n\nThe lease of 5 March 2024 runs for two years.")
    params = ExtractParams(document.sha256, ("landlord", "dates"))
    job = jobs.submit(TaskName.EXTRACT, params)
    jobs.run(job.id, engine(), "w1")
    assert records.params_from_json(TaskName.EXTRACT, jobs.get(job.id).params) == params
    (row,) = jobs.results("acme", task=TaskName.EXTRACT)
    assert row.headline == "landlord: Acme Ltd; dates: 5 March 2024"
    assert jobs.submit(TaskName.EXTRACT, params).status is Status.SUCCEEDED
    other = ExtractParams(document.sha256, ("landlord",))
    assert jobs.submit(TaskName.EXTRACT, other).status is Status.QUEUED


def test_what_can_not_become_a_result_is_refused(jobs: Jobs, add_text: AddText) -> None:
    document = add_text(TEXT)
    with pytest.raises(BadInput, match="no name of a field"):
        jobs.submit(TaskName.EXTRACT, ExtractParams(document.sha256, ("!",)))
    with pytest.raises(NotFound, match="no document"):
        jobs.submit(TaskName.COMPARE, CompareParams(document.sha256, "0" * 64))
    with pytest.raises(BadInput, match="can't be done"):
        jobs.submit(TaskName.COMPARE, ExtractParams(document.sha256))


def test_both_go_out_as_markdown(jobs: Jobs, add_text: AddText) -> None:
    old = add_text(TEXT, "old.txt")
    new = add_text(TEXT.replace("4.2", "*5.1*"), "new.txt")
    compared = jobs.submit(TaskName.COMPARE, CompareParams(old.sha256, new.sha256))
    asked = jobs.submit(TaskName.EXTRACT, ExtractParams(old.sha256, ("amounts", "colour")))
    for job in (compared, asked):
        jobs.run(job.id, engine(says_no), "w1")
    told = exports.markdown(jobs.get(compared.id), jobs.result(compared.id))
    assert "1. **changed**" in told
    assert r"Repairs will cost **4\.2** million" in told
    assert "no model was asked" in told
    table = exports.markdown(jobs.get(asked.id), jobs.result(asked.id))
    assert r"| amounts | 4\.2 million euros | pattern |  | 1 |" in table
    assert "| colour | *not in this document* | | | |" in table
    marks = exports.marks(jobs.result(compared.id))
    assert [(mark.page, mark.note.partition(":")[0]) for mark in marks] == [(1, "was (page 1)")]
    assert exports.marked_document(jobs.result(compared.id)) == new.sha256
