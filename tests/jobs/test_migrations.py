"""Migrations on both databases: up, down, nothing missing, several at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy.exc import IntegrityError

from mmapp.config import Settings
from mmapp.db import HEAD, Database, alembic_config, connectable, migrate
from mmapp.errors import DatabaseNotReady
from mmapp.jobs import Jobs
from tests.servers import fresh_postgresql


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new folder 100%' / 'empty.sqlite3'}"
    return fresh_postgresql(request.getfixturevalue("postgresql"), f"empty{tmp_path.name}")


def tables(url: str) -> set[str]:
    engine = connectable(url)
    names = set(sqlalchemy.inspect(engine).get_table_names())
    engine.dispose()
    return names - {"alembic_version"}


def test_migrations_make_what_the_code_expects_and_take_it_away(empty_url: str) -> None:
    migrate(empty_url)
    command.check(alembic_config(empty_url))
    assert "jobs" in tables(empty_url)
    command.downgrade(alembic_config(empty_url), "base")
    assert tables(empty_url) == set()
    migrate(empty_url)
    migrate(empty_url)


@pytest.mark.parametrize(
    ("before", "task"), [("0001", "ask"), ("0005", "extract"), ("0009", "figures")]
)
def test_a_new_task_comes_and_goes_and_other_jobs_stay(
    empty_url: str, before: str, task: str
) -> None:
    migrate(empty_url)
    command.downgrade(alembic_config(empty_url), before)
    engine = connectable(empty_url)
    add = sqlalchemy.text(
        "INSERT INTO jobs (id, task, status, priority, label, label_folded, params, attempt,"
        " series_start, progress, cancel_requested, error, error_code, created_at, queued_at,"
        " result_of) VALUES (:id, :task, 'succeeded', 'batch', '', '', '{}', 0, 0, '{}', FALSE,"
        " '', '', '2026-11-22', '2026-11-22', :id)"
    )
    made = sqlalchemy.text(
        "INSERT INTO results VALUES (:id, :task, 1, 'key', '{}', '{}', '', '', '2026-11-22')"
    )

    def insert(name: str) -> None:
        with engine.begin() as connection:
            connection.execute(add, {"id": name, "task": name})
            connection.execute(made, {"id": name, "task": name})

    def stored() -> list[str]:
        with engine.connect() as connection:
            found = connection.execute(sqlalchemy.text("SELECT job_id FROM results ORDER BY 1"))
            return list(found.scalars())

    insert("summarize")
    with pytest.raises(IntegrityError):
        insert(task)
    names = schema(engine)
    migrate(empty_url)
    insert(task)
    with pytest.raises(IntegrityError):
        insert("frobnicate")
    assert stored() == sorted([task, "summarize"])
    kept = schema(engine)
    assert all(before_it <= kept[table] for table, before_it in names.items())
    command.downgrade(alembic_config(empty_url), before)
    assert stored() == ["summarize"]
    with pytest.raises(IntegrityError):
        insert(task)
    engine.dispose()


def test_pages_without_words_are_looked_at_after_the_migration_and_others_are_not(
    empty_url: str,
) -> None:
    migrate(empty_url)
    command.downgrade(alembic_config(empty_url), "0003")
    engine = connectable(empty_url)
    kinds = [
        ("scan", "application/pdf", 0),
        ("book", "application/pdf", 9),
        ("note", "text/plain", 0),
    ]
    with engine.begin() as connection:
        for name, kind, characters in kinds:
            values = {"sha": name, "kind": kind, "characters": characters, "lines": b""}
            connection.execute(
                sqlalchemy.text(
                    "INSERT INTO documents VALUES (:sha, 'n', :kind, 1, 1, FALSE, '2026-11-22')"
                ),
                values,
            )
            connection.execute(
                sqlalchemy.text(
                    "INSERT INTO pages (document_sha256, number, width, height, rotation, lines,"
                    " characters, error) VALUES (:sha, 1, 9, 9, 0, :lines, :characters, '')"
                ),
                values,
            )
    migrate(empty_url)
    with engine.connect() as connection:
        stored = sqlalchemy.text("SELECT document_sha256, recognition FROM pages ORDER BY 1")
        found = [tuple(row) for row in connection.execute(stored)]
    assert found == [("book", None), ("note", None), ("scan", "wanted")]
    engine.dispose()


def schema(engine: sqlalchemy.Engine) -> dict[str, set[object]]:
    """The names of what holds the tables together."""
    found = sqlalchemy.inspect(engine)
    return {
        table: {
            one["name"]
            for of in (found.get_check_constraints, found.get_foreign_keys, found.get_indexes)
            for one in of(table)
        }
        for table in ("batches", "jobs", "results", "batch_rows")
    }


def test_several_may_migrate_at_once(empty_url: str) -> None:
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(migrate, [empty_url] * 3))
    database = Database(empty_url)
    assert database.revision() == HEAD
    database.close()


def test_the_newest_migration_is_the_one_that_the_code_names() -> None:
    script = ScriptDirectory.from_config(alembic_config("sqlite://"))
    assert script.get_current_head() == HEAD


def test_a_database_that_is_not_migrated_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)
    with pytest.raises(DatabaseNotReady, match="run `mmapp migrate`"):
        Jobs.open(settings)


def test_a_database_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    url = "postgresql://user:secret@127.0.0.1:1/jobs"
    with pytest.raises(DatabaseNotReady, match="does not answer") as refusal:
        Jobs.open(Settings(data_dir=tmp_path, database_url=url, _env_file=None))
    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_running_job_has_a_lease_in_the_schema_too(migrated_postgresql: str) -> None:
    engine = connectable(migrated_postgresql)
    checks = {check["name"] for check in sqlalchemy.inspect(engine).get_check_constraints("jobs")}
    engine.dispose()
    assert {"ck_jobs_running_has_lease", "ck_jobs_status"} <= checks
