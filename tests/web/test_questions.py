"""The Ask and the Compare page, on real jobs: what is submitted, and how results are shown."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pymupdf
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from openpyxl import load_workbook

from mmapp.api import add_routes
from mmapp.errors import BadInput
from mmapp.jobs import Jobs
from mmapp.samples import load
from mmapp.types import CompareParams, ExtractParams, Job, TaskName
from mmapp.web import ask_page, compare_page, documents_page
from mmapp.web.frame import Site
from mmapp.web.uploads import known_documents
from mmapp.web.words import Words
from tests.jobs.scenes import TEXT, engine
from tests.tasks.fakes import Parts

LEASE = "Landlord: Acme <b>Ltd</b>\nPrice: =1+1\n\nThe lease of 5 March 2024 runs for two years."


@pytest.fixture
def client(site: Site) -> Iterator[TestClient]:
    app = FastAPI()
    add_routes(app, site.jobs)
    with TestClient(app, follow_redirects=False) as client:
        yield client


def says_yes_to_millions(_parts: Parts, question: str, answer: str) -> float:
    return 4.0 if (answer == "yes") is ("million" in question) else 0.0


def upload(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def finish(jobs: Jobs, *started: Job) -> list[Job]:
    for job in started:
        jobs.run(job.id, engine(says_yes_to_millions), "w1")
    return [jobs.get(job.id) for job in started]


@pytest.fixture
def table(jobs: Jobs) -> Job:
    """A finished extraction."""
    document = jobs.add_document("lease.txt", LEASE.encode())
    params = ExtractParams(document.sha256, ("landlord", "price", "dates", "colour"))
    (job,) = finish(jobs, jobs.submit(TaskName.EXTRACT, params))
    return job


@pytest.fixture
def comparison(jobs: Jobs) -> Job:
    """A finished comparison of two texts."""
    old = jobs.add_document("old.txt", TEXT.encode())
    changed = TEXT.replace("4.2", "<5.1>").replace("Monday.", "Monday. Nobody was hurt by it.")
    new = jobs.add_document("new.txt", changed.encode())
    params = CompareParams(old.sha256, new.sha256)
    (job,) = finish(jobs, jobs.submit(TaskName.COMPARE, params))
    return job


def test_a_question_goes_to_each_document_once(site: Site, jobs: Jobs, tmp_path: Path) -> None:
    known = jobs.add_document("known.txt", TEXT.encode())
    paths = [upload(tmp_path, "a.txt", TEXT), upload(tmp_path, "b.txt", "The sun shone all day.")]
    paths.append(upload(tmp_path, "broken.pdf", "%PDF-1.7\nnothing"))
    submitted, uploaded = ask_page.submit(site, paths, [known.sha256], "", "What will it cost?")
    assert [job.task for job in submitted] == [TaskName.ASK] * 2
    assert [name for name, _ in uploaded.refused] == ["broken.pdf"]
    assert list(tmp_path.glob("*.txt")) == []
    waiting = ask_page.show_answers(site, submitted)
    assert 'data-status="running"' in waiting
    done = ask_page.show_answers(site, finish(jobs, *submitted))
    assert done.index("known.txt") < done.index("b.txt")
    assert "likeliest answer" in done
    assert "4.2 million euros" in done
    assert 'class="viewer"' in done


def test_where_no_document_answers_that_is_said(site: Site, jobs: Jobs, tmp_path: Path) -> None:
    paths = [upload(tmp_path, f"{name}.txt", f"The sun shone on {name}.") for name in ("a", "b")]
    submitted, _ = ask_page.submit(site, paths, [], "", "What will it cost?")
    chinese = Site(jobs, site.settings, Words("zh"))
    shown = ask_page.show_answers(chinese, finish(jobs, *submitted))
    assert "这些文档中都没有答案" in shown
    assert 'class="viewer"' not in shown


def test_a_form_without_documents_is_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Choose at least one document"):
        ask_page.submit(site, [], [], "", "What?")
    with pytest.raises(BadInput, match="Choose both versions"):
        compare_page.start(site, upload(tmp_path, "a.txt", "One sentence."), "", "")


def test_documents_of_earlier_jobs_are_offered_again(site: Site, summary: Job) -> None:
    document = str(summary.params["document"])
    assert known_documents(site) == [("bridge.txt", document)]
    other = site.jobs.add_document("other.txt", b"Another text that was only added.")
    assert [sha256 for _, sha256 in known_documents(site, other.sha256)] == [other.sha256, document]


def test_the_table_of_fields_leads_to_the_pages_and_says_what_found_each(
    site: Site, table: Job
) -> None:
    shown = ask_page.show_job(site, table)
    assert "Acme &lt;b&gt;Ltd&lt;/b&gt;" in shown
    assert "label (code)" in shown
    assert "pattern (code)" in shown
    assert "5 March 2024" in shown
    assert "2024-03-05" in shown
    assert "Not in this document." in shown
    assert 'data-sentence="0" data-page="1"' in shown
    assert f"/jobs/{table.id}/fields.xlsx" in shown


def test_the_table_of_fields_can_be_had_as_csv_and_workbook(
    client: TestClient, table: Job, summary: Job
) -> None:
    answer = client.get(f"/jobs/{table.id}/fields.csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [row["field"] for row in rows] == ["landlord", "price", "dates", "colour"]
    assert rows[1]["value"] == "'=1+1"
    assert (rows[2]["normal"], rows[2]["page"], rows[3]["value"]) == ("2024-03-05", "1", "")
    workbook = load_workbook(io.BytesIO(client.get(f"/jobs/{table.id}/fields.xlsx").content))
    cells = list(workbook["fields"].iter_rows(values_only=True))
    assert cells[0][:2] == ("field", "value")
    assert cells[2][1] == "'=1+1"
    assert client.get(f"/jobs/{summary.id}/fields.csv").status_code == 409
    shown = client.get(f"/jobs/{table.id}")
    assert shown.headers["location"] == f"/ask?job={table.id}"


def test_a_comparison_shows_both_sides_with_the_words_that_differ(
    site: Site, comparison: Job
) -> None:
    shown = compare_page.show_job(site, comparison)
    assert "<del>4.2</del>" in shown
    assert "<ins>&lt;5.1&gt;</ins>" in shown
    assert "<ins>Nobody was hurt by it.</ins>" in shown
    assert "1 changed, 1 added" in shown
    assert "no model was asked" in shown
    assert 'data-side="old"' in shown
    assert shown.count('class="viewer"') == 2
    chinese = Site(site.jobs, site.settings, Words("zh"))
    assert "修改 1 处，新增 1 处" in compare_page.show_job(chinese, comparison)


def test_two_uploads_are_compared_and_a_bad_one_is_named(
    site: Site, jobs: Jobs, tmp_path: Path
) -> None:
    old, new = (
        upload(tmp_path, "a.txt", TEXT),
        upload(tmp_path, "b.txt", TEXT + "\n\nThe end came."),
    )
    job, _ = compare_page.start(site, old, new, "")
    assert job is not None
    assert job.label == "a.txt → b.txt"
    assert "1 added" in compare_page.show_job(site, *finish(jobs, job))
    bad = upload(tmp_path, "bad.pdf", "%PDF-1.7\nnothing")
    none, uploaded = compare_page.start(site, upload(tmp_path, "a.txt", TEXT), bad, "")
    assert none is None
    assert [name for name, _ in uploaded.refused] == ["bad.pdf"]


def test_a_summary_leads_to_a_question_about_its_document(site: Site, summary: Job) -> None:
    shown = documents_page.show_job(site, summary)
    assert f'href="/en/ask?document={summary.params["document"]}"' in shown


def test_the_samples_of_both_pages_become_jobs(site: Site, jobs: Jobs) -> None:
    ask_page.try_samples(site)
    compare_page.try_samples(site)
    started = jobs.list()
    assert sorted(job.task for job in started) == ["compare"] * 2 + ["extract"] * 2
    assert {job.label for job in started} == {pair.title for pair in load().versions}


def test_figures_are_shown_with_their_verdict_and_place(jobs: Jobs, site: Site) -> None:
    picture = Path(__file__).parents[2] / "samples" / "photos" / "banana.jpg"
    with pymupdf.open() as made:
        page = made.new_page(width=600, height=800)
        page.insert_image((100, 100, 300, 300), filename=picture)
        page.insert_text((100, 330), "Figure 1: A <b>banana</b> for millions.")
        page.insert_image((100, 500, 300, 700), filename=picture)
        document = jobs.add_document("fruit.pdf", made.tobytes())
    submitted, _ = ask_page.submit(site, [], [document.sha256], "", None)
    (job,) = finish(jobs, *submitted)
    shown = ask_page.show_job(site, job)
    assert "A &lt;b&gt;banana&lt;/b&gt; for millions." in shown
    assert ">no caption<" in shown
    (viewer,) = re.findall(r'data-viewer="([^"]+)"', shown)
    marks = json.loads(html.unescape(viewer))["marks"]
    assert [mark["sentence"] for mark in marks] == [0, 0, 1]
    assert marks[2]["boxes"] == [[16.667, 62.5, 33.333, 25.0]]
    chinese = ask_page.show_job(Site(jobs, site.settings, Words("zh")), job)
    assert ">无说明<" in chinese
    assert 'href="/jobs/' in chinese
    text = jobs.add_document("note.txt", TEXT.encode())
    with pytest.raises(BadInput, match="figures are looked for in PDFs"):
        ask_page.submit(site, [], [text.sha256], "", None)
