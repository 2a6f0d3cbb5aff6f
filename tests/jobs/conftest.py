"""Jobs on both databases, with documents put in directly and no broker."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmapp.config import Settings
from mmapp.jobs import Jobs
from mmapp.types import Document, MediaType
from tests.jobs.scenes import checkpoint_folder, photo_bytes
from tests.servers import (
    RedisServer,
    empty_tables,
    fresh_postgresql,
    migrated_sqlite,
    postgresql_server,
)
from tests.tasks.fakes import text_page

AddText = Callable[..., Document]
AddPhoto = Callable[[str], Document]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    with postgresql_server() as server:
        yield server.url


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql: str) -> str:
    from mmapp.db import migrate

    url = fresh_postgresql(postgresql, "jobs")
    migrate(url)
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sqlite") / "template.sqlite3"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        url: str = request.getfixturevalue("migrated_postgresql")
        empty_tables(url)
        return url
    return migrated_sqlite(request.getfixturevalue("sqlite_template"), tmp_path / "jobs.sqlite3")


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        database_url=database_url,
        checkpoint=checkpoint_folder(tmp_path / "fake"),
        sweep_seconds=0.2,
        _env_file=None,
    )


@pytest.fixture
def jobs(settings: Settings) -> Iterator[Jobs]:
    with Jobs.open(settings) as opened:
        yield opened


@pytest.fixture
def queued_jobs(settings: Settings, redis: RedisServer) -> Iterator[Jobs]:
    """The same jobs as `jobs`, with a broker."""
    with Jobs.open(settings.model_copy(update={"redis_url": redis.url})) as opened:
        yield opened


@pytest.fixture
def add_text(jobs: Jobs) -> AddText:
    """Puts a text document into the database as if the reader had read it."""

    def add(text: str, name: str = "report.txt") -> Document:
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        document = Document(sha256, name, MediaType.TEXT, len(text), 1)
        with jobs._database.transaction() as repository:
            repository.documents.add(document, [text_page(1, text)], [])
        return document

    return add


@pytest.fixture
def add_photo(jobs: Jobs) -> AddPhoto:
    """Puts a photo of one colour into the database as if the reader had read it."""
    from mmapp.types import Page

    def add(colour: str) -> Document:
        data = photo_bytes(colour)
        sha256 = jobs._blobs.put(data)
        document = Document(sha256, f"{colour}.png", MediaType.PNG, len(data), 1)
        with jobs._database.transaction() as repository:
            repository.documents.add(document, [Page(1, 8, 8)], [sha256])
        return document

    return add
