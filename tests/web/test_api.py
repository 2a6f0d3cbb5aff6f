"""What is served beside the pages, and what is not."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pymupdf
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from mmapp import __version__
from mmapp.api import add_routes
from mmapp.jobs import BatchRow, Jobs
from mmapp.types import Job, SummarizeParams, TaskName
from tests.jobs.scenes import engine


@pytest.fixture
def client(jobs: Jobs) -> Iterator[TestClient]:
    app = FastAPI()
    add_routes(app, jobs)
    with TestClient(app, follow_redirects=False) as client:
        yield client


def test_the_process_tells_that_it_lives_and_what_it_is(client: TestClient) -> None:
    assert client.get("/livez").json() == client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/version").json() == {"name": "mmapp", "version": __version__}


def test_without_a_queue_the_process_is_not_ready(client: TestClient) -> None:
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["error"] == "broker_down"


def test_prometheus_is_told_also_when_the_queue_is_down(client: TestClient, summary: Job) -> None:
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'mmapp_jobs{status="succeeded"} 1.0' in response.text
    assert summary.label not in response.text


def test_a_photo_is_served_anew_encoded_and_never_changes(
    client: TestClient, jobs: Jobs, photo: bytes
) -> None:
    document = jobs.add_document("a.png", photo + b"<script>not a picture</script>")
    response = client.get(f"/pages/{document.sha256}/1")
    assert Image.open(io.BytesIO(response.content)).size == (64, 48)
    assert response.headers["content-type"].startswith("image/")
    assert "immutable" in response.headers["cache-control"]
    assert b"script" not in response.content


def test_a_page_of_text_is_served_as_plain_text(client: TestClient, jobs: Jobs) -> None:
    document = jobs.add_document("a.txt", "<script>alert(1)</script>\n\n第二段。".encode())
    response = client.get(f"/pages/{document.sha256}/1/text")
    assert response.text == "<script>alert(1)</script>\n第二段。"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    [
        "/pages/{sha256}/2",
        "/pages/{sha256}/0",
        "/pages/{sha256}/2/text",
        "/pages/nothing/1",
        "/pages/nothing/1/text",
        "/jobs/nothing",
        "/jobs/nothing/result.json",
        "/jobs/nothing/result.md",
        "/jobs/nothing/annotated.pdf",
        "/batches/nothing/results.csv",
    ],
)
def test_what_is_not_there_is_not_found(client: TestClient, jobs: Jobs, path: str) -> None:
    sha256 = jobs.add_document("a.txt", b"Only one page of text.").sha256
    response = client.get(path.format(sha256=sha256))
    assert (response.status_code, response.json()["error"]) == (404, "not_found")


def test_a_job_leads_to_its_page(client: TestClient, summary: Job, verdict: Job) -> None:
    assert client.get(f"/jobs/{summary.id}").headers["location"] == f"/documents?job={summary.id}"
    assert client.get(f"/jobs/{verdict.id}").headers["location"] == f"/listings?job={verdict.id}"


def test_a_result_is_the_same_json_as_the_command_lines(client: TestClient, summary: Job) -> None:
    result = client.get(f"/jobs/{summary.id}/result.json").json()
    keys = {"job", "document", "summary", "length", "coverage", "hidden", "record"}
    assert set(result) == keys
    assert result["record"]["checkpoint"] == "fake"


def test_a_result_is_exported_as_markdown(client: TestClient, summary: Job) -> None:
    response = client.get(f"/jobs/{summary.id}/result.md")
    assert "attachment" in response.headers["content-disposition"]
    assert "page 1: “" in response.text


def test_a_result_about_a_text_has_no_annotated_pdf(client: TestClient, summary: Job) -> None:
    response = client.get(f"/jobs/{summary.id}/annotated.pdf")
    assert (response.status_code, response.json()["error"]) == (409, "not_possible")
    assert "export its result as Markdown or JSON" in response.json()["message"]


def test_a_summary_of_a_pdf_comes_as_that_pdf_with_its_proofs_marked(
    client: TestClient, jobs: Jobs
) -> None:
    pdf = Path(__file__).parents[1] / "data" / "pdfs" / "habibi-rotated.pdf"
    document = jobs.add_document(pdf.name, pdf.read_bytes())
    job = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 2))
    jobs.run(job.id, engine(), "worker")
    response = client.get(f"/jobs/{job.id}/annotated.pdf")
    assert response.headers["content-type"] == "application/pdf"
    assert "attachment" in response.headers["content-disposition"]
    marked = [
        (page.number + 1, page.get_textbox(note.rect), note.info["content"])
        for page in pymupdf.open(stream=response.content, filetype="pdf")
        for note in page.annots()
    ]
    payload = jobs.result(job.id).payload
    proofs = [
        (one["page"], item["text"]) for item in payload["summary"] for one in item["evidence"]
    ]
    assert [(page, note) for page, _, note in marked] == proofs
    assert proofs


def test_the_running_source_can_be_had(client: TestClient) -> None:
    packed = client.get("/source.tar.gz").content
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        names = set(archive.getnames())
    assert {"mmapp/LICENSE", "mmapp/mmapp/api.py", "mmapp/model/engine.py"} <= names
    assert not [name for name in names if ".env" in name or ".venv" in name or "/.git" in name]


def rows_of(response: httpx.Response) -> list[dict[str, str]]:
    assert response.content.startswith(b"\xef\xbb\xbf"), "spreadsheets ask for the mark of UTF-8"
    return list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"))))


def test_found_results_are_exported_with_their_json(
    client: TestClient, summary: Job, verdict: Job
) -> None:
    found = rows_of(client.get("/results.csv"))
    assert [row["job"] for row in found] == [verdict.id, summary.id]
    (cracks,) = rows_of(client.get("/results.csv?q=cracks&task=summarize&until=2999-01-01"))
    assert json.loads(cracks["result"])["summary"][0]["evidence"][0]["page"] == 1


def test_a_batch_is_exported_in_the_order_of_its_rows(client: TestClient, jobs: Jobs) -> None:
    rows = [BatchRow({"document": "b.txt"}, error="=SUM(1)"), BatchRow({"document": "a.txt"})]
    batch = jobs.submit_batch("documents.csv", TaskName.SUMMARIZE, rows)
    response = client.get(f"/batches/{batch.id}/results.csv")
    assert "attachment" in response.headers["content-disposition"]
    exported = rows_of(response)
    assert [row["document"] for row in exported] == ["b.txt", "a.txt"]
    assert exported[0]["error"] == "'=SUM(1)"


def test_the_report_of_a_batch_is_downloaded(client: TestClient, jobs: Jobs) -> None:
    batch = jobs.submit_batch("a.csv", TaskName.CHECK_LISTING, [BatchRow({"id": "1"}, error="no")])
    response = client.get(f"/batches/{batch.id}/report.html")
    assert "attachment" in response.headers["content-disposition"]
    assert response.text.startswith("<!doctype html>")
    documents = jobs.submit_batch("b.csv", TaskName.SUMMARIZE, [])
    assert client.get(f"/batches/{documents.id}/report.html").status_code == 400


def test_a_person_says_beside_the_model_what_is_so(
    client: TestClient, jobs: Jobs, verdict: Job
) -> None:
    said = {"claim": 1, "label": "REFUTED", "note": "<b>没有</b>", "by": "Ann"}
    response = client.post(f"/jobs/{verdict.id}/reviews", json=said)
    assert response.status_code == 201
    assert response.json()["label"] == "REFUTED"
    (review,) = client.get(f"/jobs/{verdict.id}/result.json").json()["reviews"]
    assert (review["claim"], review["note"], review["by"]) == (1, "<b>没有</b>", "Ann")
    client.post(f"/jobs/{verdict.id}/reviews", json={"by": "Bo"})
    (row,) = rows_of(client.get("/results.csv"))
    assert row["reviewed"] == jobs.result(verdict.id).payload["verdict"]
    assert row["reviewed_by"] == "Bo"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"by": " "}, 400),
        ({"by": "Ann", "claim": 99}, 400),
        ({"by": "Ann", "label": "MAYBE"}, 422),
        ({}, 422),
    ],
)
def test_what_no_person_can_say_is_refused(
    client: TestClient, jobs: Jobs, verdict: Job, said: dict[str, object], status: int
) -> None:
    assert client.post(f"/jobs/{verdict.id}/reviews", json=said).status_code == status
    assert client.post("/jobs/nothing/reviews", json={"by": "Ann"}).status_code == 404
    assert jobs.reviews() == []
