"""Adding documents with the real reader."""

from __future__ import annotations

import io

import pymupdf
import pytest
from PIL import Image

from mmapp.errors import EmptyFile, NotFound
from mmapp.jobs import Jobs
from mmapp.types import Bookmark, MediaType
from tests.jobs.scenes import TEXT, photo_bytes


def test_a_text_is_read_once_and_kept(jobs: Jobs) -> None:
    document = jobs.add_document("a.txt", TEXT.encode())
    assert (document.media_type, document.page_count) == (MediaType.TEXT, 1)
    assert jobs.add_document("b.txt", TEXT.encode()) == document == jobs.document(document.sha256)
    page = jobs.pages(document.sha256)[0]
    assert page.lines[0].text.startswith("The bridge over the Elbe")
    with pytest.raises(NotFound, match="text"):
        jobs.page_image(document.sha256, 1)


def test_a_pdf_keeps_its_outline_and_gives_the_pages_that_are_asked_for(jobs: Jobs) -> None:
    file = pymupdf.open()
    for number in range(1, 5):
        file.new_page().insert_text((72, 72), f"Page {number} tells of bees.")
    file.set_toc([[1, "Bees", 1], [1, "蜜蜂", 3]])
    document = jobs.add_document("a.pdf", file.tobytes())
    assert jobs.document(document.sha256).outline == (
        Bookmark(1, "Bees", 1),
        Bookmark(1, "蜜蜂", 3),
    )
    whole = jobs.pages(document.sha256)
    assert jobs.pages(document.sha256, {4, 2}) == [whole[1], whole[3]]
    assert jobs.pages(document.sha256, ()) == []


def test_a_pdf_gets_pictures_when_they_are_asked_for(jobs: Jobs) -> None:
    document = jobs.add_document("a.pdf", pdf())
    assert jobs.pages(document.sha256)[0].lines[0].box is not None
    picture = jobs.page_image(document.sha256, 1)
    assert Image.open(io.BytesIO(picture)).width > 100
    assert jobs.page_image(document.sha256, 1) == picture
    with pytest.raises(NotFound, match="1 pages; there is no page 2"):
        jobs.page_image(document.sha256, 2)


def test_a_photo_is_served_clean(jobs: Jobs) -> None:
    file = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(file, "JPEG", comment=b"home address")
    document = jobs.add_document("a.jpg", file.getvalue())
    served = jobs.page_image(document.sha256, 1)
    assert Image.open(io.BytesIO(served)).size == (20, 10)
    assert b"home address" not in served


@pytest.mark.parametrize("name", ["a.txt", "a.png"])
def test_a_file_that_was_lost_on_disk_can_be_added_again(jobs: Jobs, name: str) -> None:
    data = TEXT.encode() if name == "a.txt" else photo_bytes("red")
    document = jobs.add_document(name, data)
    for blob in jobs.settings.data_dir.glob("blobs/*/*"):
        blob.unlink()
    if name == "a.png":
        with pytest.raises(NotFound, match="Add it again"):
            jobs.page_image(document.sha256, 1)
    assert jobs.add_document(name, data) == document
    assert jobs._blobs.get(document.sha256) == data
    if name == "a.png":
        assert jobs.page_image(document.sha256, 1)


def test_a_refused_file_leaves_nothing(jobs: Jobs) -> None:
    with pytest.raises(EmptyFile):
        jobs.add_document("a.txt", b"")
    assert not list(jobs.settings.data_dir.glob("blobs/*/*"))


def pdf() -> bytes:
    """One page with one line, as small as a PDF can be; the reader repairs the missing table."""
    stream = b"BT /F1 24 Tf 72 700 Td (Cracks were found.) Tj ET"
    parts = [
        b"%PDF-1.4",
        b"1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj",
        b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj",
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R"
        b"/Resources<</Font<</F1 5 0 R>>>>>>endobj",
        b"4 0 obj<</Length %d>>stream\n%b\nendstream endobj" % (len(stream), stream),
        b"5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj",
        b"trailer<</Root 1 0 R>>",
        b"%%EOF",
    ]
    return b"\n".join(parts)
