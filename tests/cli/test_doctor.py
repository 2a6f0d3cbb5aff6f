"""What the doctor finds: each usual misconfiguration, with its remedy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mmapp.checkpoints import CONFIG
from mmapp.cli import doctor
from mmapp.cli.session import has_workers
from mmapp.config import Settings
from mmapp.db import migrate
from mmapp.jobs import Jobs, WorkerInfo
from mmapp.processes import Process
from mmapp.types import Role
from tests.jobs.scenes import checkpoint_folder
from tests.servers import s3_server


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Those of a worker host: its own folder, and a queue that does not answer."""
    made = Settings(
        data_dir=tmp_path,
        checkpoint=checkpoint_folder(tmp_path / "fake"),
        redis_url="redis://:secret@127.0.0.1:1/0",
        device="cpu",
        _env_file=None,
    )
    migrate(made.sqlalchemy_url)
    return made


@pytest.fixture
def jobs(settings: Settings) -> Iterator[Jobs]:
    with Jobs.open(settings) as opened:
        yield opened


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", False),
        ("unix:///tmp/redis.sock?db=0", False),
        ("redis://localhost:6379/0", False),
        ("redis://[::1]/0", False),
        ("redis://:secret@queue/0", False),
        ("redis://queue:6379/0", True),
        ("rediss://user@10.0.0.9/0", True),
    ],
)
def test_a_queue_on_another_machine_needs_a_password(url: str, expected: bool) -> None:
    assert doctor.is_open(url) is expected


def test_a_store_of_files_is_written_to_or_told_with_what_is_wrong(
    settings: Settings, tmp_path: Path
) -> None:
    assert doctor._files(settings) == ("in the data folder", "")
    with s3_server(tmp_path / "s3") as server:
        store = server.settings("files", data_dir=tmp_path, blobs_seconds=0.1)
        found, remedy = doctor._files(store)
        assert found.startswith("one written to, read from and removed from s3://mmapp/files in")
        assert remedy == ""
        assert [path for path in server.folder.rglob("*") if path.is_file()] == []
    found, remedy = doctor._files(store)
    assert "s3://mmapp/files (no connection)" in found
    assert "MMAPP_BLOBS_" in remedy


def test_an_open_queue_is_told_without_asking_it(settings: Settings) -> None:
    found, remedy = doctor._redis(settings.model_copy(update={"redis_url": "redis://queue/0"}))
    assert "no password" in found
    assert "requirepass" in remedy


def test_a_queue_that_does_not_answer_is_told_without_its_password(settings: Settings) -> None:
    found, remedy = doctor._redis(settings)
    assert "does not answer" in found
    assert "secret" not in found
    assert "MMAPP_REDIS_URL" in remedy


def test_a_host_without_a_ready_worker_is_told_and_one_that_loads_too(
    settings: Settings, jobs: Jobs
) -> None:
    assert "mmapp worker" in doctor._workers(settings)[1]
    now, of = datetime.now(UTC), Process.current()
    info = WorkerInfo("w", "nano", "", "cpu", "", False, "", now, now, None, of, of.pid)
    jobs.greet(info)
    assert doctor._workers(settings) == ("w: loading the checkpoint", "Wait, then look again")
    jobs.greet(dataclasses.replace(info, ready=True))
    assert doctor._workers(settings) == ("w: nano on cpu", "")


def test_a_role_that_nobody_has_is_told_with_what_to_start(settings: Settings, jobs: Jobs) -> None:
    now, of = datetime.now(UTC), Process.current()
    info = WorkerInfo("w", "nano", "a", "cpu", "float32", True, "", now, now, None, of, of.pid)
    jobs.greet(dataclasses.replace(info, roles=(Role.GENERATE,)))
    found, remedy = doctor._workers(settings)
    assert "w: nano on cpu (generate); none has the role ingest" in found
    assert "`mmapp worker --role ingest`" in remedy
    jobs.greet(dataclasses.replace(info, name="i", checkpoint="", roles=(Role.INGEST,)))
    assert doctor._workers(settings)[1] == "", "the checkpoint has no encoder of its own"
    assert has_workers(jobs)
    (settings.checkpoint / CONFIG).write_text('{"vision_config": {"image_size": 8}}')
    assert "--role encode`" in doctor._workers(settings)[1]
    assert not has_workers(jobs)
    seeing = dataclasses.replace(info, name="e", roles=(Role.ENCODE,))
    for encoder, wrong in (
        (dataclasses.replace(seeing, weights_sha256="b"), "MMAPP_CHECKPOINT"),
        (dataclasses.replace(seeing, dtype="bfloat16"), "MMAPP_DTYPE"),
    ):
        jobs.greet(encoder)
        assert wrong in doctor._workers(settings)[1]
    jobs.greet(seeing)
    assert doctor._workers(settings)[1] == ""


def test_weights_that_do_not_fit_the_free_memory_are_told(
    settings: Settings, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor._checkpoint(settings)[1] == ""
    monkeypatch.setattr(doctor, "free_memory", lambda: 10)
    found, remedy = doctor._checkpoint(settings)
    assert "of memory are free" in found
    assert "quantize" in remedy
    now, of = datetime.now(UTC), Process.current()
    jobs.greet(WorkerInfo("w", "n", "", "cpu", "", True, "", now, now, None, of, of.pid))
    assert doctor._checkpoint(settings)[1] == "", "the worker that runs has loaded it already"


def test_free_memory_is_what_the_system_says(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:      2048 kB\n")
    assert doctor.free_memory(tmp_path / "meminfo") == 2048 * 1024
    assert doctor.free_memory(tmp_path / "none") is None


def test_clocks_that_differ_are_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._database(settings)[1] == ""
    monkeypatch.setattr(doctor, "MOST_SKEW_S", -1.0)
    assert "NTP" in doctor._database(settings)[1]


def test_secrets_may_stand_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "redis_url"
    secret.write_text("redis://:secret@queue/0\n")
    monkeypatch.setenv("MMAPP_REDIS_URL_FILE", str(secret))
    assert Settings(_env_file=None).redis_url == "redis://:secret@queue/0"
    monkeypatch.setenv("MMAPP_REDIS_URL", "redis://localhost")
    assert Settings(_env_file=None).redis_url == "redis://localhost"
    monkeypatch.setenv("MMAPP_ENGINE_KEY_FILE", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        Settings(_env_file=None)
