"""Every response has the headers, and what the pages don't need is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from mmapp.web.security import HEADERS, MAX_FORM_BYTES, Guard, gradio_path_allowed

HERE = "http://127.0.0.1:7860"


async def answer(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("here")


def guarded(host: str) -> TestClient:
    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
    return TestClient(Guard(app, host=host), base_url=HERE)


@pytest.fixture
def local() -> Iterator[TestClient]:
    with guarded("127.0.0.1") as client:
        yield client


@pytest.mark.parametrize("path", ["/documents", "/en/gradio_api/file=/etc/passwd"])
def test_answers_and_refusals_carry_the_headers(local: TestClient, path: str) -> None:
    response = local.get(path)
    assert {name: response.headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    "path",
    [
        "/en/gradio_api/file=/data/uploads/x.pdf",
        "/zh/gradio_api/file/x.pdf",
        "/gradio_api/file=x",
        "/en/gradio_api/proxy=http://example.com",
        "/en/gradio_api/run-history/buckets",
        "/en/gradio_api/info",
        "/en/gradio_api/call/predict",
        "/en/gradio_api/upload/../file=x",
        "/en/gradio_api/vibe-code/",
        "/en/monitoring",
        "/zh/monitoring/summary",
    ],
)
def test_gradio_routes_that_no_page_needs_are_not_there(local: TestClient, path: str) -> None:
    assert not gradio_path_allowed(path)
    assert local.get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/en/gradio_api/upload", "/zh/gradio_api/queue/join", "/en/documents", "/pages/ab/1"]
)
def test_what_the_pages_need_goes_through(local: TestClient, path: str) -> None:
    assert local.post(path).text == "here"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_write_from_another_site_is_refused(local: TestClient, headers: dict[str, str]) -> None:
    assert local.post("/en/gradio_api/queue/join", headers=headers).status_code == 403
    assert local.get("/en/documents", headers=headers).status_code == 200


def test_a_write_from_the_page_itself_is_taken(local: TestClient) -> None:
    headers = {"origin": HERE, "sec-fetch-site": "same-origin"}
    assert local.post("/en/gradio_api/queue/join", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", ""]
)
def test_another_host_name_is_refused_on_a_local_server(local: TestClient, host: str) -> None:
    assert local.get("/documents", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1", "[::1]:7860"])
def test_every_name_of_this_machine_is_answered(local: TestClient, host: str) -> None:
    assert local.get("/documents", headers={"host": host}).status_code == 200


def test_a_server_for_others_answers_to_any_name() -> None:
    with guarded("0.0.0.0") as client:
        assert client.get("/documents", headers={"host": "mm.example"}).status_code == 200


def test_a_large_body_that_is_no_upload_is_refused(local: TestClient) -> None:
    large = b"x" * (MAX_FORM_BYTES + 1)
    assert local.post("/en/gradio_api/queue/join", content=large).status_code == 413
    assert local.post("/en/gradio_api/upload", content=large).status_code == 200


def test_a_body_of_untold_length_that_is_no_upload_is_refused(local: TestClient) -> None:
    assert local.post("/en/gradio_api/queue/join", content=iter([b"x"])).status_code == 413
