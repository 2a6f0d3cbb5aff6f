"""What every response and request of the web process goes through.

Refuses: requests for another host name (DNS rebinding), writes from another origin, Gradio's file
and proxy routes and every Gradio route that the pages don't need, bodies that are no upload and
larger than a form. Adds the security headers that Gradio does not send. Used by `mmapp.web.app`.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Gradio evaluates its HTML component's template, hence 'unsafe-eval'; we escape foreign text.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "style-src 'self' 'unsafe-inline'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "object-src 'none'",
        "base-uri 'self'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

#: The Gradio routes that the pages use; user files are served by `mmapp.api` only.
_GRADIO_ALLOWED = re.compile(
    r"/(upload|upload_progress|queue/join|queue/data|run/predict|cancel|reset|app_id"
    r"|heartbeat/[^/]+|startup-events|theme\.css|login_check)/?"
)
_GRADIO_DENIED_PAGES = re.compile(r"/(en|zh)/(monitoring|dev|runs|login|logout|pwa_icon)(/.*)?")
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
#: Bytes of a request that is not a file upload: typed text and component values.
MAX_FORM_BYTES = 2_000_000


class Guard:
    """ASGI middleware; `host` is the address that the server binds."""

    def __init__(self, app: ASGIApp, *, host: str) -> None:
        self.app = app
        self.local_only = _is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal:
            status, why = refusal
            response = PlainTextResponse(why + "\n", status_code=status, headers=HEADERS)
            await response(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers, path = Headers(scope=scope), scope["path"]
        if self.local_only and not _is_loopback(_host_name(headers.get("host", ""))):
            return 421, "This server answers to localhost only; open it by 127.0.0.1."
        if not gradio_path_allowed(path):
            return 404, "Not found."
        if scope["method"] not in _SAFE_METHODS:
            if _is_foreign(headers):
                return 403, "Requests from other sites are refused; open the page itself."
            if not path.endswith("/gradio_api/upload") and _length(headers) > MAX_FORM_BYTES:
                return 413, f"The request is larger than {MAX_FORM_BYTES} bytes; send less text."
        return None


def gradio_path_allowed(path: str) -> bool:
    """Whether a path is none of Gradio's own, or one that the pages need."""
    if _GRADIO_DENIED_PAGES.fullmatch(path):
        return False
    _, found, rest = path.partition("/gradio_api")
    return not found or _GRADIO_ALLOWED.fullmatch(rest) is not None


def _is_foreign(headers: Headers) -> bool:
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host", "")


def _host_name(host: str) -> str:
    try:
        return urlsplit("//" + host).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _length(headers: Headers) -> int:
    """Bytes that the body announces; a body of unknown length counts as too long."""
    if "transfer-encoding" in headers:
        return MAX_FORM_BYTES + 1
    length = headers.get("content-length", "0")
    return int(length) if length.isdigit() else 0
