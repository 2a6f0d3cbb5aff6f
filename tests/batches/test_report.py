"""The report of a batch: what it counts, what it shows first, and that it needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from mmapp.batches import read_batch
from mmapp.batches.report import batch_report
from mmapp.config import Settings
from mmapp.errors import BadInput
from mmapp.jobs import Jobs
from mmapp.samples import FOLDER
from mmapp.types import Batch, TaskName
from tests.jobs.scenes import checkpoint_folder, engine
from tests.servers import migrated_sqlite
from tests.tasks.fakes import likes

CHECK = TaskName.CHECK_LISTING
TABLE = """id,image,title,category,colour,label
1,coat.jpg,Warm coat,Clothes,red,consistent
2,copy.jpg|coat.jpg,<b>Cold</b> coat,Clothes,blue,inconsistent
3,oranges.jpg,Warm oranges,Fruit,blue,consistent
3,oranges.jpg,Warm oranges,Fruit,blue,consistent
4,gone.jpg,Warm hat,Clothes,red,consistent
"""


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    settings = Settings(
        data_dir=tmp_path / "data",
        database_url=migrated_sqlite(tmp_path / "template.sqlite3", tmp_path / "mmapp.sqlite3"),
        checkpoint=checkpoint_folder(tmp_path / "fake"),
        _env_file=None,
    )
    with Jobs.open(settings) as opened:
        yield opened


@pytest.fixture
def batch(jobs: Jobs, tmp_path: Path) -> Batch:
    """Checked: what the engine likes ("Warm", "red", "Clothes") is supported, the rest refuted."""
    for name in ("coat", "oranges"):
        with Image.open(FOLDER / "photos" / f"{name}.jpg") as photo:
            photo.reduce(4).save(tmp_path / f"{name}.jpg", quality=90)
    with Image.open(tmp_path / "coat.jpg") as photo:
        photo.resize((120, 160)).save(tmp_path / "copy.jpg", quality=50)
    path = tmp_path / "catalogue.csv"
    path.write_text(TABLE)
    submitted = jobs.submit_batch(path.name, CHECK, read_batch(path, CHECK, jobs))
    for job in reversed(jobs.list(batch_id=submitted.id)):
        jobs.run(job.id, engine(likes("Warm", "“red”", "Clothes")), "w1")
    return jobs.batch(submitted.id)


def test_the_report_says_what_is_wrong_where(jobs: Jobs, batch: Batch) -> None:
    told: list[tuple[int, int]] = []
    page = batch_report(batch, jobs, lambda done, total: told.append((done, total)))
    figures = dict(re.findall(r'<tr><td>([^<]+)</td><td class="number">([^<]+)</td></tr>', page))
    assert figures["Rows"] == "5"
    assert figures["Checked"] == "4"
    assert figures["of these answered from earlier"] == "1"
    assert figures["Could not be checked"] == "1"
    assert figures["Photos"] == "3"
    assert told[-1] == (3, 3)
    worst, shared, twins, failed = (
        page[page.index(heading) :]
        for heading in (
            "The worst first",
            "Photos in several listings",
            "The same listing twice",
            "Rows that could not be checked",
        )
    )
    assert worst.index("2: &lt;b&gt;Cold&lt;/b&gt; coat") < worst.index("1: Warm coat")
    assert "1: Warm coat; 2: &lt;b&gt;Cold" in shared
    assert shared.index("nearly the same") < shared.index("the same · 相同")
    assert "3: Warm oranges; 4: Warm oranges" in twins
    assert "gone.jpg" in failed
    assert "Calibration" in page
    assert "Refuted by category" in page


def test_the_report_needs_nothing_but_itself(jobs: Jobs, batch: Batch) -> None:
    page = batch_report(batch, jobs, lambda _done, _total: None)
    assert "<script" not in page
    assert "default-src 'none'" in page
    sources = re.findall(r'(?:src|href)="([^"]{0,22})', page)
    assert sources
    assert all(source.startswith("data:image/jpeg;base64") for source in sources)
    assert len(page) < 100_000


def test_a_batch_of_documents_has_no_report(jobs: Jobs) -> None:
    documents = jobs.submit_batch("documents", TaskName.SUMMARIZE, [])
    with pytest.raises(BadInput, match="about listings"):
        batch_report(documents, jobs, lambda _done, _total: None)


def test_a_batch_without_rows_has_an_empty_report(jobs: Jobs) -> None:
    nothing = jobs.submit_batch("nothing", CHECK, [])
    assert "<p>—</p>" in batch_report(nothing, jobs, lambda _done, _total: None)
