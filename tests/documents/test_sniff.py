import io
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmapp.documents import sniff
from mmapp.errors import DocumentError, EmptyFile, UnsupportedFile
from mmapp.types import MediaType
from tests.documents.craft import line, picture, written


def zipped(*names):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "x" * 5000)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_images_are_known_by_their_bytes(kind):
    data = picture(Image.new("RGB", (8, 8)), kind)
    assert sniff(data) is MediaType[kind]


def test_a_pdf_may_begin_with_other_bytes():
    data = written(line(10, 10, "Words"))
    assert sniff(data) is MediaType.PDF
    assert sniff(b"HTTP/1.1 200 OK\r\n\r\n" + data) is MediaType.PDF
    assert sniff(b"%PDF-1.4") is MediaType.PDF


def test_a_text_about_pdf_is_a_text():
    assert sniff(b"A file that begins with %PDF-1.7 is a PDF.") is MediaType.TEXT


@pytest.mark.parametrize(
    "text",
    [
        "# Title\n\nWords",
        "See [this](https://example.org).",
        "Code:\n```\nx\n```",
        "| a |\n|---|\n",
    ],
)
def test_markdown_is_known_by_its_signs(text):
    assert sniff(text.encode()) is MediaType.MARKDOWN


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030"])
def test_text_is_known_in_each_encoding(encoding):
    text = "Line one, plain words.\n" * 3
    assert sniff((text + "中文的句子。\n" * 5).encode(encoding)) is MediaType.TEXT


@pytest.mark.parametrize(
    ("data", "looks_like", "remedy"),
    [
        (zipped("[Content_Types].xml", "word/document.xml"), "a Word document", "Save it as PDF"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook", "Save it as PDF"),
        (zipped("a.pdf", "b.pdf"), "a zip archive", "Unpack it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "an old Microsoft Office file", "PDF"),
        (b"<!DOCTYPE html><html><body>Hi</body></html>", "a web page", "Print it to PDF"),
        (b"<?xml version='1.0'?>\n<!-- x -->\n<svg xmlns='x'/>", "an SVG drawing", "PNG"),
        (b"<?xml version='1.0'?><note/>", "an XML file", "Save it as PDF"),
        (b"{\\rtf1 Hello}", "a rich text file", "Save it as PDF"),
        (b"%!PS-Adobe-3.0\n%%Pages: 1", "a PostScript file", "Save it as PDF"),
        (b"MZ\x90\x00\x03\x00\x00\x00" + bytes(100), "a program", "not read"),
        (b"\x7fELF\x02\x01\x01" + bytes(100), "a program", "not read"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(100), "a HEIC or AVIF photo", "JPEG or PNG"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(100), "a video", "not read"),
        (b"\x1f\x8b\x08" + bytes(100), "an archive", "Unpack it"),
        (picture(Image.new("RGB", (4, 4)), "BMP"), "a BMP image", "JPEG or PNG"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_to_do(data, looks_like, remedy):
    with pytest.raises(UnsupportedFile) as caught:
        sniff(data, "thing.pdf")
    assert f'"thing.pdf" looks like {looks_like}' in str(caught.value)
    assert remedy in str(caught.value)


def test_bytes_of_no_kind_are_refused():
    with pytest.raises(UnsupportedFile, match="is of no known kind"):
        sniff(bytes(range(256)) * 4)


def test_latin_1_is_not_taken_for_chinese():
    with pytest.raises(UnsupportedFile, match="save it as UTF-8"):
        sniff("Le café, déjà".encode("latin-1") + b" \xe9j \xe9j \xe9j")


def test_no_bytes_are_an_empty_file():
    with pytest.raises(EmptyFile, match=r'"a\.pdf" has 0 bytes'):
        sniff(b"", "a.pdf")


@given(st.binary(max_size=200))
def test_any_bytes_give_a_kind_or_a_document_error(data):
    with suppress(DocumentError):
        assert sniff(data) in MediaType
