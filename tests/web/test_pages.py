"""What the pages' handlers do with files, forms and jobs, without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from mmapp.errors import BadInput
from mmapp.jobs import BatchRow, Jobs
from mmapp.types import Job, Label, Listing, Status, SummarizeParams, TaskName
from mmapp.web import listings_page
from mmapp.web.batch_page import show as show_batch
from mmapp.web.batch_page import start_batch, try_sample
from mmapp.web.documents_page import add_files, show_job, try_samples
from mmapp.web.frame import Site, checkpoint_limits, file_problem, guarded
from mmapp.web.jobview import JobView
from mmapp.web.listings_page import add_photos, read_listing, show_verdict
from mmapp.web.results_page import Search, table
from mmapp.web.words import Words
from tests.jobs.scenes import engine

WANTED = SummarizeParams("", 3)


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "uploads"
    folder.mkdir()
    return folder


def upload(folder: Path, name: str, data: bytes) -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


def test_one_bad_file_never_stops_the_others(site: Site, uploads: Path) -> None:
    paths = [
        upload(uploads, "empty.pdf", b""),
        upload(uploads, "good.txt", b"A file with one good sentence in it."),
        upload(uploads, "archive.pdf", b"PK\x03\x04" + b"\0" * 40),
    ]
    added = add_files(site, paths, "", WANTED)
    assert [job.label for job in added.jobs] == ["good.txt"]
    assert [name for name, _ in added.refused] == ["empty.pdf", "archive.pdf"]
    assert list(uploads.iterdir()) == []


def test_a_locked_file_stays_in_the_form_until_its_password_is_right(
    site: Site, uploads: Path
) -> None:
    import pymupdf

    document = pymupdf.open()
    document.new_page().insert_text((72, 72), "The secret is out in this sentence.")
    locked = document.tobytes(encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="kaffee")
    path = upload(uploads, "locked.pdf", locked)
    assert add_files(site, [path], "", WANTED).locked == [path]
    assert add_files(site, [path], "tee", WANTED).locked == [path]
    assert [job.label for job in add_files(site, [path], "kaffee", WANTED).jobs] == ["locked.pdf"]
    assert list(uploads.iterdir()) == []


def test_a_form_without_files_or_with_too_many_is_refused(site: Site) -> None:
    with pytest.raises(BadInput, match="Choose at least one file"):
        add_files(site, [], "", WANTED)
    with pytest.raises(BadInput, match="6 files at once are more than 5"):
        add_files(site, ["x"] * 6, "", WANTED)


def test_a_file_problem_is_told_in_chinese_with_the_detail(site: Site, uploads: Path) -> None:
    chinese = Site(site.jobs, site.settings, Words("zh"))
    ((_, problem),) = add_files(chinese, [upload(uploads, "a.pdf", b"")], "", WANTED).refused
    assert problem.startswith("文件是空的")
    assert file_problem(chinese.say, BadInput("no rows")) == "no rows"


def test_photos_are_added_once_and_other_files_are_named(
    site: Site, uploads: Path, photo: bytes
) -> None:
    paths = [
        upload(uploads, "a.png", photo),
        upload(uploads, "b.png", photo),
        upload(uploads, "c.png", b"not a picture at all, but words"),
    ]
    sha256s, problems = add_photos(site, paths, [])
    assert len(sha256s) == 1
    assert problems == [("c.png", "This is text/plain, not a photo.")]
    assert list(uploads.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "attribute"),
    [
        ("color = blue", ("color", "blue")),
        ("material: cotton = good", ("material", "cotton = good")),
        ("  尺码＝大  ", ("尺码", "大")),
        ("颜色：深蓝", ("颜色", "深蓝")),
    ],
)
def test_an_attribute_is_a_name_and_a_value(
    site: Site, line: str, attribute: tuple[str, str]
) -> None:
    listing = read_listing(site, ["ab"], " Shirt ", "", f"\n{line}\n\n")
    assert (listing.title, dict(listing.attributes)) == ("Shirt", dict([attribute]))


@pytest.mark.parametrize(
    ("photos", "title", "lines", "problem"),
    [
        ([], "Shirt", "", "Add at least one photo"),
        (["ab"], "  ", "", "Give the listing a title"),
        (["ab"], "Shirt", "just blue", "“just blue” is no attribute"),
        (["ab"], "Shirt", "= blue", "“= blue” is no attribute"),
    ],
)
def test_an_incomplete_listing_is_refused(
    site: Site, photos: list[str], title: str, lines: str, problem: str
) -> None:
    with pytest.raises(BadInput, match=problem):
        read_listing(site, photos, title, "", lines)


def test_a_finished_summary_shows_its_sentence_and_where_it_stands(
    site: Site, summary: Job
) -> None:
    shown = show_job(site, summary)
    assert "Engineers found cracks in two piers." in shown
    assert f"/pages/{summary.params['document']}/" in shown


def test_a_finished_question_shows_its_answer_on_its_page(site: Site, answer: Job) -> None:
    shown = show_job(site, answer)
    assert "What will it cost?" in shown
    assert "Repairs will cost 4.2 million euros" in shown
    assert 'data-page="1"' in shown
    found = table(site, Search(task="ask"), 0)
    assert f"/en/ask?job={answer.id}" in found


def test_a_finished_listing_shows_its_claims_and_photo(site: Site, verdict: Job) -> None:
    shown = show_verdict(site, verdict)
    assert 'class="claims"' in shown
    assert "Blue shirt" in shown
    assert f"/pages/{verdict.params['photos'][0]}/1" in shown


def test_a_persons_word_stands_beside_the_models(site: Site, jobs: Jobs, verdict: Job) -> None:
    jobs.review(verdict.id, claim=1, label=Label.REFUTED, note="<i>no</i>", by="李 ${x}")
    shown = show_verdict(site, verdict)
    assert "李 &#36;&#123;x&#125;: &lt;i&gt;no&lt;/i&gt;" in shown
    assert shown.count('data-review="SUPPORTED"') == 1 + len(
        jobs.result(verdict.id).payload["claims"]
    )
    assert 'data-review="SUPPORTED"' in table(site, Search(), 0)


def test_a_batch_offers_its_least_certain_listings_for_review(
    site: Site, jobs: Jobs, verdict: Job
) -> None:
    listing = Listing(tuple(verdict.params["photos"]), "Blue shirt", "It is cracked.")
    batch = jobs.submit_batch("a.csv", TaskName.CHECK_LISTING, [BatchRow({}, listing)])
    assert "to-review" not in show_batch(site, batch.id, "")[0]
    (job,) = jobs.list(batch_id=batch.id)
    jobs.run(job.id, engine(), "w1")
    chinese = Site(jobs, site.settings, Words("zh"))
    assert "接下来请复核" in show_batch(chinese, batch.id, "")[0]
    jobs.review(job.id, by="Ann")
    assert "to-review" not in show_batch(site, batch.id, "")[0]


def view(site: Site) -> JobView:
    return JobView(site, [TaskName.SUMMARIZE], show_job, try_samples)


def is_active(updates: list[Any]) -> bool:
    return bool(updates[5].active)


def test_the_timer_runs_only_while_a_job_is_unfinished(site: Site, jobs: Jobs) -> None:
    document = jobs.add_document("a.txt", b"One sentence that waits for its worker.")
    job = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 1))
    waiting = view(site).look(job.id)
    assert is_active(waiting)
    assert waiting[2]["visible"]
    assert "No worker is ready yet" in waiting[1]
    jobs.cancel(job.id)
    ended = view(site).look(job.id)
    assert not is_active(ended)
    assert (ended[2]["visible"], ended[3]["visible"]) == (False, True)


def test_what_looks_the_same_is_left_alone(site: Site, summary: Job) -> None:
    first = view(site).look(summary.id)
    assert view(site).look(summary.id, first[1])[0] == gr.skip()


def test_an_unknown_job_is_told_and_not_a_defect(site: Site) -> None:
    assert "nothing" in view(site).look("nothing")[1]


def test_results_are_found_by_their_words_and_filters(
    site: Site, summary: Job, verdict: Job
) -> None:
    both = table(site, Search(), 0)
    assert "2 found" in both
    cracks = table(site, Search(q="cracks piers"), 0)
    assert "1 found" in cracks
    assert f"/en/documents?job={summary.id}" in cracks
    assert "/results.csv?q=cracks+piers" in cracks
    checks = table(site, Search(task="check_listing", status="succeeded"), 0)
    assert f"/en/listings?job={verdict.id}" in checks
    assert "Nothing matches" in table(site, Search(since="2999-01-01"), 0)


def test_a_wrong_date_is_told(site: Site) -> None:
    with pytest.raises(BadInput, match="“soon” is no date"):
        table(site, Search(until="soon"), 0)


def test_the_empty_results_page_says_what_to_do(site: Site) -> None:
    assert "Summarise a document" in table(site, Search(), 0)


def test_a_checkpoint_tells_its_limits_in_both_languages(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "profile.json").write_text('{"limits": {"en": "Reads little.", "zh": "读得少。"}}')
    assert checkpoint_limits(folder, "en") == ("small", ["Reads little."])
    assert checkpoint_limits(folder, "zh") == ("small", ["读得少。"])
    assert checkpoint_limits(tmp_path / "none", "en") == ("none", [])


def test_a_defect_shows_a_number_and_no_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @guarded(Words("en"))
    def handler() -> None:
        raise RuntimeError("the secret inside")

    with pytest.raises(gr.Error) as shown:
        handler()
    assert "secret" not in str(shown.value)
    assert "the secret inside" in caplog.text


def test_a_problem_that_a_person_can_solve_is_shown_inert() -> None:
    @guarded(Words("en"))
    def handler() -> None:
        raise BadInput("<b>wrong</b>")

    with pytest.raises(gr.Error, match="&lt;b&gt;wrong"):
        handler()


def test_a_cancelled_job_can_be_tried_again(site: Site, jobs: Jobs) -> None:
    document = jobs.add_document("b.txt", b"Another sentence that waits for a worker.")
    job = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 1))
    jobs.cancel(job.id)
    assert jobs.retry(job.id).status == Status.QUEUED
    assert "waiting" in view(site).look(job.id)[1]


def test_the_samples_are_offered_while_there_is_nothing_else(site: Site, jobs: Jobs) -> None:
    assert view(site).look("")[6]["visible"]
    try_samples(site)
    assert not view(site).look("")[6]["visible"]
    listings_page.try_samples(site)
    assert {job.task for job in jobs.list()} == {TaskName.SUMMARIZE, TaskName.CHECK_LISTING}


def table_file(uploads: Path, *rows: str) -> Path:
    return Path(upload(uploads, "listings.csv", "\n".join(rows).encode()))


def test_a_batch_comes_with_its_files_and_may_name_no_others(
    site: Site, jobs: Jobs, uploads: Path, photo: bytes
) -> None:
    sent = table_file(uploads, "image,title", "a.png,Shirt", f"{Path(__file__)},Secret")
    image = Path(upload(uploads, "a.png", photo))
    batch = start_batch(site, [sent, image], TaskName.CHECK_LISTING)
    first, second = jobs.batch_rows(batch.id)
    assert first.job is not None
    assert (second.job, "did not come with the table" in second.error) == (None, True)
    assert list(uploads.iterdir()) == []


def test_a_batch_shows_its_rows_in_order_with_errors_and_links(
    site: Site, jobs: Jobs, uploads: Path, photo: bytes
) -> None:
    sent = table_file(uploads, "image,title", "none.png,Hat", "a.png,Shirt <b>")
    image = Path(upload(uploads, "a.png", photo))
    batch = start_batch(site, [sent, image], TaskName.CHECK_LISTING)
    shown, _, timer, _ = show_batch(site, batch.id, "")
    assert timer.active
    assert "1 of 2 rows done" in shown
    assert shown.index("none.png · Hat") < shown.index("a.png · Shirt &lt;b&gt;")
    (job,) = jobs.list(batch_id=batch.id)
    assert f"/en/listings?job={job.id}" in shown
    jobs.run(job.id, engine(), "w1")
    shown, recent, timer, _ = show_batch(site, batch.id, "")
    assert not timer.active
    assert "2 of 2 rows done" in shown
    assert "listings.csv" in recent
    assert f"/batches/{batch.id}/results.csv" in shown


def test_a_batch_is_told_which_columns_are_which_and_has_a_report(
    site: Site, jobs: Jobs, uploads: Path, photo: bytes
) -> None:
    sent = table_file(uploads, "Bild,Bezeichnung", "a.png,Hemd")
    image = Path(upload(uploads, "a.png", photo))
    told = "title=Bezeichnung，image＝Bild"
    batch = start_batch(site, [sent, image], TaskName.CHECK_LISTING, told)
    (job,) = jobs.list(batch_id=batch.id)
    assert (job.label, job.params["attributes"]) == ("Hemd", {})
    assert f'href="/batches/{batch.id}/report.html"' in show_batch(site, batch.id, "")[0]
    again = table_file(uploads, "Bild,Bezeichnung", "a.png,Hemd")
    remembered = start_batch(site, [again], TaskName.CHECK_LISTING)
    assert remembered.rows == 1


def test_a_batch_of_no_table_or_of_two_is_refused(site: Site, uploads: Path) -> None:
    with pytest.raises(BadInput, match="Choose a CSV, an Excel file or a zip first"):
        start_batch(site, [], TaskName.SUMMARIZE)
    two = [Path(upload(uploads, name, b"document\n")) for name in ("a.csv", "b.jsonl")]
    with pytest.raises(BadInput, match="here are 2 tables"):
        start_batch(site, two, TaskName.SUMMARIZE)
    assert list(uploads.iterdir()) == []


def test_the_sample_batch_has_a_job_in_every_row(site: Site) -> None:
    batch = try_sample(site)
    assert batch.rows
    assert batch.rejected == 0
