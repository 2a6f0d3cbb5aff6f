"""The files of docker/: by rule, and by their own commands with real servers, no containers."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmapp.stack import redis_server
from tests.checkpoints import tiny_checkpoint

ROOT = Path(__file__).resolve().parent.parent
DOCKER = ROOT / "docker"
PRODUCTION, DEVELOPMENT = (
    yaml.safe_load((DOCKER / name).read_text()) for name in ("compose.yaml", "compose.dev.yaml")
)
SERVICES = [
    pytest.param(file, name, id=f"{file['name']}-{name}")
    for file in (PRODUCTION, DEVELOPMENT)
    for name in file["services"]
]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make-secrets` writes."""
    folder = tmp_path_factory.mktemp("docker")
    script = shutil.copy(DOCKER / "make-secrets", folder)
    subprocess.run([script], check=True)
    again = subprocess.run([script], capture_output=True, text=True, check=False)
    assert (again.returncode, "already" in again.stderr) == (1, True)
    return folder / "secrets"


@pytest.mark.parametrize(("file", "name"), SERVICES)
def test_a_service_refers_to_what_is_there_and_has_no_more_rights_than_it_needs(
    file: dict[str, Any], name: str
) -> None:
    service = file["services"][name]
    ours = service["image"] == "mmapp"
    assert ours or re.fullmatch(r"[a-z]+:\d+", service["image"]), "pin other images"
    assert set(service.get("depends_on", ())) <= set(file["services"])
    assert set(service.get("secrets", ())) <= set(file.get("secrets", ()))
    for mount in service.get("volumes", ()):
        source = mount.split(":")[0]
        assert source in file["volumes"] or (DOCKER / source).is_dir()
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert not {"privileged", "network_mode", "pid", "cap_add"} & set(service)
    if ours:
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    needs_health = any(
        other.get("depends_on", {}).get(name, {}).get("condition") == "service_healthy"
        for other in file["services"].values()
    )
    assert "healthcheck" in service or not (needs_health or "ports" in service)


def test_no_secret_stands_in_an_environment() -> None:
    for service in PRODUCTION["services"].values():
        for name, value in service.get("environment", {}).items():
            is_secret = re.search("PASSWORD|KEY|SECRET|DATABASE_URL|REDIS_URL", name)
            assert not is_secret or (
                name.endswith("_FILE") and Path(value).name in service["secrets"]
            )


def test_settings_of_the_files_are_settings_of_ours() -> None:
    from mmapp.config import Settings

    known = {f"MMAPP_{field.upper()}" for field in Settings.model_fields}
    for file in (PRODUCTION, DEVELOPMENT):
        for service in file["services"].values():
            ours = {name for name in service.get("environment", {}) if name.startswith("MMAPP_")}
            assert {name.removesuffix("_FILE") for name in ours} <= known


def test_a_store_of_files_is_named_by_the_environment_and_its_keys_by_files(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As compose fills it in: without a store, and with one."""
    from mmapp.config import Settings

    def settings(told: dict[str, str]) -> Settings:
        for name, value in PRODUCTION["services"]["worker"]["environment"].items():
            if not name.startswith("MMAPP_BLOBS_"):
                continue
            filled = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: told.get(m[1]) or m[2], value)
            monkeypatch.setenv(name, filled.replace("/run/secrets", str(secrets)))
        return Settings(_env_file=None)

    without = settings({})
    assert (without.blobs_url, without.blobs_key_id) == ("", "")
    for name in ("blobs_key_id", "blobs_secret"):
        assert (secrets / name).stat().st_mode & 0o200, "people write their keys there"
        (secrets / name).write_text(f"our {name}\n")
    store = settings({"MMAPP_BLOBS_URL": "s3://b/p", "MMAPP_BLOBS_ENDPOINT": "https://store"})
    assert (store.blobs_url, store.blobs_endpoint) == ("s3://b/p", "https://store")
    assert (store.blobs_region, store.blobs_key_id) == ("us-east-1", "our blobs_key_id")
    assert store.blobs_secret.get_secret_value() == "our blobs_secret"


def test_the_roles_apart_are_all_roles_and_share_the_files() -> None:
    from mmapp.types import Role

    apart = [one for one in PRODUCTION["services"].values() if one.get("profiles") == ["roles"]]
    assert [one["command"][-2:] for one in apart] == [["--role", role] for role in Role]
    assert all(one["volumes"] == PRODUCTION["services"]["worker"]["volumes"] for one in apart)


def test_the_secrets_are_those_that_compose_wants(secrets: Path) -> None:
    wanted = {Path(one["file"]).name for one in PRODUCTION["secrets"].values()}
    assert {path.name for path in secrets.iterdir()} == wanted
    assert secrets.stat().st_mode & 0o077 == 0
    password = (secrets / "postgres_password").read_text().strip()
    assert len(password) == 48
    assert f":{password}@db/" in (secrets / "database_url").read_text()


def test_the_image_is_built_from_what_is_there_and_does_not_run_as_root() -> None:
    lines = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line.strip() and line[0] != "#"]
    copied = [words for step, words in steps if step == "COPY" and not words.startswith("--from")]
    for words in copied:
        for source in words.split()[:-1]:
            assert (ROOT / source).exists(), source
    images = [words.split()[0] for step, words in steps if step == "FROM"]
    assert all(re.fullmatch(r"python:\$\{PYTHON_VERSION\}-slim", image) for image in images)
    names = [step for step, _ in steps]
    assert names.index("USER") < names.index("CMD")
    assert "ADD" not in names
    assert dict(steps)["USER"] not in ("root", "0")
    installs = re.findall(r"pip install \S+", "\n".join(lines))
    assert installs
    assert set(installs) == {"pip install --no-cache-dir"}
    needed = set(
        re.findall(r"include = \[(.*)\]", (ROOT / "pyproject.toml").read_text())[0].split(", ")
    )
    assert {package.strip('"*') for package in needed} <= set(" ".join(copied).split())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def healthy(test: list[str], environment: dict[str, str], port: int) -> str:
    """Runs a health check as compose does, until it succeeds; what it printed."""
    kind, *words = test
    words = [word.replace("7860", str(port)).replace("$$", "$") for word in words]
    command = [sys.executable, *words[1:]] if kind == "CMD" else ["/bin/sh", "-c", *words]
    deadline = time.monotonic() + 200
    while True:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.5)


@pytest.mark.slow
def test_the_commands_of_the_services_work_together(secrets: Path, tmp_path: Path) -> None:
    """Redis with its own configuration, `migrate`, `web` and `worker`, told by files of secrets."""
    services, (port, redis_port) = PRODUCTION["services"], (free_port(), free_port())
    redis_url = (secrets / "redis_url").read_text().strip()
    url_file = tmp_path / "redis_url"
    url_file.write_text(redis_url.replace("@redis:6379", f"@127.0.0.1:{redis_port}"))
    database_file = tmp_path / "database_url"
    database_file.write_text(f"sqlite:///{tmp_path / 'mmapp.sqlite3'}\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MMAPP_")}
    environment = {
        **kept,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{kept.get('PYTHONPATH', '')}",
        "MMAPP_DATABASE_URL_FILE": str(database_file),
        "MMAPP_REDIS_URL_FILE": str(url_file),
        "MMAPP_DATA_DIR": str(tmp_path / "data"),
        "MMAPP_CHECKPOINT": str(tiny_checkpoint(tmp_path / "tiny")),
        "MMAPP_PORT": str(port),
        "MMAPP_THREADS": "1",
        "PATH": f"{Path(redis_server()).parent}{os.pathsep}{kept['PATH']}",
    }

    def mmapp(service: str) -> list[str]:
        name, *words = services[service]["command"]
        assert name == "mmapp"
        return [sys.executable, "-m", "mmapp.cli", *words]

    _, conf = services["redis"]["command"]
    redis = [redis_server(), str(secrets / Path(conf).name), "--port", str(redis_port)]
    with started([*redis, "--dir", str(tmp_path)], environment):
        [kind, ping] = services["redis"]["healthcheck"]["test"]
        here = ping.replace("/run/secrets", str(secrets)).replace("cli", f"cli -p {redis_port}")
        assert "PONG" in healthy([kind, here], environment, port)
        subprocess.run(mmapp("migrate"), env=environment, check=True)
        with started(mmapp("web"), environment), started(mmapp("worker"), environment):
            probe = [
                word.replace("u.urlopen(", "r = u.urlopen(")
                for word in services["web"]["healthcheck"]["test"]
            ]
            probe[-1] += "; print(r.read().decode())"
            deadline = time.monotonic() + 200
            while json.loads(healthy(probe, environment, port))["workers_ready"] == 0:
                assert time.monotonic() < deadline, "no worker was ready"
                time.sleep(0.5)
