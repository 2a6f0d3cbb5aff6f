"""`mmapp up`, `demo`, `web`, `worker`, `migrate`: what runs, alone or all on this machine."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from mmapp.cli import failures
from mmapp.cli.session import READY_S, Desk, open_desk, open_jobs, read_settings, tell_event
from mmapp.types import Role

if TYPE_CHECKING:
    from mmapp.config import Settings
    from mmapp.stack import Stack


def add_to(app: typer.Typer) -> None:
    for verb in (up, demo, web, worker, migrate):
        app.command()(verb)


def up(
    samples: Annotated[
        bool, typer.Option("--samples", help="Submit the shipped samples and print their results")
    ] = False,
) -> int:
    """Run everything on this machine: queue, database, worker, web interface."""
    from mmapp.checkpoints import answering
    from mmapp.stack import Stack

    settings = read_settings()
    answering(settings.checkpoint, settings.data_dir, settings.engine_url, settings.engine_model)
    _tell(f"Starting in {settings.data_dir} (Ctrl-C stops everything)")
    with Stack(settings, announce=True, on_event=tell_event) as stack:
        from mmapp.web import serve

        later = _AfterStart(stack, samples)
        try:
            serve(stack.settings, later.begin)
        finally:
            later.ends.set()
            _tell("Stopping")
    return 0


class _AfterStart:
    """What `up` does once the web interface answers, beside serving."""

    def __init__(self, stack: Stack, samples: bool) -> None:
        self.ends = threading.Event()
        self._stack = stack
        self._samples = samples

    def begin(self, url: str) -> None:
        self._stack.set_web_url(url)
        sys.stdout.write(f"mmapp is at {url}\n")
        sys.stdout.flush()
        threading.Thread(target=self._work, args=(url,), daemon=True).start()

    def _work(self, url: str) -> None:
        try:
            self._wait_and_show(url)
        except Exception as error:
            # When everything stops, the database and the queue go away under a waiting thread.
            if not self.ends.is_set():
                failures.report(error)

    def _wait_and_show(self, url: str) -> None:
        self._stack.wait_ready(READY_S)
        _tell(f"The checkpoint {self._stack.settings.checkpoint.name} is loaded")
        if self._samples:
            from mmapp.cli.samples import show_samples

            with open_jobs(self._stack.settings) as jobs:
                show_samples(Desk(jobs, url, is_served=True))
            sys.stdout.write(f"The same results, page beside proof: {url}/results\n")
            sys.stdout.flush()


def demo() -> int:
    """Show the shipped samples done by the real queue, and end."""
    from mmapp.cli.samples import show_samples

    with open_desk() as desk:
        desk.check_checkpoint()
        return show_samples(desk)


def web() -> int:
    """Run the web interface alone; the queue is that of MMAPP_REDIS_URL or of `mmapp up`."""
    from mmapp.logs import configure
    from mmapp.web import serve

    settings = _settings_of_role()
    configure(settings.log_level)
    open_jobs(settings).close()
    serve(settings, lambda url: _tell(f"mmapp is at {url}"))
    return 0


def worker(
    role: Annotated[
        list[Role] | None,
        typer.Option(
            help="What it does of each job; again for another; all unless MMAPP_ROLES says less"
        ),
    ] = None,
) -> int:
    """Run one worker, with the queue of MMAPP_REDIS_URL or of `mmapp up`."""
    settings = _settings_of_role()
    roles = ",".join(role) if role else settings.roles
    environment = {
        **os.environ,
        "MMAPP_DATA_DIR": str(settings.data_dir),
        "MMAPP_ROLES": roles,
    }
    if settings.redis_url:
        environment["MMAPP_REDIS_URL"] = settings.redis_url
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, "-m", "workers"], environment)


def migrate() -> int:
    """Bring the database to this version's schema."""
    from mmapp.db import HEAD
    from mmapp.db import migrate as bring_to_head

    settings = read_settings()
    bring_to_head(settings.sqlalchemy_url)
    _tell(f"The database is at migration {HEAD}")
    return 0


def _settings_of_role() -> Settings:
    """The settings, with the queue of the stack that runs here, if one does."""
    from mmapp.stack import Stack

    settings = read_settings()
    running = None if settings.redis_url else Stack.running(settings)
    return running.apply(settings) if running else settings


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
