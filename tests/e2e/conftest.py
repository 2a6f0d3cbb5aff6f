"""The real thing: Redis, workers and the web process on a fresh data folder, and a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from mmapp.config import Settings
from mmapp.stack import Stack
from tests.e2e.checkpoint import checkpoint
from tests.web.server import WebServer, guarded_environment

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
#: The time that the slowest step may take on a busy machine, milliseconds.
PATIENCE_MS = 30_000

OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def network_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every connection to another machine would be told, by all processes."""
    return tmp_path_factory.mktemp("network") / "network.log"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, network_log: Path) -> Iterator[Stack]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("e2e"),
        checkpoint=checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny"),
        port=0,
        threads=1,
        sweep_seconds=0.5,
        _env_file=None,
    )
    with ExitStack() as running:
        # No longer than the start, which processes remember: other tests have a network.
        with pytest.MonkeyPatch.context() as environment:
            for name, value in guarded_environment(network_log).items():
                environment.setenv(name, value)
            stack = running.enter_context(Stack(settings))
        yield stack


@pytest.fixture(scope="session")
def server(stack: Stack, network_log: Path) -> Iterator[WebServer]:
    with WebServer(stack.settings, network_log) as server:
        stack.wait_ready(120)
        yield server


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        reason = "no Chromium here: install it (apt-get install chromium) to run the browser tests"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """Browser windows whose every request and complaint is kept."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.browser, self.url = browser, url
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.contexts: list[BrowserContext] = []

    def open(self, path: str, *, language: str = "en-US", width: int = 1280) -> Page:
        context = self.browser.new_context(
            locale=language, viewport={"width": width, "height": 900}
        )
        self.contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("console", self._heard)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        page = context.new_page()
        page.goto(self.url + path)
        page.wait_for_selector("#main")
        return page

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    @property
    def foreign(self) -> list[str]:
        """Requests to anything but the server (and what the browser keeps in memory)."""
        here = urlsplit(self.url).netloc
        return [
            url
            for url in self.requests
            if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).netloc != here
        ]


@pytest.fixture
def browser(chromium: Browser, server: WebServer) -> Iterator[Watched]:
    """Fails the test when the browser asked another machine or complained on its console."""
    watched = Watched(chromium, server.url)
    yield watched
    for context in watched.contexts:
        context.close()
    assert watched.requests
    assert watched.foreign == []
    assert watched.complaints == []
