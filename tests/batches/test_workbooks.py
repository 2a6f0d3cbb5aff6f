"""Workbooks as Excel and its likes write them, and as somebody who means harm would."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from mmapp.batches import read_batch, read_columns
from mmapp.batches.workbooks import sheet_rows
from mmapp.config import Settings
from mmapp.errors import BadInput
from mmapp.types import Document, Listing, MediaType, TaskName
from tests.jobs.scenes import photo_bytes

CHECK = TaskName.CHECK_LISTING
MOST = 10_000_000


class Shelf:
    """Takes the files that rows name."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def add_document(self, name: str, data: bytes, /) -> Document:
        return Document(name, name, MediaType.PNG, len(data), 1)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(Settings(data_dir=tmp_path / "data", _env_file=None))


def workbook(rows: list[list[Any]]) -> Workbook:
    book = Workbook()
    for row in rows:
        book.active.append(row)
    return book


def saved(book: Workbook) -> bytes:
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def changed(data: bytes, part: str, change: Callable[[bytes], bytes]) -> bytes:
    """The workbook with one of its parts rewritten."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", 8) as new:
        for entry in old.infolist():
            content = old.read(entry)
            new.writestr(entry.filename, change(content) if entry.filename == part else content)
    return out.getvalue()


def rows(data: bytes, most_bytes: int = MOST) -> list[list[str]]:
    return list(sheet_rows(io.BytesIO(data), "a.xlsx", 50, most_bytes))


def test_a_workbook_is_a_table_like_any_other(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(photo_bytes("red"))
    book = workbook(
        [[], ["货号", "商品名称", "主图", "颜色", "件数"], [7, "红杯", "red.png", "红", 2.0]]
    )
    book.active.append([])
    book.active.append([8, "蓝杯", "gone.png"])
    path = tmp_path / "catalogue.xlsx"
    path.write_bytes(saved(book))
    first, second = read_batch(path, CHECK, shelf)
    assert first.params == Listing(("red.png",), "红杯", "", {"颜色": "红", "件数": "2"})
    assert first.cells["货号"] == "7"
    assert "gone.png" in second.error
    assert read_columns(path, CHECK, shelf.settings).guessed == ("image", "title", "id")


def test_a_zip_holds_a_workbook_and_its_photos(shelf: Shelf, tmp_path: Path) -> None:
    book = saved(workbook([["title", "image"], ["Cup", "photos/red.png"]]))
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("list/table.xlsx", book)
        archive.writestr("list/photos/red.png", photo_bytes("red"))
    (row,) = read_batch(path, CHECK, shelf)
    assert row.params == Listing(("red.png",), "Cup")


def test_cells_are_what_the_sheet_shows() -> None:
    values = [1, 2.5, 3.0, True, date(2026, 3, 4), datetime(2026, 3, 4, 5, 6), " a ", None, None]
    (row,) = rows(saved(workbook([values])))
    assert row == ["1", "2.5", "3", "True", "2026-03-04", "2026-03-04 05:06:00", " a "]


def test_formulas_are_not_run_and_hidden_sheets_not_read() -> None:
    book = workbook([["secret"]])
    book.active.sheet_state = "hidden"
    sheet = book.create_sheet("shown")
    sheet.append(["shown", "=1+1"])
    assert rows(saved(book)) == [["shown"]]
    # Nothing was stored for the formula by a program that computes.


def test_a_part_that_unpacks_to_too_much_is_refused_unread() -> None:
    bomb = changed(
        saved(workbook([["a"]])), "xl/worksheets/sheet1.xml", lambda old: old + b" " * 3_000_000
    )
    assert len(bomb) < 20_000
    with pytest.raises(BadInput, match="MMAPP_MAX_BYTES"):
        rows(bomb, most_bytes=1_000_000)


def test_entities_that_grow_are_stopped() -> None:
    entities = b"".join(
        b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10 if n else b"x" * 10) for n in range(9)
    )
    sheet = (
        b"<!DOCTYPE worksheet [" + entities + b"]><worksheet xmlns="
        b'"http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row r="1">'
        b'<c r="A1" t="str"><v>&e8;</v></c></row></sheetData></worksheet>'
    )
    with pytest.raises(BadInput, match="can't be read as a workbook"):
        rows(changed(saved(workbook([["a"]])), "xl/worksheets/sheet1.xml", lambda _: sheet))


def test_rows_and_columns_that_excel_does_not_have_cost_nothing() -> None:
    data = changed(
        saved(workbook([["a"], ["b"]])),
        "xl/worksheets/sheet1.xml",
        lambda old: old.replace(b'r="2"', b'r="99999999999"').replace(b"A2", b"XFD99999999999"),
    )
    assert rows(data)[:1] == [["a"]]
    wide = changed(
        saved(workbook([["a", "b"]])),
        "xl/worksheets/sheet1.xml",
        lambda old: old.replace(b'r="B1"', b'r="ZZZ1"'),
    )
    assert rows(wide) == [["a"]]


def test_a_sheet_that_is_damaged_half_way_keeps_its_first_rows(
    shelf: Shelf, tmp_path: Path
) -> None:
    data = saved(workbook([["title", "image"], ["Cup", ""], ["Hat", ""]]))
    path = tmp_path / "a.xlsx"
    path.write_bytes(
        changed(data, "xl/worksheets/sheet1.xml", lambda old: old.replace(b'<row r="3"', b"<<"))
    )
    *found, last = read_batch(path, CHECK, shelf)
    assert [row.cells["title"] for row in found] == ["Cup"]
    assert "Nothing after row 2 was read" in last.error


@pytest.mark.parametrize(
    "part", ["xl/workbook.xml", "xl/worksheets/sheet1.xml", "[Content_Types].xml"]
)
def test_a_damaged_workbook_is_refused_in_one_line(shelf: Shelf, tmp_path: Path, part: str) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(changed(saved(workbook([["title", "image"]])), part, lambda _: b"<x"))
    with pytest.raises(BadInput, match="save it anew") as refused:
        read_batch(path, CHECK, shelf)
    assert "\n" not in str(refused.value)
