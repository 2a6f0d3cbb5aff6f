"""The web process: our routes and the Gradio pages in one application, and its server.

Each language has its own set of pages (`/en/…`, `/zh/…`); `/documents` and the like lead to the
browser's. Refuses to start where no port is free or the database is not migrated. Called by
`mmapp.web.serve`, which prepares the environment before Gradio is imported.
"""

from __future__ import annotations

import logging
import socket
import warnings
from collections.abc import Callable
from functools import partial
from importlib import resources

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from mmapp import __version__
from mmapp.api import add_routes
from mmapp.config import Settings
from mmapp.errors import BadInput
from mmapp.jobs import Jobs
from mmapp.web import (
    ask_page,
    batch_page,
    compare_page,
    documents_page,
    listings_page,
    render,
    results_page,
    system_page,
)
from mmapp.web.frame import Site
from mmapp.web.security import Guard
from mmapp.web.words import LANGUAGES, Language, Words, preferred_language

log = logging.getLogger(__name__)

#: How many ports after the wanted one are tried.
PORTS = 50
#: Seconds after which an uploaded file that no handler took is deleted (checked as often).
UPLOAD_SECONDS = 3600
BUILDERS = {
    "documents": documents_page.build,
    "ask": ask_page.build,
    "compare": compare_page.build,
    "listings": listings_page.build,
    "batch": batch_page.build,
    "results": results_page.build,
    "system": system_page.build,
}
HEAD = (
    '<link rel="stylesheet" href="/look/style.css?v={version}">'
    '<script defer src="/look/viewer.js?v={version}"></script>'
)
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="7" fill="#14594c"/>'
    '<path d="M8 9h16M8 15h16M8 21h9" stroke="#faf9f5" stroke-width="3"/>'
    '<path d="M20 21h4" stroke="#f2c14a" stroke-width="4"/></svg>'
)


def create_app(settings: Settings, jobs: Jobs) -> FastAPI:
    app = FastAPI(title="mmapp", version=__version__, docs_url=None, redoc_url=None)
    add_routes(app, jobs)
    _add_look(app)
    _add_ways_in(app)
    for language in LANGUAGES:
        _mount(app, settings, jobs, language)
    app.add_middleware(Guard, host=settings.host)
    return app


def _mount(app: FastAPI, settings: Settings, jobs: Jobs, language: Language) -> None:
    with warnings.catch_warnings():
        # Gradio warns that it turns off what we turn off ourselves (server-side rendering).
        warnings.filterwarnings("ignore", message="SSR mode is not supported")
        gr.mount_gradio_app(
            app,
            build_pages(settings, jobs, language),
            path=f"/{language}",
            server_name=settings.host,
            footer_links=[],
            run_history=False,
            show_error=True,
            max_file_size=settings.max_bytes,
            ssr_mode=False,
            enable_monitoring=False,
            mcp_server=False,
            pwa=False,
            theme=_theme(),
            head=HEAD.format(version=__version__),
        )


def build_pages(settings: Settings, jobs: Jobs, language: Language) -> gr.Blocks:
    site = Site(jobs, settings, Words(language))
    demo: gr.Blocks
    with gr.Blocks(
        title="mmapp",
        analytics_enabled=False,
        delete_cache=(UPLOAD_SECONDS, UPLOAD_SECONDS),
        fill_width=True,
    ) as demo:
        pass
    for page, build in BUILDERS.items():
        with demo.route(site.say(page), f"/{page}", show_in_navbar=False):
            build(demo, site)
    return demo


def _theme() -> gr.themes.Base:
    """System fonts (nothing to load), corners and spacing; colours are in style.css."""
    sans = [gr.themes.Font(name) for name in ("system-ui", "sans-serif")]
    mono = [gr.themes.Font(name) for name in ("ui-monospace", "monospace")]
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.stone,
        font=sans,
        font_mono=mono,
    )


def _add_look(app: FastAPI) -> None:
    """Style, script and icon, read once."""
    folder = resources.files("mmapp.web")
    style, script = ((folder / name).read_bytes() for name in ("style.css", "viewer.js"))
    _add_fixed(app, "/look/style.css", style, "text/css; charset=utf-8")
    _add_fixed(app, "/look/viewer.js", script, "text/javascript; charset=utf-8")
    for prefix in ("", *(f"/{language}" for language in LANGUAGES)):
        _add_fixed(app, f"{prefix}/favicon.ico", ICON.encode(), "image/svg+xml")


def _add_fixed(app: FastAPI, path: str, content: bytes, media_type: str) -> None:
    def fixed() -> Response:
        return Response(content, media_type=media_type)

    app.add_api_route(path, fixed, include_in_schema=False)


def _add_ways_in(app: FastAPI) -> None:
    """Addresses without a language lead to the page in the browser's language."""
    _add_redirect(app, "/", partial(_own_language, "documents"))
    for page in render.PAGES:
        _add_redirect(app, f"/{page}", partial(_own_language, page))
    for language in LANGUAGES:
        for path in (f"/{language}", f"/{language}/"):
            _add_redirect(app, path, partial(_first_page, language))


def _add_redirect(app: FastAPI, path: str, target: Callable[[Request], str]) -> None:
    def redirect(request: Request) -> Response:
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(target(request) + query, status_code=302)

    app.add_api_route(path, redirect, include_in_schema=False)


def _first_page(language: Language, _request: Request) -> str:
    return render.url(language, "documents")


def _own_language(page: str, request: Request) -> str:
    cookie = request.cookies.get("mmapp_language")
    language = preferred_language(cookie, request.headers.get("accept-language", ""))
    return render.url(language, page)


def free_socket(host: str, port: int) -> socket.socket:
    """A listening socket on `port`, or on the next free one; port 0 takes any."""
    for candidate in range(port, port + PORTS) if port else (0,):
        taken = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((host, candidate))
        except OSError as problem:
            taken.close()
            log.info("port %s is not to be had: %s", candidate, problem)
        else:
            taken.listen(128)
            return taken
    raise BadInput(
        f"No port from {port} to {port + PORTS - 1} is free on {host};"
        " set MMAPP_PORT or MMAPP_HOST."
    )


class Server(uvicorn.Server):
    """Tells when it answers."""

    def __init__(self, config: uvicorn.Config, on_startup: Callable[[], None]) -> None:
        super().__init__(config)
        self.on_startup = on_startup

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self.on_startup()


def run(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM; `on_ready` gets the address that a browser opens."""
    jobs = Jobs.open(settings)
    listening = free_socket(settings.host, settings.port)
    try:
        config = uvicorn.Config(
            create_app(settings, jobs),
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        shown = "127.0.0.1" if host == "0.0.0.0" else host
        address = f"http://{shown}:{listening.getsockname()[1]}"
        Server(config, lambda: on_ready(address)).run(sockets=[listening])
    finally:
        listening.close()
        jobs.close()
