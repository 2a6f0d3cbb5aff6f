"""The database: connections, transactions and the schema's version.

`Database.transaction()` is the only way to write and `snapshot()` the only way to read; both hand
out a `Repository`, which has every query. SQLite and PostgreSQL are treated alike. Called by
`jobs`, `stack` and the command line; refuses a database that is not at the newest migration.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from mmapp.config import REPOSITORY
from mmapp.db.repository import Repository
from mmapp.errors import DatabaseNotReady

if TYPE_CHECKING:
    from alembic.config import Config

#: The newest migration; known here so that a start needs no Alembic (1.5 s of imports).
HEAD = "0015"

#: How long a writer waits for another before SQLite gives up.
BUSY_TIMEOUT_S = 30.0

#: A cable that is pulled tells neither end. Both look after 5 s of silence and give the connection
#: up after 20 s: ours, so that it can be opened anew; the server's, so that what it had locked for
#: us is free for others. Names of libpq; the server's have another prefix.
#: (postgresql.org/docs/current/libpq-connect.html, runtime-config-connection.html)
KEEPALIVES = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 3}
LONGEST_UNHEARD_MS = 20_000
CONNECT_TIMEOUT_S = 10


class Database:
    """One database of one process; safe for threads."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = connectable(url)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Repository]:
        """Writes, all or none; SQLite's write lock is taken at the start, so none deadlocks."""
        with self._reachable(), self._engine.connect() as connection:
            immediate = connection.execution_options(immediate=True)
            with immediate.begin():
                yield Repository(immediate)

    @contextlib.contextmanager
    def snapshot(self, *, frozen: bool = False) -> Iterator[Repository]:
        """Reads; on SQLite they wait for nobody. `frozen`: all see the same moment."""
        with self._reachable(), self._engine.connect() as connection:
            if frozen and connection.dialect.name != "sqlite":
                # SQLite's transactions are so anyway, and know no such level by name.
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield Repository(connection)

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        """A database that is stopped, restarts or stays locked is a person's to solve."""
        try:
            yield
        except OperationalError as error:
            line = " ".join(str(error.orig or error).split())
            raise DatabaseNotReady(
                f"The database {self.name} does not answer ({line}); check MMAPP_DATABASE_URL"
            ) from error

    @property
    def name(self) -> str:
        """Its URL, as it may be shown."""
        return make_url(self.url).render_as_string(hide_password=True)

    def check(self) -> None:
        """Raises `DatabaseNotReady` unless the database answers and is at the newest migration."""
        revision = self.revision()
        if revision != HEAD:
            raise DatabaseNotReady(
                f"The database {self.name} is at migration {revision or 'none'}, but this version"
                f" needs {HEAD}; run `mmapp migrate`"
            )

    def revision(self) -> str | None:
        """The migration that the database is at; None when it is empty."""
        with self._reachable(), self._engine.connect() as connection:
            if not sqlalchemy.inspect(connection).has_table("alembic_version"):
                return None
            found = connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version"))
            revision: str | None = found.scalar_one_or_none()
            return revision

    def skew_s(self) -> float:
        """How far this machine's clock is ahead of the database's, in seconds."""
        with self.snapshot() as repository:
            return (datetime.now(UTC) - repository.now()).total_seconds()

    def close(self) -> None:
        self._engine.dispose()


def migrate(url: str) -> None:
    """Brings the database to the newest migration; others who call this at once wait for it."""
    from alembic import command

    _make_folder(url)
    with _alone(url):
        command.upgrade(alembic_config(url), "head")


def alembic_config(url: str) -> Config:
    """What Alembic's commands need to work on the database at `url`, without any ini file."""
    from alembic.config import Config

    config = Config()
    # Alembic's own reader takes "%" for the start of a placeholder.
    config.set_main_option("script_location", str(REPOSITORY / "migrations").replace("%", "%%"))
    config.attributes["url"] = url
    return config


@contextlib.contextmanager
def _alone(url: str) -> Iterator[None]:
    """A lock that ends with its holder: a file beside SQLite, an advisory lock on PostgreSQL."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            yield
            return
        with Path(f"{parsed.database}.migrate.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        return
    engine = connectable(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(7001, 1)"))
        yield
        connection.execute(sqlalchemy.text("SELECT pg_advisory_unlock(7001, 1)"))
    engine.dispose()


def _make_folder(url: str) -> None:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)


def connectable(url: str) -> sqlalchemy.Engine:
    """SQLAlchemy's engine for `url`, with what this application expects of each database."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        limits = {
            **KEEPALIVES,
            "tcp_user_timeout": LONGEST_UNHEARD_MS,
            "connect_timeout": CONNECT_TIMEOUT_S,
        }
        # What the URL says counts more.
        limits = {name: value for name, value in limits.items() if name not in parsed.query}
        # A connection that the server dropped (a restart) is replaced before it is used.
        engine = sqlalchemy.create_engine(parsed, pool_pre_ping=True, connect_args=limits)
        event.listen(engine, "connect", _prepare_postgresql)
        return engine
    engine = sqlalchemy.create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    """The server's end; not as options of the start, which poolers refuse."""
    wanted = {f"tcp_{name}": value for name, value in KEEPALIVES.items()}
    wanted["tcp_user_timeout"] = LONGEST_UNHEARD_MS
    settings = "; ".join(f"SET {name} = {value}" for name, value in wanted.items())
    before, connection.autocommit = connection.autocommit, True
    connection.execute(settings)
    connection.autocommit = before


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transactions start too late and shared; `_begin_sqlite` starts ours.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
