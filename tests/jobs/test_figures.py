"""Figures as jobs: PDFs with photos and captions that are right or wrong, in both languages."""

from __future__ import annotations

from pathlib import Path

import pymupdf
import pytest
from PIL import Image, ImageStat

from mmapp import exports, records
from mmapp.errors import BadInput
from mmapp.jobs import Jobs
from mmapp.types import FiguresParams, Status, TaskName
from tests.jobs.conftest import AddPhoto
from tests.jobs.scenes import engine
from tests.tasks.fakes import Parts

PHOTOS = Path(__file__).parents[2] / "samples" / "photos"
#: Photo, caption, and the verdict that is right.
CAPTIONS = [
    ("banana.jpg", "Figure 1: A yellow banana.", "agrees"),
    ("red-bell-peppers.jpg", "Figure 2: A yellow banana.", "disagrees"),
    ("banana.jpg", "图3：黄色的香蕉", "agrees"),
    ("red-bell-peppers.jpg", "图 4 黄色的香蕉", "disagrees"),
    ("banana.jpg", "Figure 5: Progress over four quarters.", "unclear"),
    ("red-bell-peppers.jpg", "Nothing tells of this.", "no caption"),
]


def document() -> bytes:
    with pymupdf.open() as made:
        for number, (photo, caption, _) in enumerate(CAPTIONS):
            page = made.new_page(width=600, height=800)
            top = 100 + 20 * number
            page.insert_image((150, top, 450, top + 300), filename=PHOTOS / photo)
            font = "china-s" if "图" in caption else "helv"
            page.insert_text((150, top + 325), caption, fontname=font)
        return made.tobytes()


def sees_colours(parts: Parts, question: str, answer: str) -> float:
    """Knows yellow bananas alone, by a photo whose middle has almost as much green as red."""
    if not any(word in question for word in ("banana", "yellow", "黄色", "香蕉")):
        return 0.0 if answer == "unclear" else -5.0
    (photo,) = [part for part in parts if isinstance(part, Image.Image)]
    red, green, _ = ImageStat.Stat(photo.crop((20, 20, photo.width - 20, photo.height - 20))).mean
    is_yellow = green > 0.7 * red
    return {"yes": 0.0 if is_yellow else -4.0, "no": -4.0 if is_yellow else 0.0}.get(answer, -6.0)


def test_captions_are_checked_and_what_has_none_is_not_asked(jobs: Jobs) -> None:
    added = jobs.add_document("catalogue.pdf", document())
    params = FiguresParams(added.sha256)
    job = jobs.submit(TaskName.FIGURES, params)
    jobs.run(job.id, engine(sees_colours), "w1")
    assert jobs.get(job.id).error == ""
    result = jobs.result(job.id)
    found = result.payload["figures"]
    assert [one["verdict"] for one in found] == [right for *_, right in CAPTIONS]
    assert [one["page"] for one in found] == [1, 2, 3, 4, 5, 6]
    assert [one["probability"] is None for one in found] == [False] * 5 + [True]
    assert [one["caption"] and one["caption"]["text"] for one in found[1:4]] == [
        "A yellow banana.",
        "黄色的香蕉",
        "黄色的香蕉",
    ]
    assert found[5]["caption"] is None
    for one in found[:4]:
        x0, y0, x1, y1 = one["box"]
        (proof,) = one["claims"][0]["evidence"]
        left, top, right, bottom = proof["box"]
        assert proof["page"] == one["page"]
        assert x0 - 1 <= left < right <= x1 + 1
        assert y0 - 1 <= top < bottom <= y1 + 1
    assert result.payload["counts"] == {
        "agrees": 2,
        "disagrees": 2,
        "unclear": 1,
        "no caption": 1,
    }
    (row,) = jobs.results("香蕉", task=TaskName.FIGURES)
    assert row.headline == "agrees: 2, disagrees: 2, unclear: 1, no caption: 1"
    assert records.params_from_json(TaskName.FIGURES, jobs.get(job.id).params) == params
    assert jobs.submit(TaskName.FIGURES, params).status is Status.SUCCEEDED
    told = exports.markdown(jobs.get(job.id), result)
    assert "| 2 | Figure 2: A yellow banana\\. | disagrees, P\\(agree\\) 0\\." in told
    assert [mark.page for mark in exports.marks(result)] == [1, 2, 3, 4, 5]
    assert jobs.annotated(job.id).startswith(b"%PDF")


def test_only_a_pdf_that_can_be_opened_has_figures(jobs: Jobs, add_photo: AddPhoto) -> None:
    photo = add_photo("red")
    with pytest.raises(BadInput, match="figures are looked for in PDFs"):
        jobs.submit(TaskName.FIGURES, FiguresParams(photo.sha256))
    with pymupdf.open() as made:
        made.new_page()
        locked = made.tobytes(encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="secret")
    added = jobs.add_document("locked.pdf", locked, password="secret")
    with pytest.raises(BadInput, match="encrypted"):
        jobs.submit(TaskName.FIGURES, FiguresParams(added.sha256))
