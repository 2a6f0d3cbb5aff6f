"""What all pages share: the site they are built from, their frame, and how a handler may fail.

A handler never shows a trace: a `MmappError` becomes a warning in the page, any other exception is
logged with a number and the page shows the number. Called by the page modules and by `app`.
"""

from __future__ import annotations

import functools
import json
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import gradio as gr
from gradio.context import LocalContext

from mmapp import __version__
from mmapp.config import Settings
from mmapp.errors import MmappError
from mmapp.jobs import Jobs, ResultRow
from mmapp.web import render
from mmapp.web.words import WORDS, Language, Words

log = logging.getLogger(__name__)

#: Seconds between looks at a running job.
POLL_SECONDS = 1.5
#: Cards under a page's form.
RECENT = 9

#: Puts what is shown into the address, so that it survives a reload and can be passed on.
PUSH_JOB = (
    "(id) => { if (id) history.pushState(null, '', location.pathname + '?job=' + "
    "encodeURIComponent(id)); }"
)
PUSH_BATCH = PUSH_JOB.replace("?job=", "?batch=")

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Site:
    """What every page is built from."""

    jobs: Jobs
    settings: Settings
    say: Words

    @property
    def language(self) -> Language:
        return self.say.language

    @property
    def owner(self) -> str:
        """The user whom the proxy in front names for the present request; empty where none does."""
        request = LocalContext.request.get(None)
        header = self.settings.user_header
        return str(request.headers.get(header, "")) if request and header else ""


def html(value: str = "", *, elem_id: str | None = None, classes: Sequence[str] = ()) -> gr.HTML:
    """A place for HTML of `render`; nothing else may be put there."""
    return gr.HTML(
        value,
        elem_id=elem_id,
        elem_classes=["mm", *classes],
        apply_default_css=False,
        padding=False,
        js_on_load=None,
    )


def top(site: Site, page: str) -> None:
    html(render.header(site.say, page))
    html(render.lead(site.say, page))


def bottom(site: Site) -> None:
    if site.settings.engine_url:
        name, limits = site.settings.engine_model, list[str]()
    else:
        name, limits = checkpoint_limits(site.settings.checkpoint, site.language)
    html(render.footer(site.say, __version__, name, limits), classes=["foot"])


def checkpoint_limits(folder: Path, language: Language) -> tuple[str, list[str]]:
    """The checkpoint's name and what it says it can't do (`limits` in its profile.json)."""
    try:
        profile = json.loads((folder / "profile.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return folder.name, []
    limits = profile.get("limits", []) if isinstance(profile, dict) else []
    if isinstance(limits, dict):
        limits = limits.get(language) or limits.get("en") or []
    lines = [limits] if isinstance(limits, str) else limits
    return str(profile.get("name", folder.name)), [str(line) for line in lines]


def guarded(say: Words) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Turns what a handler raises into something that a person can read."""

    def decorate(handler: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(handler)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return handler(*args, **kwargs)
            except gr.Error:
                raise
            except MmappError as problem:
                raise gr.Error(render.escape(problem), print_exception=False) from problem
            except Exception as defect:
                number = secrets.token_hex(4)
                log.exception("handler %s failed, number %s", handler.__name__, number)
                raise gr.Error(say("problem", number=number), print_exception=False) from defect

        return wrapped

    return decorate


def headline(say: Words, row: ResultRow) -> str:
    """What a list says of a job."""
    payload = row.result.payload if row.result else None
    return render.headline(say, row.job, row.headline, payload)


def file_problem(say: Words, problem: MmappError) -> str:
    """Why a file was refused, in the reader's language where the kind is known."""
    key = f"error_{problem.code}"
    return say(key, message=problem) if key in WORDS else str(problem)


def query(request: gr.Request, name: str) -> str:
    """One value of the page's address, short enough to be some ids or a filter."""
    return str(request.query_params.get(name, ""))[:1000]


def read_upload(path: str) -> tuple[str, bytes]:
    """Name and bytes of an uploaded file."""
    file = Path(path)
    return file.name, file.read_bytes()


def delete_upload(path: str) -> None:
    """Removes the temporary copy once its bytes are stored or refused."""
    Path(path).unlink(missing_ok=True)
