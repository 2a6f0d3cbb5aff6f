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
