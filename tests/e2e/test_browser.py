"""A person at the browser, with the whole stack behind it and nothing put in its place."""

from __future__ import annotations

import csv
import os
import re
import signal
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from mmapp.jobs import Jobs
from mmapp.stack import Stack
from tests.e2e import files
from tests.e2e.conftest import PATIENCE_MS, Watched
from tests.web.server import WebServer

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)


def upload(page: Page, *paths: Path) -> None:
    """Puts files into the page's form and waits until the server has them."""
    page.locator("input[type=file]").set_input_files([str(path) for path in paths])
    expect(page.locator(".file-preview tr")).to_have_count(len(paths))


def sentence(page: Page, words: str) -> Locator:
    return page.locator("#job button.sentence", has_text=words)


def chosen_place(page: Page) -> tuple[float, float]:
    """Left and top of the chosen mark as it is drawn, in points of an A4 page."""
    expect(page.locator(".mark.chosen")).to_be_visible()
    page.wait_for_function("document.querySelector('.paper img').complete")
    left, top = page.evaluate(
        """() => {
            const mark = document.querySelector('.mark.chosen').getBoundingClientRect();
            const sheet = document.querySelector('.paper img').getBoundingClientRect();
            return [(mark.x - sheet.x) / sheet.width, (mark.y - sheet.y) / sheet.height];
        }"""
    )
    return 595 * left, 842 * top


def see_the_proofs(page: Page) -> None:
    """Every sentence leads to its page, and its mark stands on its words."""
    for number, words in enumerate((files.FIRST, files.SECOND, files.THIRD), start=1):
        sentence(page, words).click()
        expect(page.locator(f".paper img[src$='/{number}']")).to_be_visible()
        expect(page.locator(".tools input")).to_have_value(str(number))
        left, top = chosen_place(page)
        assert left == pytest.approx(72, abs=3)
        assert top == pytest.approx(100 - 11, abs=5)


def test_a_pdf_becomes_a_summary_with_each_sentence_shown_on_its_page(
    browser: Watched, tmp_path: Path
) -> None:
    page = browser.open("/")
    upload(page, files.pdf(tmp_path))
    page.get_by_role("button", name="Summarise").click()
    expect(sentence(page, files.FIRST)).to_have_class(re.compile("chosen"))
    expect(page).to_have_url(re.compile(r"/en/documents\?job=\w+$"))
    see_the_proofs(page)
    expect(page.locator(".cell.proof")).to_have_count(3)

    page.reload()
    see_the_proofs(page)

    page.goto(browser.url + "/results")
    page.get_by_label("Words in the name or the result").fill("deep cracks piers")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".found")).to_contain_text("1 found")
    expect(page).to_have_url(re.compile(r"q=deep\+cracks\+piers"))
    page.get_by_role("link", name="bridge.pdf").click()
    expect(sentence(page, files.SECOND)).to_be_visible()


def test_a_jobs_address_still_works_after_the_server_was_restarted(
    browser: Watched, tmp_path: Path, server: WebServer
) -> None:
    page = browser.open("/documents")
    upload(page, files.pdf(tmp_path, "restart.pdf"))
    page.get_by_role("button", name="Summarise").click()
    expect(sentence(page, files.FIRST)).to_be_visible()
    expect(page).to_have_url(re.compile("job="))
    job = page.url.partition("job=")[2]
    page.goto("about:blank")
    before = server.url
    server.stop()
    server.start()
    assert server.url == before
    page.goto(f"{server.url}/jobs/{job}")
    expect(sentence(page, files.FIRST)).to_be_visible()
    assert page.url == f"{server.url}/en/documents?job={job}"


def test_every_claim_of_a_listing_gets_a_verdict_and_a_place(
    browser: Watched, tmp_path: Path
) -> None:
    page = browser.open("/listings")
    photos = [files.photo(tmp_path, "front.jpg", "navy"), files.photo(tmp_path, "back.jpg", "red")]
    page.locator("input[type=file]").set_input_files([str(photo) for photo in photos])
    expect(page.locator("#thumbs img")).to_have_count(2)
    page.get_by_label("Title").fill("Navy shirt <b>bold</b>")
    page.get_by_label("Attributes").fill("color = navy\n尺码：大")
    page.get_by_role("button", name="Check the listing").click()
    expect(page.locator("table.claims tbody tr")).to_have_count(5)
    expect(page.locator(".verdict .headline")).to_contain_text("hotos")
    expect(page.locator(".offer h3")).to_have_text("Navy shirt <b>bold</b>")

    page.reload()
    expect(page.locator("table.claims .label")).to_have_count(5)
    for claim in page.locator("table.claims button.sentence").all():
        claim.click()
        expect(page.locator(".viewer .mark.chosen")).to_be_visible()

    page.goto(browser.url + "/results?task=check_listing")
    page.get_by_role("link", name="Navy shirt").click()
    expect(page.locator("table.claims")).to_be_visible()


def test_each_file_that_can_not_be_read_is_told_beside_its_name(
    browser: Watched, tmp_path: Path
) -> None:
    page = browser.open("/documents")
    locked = files.pdf(tmp_path, "locked.pdf", password=files.PASSWORD)
    upload(
        page,
        locked,
        files.write(tmp_path / "empty.pdf", b""),
        files.write(tmp_path / "torn.pdf", b"%PDF-1.7\nnothing more"),
        files.write(tmp_path / "archive.docx", b"PK\x03\x04" + bytes(40)),
        files.write(tmp_path / "fine.md", b"# Fine\n\nThis file has a sentence to read.\n"),
    )
    page.get_by_role("button", name="Summarise").click()
    problems = page.locator("#problems li")
    expect(problems).to_have_count(4)
    for name in ("locked.pdf", "empty.pdf", "torn.pdf", "archive.docx"):
        expect(problems.filter(has=page.locator("strong", has_text=name))).to_be_visible()
    expect(page.locator("a.card", has_text="fine.md")).to_be_visible()
    expect(page.locator(".file-preview tr")).to_have_count(1)

    page.get_by_label("Password").fill("tee")
    page.get_by_role("button", name="Summarise").click()
    expect(problems).to_have_count(1)
    page.get_by_label("Password").fill(files.PASSWORD)
    page.get_by_role("button", name="Summarise").click()
    expect(sentence(page, files.SECOND)).to_be_visible()
    expect(problems).to_have_count(0)


def test_a_batch_runs_and_its_results_can_be_downloaded(browser: Watched, tmp_path: Path) -> None:
    table = "id,image,title,colour\n1,shirt.jpg,Red shirt,red\n2,gone.jpg,Hat,\n"
    with zipfile.ZipFile(tmp_path / "offers.zip", "w") as packed:
        packed.writestr("offers.csv", table)
        packed.write(files.photo(tmp_path, "shirt.jpg", "red"), "shirt.jpg")
    page = browser.open("/batch")
    upload(page, tmp_path / "offers.zip")
    page.get_by_role("button", name="Start the batch").click()
    expect(page.locator("#batch .progress")).to_contain_text("2 of 2 rows done")
    expect(page).to_have_url(re.compile(r"/en/batch\?batch=\w+$"))
    page.reload()
    expect(page.locator("table.batch tbody tr")).to_have_count(2)
    expect(page.locator("table.batch .wrong")).to_contain_text("gone.jpg")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the results").click()
    with download.value.path().open(encoding="utf-8-sig", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["id"], first["error"], first["verdict"] != "") == ("1", "", True)
    assert "gone.jpg" in second["error"]
    page.locator("table.batch a").first.click()
    expect(page.locator("table.claims")).to_be_visible()


def test_a_form_that_lacks_something_says_what(browser: Watched) -> None:
    page = browser.open("/listings")
    page.get_by_role("button", name="Check the listing").click()
    expect(page.get_by_text("Add at least one photo first.")).to_be_visible()
    page = browser.open("/documents")
    page.get_by_role("button", name="Summarise").click()
    expect(page.get_by_text("Choose at least one file first.")).to_be_visible()


def test_the_pages_speak_chinese_to_a_chinese_browser(browser: Watched, tmp_path: Path) -> None:
    page = browser.open("/", language="zh-CN")
    assert page.url.endswith("/zh/documents")
    upload(page, files.chinese_text(tmp_path))
    page.get_by_role("button", name="生成摘要").click()
    expect(page.locator("#job .chip")).to_have_text("完成")
    for words in files.CHINESE:
        sentence(page, words).click()
        expect(page.locator(".paper mark.chosen")).to_have_text(words)
    page.get_by_role("link", name="English").click()
    expect(page.locator("#job .chip")).to_have_text("done")
    page.goto(browser.url + "/results")
    assert page.url.endswith("/en/results")


def test_two_versions_are_shown_side_by_side_with_the_words_that_differ(
    browser: Watched, tmp_path: Path
) -> None:
    page = browser.open("/compare")
    old = files.pdf(tmp_path, "first.pdf")
    new = files.write(tmp_path / "second.md", f"{files.FIRST}\n\n{files.THIRD} Or so.".encode())
    for place, path in ((0, old), (0, new)):
        page.locator("input[type=file]").nth(place).set_input_files(str(path))
        expect(page.locator(".file-preview tr")).to_have_count(1 if path is old else 2)
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("ol.changes li").first).to_be_visible()
    removed = page.locator("ol.changes button[data-side=old]", has_text=files.SECOND)
    removed.click()
    expect(page.locator(".viewer[data-side=old] .mark.chosen").first).to_be_visible()
    page.reload()
    expect(removed).to_be_visible()


def test_a_document_is_asked_and_its_fields_are_extracted(browser: Watched, tmp_path: Path) -> None:
    page = browser.open("/ask")
    lease = files.write(tmp_path / "lease.txt", "甲方：安居公司\n\n租期自2024年3月5日起。".encode())
    upload(page, lease)
    page.get_by_role("button", name="Extract key information").click()
    expect(page.locator("table.fields button.sentence", has_text="2024年3月5日")).to_be_visible()
    page.get_by_label("Question", exact=True).fill("甲方是谁？")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#job h2")).to_contain_text("甲方是谁？")
    expect(page.locator("#job .chip")).to_have_text("done")


@contextmanager
def paused_workers(stack: Stack) -> Iterator[None]:
    """No worker takes a job meanwhile, though all of them live."""
    with Jobs.open(stack.settings) as jobs:
        pids = [worker.process.pid for worker in jobs.workers() if worker.ready]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):  # a worker that is silent for long is replaced
                os.kill(pid, signal.SIGCONT)


def test_a_waiting_job_can_be_cancelled_and_tried_again(
    browser: Watched, tmp_path: Path, stack: Stack
) -> None:
    page = browser.open("/documents")
    with paused_workers(stack):
        upload(page, files.write(tmp_path / "wait.txt", b"A sentence that can wait for long."))
        page.get_by_role("button", name="Summarise").click()
        expect(page.locator("#job .chip")).to_have_text("waiting")
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#job .chip")).to_have_text("cancelled")
    page.get_by_role("button", name="Try again").click()
    expect(sentence(page, "A sentence that can wait")).to_be_visible()


@pytest.mark.parametrize("path", ["documents", "ask", "compare", "listings", "batch", "results"])
def test_every_page_fits_a_phone(browser: Watched, path: str) -> None:
    page = browser.open(f"/{path}", width=390)
    expect(page.locator(".foot a")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_no_process_of_the_stack_asked_another_machine(network_log: Path) -> None:
    assert not network_log.exists(), network_log.read_text()
