"""The web process as it runs: ways in, both languages, uploads that nobody can fetch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mmapp.config import Settings
from mmapp.errors import BadInput
from mmapp.web import render
from mmapp.web.app import PORTS, free_socket
from mmapp.web.security import HEADERS
from tests.jobs.scenes import checkpoint_folder
from tests.servers import migrated_sqlite
from tests.web.server import WebServer, guarded_environment

MAX_BYTES = 10_000


@pytest.fixture(scope="module")
def server(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    data_dir = tmp_path_factory.mktemp("web")
    settings = Settings(
        data_dir=data_dir,
        database_url=migrated_sqlite(template, data_dir / "mmapp.sqlite3"),
        checkpoint=checkpoint_folder(data_dir / "fake"),
        max_bytes=MAX_BYTES,
        port=0,
        _env_file=None,
    )
    with WebServer(settings, data_dir / "network.log") as server:
        yield server


@pytest.fixture
def client(server: WebServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url) as client:
        yield client


def test_every_page_answers_in_both_languages_with_the_headers(client: httpx.Client) -> None:
    for language in ("en", "zh"):
        for page in render.PAGES:
            response = client.get(f"/{language}/{page}")
            assert response.status_code == 200
            assert {name: response.headers[name] for name in HEADERS} == HEADERS


def test_an_address_without_language_leads_to_the_browsers(client: httpx.Client) -> None:
    chinese = {"accept-language": "zh-CN,zh;q=0.9"}
    assert client.get("/", headers=chinese).headers["location"] == "/zh/documents"
    job = client.get("/listings?job=a%26b", headers=chinese)
    assert job.headers["location"] == "/zh/listings?job=a%26b"
    chosen = {"cookie": "mmapp_language=en", **chinese}
    assert client.get("/results", headers=chosen).headers["location"] == "/en/results"
    assert client.get("/zh").headers["location"] == "/zh/documents"


def test_the_look_is_served_from_here(client: httpx.Client) -> None:
    page = client.get("/en/documents").text
    for path, kind in (
        ("/look/style.css", "text/css"),
        ("/look/viewer.js", "text/javascript"),
        ("/favicon.ico", "image/svg+xml"),
        ("/zh/favicon.ico", "image/svg+xml"),
    ):
        assert client.get(path).headers["content-type"].startswith(kind)
        assert path.endswith(".ico") or path in page


def test_an_uploaded_file_can_be_fetched_by_nobody(client: httpx.Client, server: WebServer) -> None:
    secret = {"files": ("secret.txt", b"for the reader only")}
    (path,) = client.post("/en/gradio_api/upload", files=secret).json()
    assert Path(path).is_relative_to(server.settings.data_dir / "uploads")
    for prefix in ("/en", "/zh", ""):
        for route in ("file=", "file/"):
            assert client.get(f"{prefix}/gradio_api/{route}{path}").status_code == 404


def test_an_upload_above_the_limit_is_refused(client: httpx.Client) -> None:
    large = {"files": ("large.txt", b"x" * (MAX_BYTES + 1))}
    assert client.post("/en/gradio_api/upload", files=large).status_code == 413


def test_a_write_from_another_site_is_refused(client: httpx.Client) -> None:
    foreign = {"origin": "http://evil.example"}
    files = {"files": ("a.txt", b"x")}
    assert client.post("/en/gradio_api/upload", files=files, headers=foreign).status_code == 403


def test_a_second_server_takes_the_next_port(server: WebServer) -> None:
    port = int(server.url.rpartition(":")[2])
    with free_socket("127.0.0.1", port) as found:
        assert port < found.getsockname()[1] < port + PORTS


def test_an_address_of_another_machine_can_not_be_bound() -> None:
    with pytest.raises(BadInput, match="set MMAPP_PORT or MMAPP_HOST"):
        free_socket("192.0.2.1", 7860)


def test_the_server_connects_to_no_other_machine(server: WebServer) -> None:
    assert not server.network_log.exists()


def test_the_guard_of_these_tests_tells_and_refuses(tmp_path: Path) -> None:
    log = tmp_path / "network.log"
    program = "import socket; socket.socket().connect(('192.0.2.1', 9))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=guarded_environment(log), capture_output=True
    )
    assert b"the tests allow no connection to 192.0.2.1" in done.stderr
    assert "192.0.2.1" in log.read_text()


def test_importing_the_package_imports_no_gradio() -> None:
    program = "import sys, mmapp.web; sys.exit('gradio' in sys.modules or 'fastapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
