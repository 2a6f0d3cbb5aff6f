"""Scans through the verbs of jobs: recognised once, page by page, and what fails is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pymupdf
import pytest

from mmapp.config import Settings
from mmapp.errors import JobCancelled, NoText
from mmapp.jobs import Jobs
from mmapp.jobs.scans import Scans
from mmapp.types import (
    AskParams,
    Document,
    Job,
    Progress,
    Recognition,
    Source,
    Status,
    SummarizeParams,
    TaskName,
)
from tests.documents.scans import CHINESE, ENGLISH, encoded, picture, scanned, written
from tests.jobs.scenes import checkpoint_folder, engine
from tests.servers import migrated_sqlite
from tests.tasks.fakes import likes


@pytest.fixture
def settings(sqlite_template: Path, tmp_path: Path) -> Settings:
    """On SQLite alone: what is slow here asks nothing of the database."""
    return Settings(
        data_dir=tmp_path / "data",
        database_url=migrated_sqlite(sqlite_template, tmp_path / "jobs.sqlite3"),
        checkpoint=checkpoint_folder(tmp_path / "fake"),
        threads=1,
        _env_file=None,
    )


@pytest.fixture
def limited(settings: Settings) -> Iterator[Jobs]:
    """Jobs that recognise no page."""
    with Jobs.open(settings.model_copy(update={"ocr_pages": 0})) as jobs:
        yield jobs


def book(*pages: bytes) -> bytes:
    whole = pymupdf.open()
    for page in pages:
        whole.insert_pdf(pymupdf.open("pdf", page))
    return whole.tobytes()


def summarized(jobs: Jobs, document: Document) -> Job:
    job = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 2))
    jobs.run(job.id, engine(likes("Costs", "新楼")), "w1")
    return jobs.get(job.id)


def test_a_scan_is_read_by_its_first_job_and_proved_like_text(jobs: Jobs) -> None:
    english, chinese = (scanned(picture(written(lines))) for lines in (ENGLISH, CHINESE))
    document = jobs.add_document("scan.pdf", book(english, chinese, written(ENGLISH).tobytes()))
    job = summarized(jobs, document)
    assert job.error == ""
    payload = jobs.result(job.id).payload
    assert payload["coverage"]["ocr"] == 2
    assert payload["coverage"]["failed"] == []
    found = {one["text"]: one for one in payload["summary"]}
    assert set(found) == {ENGLISH[1], CHINESE[1]}
    (proof,) = found[CHINESE[1]]["evidence"]
    assert found[CHINESE[1]]["supported"]
    assert (proof["page"], proof["quote"], proof["ocr"] > 0.9) == (2, CHINESE[1], True)
    assert len(proof["boxes"]) == 1
    states = [page.recognition for page in jobs.pages(document.sha256)]
    assert states == [Recognition.DONE, Recognition.DONE, Recognition.NOT_NEEDED]


def test_a_run_that_is_stopped_goes_on_with_the_page_where_it_was(
    settings: Settings, jobs: Jobs
) -> None:
    pages = [scanned(picture(written([line]))) for line in ENGLISH]
    document = jobs.add_document("scan.pdf", book(*pages))
    scans = Scans(settings, jobs._database, jobs._library)
    told: list[Progress] = []

    def cancel_on_the_second(progress: Progress) -> None:
        told.append(progress)
        if progress.done == 1:
            raise JobCancelled("enough")

    with pytest.raises(JobCancelled):
        scans.pages(document, cancel_on_the_second)
    first, second = jobs.pages(document.sha256)
    assert [line.source for line in first.lines] == [Source.OCR]
    assert second.recognition is Recognition.WANTED
    assert [(one.phase, one.total, one.unit) for one in told[:1]] == [("recognising", 2, "pages")]
    told.clear()
    read = scans.pages(document, told.append)
    assert [page.lines[0].text for page in read] == ENGLISH
    assert [(one.done, one.total) for one in told] == [(0, 1)]
    scans.close()


def test_a_page_that_fails_is_told_and_the_rest_goes_on(limited: Jobs) -> None:
    unseen = scanned(picture(written(CHINESE)), CHINESE)
    document = limited.add_document("scan.pdf", book(written(ENGLISH).tobytes(), unseen))
    payload = limited.result(summarized(limited, document).id).payload
    (failed,) = payload["coverage"]["failed"]
    assert (failed["page"], payload["coverage"]["read"]) == (2, 1)
    assert "raise MMAPP_OCR_PAGES" in failed["reason"]
    assert "unseen text layer, unchecked, was left out" in failed["reason"]
    assert all(proof["page"] == 1 for one in payload["summary"] for proof in one["evidence"])
    assert limited.pages(document.sha256)[1].recognition is Recognition.WANTED


def test_where_recognition_is_off_layers_are_believed_and_pictures_are_told(
    settings: Settings,
) -> None:
    with Jobs.open(settings.model_copy(update={"ocr": "off"})) as jobs:
        layered = scanned(picture(written(CHINESE)), CHINESE)
        document = jobs.add_document("scan.pdf", book(layered, scanned(picture(written(ENGLISH)))))
        payload = jobs.result(summarized(jobs, document).id).payload
        assert CHINESE[1] in {one["text"] for one in payload["summary"]}
        (failed,) = payload["coverage"]["failed"]
        assert failed == {
            "page": 2,
            "reason": "no text layer, and text recognition is off (MMAPP_OCR)",
        }
        scan = jobs.add_document("scan.png", encoded(picture(written(ENGLISH))))
        job = summarized(jobs, scan)
        assert (job.status, "MMAPP_OCR" in job.error) == (Status.FAILED, True)


def test_a_blank_scan_is_refused_when_it_is_given(jobs: Jobs) -> None:
    blank = jobs.add_document("blank.pdf", scanned(picture(written([]))))
    with pytest.raises(NoText, match=r"blank\.pdf: no page has words"):
        jobs.submit(TaskName.ASK, AskParams(blank.sha256, "Why?"))


def test_results_depend_on_how_words_in_pictures_are_read(settings: Settings) -> None:
    assert (
        len(
            {
                settings.model_copy(update=change).recognition
                for change in ({}, {"ocr": "off"}, {"ocr_pages": 3}, {"ocr_seconds": 5.0})
            }
        )
        == 4
    )
