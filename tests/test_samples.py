"""The samples: all there, all readable, all with a licence."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from mmapp.config import Settings
from mmapp.documents import Reader
from mmapp.documents.quotes import page_text
from mmapp.errors import BadInput
from mmapp.samples import FOLDER, load


def test_the_documents_are_read_over_several_pages(tmp_path: Path) -> None:
    english, chinese = load().documents
    with Reader(Settings(data_dir=tmp_path, _env_file=None)) as reader:
        for sample, known in (
            (english, "If you require customers to pay before you'll ship their order,"),
            (chinese, "磁盘经常会发生故障，所以务必要定期备份你所需的任何文件。"),
        ):
            pages = reader.read(sample.path.name, sample.path.read_bytes()).pages
            assert len(pages) >= 3
            assert not any(page.error for page in pages)
            assert all(len(page_text(page)) > 500 for page in pages)
            assert page_text(pages[0]).startswith(sample.title)
            assert any(known in page_text(page) for page in pages)


def test_the_first_listing_agrees_with_its_photos_and_the_second_does_not() -> None:
    right, wrong = load().listings
    assert [photo.name for photo in right.photos] == ["banana.jpg"]
    assert right.attributes == {"颜色": "黄色"}
    assert ([photo.name for photo in wrong.photos], wrong.title) == (
        ["oranges.jpg"],
        "Granny Smith apples",
    )


def test_the_batch_names_photos_that_are_there_and_what_is_right() -> None:
    with load().batch.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} == {"consistent", "inconsistent"}
    for row in rows:
        assert all((FOLDER / name).is_file() for name in row["image"].split("|"))
    assert any(row["title"] == "香蕉" for row in rows)


def test_the_versions_of_the_lease_differ_alike_in_both_languages() -> None:
    english, chinese = load().versions
    assert english.title in english.old.read_text(encoding="utf-8")
    assert chinese.title in chinese.new.read_text(encoding="utf-8")
    for pair in (english, chinese):
        old, new = (path.read_text(encoding="utf-8") for path in (pair.old, pair.new))
        assert len(old.splitlines()) == len(new.splitlines())
        assert old != new


def test_the_licence_of_every_file_is_named() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    files = [path for path in FOLDER.rglob("*") if path.suffix in (".pdf", ".jpg")]
    assert len(files) == 10
    for path in files:
        line = next(line for line in readme.splitlines() if path.name in line)
        assert any(licence in line for licence in ("CC BY 4.0", "MIT", "CC0"))
    assert sum(path.stat().st_size for path in files) < 1_500_000


def test_a_missing_sample_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no samples in"):
        load(tmp_path)
    (tmp_path / "samples.json").write_bytes((FOLDER / "samples.json").read_bytes())
    with pytest.raises(BadInput, match=r"prepayment-invoices\.pdf is missing"):
        load(tmp_path)
