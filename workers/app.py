"""The Celery side: one task that is given a job's id, one `Child` in each child process.

Imported by the parent (which never imports torch) and by its spawned child, where `start_child`
runs once before the first job. Refuses to serve without what the roles need: the parent is told to
stop.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from celery import shared_task  # type: ignore[import-untyped]
from celery.signals import (  # type: ignore[import-untyped]
    setup_logging,
    worker_process_init,
)

from mmapp import logs
from mmapp.broker import QUEUES, TASK, make_app
from mmapp.config import Settings, load_settings

if TYPE_CHECKING:
    from celery import Celery

    from workers.child import Child

log = logs.get_logger(__name__)

#: What does the work; there in child processes only.
_child: Child | None = None


def create_app(settings: Settings) -> Celery:
    """The worker's Celery application."""
    app = make_app(settings.redis_url, settings.job_seconds)
    app.conf.include = ["workers.app"]
    app.conf.worker_send_task_events = settings.worker_events
    return app


def arguments(settings: Settings) -> list[str]:
    """Of Celery's worker: no talk between workers, who meet in the database."""
    quiet = ["--without-gossip", "--without-mingle"]
    if not settings.worker_events:
        quiet.append("--without-heartbeat")
    # Several on one host are told apart by it.
    name = f"worker-{os.getpid()}@%h"
    queues = ",".join(QUEUES[role] for role in settings.worker_roles)
    told = ["--hostname", name, "--queues", queues, "--loglevel", settings.log_level]
    return ["worker", *told, *quiet]


@setup_logging.connect  # type: ignore[untyped-decorator]
def configure_logs(**_: Any) -> None:
    logs.configure(load_settings().log_level)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def start_child(**_: Any) -> None:
    """Runs in the child, before it says that it is up."""
    global _child
    from workers.child import Child

    try:
        _child = Child.start(load_settings())
    except Exception:
        log.exception("the worker could not start")
        # Another child would fail alike: stop the parent, and let who started it try again.
        os.kill(os.getppid(), signal.SIGTERM)
        raise


@shared_task(name=TASK)  # type: ignore[untyped-decorator]
def run_job(job_id: str) -> None:
    """Runs the job whose turn it is: the message says that one waits."""
    if _child is None:
        raise RuntimeError("this process has not started as a worker")
    _child.run(job_id)
