"""Columns are found by what people call them, in two languages; what a person said comes first."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mmapp.batches.columns import (
    COLUMNS,
    NAMES,
    _folded,
    find_columns,
    guess_columns,
    parse_map,
    remember,
)
from mmapp.errors import BadInput
from mmapp.types import TaskName

CHECK = TaskName.CHECK_LISTING


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        # Shopify, Google Merchant Center, Amazon, WooCommerce.
        (
            "Handle,Title,Body (HTML),Vendor,Image Src",
            "image=Image Src, title=Title, id=Handle, description=Body (HTML)",
        ),
        (
            "id,title,description,link,image_link,brand,color",
            "image=image_link, title=title, id=id, description=description",
        ),
        ("sku,item_name,main-image,brand_name", "image=main-image, title=item_name, id=sku"),
        ("SKU,Name,Short description,Images", "image=Images, title=Name, id=SKU"),
        # Chinese shops, simplified and traditional, and wide letters.
        (
            "货号,商品名称,主图,商品详情,颜色",
            "image=主图, title=商品名称, id=货号, description=商品详情",
        ),
        ("標題,圖片,顏色", "image=圖片, title=標題"),
        ("ＳＫＵ,标题,图片1,图片2,材质", "image=图片1, image=图片2, title=标题, id=ＳＫＵ"),
        # The plain name wins over a likely one, which stays an attribute.
        ("name,title,photo,image", "image=image, title=title"),
    ],
)
def test_the_names_of_usual_catalogues_are_understood(headers: str, found: str) -> None:
    columns = guess_columns(headers.split(","), CHECK, Path("nowhere"))
    said = columns.in_words()
    assert said.startswith(found)


def test_what_was_only_guessed_is_told() -> None:
    columns = guess_columns(["title", "主图", "Preis"], CHECK, Path("nowhere"))
    assert columns.guessed == ("image",)
    assert not columns.has_meaning("Preis")


def test_no_name_has_two_meanings() -> None:
    for task, meanings in tomllib.loads(NAMES.read_text(encoding="utf-8")).items():
        assert set(meanings) <= set(COLUMNS[TaskName(task)])
        names = [_folded(name) for listed in meanings.values() for name in listed]
        assert len(names) == len(set(names)), task


def test_what_a_person_says_comes_first_and_is_remembered(tmp_path: Path) -> None:
    headers = ["Bezeichnung", "Bild", "title", "image", "Lager"]
    told = parse_map(["title=bezeichnung, image=Bild", "ignored=Lager"], CHECK)
    columns = find_columns("a.csv", headers, CHECK, told, tmp_path)
    assert columns.in_words() == "title=Bezeichnung, image=Bild, ignored=Lager"
    remember(told, CHECK, tmp_path)
    later = find_columns("b.csv", ["LAGER", "bild", "bezeichnung"], CHECK, {}, tmp_path)
    assert later.by_meaning == {
        "image": ("bild",),
        "title": ("bezeichnung",),
        "ignored": ("LAGER",),
    }
    # The last word holds, also against a usual name.
    remember(parse_map(["title=Lager,ignored=name"], CHECK), CHECK, tmp_path)
    assert guess_columns(["Lager", "name"], CHECK, tmp_path).by_meaning == {
        "title": ("Lager",),
        "ignored": ("name",),
    }
    (tmp_path / "columns.json").write_text("{broken")
    assert guess_columns(["Lager"], CHECK, tmp_path).by_meaning == {}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("Name", "MEANING=COLUMN"),
        ("price=Preis", "meanings: id, image, title"),
        ("title=", "MEANING=COLUMN"),
        ("title=A,title=B", "two columns"),
    ],
)
def test_a_mapping_that_says_nothing_is_refused(given: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        parse_map([given], CHECK)


def test_names_with_commas_and_wide_signs_are_read() -> None:
    told = parse_map(["title=Name, long，image＝图片;image=Photo 2"], CHECK)
    assert told == {"title": ("Name, long",), "image": ("图片", "Photo 2")}


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no column Nome \(found: title, image\)"):
        find_columns("a.csv", ["title", "image"], CHECK, {"title": ("Nome",)}, tmp_path)
    with pytest.raises(BadInput, match="like title=Bild"):
        find_columns("a.csv", ["Bild", "image"], CHECK, {}, tmp_path)
