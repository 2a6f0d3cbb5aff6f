"""What a worker has read or seen it does not read or encode again, whoever asks next."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import Tensor

from mmapp.config import READINGS, Settings
from mmapp.db import migrate
from mmapp.jobs import Jobs
from mmapp.types import AskParams, Listing, Params, SummarizeParams, TaskName
from model import Engine
from tests.jobs.scenes import photo_bytes
from workers.child import Child
from workers.readings import LEAST_TOKENS, MB, MOST_DISK_BYTES, open_store

TEXT = {
    "en": "The garden of the old house is watered at dawn. Nobody counts the bees there. ",
    "zh": "老房子的花园在黎明时浇水。那里没有人数蜜蜂。",
}
QUESTIONS = {
    "en": ("When is the garden watered?", "Who counts the bees?"),
    "zh": ("花园什么时候浇水？", "谁在数蜜蜂？"),
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Nano, as it is shipped."""
    settings = Settings(data_dir=tmp_path / "data", threads=1, _env_file=None)  # type: ignore[call-arg]
    settings.data_dir.mkdir()
    migrate(settings.sqlalchemy_url)
    return settings


@pytest.fixture
def jobs(settings: Settings) -> Iterator[Jobs]:
    with Jobs.open(settings) as opened:
        yield opened


def tokens(jobs: Jobs, child: Child, task: TaskName, params: Params) -> dict[str, int]:
    """Of the record of a job that this worker ran."""
    job = jobs.submit(task, params)
    child.run(job.id)
    found: dict[str, int] = jobs.result(job.id).record["tokens"]
    return found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_document_is_read_once_by_all_tasks_and_workers(
    settings: Settings, jobs: Jobs, language: str
) -> None:
    text = "\n\n".join(f"{n}. {TEXT[language]}" for n in range(90))
    sha256 = jobs.add_document("garden.md", text.encode()).sha256
    one, other = Child.start(settings), Child.start(settings)
    first, second = (AskParams(sha256, question) for question in QUESTIONS[language])

    asked = tokens(jobs, one, TaskName.ASK, first)
    assert asked["remembered"] == 0
    summarised = tokens(jobs, one, TaskName.SUMMARIZE, SummarizeParams(sha256))
    document = summarised["read"]
    assert LEAST_TOKENS < summarised["remembered"] == document < asked["read"]
    elsewhere = tokens(jobs, other, TaskName.ASK, second)
    assert elsewhere["remembered"] == document < elsewhere["read"]

    shutil.rmtree(settings.data_dir / READINGS)
    again = AskParams(sha256, QUESTIONS[language][0] + "?")
    assert tokens(jobs, one, TaskName.ASK, again)["remembered"] == 0


def test_a_photo_of_several_listings_is_encoded_once(
    settings: Settings, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = jobs.add_document("photo.png", photo_bytes("red")).sha256
    child = Child.start(settings)
    engine = child._loaded
    assert isinstance(engine, Engine)
    encode = engine.transformer.encode
    tiles: list[int] = []

    def counting(some: Tensor) -> Tensor:
        tiles.append(len(some))
        return encode(some)

    monkeypatch.setattr(engine.transformer, "encode", counting)
    tokens(jobs, child, TaskName.CHECK_LISTING, Listing((photo,), "Red apples"))
    assert sum(tiles) > 0
    tiles.clear()
    tokens(jobs, child, TaskName.CHECK_LISTING, Listing((photo,), "Red apples, sweet"))
    assert sum(tiles) == 0


def test_budgets_are_those_of_the_settings_or_a_share_of_what_is_free(settings: Settings) -> None:
    def store(**budgets: int):  # type: ignore[no-untyped-def]
        return open_store(settings.model_copy(update=budgets), "cpu")

    assert store(prefix_memory_mb=0, prefix_disk_mb=0) is None
    in_memory = store(prefix_memory_mb=7, prefix_disk_mb=0)
    assert (in_memory.memory_bytes, in_memory.folder) == (7 * MB, None)
    assert not (settings.data_dir / READINGS).exists()
    on_disk = store(prefix_memory_mb=0, prefix_disk_mb=9)
    assert (on_disk.memory_bytes, on_disk.disk_bytes) == (0, 9 * MB)
    assert (settings.data_dir / READINGS).stat().st_mode & 0o777 == 0o700
    shutil.rmtree(settings.data_dir)
    free = store()
    assert 0 < free.memory_bytes < 2**50
    assert 0 < free.disk_bytes <= MOST_DISK_BYTES


def test_a_folder_that_cannot_be_made_leaves_memory(settings: Settings) -> None:
    (settings.data_dir / READINGS).write_text("no folder")
    store = open_store(settings, "cpu")
    assert store is not None
    assert store.folder is None
