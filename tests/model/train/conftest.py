"""A data folder in the real layout with a few invented documents and photos; the tiny recipe."""

import json
import lzma
from pathlib import Path

import pytest
from PIL import Image

from model.train.recipe import Recipe, read_recipe

PRODUCTS = {
    "Golden Delicious": ("Apple", "grocery", (220, 200, 60)),
    "Granny Smith": ("Apple", "grocery", (90, 180, 50)),
    "Aubergine": ("Aubergine", "grocery", (70, 20, 90)),
    "T-Shirt": ("T-Shirt", "clothing", (30, 60, 200)),
    "Shoes": ("Shoes", "clothing", (20, 20, 20)),
}
SENTENCES = {
    "en": (
        "This page explains how to install the printer driver.",
        "Choose the port that the printer is connected to.",
        "The installation takes about two minutes on most machines.",
        "Restart the computer when the last step has finished.",
    ),
    "zh": (
        "本文介绍如何安装打印机驱动程序。",
        "请选择打印机所连接的端口并确认。",
        "在大多数计算机上安装需要两分钟左右。",
        "最后一步完成后请重新启动计算机。",
    ),
}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for split in ("train", "val"):
        _write_listings(folder / "listings", split)
        _write_documents(folder / "documents", split)
    return folder


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return read_recipe(Path(__file__).parents[3] / "model" / "recipes" / "tiny.toml")


def _write_listings(folder: Path, split: str) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for product, (category, source, colour) in PRODUCTS.items():
        name = f"{split}-{product.replace(' ', '-')}"
        Image.new("RGB", (60, 45), colour).save(folder / "images" / f"{name}.jpg")
        rows.append(
            {
                "id": name,
                "image": f"images/{name}.jpg",
                "source": source,
                "product": product,
                "category": category,
                "description": f"{product} is what it is. Good for every day.",
            }
        )
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")


def _write_documents(folder: Path, split: str) -> None:
    folder.mkdir(exist_ok=True)
    with lzma.open(folder / f"{split}.jsonl.xz", "wt", encoding="utf-8") as file:
        for number in range(8):
            lang = ("en", "zh")[number % 2]
            first, *rest = SENTENCES[lang]
            order = rest[number % 3 :] + rest[: number % 3]
            heading = ("# Installing the printer driver", "# 安装打印机驱动程序的方法")[number % 2]
            row = {
                "id": str(number),
                "source": "SciTLDR-A" if number % 4 == 0 else "handbook",
                "lang": lang,
                "title": "",
                "summary": first if number < 6 else None,
                "text": "\n\n".join([heading, order[0], first, *order[1:]]),
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
