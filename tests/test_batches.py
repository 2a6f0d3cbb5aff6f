"""Tables in, tables out: every form and encoding, bad rows kept, nothing read that is not named."""

from __future__ import annotations

import csv
import io
import json
import random
import stat
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mmapp.batches import harmless, read_batch, write_results
from mmapp.config import Settings
from mmapp.errors import BadInput
from mmapp.jobs import BatchRow, BatchRowResult, Jobs
from mmapp.samples import load
from mmapp.types import Listing, Result, Status, SummarizeParams, TaskName
from tests.jobs.scenes import checkpoint_folder, engine, photo_bytes
from tests.servers import migrated_sqlite

CHECK, SUMMARIZE = TaskName.CHECK_LISTING, TaskName.SUMMARIZE
RED, BLUE = photo_bytes("red"), photo_bytes("blue")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    folder = tmp_path_factory.mktemp("batches")
    settings = Settings(
        data_dir=folder / "data",
        database_url=migrated_sqlite(folder / "template.sqlite3", folder / "mmapp.sqlite3"),
        checkpoint=checkpoint_folder(folder / "fake"),
        max_bytes=100_000,
        max_batch_files=50,
        max_batch_bytes=1_000_000,
        _env_file=None,
    )
    with Jobs.open(settings) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with photos, and a document above it."""
    table = tmp_path / "table"
    (table / "photos").mkdir(parents=True)
    (table / "photos" / "red.png").write_bytes(RED)
    (table / "photos" / "蓝.png").write_bytes(BLUE)
    (tmp_path / "report.txt").write_text("The bridge was closed on Monday.", encoding="utf-8")
    return table


def rows_of(
    jobs: Jobs, path: Path, text: str | bytes, task: TaskName = CHECK, **files: Any
) -> list[BatchRow]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_batch(path, task, jobs, **files))


def zip_of(path: Path, files: list[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return path


# --- CSV -----------------------------------------------------------------------------------------


def test_further_columns_are_attributes_and_the_label_is_not(jobs: Jobs, folder: Path) -> None:
    text = (
        "id,image,title,description,colour,材质,label\n"
        '7,photos/red.png|photos/蓝.png,"Red, round",Like new,red,,consistent\n'
    )
    (row,) = rows_of(jobs, folder / "a.csv", text)
    assert row.cells == {
        "id": "7",
        "image": "photos/red.png|photos/蓝.png",
        "title": "Red, round",
        "description": "Like new",
        "colour": "red",
        "材质": "",
        "label": "consistent",
    }
    assert isinstance(row.params, Listing)
    assert (row.params.title, row.params.description) == ("Red, round", "Like new")
    assert row.params.attributes == {"colour": "red"}
    names = [jobs.document(sha256).name for sha256 in row.params.photos]
    assert names == ["red.png", "蓝.png"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030"])
def test_every_usual_encoding_is_read(jobs: Jobs, folder: Path, encoding: str) -> None:
    text = "id,image,title,description,颜色\r\n1,photos/蓝.png,蓝色的杯子,陶瓷的，很结实,蓝色\r\n"
    (row,) = rows_of(jobs, folder / "a.csv", text.encode(encoding))
    assert isinstance(row.params, Listing)
    assert (row.params.title, row.params.attributes) == ("蓝色的杯子", {"颜色": "蓝色"})
    assert next(iter(row.cells)) == "id"


@pytest.mark.parametrize("separator", [";", "\t"])
def test_the_separators_of_other_countries_are_read(
    jobs: Jobs, folder: Path, separator: str
) -> None:
    lines = [["id", "image", "title", "size"], ["1", "photos/red.png", "Cup, red", "L"]]
    text = "\n".join(separator.join(line) for line in lines)
    (row,) = rows_of(jobs, folder / "a.csv", text)
    assert isinstance(row.params, Listing)
    assert (row.params.title, row.params.attributes) == ("Cup, red", {"size": "L"})


def test_a_column_without_a_name_and_one_of_an_earlier_run_are_no_attributes(
    jobs: Jobs, folder: Path
) -> None:
    text = ",Image,Title,Verdict,error\n0,photos/red.png,Cup,consistent,\n"
    (row,) = rows_of(jobs, folder / "a.csv", text)
    assert isinstance(row.params, Listing)
    assert row.params.attributes == {}
    assert row.cells["column 1"] == "0"


def test_a_bad_row_says_why_and_the_rest_goes_on(jobs: Jobs, folder: Path) -> None:
    (folder / "broken.png").write_bytes(RED[:40])
    (folder / "large.png").write_bytes(RED + bytes(100_000))
    (folder / "empty.png").write_bytes(b"")
    bad = {
        "missing.png,Cup": "missing.png",
        ",Cup": "no photo",
        "photos/red.png,": "no title",
        "broken.png,Cup": "broken.png",
        "empty.png,Cup": "empty.png",
        "large.png,Cup": "MMAPP_MAX_BYTES",
        "photos,Cup": "no file",
        "https://example.org/a.png,Cup": "web address",
        "photos/red.png,Cup,too,many": "4 cells for 2 columns",
    }
    lines = ["image,title", *bad, "", "photos/red.png,Cup", f"photos/red.png,{'x' * 200_000}"]
    rows = rows_of(jobs, folder / "a.csv", "\n".join(lines) + "\nphotos/red.png,Last")
    for row, (line, reason) in zip(rows, bad.items(), strict=False):
        assert reason in row.error, line
        assert row.params is None
    good, too_long, last = rows[len(bad) :]
    assert (good.error, last.error) == ("", "")
    assert "field larger" in too_long.error
    batch = jobs.submit_batch("bad rows", CHECK, rows)
    assert (batch.rows, batch.rejected) == (len(bad) + 3, len(bad) + 1)


def test_a_table_on_disk_may_name_any_file(jobs: Jobs, folder: Path) -> None:
    text = f"id,document\n1,../report.txt\n2,{folder.parent / 'report.txt'}\n3,..\\report.txt\n"
    rows = rows_of(jobs, folder / "a.csv", text, SUMMARIZE)
    params = {row.params for row in rows}
    assert len(params) == 1
    assert isinstance(params.pop(), SummarizeParams)


# --- what is no table ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"id,bild,bezeichnung\n1,a.png,Cup\n", "no column image and no column title"),
        (b"id,document\n1,a.pdf\n", "a table for the task summarize"),
        (b"image,title,size,Size\na.png,Cup,1,2\n", "two columns named Size"),
        (b"[\n1,\n2\n]", "no column image"),
        ("image,title\na.png,Tête-à-tête façon Molière\n".encode("latin-1"), "CSV UTF-8"),
        (random.Random(0).randbytes(5000), "CSV UTF-8"),
        (b"image,title\n" + b"x" * 2_000_001, "more than 2,000,000 characters"),
    ],
)
def test_what_is_no_table_is_refused_before_anything_is_read(
    jobs: Jobs, tmp_path: Path, data: bytes, reason: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(BadInput, match=reason):
        read_batch(path, CHECK, jobs)


def test_a_table_that_is_not_there_is_refused(jobs: Jobs, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        read_batch(tmp_path / "none.csv", CHECK, jobs)
    with pytest.raises(BadInput, match="Is a directory"):
        read_batch(tmp_path, CHECK, jobs)


# --- JSONL ---------------------------------------------------------------------------------------


def test_jsonl_is_read_by_its_content(jobs: Jobs, folder: Path) -> None:
    objects: list[Any] = [
        {"id": 1, "image": ["photos/red.png", "photos/蓝.png"], "title": "Cup", "weight": 0.5},
        {"id": 2, "image": "photos/red.png", "title": "杯子", "new": True, "note": None},
    ]
    text = "\n".join(json.dumps(value) for value in objects)
    rows = rows_of(jobs, folder / "a.txt", f"{text}\n\nno object\n[1]\n")
    assert [list(row.cells) for row in rows] == [
        ["id", "image", "title", "weight", "new", "note"]
    ] * 4
    first, second, third, fourth = rows
    assert isinstance(first.params, Listing)
    assert isinstance(second.params, Listing)
    assert (len(first.params.photos), first.params.attributes) == (2, {"weight": "0.5"})
    assert (second.params.title, second.params.attributes) == ("杯子", {"new": "true"})
    assert "Line 4" in third.error
    assert "Line 5" in fourth.error


# --- zip and uploads -----------------------------------------------------------------------------


def test_a_zip_holds_a_table_and_its_files(jobs: Jobs, tmp_path: Path) -> None:
    table = "id,image,title\n1,photos/蓝.png,杯子\n2,./photos\\red.png,Cup\n".encode()
    path = zip_of(
        tmp_path / "a.zip",
        [
            ("mine/", b""),
            ("mine/table.csv", table),
            ("mine/photos/蓝.png", BLUE),
            ("mine/photos/red.png", RED),
            ("__MACOSX/mine/._table.csv", b"shadow"),
        ],
    )
    rows = list(read_batch(path, CHECK, jobs))
    assert [row.error for row in rows] == ["", ""]


def test_names_that_chinese_windows_packed_are_read(jobs: Jobs, tmp_path: Path) -> None:
    # zipfile marks names beyond ASCII as UTF-8, so other bytes are put in their place afterwards.
    name, placeholder = "蓝.png".encode("gb18030"), b"__.png"
    table = "image,title\n蓝.png,杯子\n".encode()
    path = zip_of(tmp_path / "a.zip", [("t.csv", table), (placeholder.decode(), BLUE)])
    path.write_bytes(path.read_bytes().replace(placeholder, name))
    (row,) = read_batch(path, CHECK, jobs)
    assert row.error == ""


def test_rows_of_a_zip_stay_inside_it(jobs: Jobs, folder: Path) -> None:
    secret = folder / "photos" / "red.png"
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = folder / "a.zip"
    names = [str(secret), "photos/red.png", "../photos/red.png", "link.png", "../up.png"]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("t.csv", "image,title\n" + "".join(f"{name},Cup\n" for name in names))
        archive.writestr(link, str(secret))
        archive.writestr("../up.png", RED)
    before = sorted(folder.parent.rglob("*"))
    rows = list(read_batch(path, CHECK, jobs))
    assert [row.params for row in rows] == [None] * len(names)
    assert "absolute path" in rows[0].error
    assert all("not in the zip" in row.error for row in rows[1:])
    assert sorted(folder.parent.rglob("*")) == before


def test_a_zip_that_grows_too_large_is_refused(jobs: Jobs, tmp_path: Path) -> None:
    table = b"image,title\nbomb.png,Cup\n"
    path = zip_of(tmp_path / "a.zip", [("t.csv", table), ("bomb.png", bytes(2_000_000))])
    assert path.stat().st_size < 10_000
    with pytest.raises(BadInput, match="unpacks to 2,000,025 bytes"):
        read_batch(path, CHECK, jobs)
    path = zip_of(tmp_path / "b.zip", [("t.csv", table), ("bomb.png", bytes(200_000))])
    (row,) = read_batch(path, CHECK, jobs)
    assert "at most 100,000 are read" in row.error
    path = zip_of(tmp_path / "c.zip", [(f"{number}.csv", b"") for number in range(51)])
    with pytest.raises(BadInput, match="51 files; at most 50"):
        read_batch(path, CHECK, jobs)


def test_a_zip_that_lies_about_its_sizes_gives_no_more_than_it_states(
    jobs: Jobs, tmp_path: Path
) -> None:
    table = b"image,title\nbomb.png,Cup\n"
    path = zip_of(tmp_path / "a.zip", [("t.csv", table), ("bomb.png", bytes(900_001))])
    stated, lie = (900_001).to_bytes(4, "little"), (70).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(stated, lie))
    (row,) = read_batch(path, CHECK, jobs)
    assert "damaged" in row.error


def test_a_zip_without_one_table_is_refused(jobs: Jobs, tmp_path: Path) -> None:
    for files, reason in (
        ([("red.png", RED)], "0 tables"),
        ([("a.csv", b"image,title\n"), ("b.csv", b"image,title\n")], "2 tables"),
    ):
        with pytest.raises(BadInput, match=reason):
            read_batch(zip_of(tmp_path / "a.zip", files), CHECK, jobs)
    broken = tmp_path / "b.zip"
    broken.write_bytes((tmp_path / "a.zip").read_bytes()[:60])
    with pytest.raises(BadInput, match="can't be opened as a zip"):
        read_batch(broken, CHECK, jobs)


def test_an_upload_names_only_what_came_with_it(jobs: Jobs, folder: Path) -> None:
    there = folder / "photos" / "red.png"
    text = f"image,title\nphotos/red.png,Cup\n{there},Cup\nphotos/蓝.png,杯子\n"
    uploaded = folder.parent / "put-elsewhere"
    uploaded.write_bytes(BLUE)
    first, second, third = rows_of(jobs, folder / "a.csv", text, files={"蓝.png": uploaded})
    assert "did not come with the table" in first.error
    assert "did not come with the table" in second.error
    assert third.error == ""


# --- many rows -----------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_rows(jobs: Jobs, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("w") as file:
        file.write("id,image,title,description\n")
        file.writelines(f"{number},gone.png,Cup,{'words ' * 30}\n" for number in range(20_000))
    peaks = []
    # Twice: Python may enlarge its table of interned strings meanwhile, megabytes in one piece.
    for _ in range(2):
        tracemalloc.start()
        count = sum(1 for _ in read_batch(path, CHECK, jobs))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == 20_000
    assert min(peaks) < 2_000_000 < path.stat().st_size


# --- results -------------------------------------------------------------------------------------


def result(task: TaskName, payload: dict[str, Any]) -> Result:
    return Result("j", task, 1, payload, {}, datetime.now(UTC))


def written(rows: list[BatchRowResult], task: TaskName) -> list[dict[str, str]]:
    out = io.StringIO(newline="")
    write_results(rows, task, out)
    return list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))


def test_listing_results_follow_the_columns_of_the_input() -> None:
    claims = [
        {"text": "红色", "attribute": "颜色", "label": "REFUTED"},
        {"text": "cup", "attribute": "title", "label": "SUPPORTED"},
        {"text": "round", "attribute": "shape", "label": "REFUTED"},
    ]
    payload = {"verdict": "inconsistent", "score": 0.0312, "claims": claims}
    rows = [
        BatchRowResult(
            0, {"id": "1", "note": "a\nb", "verdict": "old"}, None, result(CHECK, payload)
        ),
        BatchRowResult(1, {"id": "2", "note": "", "verdict": ""}, None, None, "no such file"),
    ]
    first, second = written(rows, CHECK)
    assert list(first) == ["id", "note", "verdict", "score", "refuted", "claims", "error"]
    assert json.loads(first.pop("claims")) == claims
    assert first == {
        "id": "1",
        "note": "a\nb",
        "verdict": "inconsistent",
        "score": "0.0312",
        "refuted": "红色; round",
        "error": "",
    }
    assert (second["id"], second["verdict"], second["error"]) == ("2", "", "no such file")
    assert written([], CHECK) == []


def test_cells_that_a_spreadsheet_would_run_are_shown_instead() -> None:
    evil = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", "plain", "a=b", "'=1", ""]
    assert [harmless(cell) for cell in evil] == [
        *[f"'{cell}" for cell in evil[:7]],
        *evil[7:],
    ]
    cells = {"id": "=cmd|' /C calc'!A0", "=header": "@x"}
    (row,) = written([BatchRowResult(0, cells, None, None, "-bad")], CHECK)
    assert list(row)[:2] == ["id", "'=header"]
    assert (row["id"], row["'=header"], row["error"]) == ("'=cmd|' /C calc'!A0", "'@x", "'-bad")


def test_documents_go_through_the_jobs_and_back_into_a_table(jobs: Jobs, folder: Path) -> None:
    text = "id,document,author\n1,../report.txt,Ann\n2,none.pdf,=Bob\n"
    rows = rows_of(jobs, folder / "a.csv", text, SUMMARIZE)
    batch = jobs.submit_batch("documents", SUMMARIZE, rows)
    for job in jobs.list(batch_id=batch.id):
        jobs.run(job.id, engine(), "w1")
    first, second = written(list(jobs.batch_rows(batch.id)), SUMMARIZE)
    assert list(first) == ["id", "document", "author", "summary", "pages", "error"]
    (sentence,) = json.loads(first["summary"])
    assert sentence["evidence"][0]["page"] == 1
    assert sentence["evidence"][0]["quote"] == sentence["text"]
    assert (first["pages"], first["error"]) == ("1", "")
    assert (second["author"], second["summary"], second["pages"]) == ("'=Bob", "", "")
    assert "none.pdf" in second["error"]


def test_the_sample_batch_becomes_nine_jobs(jobs: Jobs) -> None:
    batch = jobs.submit_batch("samples", CHECK, read_batch(load().batch, CHECK, jobs))
    assert (batch.rows, batch.rejected) == (9, 0)
    assert batch.counts[Status.QUEUED] == 9
