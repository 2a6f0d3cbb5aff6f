"""What the parent of a worker imports, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mmapp.config import Settings

ROOT = Path(__file__).parents[2]


def test_the_parent_imports_neither_torch_nor_what_reads_or_shows_documents() -> None:
    program = """
import sys, workers.__main__, workers.app, workers.sweeper
from mmapp.config import Settings
workers.app.create_app(Settings(redis_url="redis://nowhere", _env_file=None)).finalize()
heavy = {"torch", "model", "gradio", "pymupdf", "fitz", "tokenizers", "PIL"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.stdout) == ("", "[]\n")


def worker(tmp_path: Path, redis_url: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "MMAPP_DATA_DIR": str(tmp_path),
        "MMAPP_REDIS_URL": redis_url,
        "MMAPP_DATABASE_URL": "",
    }
    return subprocess.run(
        [sys.executable, "-m", "workers"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_worker_without_a_queue_says_what_to_set(tmp_path: Path) -> None:
    done = worker(tmp_path, "")
    assert done.returncode == 1
    assert done.stderr == "A worker needs a queue: set MMAPP_REDIS_URL, or use `mmapp up`\n"


def test_a_worker_refuses_a_database_that_is_not_migrated(tmp_path: Path) -> None:
    done = worker(tmp_path, "redis://127.0.0.1:1/0")
    assert done.returncode == 1
    assert "run `mmapp migrate`" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_messages_are_json_ids_without_results() -> None:
    from workers.app import create_app

    conf = create_app(Settings(redis_url="redis://nowhere", _env_file=None)).conf
    assert conf.accept_content == ["json"]
    assert conf.result_backend is None
    assert conf.task_ignore_result
    assert conf.worker_pool_start_method == "spawn"
    assert conf.worker_concurrency == 1


def test_workers_tell_events_to_flower_only_when_told_to() -> None:
    from workers.app import arguments, create_app

    quiet = Settings(redis_url="redis://nowhere", _env_file=None)
    telling = quiet.model_copy(update={"worker_events": True})
    assert not create_app(quiet).conf.worker_send_task_events
    assert create_app(telling).conf.worker_send_task_events
    assert "--without-heartbeat" in arguments(quiet)
    assert "--without-heartbeat" not in arguments(telling)
    assert f"worker-{os.getpid()}@%h" in arguments(telling)


def test_the_application_is_found_by_flower_with_its_broker_and_queues() -> None:
    program = """
from workers.monitor import app
print(app.conf.broker_url, *sorted(queue.name for queue in app.conf.task_queues))
"""
    environment = {**os.environ, "MMAPP_REDIS_URL": "redis://queue:6379/3"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "redis://queue:6379/3 mmapp.encode mmapp.generate mmapp.ingest\n"
