"""Makes the sample PDFs and photos from the project's data folder; run once, its results are kept.

    python samples/make_samples.py DATA

`DATA` holds `documents/val.jsonl.xz` and `listings/images/`, as described in the samples' README.
The documents are Markdown; here they are typeset as a reader would print them. What is changed on
the way (placeholders of the publishing system, lists of links) stands in the README too.
"""

from __future__ import annotations

import html
import io
import json
import lzma
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymupdf

HERE = Path(__file__).resolve().parent

#: Document id -> file name, what to replace, and the heading from which on it is left out.
DOCUMENTS: dict[str, tuple[str, dict[str, str], str]] = {
    "77695decb82f": (
        "prepayment-invoices.pdf",
        {
            "!INCLUDE[open-search], enter **Sales Orders**": "Search for **Sales Orders**",
            "!INCLUDE[prod_short]": "Business Central",
        },
        "## Related information",
    ),
    "ed5c0dcd337b": (
        "disk-management-zh.pdf",
        {".aspx)": "", "“此页面是否有用？”  提示": "“此页面是否有用？”提示", "\\#": "#"},
        "## 无法使用磁盘管理或 DiskPart",
    ),
}

#: Photo id -> file name.
PHOTOS = {
    "grocery-26f1901eb417": "granny-smith-apples.jpg",
    "grocery-f95ae4aca356": "banana.jpg",
    "grocery-7c6a5a08ffff": "oranges.jpg",
    "grocery-d9b9abf9f1a7": "oranges-in-a-box.jpg",
    "grocery-5889d1c7ed9b": "red-bell-peppers.jpg",
    "clothing-fab99089-ea1a": "coat.jpg",
    "clothing-35f5fecb-755a": "dress.jpg",
    "clothing-7bb0226b-f068": "shoes.jpg",
}

#: A4 and the text on it, in points.
PAGE = pymupdf.paper_rect("a4")
TEXT = pymupdf.Rect(72, 76, PAGE.width - 72, PAGE.height - 80)

#: How a note begins, by its mark and whether the document is Chinese.
NOTES = {
    "NOTE": ("Note:", "注意："),
    "TIP": ("Tip:", "提示："),
    "IMPORTANT": ("Important:", "重要："),
}

CSS = """
body { font-family: sans-serif; font-size: 11pt; line-height: 1.5; color: #1d2430; }
h1 { font-size: 24pt; line-height: 1.2; margin: 0 0 16pt 0; color: #14365c; }
h2 { font-size: 15pt; line-height: 1.3; margin: 18pt 0 6pt 0; color: #14365c; }
p { margin: 0 0 8pt 0; }
ol, ul { margin: 0 0 8pt 0; padding-left: 22pt; }
li { margin: 0 0 5pt 0; }
div.note { margin: 4pt 24pt 10pt 24pt; color: #3d5a80; }
"""


def main(data: Path) -> None:
    with lzma.open(data / "documents" / "val.jsonl.xz", "rt", encoding="utf-8") as lines:
        documents = {row["id"]: row for row in map(json.loads, lines) if row["id"] in DOCUMENTS}
    for key, (name, replaced, end) in DOCUMENTS.items():
        typeset(documents[key], replaced, end, HERE / name)
    (HERE / "photos").mkdir(exist_ok=True)
    for key, name in PHOTOS.items():
        shutil.copyfile(data / "listings" / "images" / f"{key}.jpg", HERE / "photos" / name)
        (HERE / "photos" / name).chmod(0o644)


def typeset(document: dict[str, Any], replaced: dict[str, str], end: str, path: Path) -> None:
    text = document["text"].split(end)[0]
    for old, new in replaced.items():
        text = text.replace(old, new)
    story = pymupdf.Story("".join(as_html(text, document["lang"] == "zh")), user_css=CSS)
    file = io.BytesIO()
    writer = pymupdf.DocumentWriter(file)
    more = 1
    while more:
        device = writer.begin_page(PAGE)
        more, _ = story.place(TEXT)
        story.draw(device)
        writer.end_page()
    writer.close()
    with pymupdf.open("pdf", file.getvalue()) as pdf:
        finish(pdf, document, re.sub(r"^# ", "", text.strip().splitlines()[0]))
        pdf.save(path, garbage=4, deflate=True, deflate_fonts=True, use_objstms=1)


def finish(pdf: pymupdf.Document, document: dict[str, Any], title: str) -> None:
    """Page numbers, title, origin; only the glyphs that are used."""
    for number, page in enumerate(pdf, 1):
        page.insert_textbox(
            pymupdf.Rect(72, PAGE.height - 56, PAGE.width - 72, PAGE.height - 36),
            f"{number} / {len(pdf)}",
            fontsize=9,
            color=(0.4, 0.45, 0.5),
            align=pymupdf.TEXT_ALIGN_RIGHT,
        )
    pdf.set_metadata(
        {
            "title": title,
            "author": f"Microsoft and contributors, {document['source']} (CC BY 4.0)",
            "creator": "samples/make_samples.py",
        }
    )
    pdf.subset_fonts()


# --- the Markdown that these documents use -------------------------------------------------------


def as_html(text: str, is_chinese: bool) -> Iterator[str]:
    """Headings, paragraphs, nested lists and notes."""
    for mark, names in NOTES.items():
        text = re.sub(rf"( *)> \[!{mark}\]", rf"\1> **{names[is_chinese]}**", text)
    yield from _blocks(text.splitlines())


def _blocks(lines: list[str]) -> Iterator[str]:
    index = 0
    while index < len(lines):
        line = lines[index]
        if heading := re.match(r"(#+) (.*)", line):
            level = len(heading[1])
            yield f"<h{level}>{_inline(heading[2])}</h{level}>"
            index += 1
        elif line.startswith(">"):
            index, body = _quotation(lines, index)
            yield f'<div class="note">{"".join(_blocks(body))}</div>'
        elif item := re.match(r"([-*]|\d+\.) +", line):
            tag = "ul" if item[1] in "-*" else "ol"
            index, items = _items(lines, index, tag)
            inner = "".join(f"<li>{''.join(_blocks(body))}</li>" for body in items)
            yield f"<{tag}>{inner}</{tag}>"
        elif line.strip():
            start = index
            while index < len(lines) and lines[index].strip() and not _begins(lines, index, start):
                index += 1
            yield f"<p>{_inline(' '.join(part.strip() for part in lines[start:index]))}</p>"
        else:
            index += 1


def _begins(lines: list[str], index: int, start: int) -> bool:
    """Whether another block begins on this line of a paragraph."""
    return index > start and bool(re.match(r"#+ |>|[-*] |\d+\. ", lines[index]))


def _quotation(lines: list[str], index: int) -> tuple[int, list[str]]:
    body = []
    while index < len(lines) and lines[index].startswith(">"):
        body.append(re.sub(r"^> ?", "", lines[index]).rstrip())
        index += 1
    return index, body


def _items(lines: list[str], index: int, tag: str) -> tuple[int, list[list[str]]]:
    """The items of one list; indented lines after an item belong to it."""
    sign = r"[-*] +" if tag == "ul" else r"\d+\. +"
    items: list[list[str]] = []
    while index < len(lines):
        line = lines[index]
        if mark := re.match(sign, line):
            items.append([line[mark.end() :]])
        elif not line.strip():
            following = next((later for later in lines[index:] if later.strip()), "")
            if not re.match(rf"{sign}| ", following):
                break
            items[-1].append("")
        elif line.startswith(" "):
            items[-1].append(re.sub(r"^ {1,4}", "", line))
        else:
            break
        index += 1
    return index, items


def _inline(text: str) -> str:
    # Between Chinese characters the source has blanks that print would not.
    text = re.sub(r"(?<=[^\x00-\x7f])(\**) +(\**)(?=[^\x00-\x7f])", r"\1\2", text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html.escape(text.strip(), quote=False))
    # Letters in spans of their own form no ligatures, so the text reads back as it was written.
    return re.sub(r"f(?=[fil])", "<span>f</span>", text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
