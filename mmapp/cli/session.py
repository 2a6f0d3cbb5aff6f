"""What verbs share: settings, the database, and somebody who does the work.

Jobs are submitted to the announced `mmapp up` of the data folder, or to the workers of
MMAPP_REDIS_URL; where there is neither, a stack of our own runs until the jobs have ended. Called
by every verb.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mmapp.cli import failures
from mmapp.errors import BadInput, FileTooLarge, MmappError

if TYPE_CHECKING:
    from mmapp.config import Settings
    from mmapp.jobs import Jobs, WorkerInfo
    from mmapp.types import Document, Job, Role

#: Seconds that a checkpoint may take to load; Llama 4 from a slow disk takes minutes.
READY_S = 1800.0

T = TypeVar("T")


def read_settings() -> Settings:
    """The settings of this process, and its logs: warnings of others stay out of the terminal."""
    from mmapp.config import load_settings

    settings = load_settings()
    if failures.is_debugging():
        from mmapp.logs import configure

        configure("DEBUG")
    else:
        logging.getLogger("mmapp").setLevel(logging.ERROR)
    return settings.model_copy(update={"data_dir": settings.data_dir.expanduser().resolve()})


def open_jobs(settings: Settings) -> Jobs:
    """Jobs on a migrated database; SQLite in the data folder is made and migrated here."""
    from mmapp.jobs import Jobs

    if not settings.database_url:
        prepare_database(settings)
    return Jobs.open(settings)


def prepare_database(settings: Settings) -> None:
    from mmapp.db import HEAD, Database, migrate

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.sqlalchemy_url)
    try:
        is_old = database.revision() != HEAD
    finally:
        database.close()
    if is_old:
        migrate(settings.sqlalchemy_url)


@dataclass(frozen=True)
class Desk:
    """Where a verb hands in files and jobs, and waits for them."""

    jobs: Jobs
    #: Of the web interface where the results stand, too; empty when there is none.
    web_url: str
    #: Somebody else's workers take the jobs; else `wait` brings up our own.
    is_served: bool

    @property
    def settings(self) -> Settings:
        return self.jobs.settings

    def add_file(self, path: Path, password: str | None = None) -> Document:
        """Reads and keeps a file; the errors name it."""
        from mmapp.display import working

        with working(f"Reading {path.name}"):
            return self.jobs.add_document(
                path.name, read_file(path, self.settings.max_bytes), password=password
            )

    def check_checkpoint(self) -> None:
        """Raises before anything is submitted that our own workers could never do."""
        if not self.is_served:
            from mmapp.checkpoints import answering

            settings = self.settings
            answering(
                settings.checkpoint, settings.data_dir, settings.engine_url, settings.engine_model
            )

    def wait(self, job_ids: Sequence[str]) -> list[Job]:
        """The ended jobs, in the order given; interrupted, jobs of our own stack are cancelled."""
        from mmapp.display import follow

        jobs = [self.jobs.get(job_id) for job_id in job_ids]
        if all(job.status.is_final for job in jobs):
            return jobs
        with self.served(lambda: job_ids):
            return follow(self.jobs, job_ids)

    @contextlib.contextmanager
    def served(self, submitted: Callable[[], Iterable[str]]) -> Iterator[None]:
        """There are workers inside. `submitted` says which jobs end with a stack of our own."""
        if self.is_served:
            self._warn_of_workers()
            try:
                yield
            except KeyboardInterrupt:
                failures.say("not waiting any longer; the work goes on, see `mmapp jobs list`")
                raise
            return
        try:
            with own_stack(self.settings):
                yield
        except BaseException:
            # Nobody would ever ask for these again; the stack has already put them back.
            for job_id in submitted():
                with contextlib.suppress(MmappError):
                    self.jobs.cancel(job_id)
            raise

    def _warn_of_workers(self) -> None:
        """Nobody works yet, and it is known why."""
        workers = self.jobs.workers()
        errors = [worker.error for worker in workers if worker.error]
        if errors and not any(worker.ready for worker in workers):
            failures.say(f"the worker does not start: {errors[-1]}")


@contextlib.contextmanager
def open_desk() -> Iterator[Desk]:
    from mmapp.stack import Stack

    settings = read_settings()
    running = Stack.running(settings)
    if running is not None:
        settings = running.apply(settings)
    with open_jobs(settings) as jobs:
        is_served = running is not None or bool(settings.redis_url and has_workers(jobs))
        yield Desk(jobs, running.web_url if running else "", is_served)


def has_workers(jobs: Jobs) -> bool:
    """Whether workers said lately that they are ready, for every role that a job may need some."""
    had = {role for worker in ready_workers(jobs) for role in worker.roles}
    return needed_roles(jobs.settings) <= had


def ready_workers(jobs: Jobs) -> list[WorkerInfo]:
    """The workers that said lately that they are ready."""
    from mmapp.jobs.statistics import SILENT_S

    now = datetime.now(UTC)
    since = now - timedelta(seconds=SILENT_S)
    return [one for one in jobs.workers() if one.ready and _aware(one.last_seen) > since]


def needed_roles(settings: Settings) -> set[Role]:
    """What jobs may need with these settings; no encoder apart if the checkpoint has none."""
    from mmapp.checkpoints import answering
    from mmapp.types import Role

    with contextlib.suppress(MmappError):
        if answering(
            settings.checkpoint, settings.data_dir, settings.engine_url, settings.engine_model
        ).has_encoder:
            return {*Role}
    return {Role.INGEST, Role.GENERATE}


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@contextlib.contextmanager
def own_stack(settings: Settings) -> Iterator[None]:
    """Queue and workers for the time of one command."""
    from mmapp.display import working
    from mmapp.stack import Stack

    with Stack(settings, on_event=tell_event) as stack:
        with working(f"Loading {settings.engine_model or settings.checkpoint.name}"):
            stack.wait_ready(READY_S)
        yield


def tell_event(event: str) -> None:
    """What happens to the processes, for the person in front of the terminal."""
    if not event.startswith("Migrating"):
        failures.say(event)


def read_file(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file that is there and not too large."""
    if path.is_dir():
        raise BadInput(f"{path} is a folder; give the files in it")
    if not path.exists():
        raise BadInput(f"{path} does not exist; check the path")
    size = path.stat().st_size
    if size > max_bytes:
        raise FileTooLarge(
            f"{path} has {size:,} bytes; at most {max_bytes:,} are read (MMAPP_MAX_BYTES)"
        )
    return path.read_bytes()


def good_ones(paths: Sequence[Path], do: Callable[[Path], T]) -> tuple[list[T], int]:
    """What `do` gives for each path; a bad one is said on stderr, and the status is its own."""
    done, status = [], 0
    for path in paths:
        try:
            done.append(do(path))
        except BadInput as error:
            status = failures.report(error)
    return done, status
