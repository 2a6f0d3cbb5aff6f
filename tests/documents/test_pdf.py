import re
import unicodedata

import pymupdf
import pytest
from PIL import Image

from mmapp.documents.quotes import PageText, page_text, shown_box
from mmapp.errors import (
    CorruptFile,
    EmptyFile,
    EncryptedFile,
    FileTooLarge,
    NotFound,
    UnsupportedFile,
    WrongPassword,
)
from mmapp.types import Bookmark
from tests.documents.craft import CATALOG, FONT, line, opened, pdf, stream, written


def squeezed(text):
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text))


def ink(image, box):
    """Share of dark pixels in a part of a picture."""
    part = image.convert("L").crop(tuple(round(side) for side in box))
    return sum(part.histogram()[:128]) / max(1, part.width * part.height)


def test_lines_come_with_their_boxes_and_the_edges_of_their_characters(reader):
    read = reader.read("a.pdf", written(line(50, 700, "Hello there"), line(50, 700, "Second")))
    page = read.pages[0]
    assert (read.document.page_count, len(read.pages), read.images) == (2, 2, ())
    assert (page.number, page.width, page.height, page.rotation) == (1, 600, 800, 0)
    only = page.lines[0]
    assert only.text == "Hello there"
    assert len(only.edges) == len(only.text) + 1
    assert only.edges[0] == only.box[0] == 50
    assert only.edges[-1] == only.box[2]
    assert list(only.edges) == sorted(only.edges)
    assert only.box[1] < 100 < only.box[3]


@pytest.mark.parametrize("name", ["multicolumn", "google-doc-document"])
def test_every_quote_stands_in_its_boxes_and_on_the_page_as_pymupdf_reads_it(reader, pdfs, name):
    outside = pymupdf.open(stream=pdfs[name], filetype="pdf")
    checked = 0
    for page in reader.read(name, pdfs[name]).pages:
        text = PageText(page)
        sheet = outside[page.number - 1]
        words_of_sheet = sheet.get_textpage()
        whole = squeezed(sheet.get_text())
        for words in list(re.finditer(r"\S+(?: \S+){3}", text.text))[::4]:
            boxes = text.boxes_of(*words.span())
            parts = [
                sheet.get_textbox((x0 - 0.5, y0, x1 + 0.5, y1), textpage=words_of_sheet)
                for x0, y0, x1, y1 in boxes
            ]
            assert squeezed(words.group()) in squeezed("".join(parts))
            assert squeezed(words.group()) in whole
            checked += 1
    assert checked >= 10


def test_columns_are_read_one_after_the_other(reader, pdfs):
    text = page_text(reader.read("a.pdf", pdfs["multicolumn"]).pages[0])
    marks = ["Two-Column Document", "Abstract", "Nulla malesuada", "pellentesque ante", "Fusce"]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)


def test_columns_drawn_line_by_line_are_read_one_after_the_other(reader):
    rows = b"".join(
        line(50, 700 - 14 * n, f"left line {n} of the first column")
        + line(320, 700 - 14 * n, f"right line {n} of the second column")
        for n in range(6)
    )
    page = reader.read("a.pdf", written(rows)).pages[0]
    assert [text.text.split()[0] for text in page.lines] == ["left"] * 6 + ["right"] * 6
    assert [text.block for text in page.lines] == [0] * 6 + [1] * 6


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_boxes_count_as_in_pymupdf_and_fit_the_picture_of_a_turned_page(reader, rotate):
    """Level as shown, as on the landscape pages of reports, and level on the page before that."""
    turns = {0: "1 0 0 1", 90: "0 1 -1 0", 180: "-1 0 0 -1", 270: "0 -1 1 0"}
    shown_level = f"BT /F 12 Tf {turns[rotate]} 300 400 Tm (Words turned) Tj ET\n".encode()
    data = written(shown_level + line(20, 60, "Level words"), rotate=rotate)
    page = reader.read("a.pdf", data).pages[0]
    image = opened(reader.render(data, 1, dpi=72))
    assert page.rotation == rotate
    assert abs(image.width - page.width) <= 1
    assert abs(image.height - page.height) <= 1
    outside = pymupdf.open(stream=data, filetype="pdf")[0]
    text = PageText(page)
    for quote in ("Words turned", "turned", "Level words"):
        start = text.text.index(quote)
        (box,) = text.boxes_of(start, start + len(quote))
        assert ink(image, shown_box(page, box)) > 0.08
        assert quote in outside.get_textbox(box)
    start = text.text.index("turned")
    (cut,) = text.boxes_of(start, start + 6)
    (found,) = outside.search_for("turned")
    assert max(abs(a - b) for a, b in zip(cut, found, strict=True)) < 2


def test_real_turned_pages_fit_their_pictures(reader, pdfs):
    read = reader.read("a.pdf", pdfs["habibi-rotated"])
    assert [page.rotation for page in read.pages] == [90, 180, 270, 0]
    for page in read.pages:
        image = opened(reader.render(pdfs["habibi-rotated"], page.number, dpi=72))
        (box,) = (shown_box(page, text.box) for text in page.lines)
        assert ink(image, box) > 0.05
        blank = Image.new("RGB", image.size, "white")
        part = tuple(round(side) for side in box)
        image.paste(blank.crop(part), part[:2])
        assert ink(image, (0, 0, *image.size)) < 0.001


def test_a_glyph_for_several_characters_shares_its_width_among_them(reader):
    cmap = (
        b"/CIDInit /ProcSet findresource begin begincmap 1 begincodespacerange <00> <ff> "
        b"endcodespacerange 1 beginbfchar <41> <006600660069> endbfchar endcmap end"
    )
    font = FONT.replace(b"/Encoding", b"/ToUnicode 6 0 R/Encoding")
    page = (
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R"
        b"/Resources<</Font<</F 5 0 R>>>>>>"
    )
    pages = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
    data = pdf([CATALOG, pages, page, stream(line(20, 100, "AB")), font, stream(cmap)])
    (read,) = reader.read("a.pdf", data).pages[0].lines
    assert read.text == "ffiB"
    widths = [right - left for left, right in zip(read.edges, read.edges[1:], strict=False)]
    assert widths[0] == pytest.approx(widths[1], abs=0.02) == pytest.approx(widths[2], abs=0.02)


def test_a_page_that_cannot_be_read_says_why_and_the_others_are_read(reader):
    pages = b"<</Type/Pages/Kids[3 0 R null 3 0 R]/Count 3>>"
    page = (
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R"
        b"/Resources<</Font<</F 5 0 R>>>>>>"
    )
    data = pdf([CATALOG, pages, page, stream(line(20, 100, "Hello")), FONT])
    read = reader.read("a.pdf", data).pages
    assert [page_text(page) for page in read] == ["Hello", "", "Hello"]
    assert [bool(page.error) for page in read] == [False, True, False]
    assert read[1].number == 2


def test_a_password_opens_an_encrypted_file_and_its_pictures_are_kept(reader, pdfs):
    data = pdfs["libreoffice-writer-password"]
    read = reader.read("a.pdf", data, password="openpassword")
    assert read.document.encrypted
    assert page_text(read.pages[0])
    assert [opened(image).mode for image in read.images] == ["RGB"]
    with pytest.raises(EncryptedFile, match="no password was given"):
        reader.read("a.pdf", data)
    with pytest.raises(WrongPassword, match="does not open"):
        reader.read("a.pdf", data, password="other")
    with pytest.raises(EncryptedFile):
        reader.render(data, 1)


def test_a_file_with_an_owners_password_alone_opens(reader):
    document = pymupdf.open()
    document.new_page().insert_text((72, 72), "Free to read")
    aes = pymupdf.PDF_ENCRYPT_AES_256
    data = document.tobytes(encryption=aes, owner_pw="secret", user_pw="")
    read = reader.read("a.pdf", data)
    assert page_text(read.pages[0]) == "Free to read"
    assert not read.document.encrypted


def test_a_truncated_file_is_repaired(reader):
    data = written(line(50, 700, "Hello there"))
    assert page_text(reader.read("a.pdf", data[: data.index(b"xref")]).pages[0]) == "Hello there"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"%PDF-1.7\n", CorruptFile),
        (b"%PDF-1.7\n" + bytes(range(256)) * 20, CorruptFile),
        (b"%PDF-1.7\n<html><body>Hello</body></html>", CorruptFile),
        (pdf([CATALOG, b"<</Type/Pages/Kids[]/Count 0>>"]), EmptyFile),
        (pdf([CATALOG, b"<</Type/Pages/Kids[2 0 R]/Count 3>>"]), CorruptFile),
        (pdf([CATALOG, b"<</Type/Pages/Kids[2 0 R]/Count 2000000000>>"]), CorruptFile),
        (pdf([CATALOG, b"<</Type/Pages/Kids[null]/Count 1>>"]), CorruptFile),
        (written(line(50, 700, "Hello"))[:150], CorruptFile),
    ],
)
def test_broken_files_are_refused_in_one_line_with_what_to_do(reader, data, error):
    with pytest.raises(error) as caught:
        reader.read("broken.pdf", data)
    assert '"broken.pdf"' in str(caught.value)
    assert "\n" not in str(caught.value)
    assert re.search(r"save it anew|another file", str(caught.value))


def test_too_many_pages_or_characters_name_both_numbers(limited):
    data = written(*[line(50, 700, "Hello there")] * 3)
    with pytest.raises(FileTooLarge, match=r"3 pages; at most 2 .*MMAPP_MAX_PAGES"):
        limited(max_pages=2).read("a.pdf", data)
    with pytest.raises(FileTooLarge, match=r"2\d characters or more; at most 20 .*MAX_CHARACTERS"):
        limited(max_characters=20).read("a.pdf", data)


@pytest.mark.parametrize("box", ["0 0 1000000 1000000", "0 0 14400 14400", "0 0 100000 1"])
def test_a_huge_page_is_drawn_within_the_limit_of_pixels(limited, box):
    data = written(line(50, 0, "Words"), box=box)
    with limited(max_pixels=500_000) as reader:
        width, height = opened(reader.render(data, 1, dpi=300)).size
        assert reader.read("a.pdf", data).pages[0].width > 10_000
    assert 1 <= width * height <= 510_000


def test_only_pages_that_are_there_are_drawn(reader):
    data = written(line(50, 700, "Hello"))
    for number in (0, -1, 2):
        with pytest.raises(NotFound, match=f"no page {number}"):
            reader.render(data, number)
    with pytest.raises(UnsupportedFile, match="is no PDF"):
        reader.render(b"Hello", 1)


def test_broken_numbers_in_a_font_matrix_do_no_harm(reader):
    wild = b"BT /F 1e30 Tf 1e38 0 0 1e38 1e38 1e38 Tm (Wild) Tj ET\n"
    page = reader.read("a.pdf", written(wild + line(50, 700, "Tame"))).pages[0]
    assert "Tame" in page_text(page)
    assert all(abs(side) <= 1_000_000 for text in page.lines for side in text.box)


def outlined(entries):
    file = pymupdf.open()
    for _ in range(3):
        file.new_page().insert_text((72, 72), "Bees live here.")
    file.set_toc(entries)
    return file.tobytes()


def test_a_files_own_outline_comes_with_it(reader):
    data = outlined([[1, "Bees", 1], [2, "  In\tcities ", 2], [1, "蜜蜂", 3], [1, "Nowhere", -1]])
    assert reader.read("a.pdf", data).document.outline == (
        Bookmark(1, "Bees", 1),
        Bookmark(2, "In cities", 2),
        Bookmark(1, "蜜蜂", 3),
    )


def test_a_broken_outline_is_none_and_the_pages_are_read(reader):
    data = outlined([[1, "Bees", 1]]).replace(b"/Outlines ", b"/Outlunes ")
    read = reader.read("a.pdf", data)
    assert read.document.outline == ()
    assert len(read.pages) == 3
