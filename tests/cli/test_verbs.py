"""The verbs with a real queue, real workers and a tiny checkpoint that is never right."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pymupdf
import pytest

from mmapp.jobs import Jobs
from mmapp.stack import Stack
from tests.cli.conftest import Mmapp, lines_of

QUOTE = "The harbour of Emden had twelve cranes in 1914."


@pytest.mark.usefixtures("stack")
def test_summarize_writes_the_json_of_the_contract(mmapp: Mmapp, files: Path) -> None:
    value = mmapp("summarize", files / "harbour.pdf", "--sentences", 3, "--json").json
    told = ["job", "document", "summary", "length", "coverage", "hidden", "record"]
    assert list(value) == told
    assert value["document"]["pages"] == 3
    covered = {"pages": 3, "read": 3, "ocr": 0, "failed": []}
    assert covered.items() <= value["coverage"].items()
    second = value["summary"][1]
    assert second["supported"] is True
    assert [one["quote"] for one in second["evidence"]] == [second["text"]] == [QUOTE]
    assert second["evidence"][0]["page"] == 2
    assert len(second["evidence"][0]["boxes"][0]) == 4
    assert value["record"]["job"] == value["job"]


@pytest.mark.usefixtures("stack")
def test_the_terminal_shows_quotes_pages_and_coverage(mmapp: Mmapp, files: Path) -> None:
    run = mmapp("summarize", files / "harbour.pdf", "--sentences", 3)
    assert f"“{QUOTE}”  ✓ p. 2" in run.out
    assert "Read 3 of 3 pages." in run.out
    assert "\x1b" not in run.out + run.err


@pytest.mark.usefixtures("stack")
def test_of_several_paths_the_good_ones_are_done(mmapp: Mmapp, files: Path) -> None:
    run = mmapp("summarize", files / "zh.txt", "gone.pdf", files / "locked.pdf", "--json")
    assert run.status == 2
    assert [one["document"]["name"] for one in run.json] == ["zh.txt"]
    assert "gone.pdf does not exist" in run.err
    assert "locked.pdf" in run.err


@pytest.mark.usefixtures("stack")
def test_a_password_opens_an_encrypted_pdf(mmapp: Mmapp, files: Path) -> None:
    run = mmapp("summarize", files / "locked.pdf", "--password", "sesame", "--json")
    assert run.status == 0
    assert run.json["document"]["name"] == "locked.pdf"


@pytest.mark.usefixtures("stack")
def test_ask_writes_the_json_of_the_contract(mmapp: Mmapp, files: Path) -> None:
    question = "How many cranes were there?"
    run = mmapp("ask", files / "harbour.pdf", question, "--json")
    value = run.json
    assert run.status == 0
    told = ["question", "found", "answer", "probability", "scores", "coverage", "hidden"]
    assert list(value) == ["job", "document", *told, "record"]
    assert (value["question"], len(value["answer"])) == (question, int(value["found"]))
    assert value["coverage"]["read"] == 3
    shown = mmapp("ask", files / "harbour.pdf", question)
    assert f"harbour.pdf: {question}" in shown.out
    assert ("✓ p. " in shown.out) is value["found"]
    assert ("Not in this document." in shown.out) is not value["found"]
    asked = mmapp("results", "cranes", "--task", "ask", "--json").json
    assert value["job"] in [row["job"] for row in asked]


@pytest.mark.usefixtures("stack")
def test_a_question_to_several_documents_names_the_likeliest(mmapp: Mmapp, files: Path) -> None:
    paths = [files / "harbour.pdf", files / "zh.txt", "gone.pdf"]
    run = mmapp("ask", *paths, "How many cranes were there?", "--json")
    assert run.status == 2
    assert "gone.pdf does not exist" in run.err
    names = [one["document"]["name"] for one in run.json["documents"]]
    assert names == ["harbour.pdf", "zh.txt"]
    found = {one["job"]: one["probability"] for one in run.json["documents"] if one["found"]}
    assert run.json["best"] == (max(found, key=found.__getitem__) if found else None)
    assert run.json["found"] is bool(found)
    shown = mmapp("ask", *paths[:2], "How many cranes were there?")
    assert "zh.txt" in shown.out


@pytest.mark.usefixtures("stack")
def test_fields_become_a_table(mmapp: Mmapp, tmp_path: Path) -> None:
    lease = tmp_path / "lease.txt"
    lease.write_text("Landlord: Acme Ltd\n\nIt was signed on 5 March 2024.", encoding="utf-8")
    arguments = ("extract", lease, "--field", "landlord", "--field", "dates")
    value = mmapp(*arguments, "--json").json
    told = ["document", "fields", "threshold", "coverage", "hidden"]
    assert list(value) == ["job", *told, "record"]
    first = [(one["name"], one["values"][0]["text"]) for one in value["fields"]]
    assert first == [("landlord", "Acme Ltd"), ("dates", "5 March 2024")]
    assert mmapp(*arguments, "--out", tmp_path / "table.csv").status == 0
    rows = lines_of((tmp_path / "table.csv").read_text(encoding="utf-8"))
    assert (rows[0]["value"], rows[0]["found_by"]) == ("Acme Ltd", "label")
    assert "found by" in mmapp(*arguments).out.casefold()
    refused = mmapp(*arguments, "--out", tmp_path / "table.doc")
    assert (refused.status, ".csv, .xlsx, .json" in refused.err) == (2, True)


@pytest.mark.usefixtures("stack")
def test_versions_are_compared(mmapp: Mmapp, tmp_path: Path) -> None:
    old, new = tmp_path / "old.txt", tmp_path / "new.txt"
    old.write_text("The harbour had twelve cranes in 1914.", encoding="utf-8")
    new.write_text("The harbour had thirteen cranes in 1914.", encoding="utf-8")
    value = mmapp("compare", old, new, "--json").json
    told = ["documents", "changes", "counts", "sentences", "coverage", "hidden"]
    assert list(value) == ["job", *told, "record"]
    assert value["counts"] == {"changed": 1, "added": 0, "removed": 0, "moved": 0}
    shown = mmapp("compare", old, new)
    assert "[-twelve-]" in shown.out
    assert "{+thirteen+}" in shown.out


@pytest.mark.usefixtures("stack")
def test_figures_are_checked_against_their_captions(mmapp: Mmapp, tmp_path: Path) -> None:
    picture = Path(__file__).parents[2] / "samples" / "photos" / "oranges.jpg"
    with pymupdf.open() as made:
        page = made.new_page(width=600, height=800)
        page.insert_image((100, 100, 300, 300), filename=picture)
        page.insert_text((100, 330), "Figure 1: Oranges.")
        page.insert_image((100, 400, 300, 600), filename=picture)
        page.insert_text((100, 630), "图2：红色的鞋", fontname="china-s")
        made.save(tmp_path / "fruit.pdf")
    run = mmapp("figures", tmp_path / "fruit.pdf", "--json")
    assert run.status == 0, run.err
    value = run.json
    told = ["document", "figures", "counts", "left_out", "coverage", "hidden"]
    assert list(value) == ["job", *told, "record"]
    captions = [(one["caption"]["label"], one["caption"]["text"]) for one in value["figures"]]
    assert captions == [("Figure 1", "Oranges."), ("图2", "红色的鞋")]
    assert all(one["claims"] and 0 < one["probability"] < 1 for one in value["figures"])
    shown = mmapp("figures", tmp_path / "fruit.pdf")
    assert "Figure 1  Oranges." in shown.out
    assert "worth what the checkpoint knows" in shown.out


@pytest.mark.usefixtures("stack")
def test_check_writes_the_json_of_the_contract(mmapp: Mmapp, files: Path) -> None:
    words = ("--title", "红色的杯子", "--attr", "colour=red", "--description", "A red cup.")
    value = mmapp("check", files / "red.png", *words, "--json").json
    assert {"job", "verdict", "score", "claims", "record"} <= value.keys()
    assert value["verdict"] in ("consistent", "inconsistent", "uncertain")
    assert 0 <= value["score"] <= 1
    claims = {claim["text"]: claim for claim in value["claims"]}
    assert claims["red"]["attribute"] == "colour"
    assert {"text", "attribute", "label", "probability", "evidence"} <= claims["红色的杯子"].keys()
    shown = mmapp("check", files / "red.png", *words)
    assert "红色的杯子" in shown.out
    assert value["verdict"].upper() in shown.out


@pytest.mark.usefixtures("stack")
def test_a_threshold_is_kept_in_the_record_and_used(mmapp: Mmapp, files: Path) -> None:
    words = ("--title", "Red cup", "--description", "Free delivery.", "--threshold", "0.9")
    value = mmapp("check", files / "red.png", *words, "--json").json
    assert value["record"]["params"]["threshold"] == 0.9
    assert value["rule"] == {"consistent": 0.9, "inconsistent": 0.1}
    unseen = [claim for claim in value["claims"] if not claim["visible"]]
    assert [(c["text"], c["kind"]) for c in unseen] == [("Free delivery.", "delivery")]
    refused = mmapp("check", files / "red.png", "--title", "Cup", "--threshold", "1.5")
    assert (refused.status, "from 0.5 to below 1" in refused.err) == (2, True)


@pytest.mark.usefixtures("stack")
def test_words_are_proposed_for_photos(mmapp: Mmapp, files: Path) -> None:
    value = mmapp("propose", files / "red.png", "--json").json
    assert value["claims"] == []
    assert [choice["kind"] for choice in value["proposal"]["choices"]] == ["product", "colour"]
    assert {"title", "description", "attributes"} == value["proposal"]["zh"].keys()
    shown = mmapp("propose", files / "red.png")
    assert "known names" in shown.out


@pytest.mark.usefixtures("stack")
def test_a_batch_keeps_the_rows_in_order_and_says_which_failed(
    mmapp: Mmapp, files: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    run = mmapp("batch", files / "listings.csv", "--out", out)
    assert run.status == 3
    assert "1 of 3 rows failed" in run.err
    rows = lines_of(out.read_text(encoding="utf-8"))
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    assert [bool(row["error"]) for row in rows] == [False, True, False]
    assert rows[2]["title"] == "'=1+1"
    assert {claim["text"] for claim in json.loads(rows[0]["claims"])} == {
        "Red cup",
        "Red",
        "cup",
        "red",
    }
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.usefixtures("stack")
def test_a_batch_of_a_workbook_is_mapped_reported_and_answered_from_earlier(
    mmapp: Mmapp, files: Path, tmp_path: Path
) -> None:
    from openpyxl import Workbook

    book = Workbook()
    for row in (["Foto", "商品名称", "颜色"], [str(files / "red.png"), "红杯", "红"]):
        book.active.append(row)
    book.save(tmp_path / "catalogue.xlsx")
    out, report = tmp_path / "out.csv", tmp_path / "report.html"
    given = ("batch", tmp_path / "catalogue.xlsx", "--out", out)
    run = mmapp(*given, "--map", "image=Foto", "--report", report)
    assert run.status == 0, run.err
    assert "columns: image=Foto, title=商品名称" in run.err
    assert "1: 红杯" in report.read_text(encoding="utf-8")
    again = mmapp(*given)
    assert "1 of them from earlier" in again.err
    report.unlink()
    batch = mmapp("results", "红杯", "--json").json[0]["batch"]
    assert mmapp("results", "--batch", batch, "--report", report).status == 0
    assert report.exists()


@pytest.mark.usefixtures("stack")
def test_a_batch_of_documents_goes_to_stdout_as_csv(
    mmapp: Mmapp, files: Path, tmp_path: Path
) -> None:
    table = tmp_path / "documents.csv"
    table.write_text(f"id,document\na,{files / 'harbour.pdf'}\n")
    run = mmapp("batch", table, "--task", "summarize")
    (row,) = csv.DictReader(run.out.splitlines())
    assert (run.status, row["pages"]) == (0, "3")


@pytest.mark.usefixtures("stack")
def test_a_batch_that_is_not_waited_for_is_found_again(mmapp: Mmapp, files: Path) -> None:
    left = mmapp("batch", files / "listings.csv", "--no-wait")
    batch = left.out.strip()
    waited = mmapp("jobs", "wait", batch, "--json")
    assert waited.status == 3
    assert waited.json["counts"]["succeeded"] == 2
    exported = mmapp("results", "--batch", batch, "--export", "csv")
    assert [row["id"] for row in lines_of(exported.out)] == ["1", "2", "3"]


@pytest.mark.usefixtures("stack")
def test_results_are_searched_listed_and_exported(mmapp: Mmapp, files: Path) -> None:
    job = mmapp("summarize", files / "zh.txt", "--json").json["job"]
    found = mmapp("results", "上海港", "--task", "summarize", "--json").json
    assert job in [row["job"] for row in found]
    assert "zh.txt" in mmapp("results", "上海港").out
    assert "no results" in mmapp("results", "上海港", "--until", "2020-01-01").error
    exported = lines_of(mmapp("results", "上海港", "--export", "csv").out)
    assert job in [row["job"] for row in exported]
    assert json.loads(exported[0]["result"])["document"]["name"] == "zh.txt"
    lines = mmapp("results", "--export", "jsonl", "--limit", 1).out.splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["succeeded"]


@pytest.mark.usefixtures("stack")
def test_an_ended_job_is_shown_and_can_neither_be_cancelled_nor_retried(
    mmapp: Mmapp, files: Path
) -> None:
    job = mmapp("summarize", files / "zh.txt", "--json").json["job"]
    assert mmapp("jobs", "show", job, "--json").json["result"]["job"] == job
    assert "上海港" in mmapp("jobs", "show", job).out
    shown = mmapp("jobs", "show", job, "--json").json
    assert shown["outlook"] is None
    assert shown["estimate"]["tokens"] > shown["estimate"]["characters"]
    assert "nothing to cancel" in mmapp("jobs", "cancel", job).error
    assert "only a failed or cancelled job" in mmapp("jobs", "retry", job).error


def test_an_estimate_tells_what_a_job_would_take_and_submits_none(
    mmapp: Mmapp, stack: Stack, files: Path
) -> None:
    with Jobs.open(stack.settings) as jobs:
        before = jobs.list()
        both = mmapp("estimate", files / "harbour.pdf", files / "zh.txt", "--json").json
        listing = mmapp("estimate", files / "red.png", "--task", "check", "--title", "Red cup")
        assert jobs.list() == before
    assert [(one["label"], one["task"]) for one in both] == [
        ("harbour.pdf", "summarize"),
        ("zh.txt", "summarize"),
    ]
    for told in both:
        assert told["tokens"] > told["reading_tokens"] > 0
        assert (told["context_tokens"], told["parts"]) == (100_000, 1)
        assert told["seconds"] > 0
    assert "1 picture" in listing.out


def test_doctor_finds_the_running_stack(mmapp: Mmapp, stack: Stack) -> None:
    run = mmapp("doctor", "--json")
    checks = {check["name"]: check for check in run.json}
    assert all(check["ok"] for check in checks.values()), run.out
    assert run.status == 0
    assert checks["workers"]["found"].count(stack.settings.checkpoint.name) == 1


def test_without_a_stack_one_is_brought_up_and_taken_down(
    mmapp: Mmapp, files: Path, tmp_path: Path
) -> None:
    data_dir = tmp_path / "own"
    run = mmapp("--data-dir", data_dir, "summarize", files / "harbour.pdf", "--json")
    assert run.status == 0
    assert not _processes_with(data_dir)
    again = time.monotonic()
    second = mmapp("--data-dir", data_dir, "summarize", files / "harbour.pdf", "--json")
    assert second.json["summary"] == run.json["summary"]
    assert second.err == "", f"the stored result needs no worker ({time.monotonic() - again:.1f} s)"


def test_interrupted_while_waiting_its_own_job_is_cancelled(
    start: Callable[..., subprocess.Popen[str]], mmapp: Mmapp, files: Path, tmp_path: Path
) -> None:
    data_dir = tmp_path / "own"
    process = start("--data-dir", data_dir, "summarize", files / "harbour.pdf")
    assert process.stderr is not None
    database = data_dir / "mmapp.sqlite3"
    deadline = time.monotonic() + 60
    while not (database.exists() and (data_dir / "logs" / "worker.log").exists()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert not _processes_with(data_dir)
    (job,) = mmapp("--data-dir", data_dir, "jobs", "list", "--json").json
    assert job["status"] == "cancelled"


def _processes_with(data_dir: Path) -> list[str]:
    """Command lines and environments that name the folder, of processes that live."""
    if not sys.platform.startswith("linux"):
        return []
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(data_dir).encode() in words:
            found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found
