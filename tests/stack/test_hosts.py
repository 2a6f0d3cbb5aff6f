"""Two worker hosts, one of them cut off in the middle of a job: nothing is lost, nothing twice.

Hosts share no disk: PostgreSQL, Redis and an S3 store, each with a password, are all they have.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from mmapp.config import REPOSITORY, Settings
from mmapp.db import migrate
from mmapp.jobs import Jobs
from mmapp.stack import _environment
from mmapp.types import FiguresParams, Job, Status, SummarizeParams, TaskName
from tests.hosts import ADDRESS, NETWORK, Host, Network, network
from tests.servers import RedisServer, S3Server, postgresql_server
from tests.stack.conftest import READY_S, count_results, in_the_middle, ready_workers, story, until
from tests.stack.test_files import add

PASSWORD = "a-password"
LEASE_S = 6.0


@dataclass(frozen=True)
class Site:
    """Servers in the middle, and the settings with which every host finds them."""

    network: Network
    settings: Settings

    def worker(self, name: str, folder: Path) -> Host:
        settings = self.settings.model_copy(update={"data_dir": folder / name})
        command = [sys.executable, "-m", "mmapp.cli", "worker"]
        return self.network.host(name, command, _environment(settings, 1))


@pytest.fixture
def site(tmp_path: Path, checkpoint: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        # Before the servers, which stand in it.
        middle = stack.enter_context(network(tmp_path))
        database_url = stack.enter_context(postgresql_server()).listen(ADDRESS, NETWORK, PASSWORD)
        redis, store = RedisServer(tmp_path, ADDRESS, PASSWORD), S3Server(tmp_path / "s3", ADDRESS)
        for server in (redis, store):
            stack.callback(server.kill)
            server.start()
        settings = store.settings(
            "files",
            data_dir=tmp_path / "web",
            database_url=database_url,
            redis_url=redis.url,
            checkpoint=checkpoint,
            threads=1,
            lease_seconds=LEASE_S,
            sweep_seconds=1.0,
        )
        migrate(database_url)
        yield Site(middle, settings)
        middle.end()


def names(jobs: Jobs) -> set[str]:
    """The hosts whose workers are ready and were heard of just now."""
    now = time.time()
    return {
        worker.name.rsplit("-", 2)[0]
        for worker in ready_workers(jobs)
        if now - worker.last_seen.timestamp() < 4
    }


def ended(jobs: Jobs, job: Job) -> Job:
    until(lambda: jobs.get(job.id).status.is_final, READY_S)
    return jobs.get(job.id)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_host_that_is_cut_off_loses_its_job_to_another_and_writes_nothing_when_it_is_back(
    site: Site, tmp_path: Path
) -> None:
    with Jobs.open(site.settings) as jobs:
        hosts = {name: site.worker(name, tmp_path) for name in ("north", "south")}
        until(lambda: names(jobs) == set(hosts), READY_S)
        document = jobs.add_document("long.txt", story("Tallinn", 600).encode())
        job = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 1))
        first = in_the_middle(jobs, job.id).name.rsplit("-", 2)[0]
        (other,) = set(hosts) - {first}
        hosts[first].cut_off()
        taken_over_s = until(lambda: jobs.get(job.id).attempts == 2, 60)
        assert taken_over_s < LEASE_S + 15, f"{taken_over_s:.1f} s until the other host took it"
        done = ended(jobs, job)
        assert (done.status, done.attempts, done.error) == (Status.SUCCEEDED, 2, "")
        result = jobs.result(job.id)
        assert result.record["worker"].startswith(other)
        assert first not in names(jobs)

        hosts[first].join()
        until(lambda: "lease lost, nothing stored" in hosts[first].log.read_text(), READY_S)
        until(lambda: first in names(jobs), READY_S)
        assert (jobs.get(job.id), jobs.result(job.id)) == (done, result)
        assert count_results(jobs, job.id) == 1

        # It works again, with files that it has never had on a disk.
        hosts[other].end()
        plan = add(jobs, "A plan of the harbour.")
        job = ended(jobs, jobs.submit(TaskName.FIGURES, FiguresParams(plan.sha256)))
        assert (job.status, job.error) == (Status.SUCCEEDED, "")
        assert jobs.result(job.id).record["worker"].startswith(first)
        assert not list(tmp_path.glob("*/blobs"))


LOCK = """
import sqlalchemy, sys, time
from mmapp.db import connectable
connection = connectable(sys.argv[1]).connect()
connection.execute(sqlalchemy.text("LOCK TABLE jobs"))
print("locked", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_what_a_cut_off_host_had_locked_is_free_again_soon(site: Site) -> None:
    url = site.settings.database_url
    command = [sys.executable, "-c", LOCK, url]
    host = site.network.host("north", command, {**os.environ, "PYTHONPATH": str(REPOSITORY)})
    until(lambda: host.log.read_text() == "locked\n", READY_S)
    host.cut_off()
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        start = time.monotonic()
        connection.execute("SET lock_timeout = '60s'")
        connection.execute("SELECT count(*) FROM jobs")
        waited_s = time.monotonic() - start
    assert 1 < waited_s < 30, f"{waited_s:.1f} s until the lock was free"
