"""What this code's own calls cost on a real PostgreSQL and a real Redis.

Each figure is of calls as they are in service: `Jobs.submit`, `Jobs.take_next`, a report of
progress, a heartbeat, the end of a job, a sweep. Called by the command; refuses nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from redis import Redis
from sqlalchemy import Connection, Table, func, select, text

from benchmarks.scale import fill
from benchmarks.scale.gauge import Cost, Gauge
from benchmarks.scale.taking import Takers
from mmapp.broker import PRIORITY_STEPS, QUEUES, list_name, make_app
from mmapp.config import REPOSITORY, Settings
from mmapp.db import migrate
from mmapp.db.attempts import NewResult
from mmapp.db.tables import documents, jobs, pages, results
from mmapp.ids import new_id
from mmapp.jobs import Attempt, Jobs
from mmapp.records import headline, words
from mmapp.types import (
    AskParams,
    Document,
    Message,
    Priority,
    Progress,
    Role,
    SummarizeParams,
    TaskName,
)
from model.progress import Progress as Shown
from tests.jobs.scenes import engine
from tests.servers import PostgresServer, RedisServer, fresh_postgresql, postgresql_server

if TYPE_CHECKING:
    from mmapp.types import Engine

#: Whose rows a document with a job leaves behind.
TABLES = (documents, pages, jobs, results)

#: PostgreSQL's header of a row with its line pointer.
ROW_HEADER = 28
MANY_ROWS = 400

DAY_S = 86_400.0

#: The worker whose job this process runs.
WORKER = "worker 1"


@dataclass(frozen=True)
class Scope:
    """How much is measured."""

    #: Jobs that wait when jobs are taken: each number in turn.
    waiting: tuple[int, ...] = (10_000, 100_000)
    #: Processes that take at the same time.
    takers: tuple[int, ...] = (1, 4, 16)
    #: Jobs that all of them take together.
    takes: int = 480
    #: Calls of everything else.
    calls: int = 300
    sweeps: int = 10
    #: Jobs that run meanwhile, each with its worker.
    workers: int = 1_000
    owners: int = 20
    documents: tuple[Path, ...] = (
        REPOSITORY / "samples" / "prepayment-invoices.pdf",
        REPOSITORY / "samples" / "disk-management-zh.pdf",
    )


#: Seconds long, to see that it runs.
QUICK = Scope(waiting=(500,), takers=(1, 2), takes=20, calls=10, sweeps=2, workers=20, owners=3)


@dataclass(frozen=True, slots=True)
class Stored:
    """What one document or job leaves behind, in bytes."""

    #: Of a file as given.
    blob_per_document: float
    #: Of a page's picture.
    blob_per_picture: float
    #: By table, with the row's share of all indexes.
    bytes_per_row: dict[str, float]
    pages_per_document: float
    characters_per_page: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Costs by call; of takes by jobs that wait and processes that take."""

    calls: dict[str, Cost]
    takes: dict[str, Cost]
    stored: Stored
    #: Messages: how many a second, Redis' CPU microseconds and bytes of memory for each.
    broker: dict[str, float]
    #: Settings of the database's server.
    server: dict[str, str]


@dataclass(frozen=True, slots=True)
class Bench:
    settings: Settings
    jobs: Jobs
    gauge: Gauge
    redis: Redis
    documents: Sequence[Document]


def measure(scope: Scope) -> Measured:
    with _bench(scope) as bench:
        show = Shown("measuring", "{} of {} parts".format)
        result, like = _finish_one(bench)
        _fill(bench, scope, like)
        calls: dict[str, Cost] = {}
        takes: dict[str, Cost] = {}
        for number, waiting in enumerate(scope.waiting):
            _wait_in_line(bench, scope, like, waiting)
            costs = _calls(bench, scope, result)
            calls |= {f"{name}, {waiting} waiting": cost for name, cost in costs.items()}
            for takers in scope.takers:
                takes[f"{waiting} waiting, {takers} takers"] = _take(bench, scope, takers)
            show(number + 1, len(scope.waiting) + 1)
        broker = _broker(bench, scope.calls)
        return Measured(calls, takes, _stored(bench), broker, _server(bench))


@contextlib.contextmanager
def _bench(scope: Scope) -> Iterator[Bench]:
    with contextlib.ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="scale-")))
        server = exits.enter_context(postgresql_server())
        url = fresh_postgresql(server.url, "scale")
        migrate(url)
        redis = RedisServer(folder)
        redis.start()
        exits.callback(redis.kill)
        settings = Settings(
            data_dir=folder / "data",
            database_url=url,
            redis_url=redis.url,
            # Nothing that is taken here is to be given to another.
            lease_seconds=DAY_S,
            # One turn is taken before rounds are measured that are none.
            sweep_seconds=60.0,
            max_waiting=0,
            max_waiting_per_user=0,
            _env_file=None,  # type: ignore[call-arg]
        )
        jobs = exits.enter_context(Jobs.open(settings))
        client = Redis.from_url(redis.url)
        exits.callback(client.close)
        added = [jobs.add_document(path.name, path.read_bytes()) for path in scope.documents]
        gauge = Gauge(jobs._database._engine, _postmaster(server))
        yield Bench(settings, jobs, gauge, client, added)


def _postmaster(server: PostgresServer) -> int:
    pid = server._server.get_pid()
    if pid is None:
        raise RuntimeError("PostgreSQL did not start")
    return int(pid)


def _finish_one(bench: Bench) -> tuple[NewResult, str]:
    """A summary of each document; the last one's result, and its job."""
    for document in bench.documents:
        job = bench.jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document.sha256, 5))
        bench.jobs.run(job.id, cast("Engine", engine()), "filler")
    stored = bench.jobs.result(job.id)
    record = dict(stored.record)
    result = NewResult(
        task=job.task,
        schema_version=record["schema_version"],
        run_key="0" * 64,
        payload=stored.payload,
        record=record,
        headline=headline(job.task, stored.payload),
        words=words(stored.payload),
    )
    return result, job.id


def _fill(bench: Bench, scope: Scope, like: str) -> None:
    counters = json.dumps(bench.jobs._runner._tally.as_json())
    with bench.gauge.engine.begin() as connection:
        fill.add_running(connection, like, scope.workers, scope.owners)
        fill.add_workers(connection, scope.workers, counters)


def _wait_in_line(bench: Bench, scope: Scope, like: str, waiting: int) -> None:
    """So many jobs wait, and the broker holds as many messages."""
    with bench.gauge.engine.begin() as connection:
        fill.add_waiting(connection, like, waiting, scope.owners)
    fill.settle(bench.settings.sqlalchemy_url)
    lowest = list_name(Role.GENERATE, PRIORITY_STEPS[-1])
    bench.redis.delete(lowest)
    bench.redis.rpush(lowest, *["message"] * (waiting + scope.workers))


def _calls(bench: Bench, scope: Scope, result: NewResult) -> dict[str, Cost]:
    """What a job costs from its submission to its end, and what workers do meanwhile."""
    jobs, sha256 = bench.jobs, bench.documents[0].sha256
    taken: list[Attempt] = []

    def submit(number: int) -> None:
        question = f"What was agreed at {time.time_ns()} about {number}?"
        jobs.submit(TaskName.ASK, AskParams(sha256, question), owner=f"owner {number % 7}")

    def take(_: int) -> None:
        attempt = jobs.take_next("", WORKER)
        if attempt is not None:
            taken.append(attempt)

    def report(number: int) -> None:
        jobs.renew(taken[0], Progress("reading", number, scope.calls, "tokens"))

    def end(number: int) -> None:
        key = f"{time.time_ns():064x}"
        jobs._runner._end(taken[number], dataclasses.replace(result, run_key=key))

    calls = {"submit": bench.gauge.repeat(scope.calls, submit)}
    calls["take"] = bench.gauge.repeat(scope.calls, take)
    calls["progress"] = bench.gauge.repeat(scope.calls, report)
    jobs._runner._running = taken[0]
    calls["heartbeat"] = bench.gauge.repeat(scope.calls, lambda _: jobs.beat(WORKER))
    jobs._runner._running = None
    calls["end"] = bench.gauge.repeat(len(taken), end)
    jobs.sweep()
    calls["sweep"] = bench.gauge.repeat(scope.sweeps, lambda _: _sweep(jobs))
    calls["sweep for all"] = bench.gauge.repeat(scope.sweeps, lambda _: jobs.sweep())
    return calls


def _sweep(jobs: Jobs) -> None:
    """All that a worker's parent asks of the database in a round that is not its turn."""
    jobs.sweep_by_turns()
    jobs.silent_workers(os.getpid())
    jobs.children(os.getpid())


def _take(bench: Bench, scope: Scope, takers: int) -> Cost:
    """All takes of some processes together."""
    processes = Takers(bench.settings, takers, scope.takes)
    seconds, taken = 0.0, 0

    def run() -> None:
        nonlocal seconds, taken
        seconds, taken = processes.run()

    cost = bench.gauge.cost(scope.takes, run)
    return dataclasses.replace(cost, calls=taken, seconds=seconds, statements=0)


def _stored(bench: Bench) -> Stored:
    with bench.gauge.engine.connect() as connection:
        rows = {table.name: _row_bytes(connection, table) for table in TABLES}
        characters = connection.execute(select(func.avg(pages.c.characters))).scalar_one()
    count = len(bench.documents)
    pictures = [
        len(bench.jobs.page_image(document.sha256, number))
        for document in bench.documents
        for number in range(1, document.page_count + 1)
    ]
    return Stored(
        blob_per_document=sum(document.size_bytes for document in bench.documents) / count,
        blob_per_picture=sum(pictures) / len(pictures),
        bytes_per_row=rows,
        pages_per_document=sum(document.page_count for document in bench.documents) / count,
        characters_per_page=float(characters),
    )


def _row_bytes(connection: Connection, table: Table) -> float:
    """What is stored for a row, compressed as it is, with its share of the indexes.

    Indexes of few rows are left out: they are mostly empty pages.
    """
    stored = " + ".join(f'coalesce(pg_column_size("{column.name}"), 0)' for column in table.columns)
    query = f"SELECT count(*), sum({stored}), pg_indexes_size('{table.name}') FROM {table.name}"
    count, values, indexes = connection.execute(text(query)).one()
    share = float(indexes) / count if count >= MANY_ROWS else 0.0
    return float(values) / int(count) + ROW_HEADER + share


def _broker(bench: Bench, count: int) -> dict[str, float]:
    """Messages as this code sends them, received and acknowledged as Celery does."""
    bench.redis.flushall()
    messages = [Message(new_id(), Priority.BATCH, Role.GENERATE) for _ in range(count)]
    before, memory = _redis_cpu_s(bench.redis), bench.redis.info("memory")["used_memory"]
    began = time.perf_counter()
    bench.jobs._broker.send(messages)
    sent = time.perf_counter()
    held = bench.redis.info("memory")["used_memory"] - memory
    app = make_app(bench.settings.redis_url, 60)
    name = QUEUES[Role.GENERATE]
    with app.connection_for_read() as connection, connection.SimpleQueue(name) as queue:
        for _ in messages:
            queue.get(timeout=10).ack()
    received = time.perf_counter()
    app.close()
    cpu_s = _redis_cpu_s(bench.redis) - before
    return {
        "sent per s": count / (sent - began),
        "received per s": count / (received - sent),
        "server us": 1e6 * cpu_s / count,
        "bytes": held / count,
    }


def _redis_cpu_s(redis: Redis) -> float:
    used: dict[str, float] = redis.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])


def _server(bench: Bench) -> dict[str, str]:
    """What the figures of the database depend on."""
    names = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "max_connections")
    with bench.gauge.engine.connect() as connection:
        return {name: str(connection.execute(text(f"SHOW {name}")).scalar_one()) for name in names}
