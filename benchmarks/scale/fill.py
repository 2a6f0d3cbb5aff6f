"""A database as it stands in the midst of work: jobs that wait, jobs that run, workers that beat.

Rows are copied inside the database from one real job, because ten thousand submissions would take
minutes. PostgreSQL alone is filled so. Called by `measure`.
"""

from __future__ import annotations

import sqlalchemy
from sqlalchemy import Connection, text

from mmapp.db.tables import jobs
from mmapp.types import Priority, Status

#: What differs between a job that waits and the one that it is copied from.
WAITING = {
    "id": "lpad(to_hex(:first + n), 16, '0')",
    "owner": "'owner ' || (n / 2 % :owners)",
    "priority": f"CASE WHEN n % 2 = 0 THEN '{Priority.INTERACTIVE}' ELSE '{Priority.BATCH}' END",
    "status": f"'{Status.QUEUED}'",
    "run_key": "md5((:first + n)::text) || md5((:first + n + 1)::text)",
    "queued_at": "now() - (:count - n) * interval '1 millisecond'",
    "sent_at": "now()",
    "started_at": "NULL",
    "finished_at": "NULL",
    "result_of": "NULL",
}

#: What differs between a job that runs and one that waits.
RUNNING = {
    **WAITING,
    "status": f"'{Status.RUNNING}'",
    "attempt": "1",
    "worker": "'worker ' || n",
    "lease_until": "now() + interval '1 day'",
    "started_at": "now()",
}

COUNT = "SELECT count(*) FROM jobs WHERE status = :status"

#: Of another machine, so that nobody here can tell whether they live.
WORKERS = """
    INSERT INTO workers (name, machine, pid, pid_began, parent_pid, checkpoint, weights_sha256,
                         device, dtype, ready, error, started_at, last_seen, counters)
    SELECT 'worker ' || n, 'machine ' || n / 8, n, '1', n, 'nano', repeat('0', 64), 'cuda:0',
           'bfloat16', true, '', now(), now(), CAST(:counters AS json)
    FROM generate_series(1, :count) AS n
"""


def add_waiting(connection: Connection, like: str, total: int, owners: int) -> None:
    """As many copies of the job `like`, half of them in each lane, as are missing from a total."""
    waiting = connection.execute(text(COUNT), {"status": Status.QUEUED}).scalar_one()
    made = connection.execute(text("SELECT count(*) FROM jobs")).scalar_one()
    _copy(connection, like, WAITING, (1 << 40) + made, total - waiting, owners)


def add_running(connection: Connection, like: str, count: int, owners: int) -> None:
    """One running job for each of the workers of `add_workers`."""
    _copy(connection, like, RUNNING, 1 << 50, count, owners)


def add_workers(connection: Connection, count: int, counters: str) -> None:
    """Ready workers on other machines, eight on each."""
    connection.execute(text(WORKERS), {"count": count, "counters": counters})


def settle(url: str) -> None:
    """Statistics and visibility as autovacuum would leave them, and no checkpoint in between."""
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("CHECKPOINT"))
    engine.dispose()


def _copy(
    connection: Connection, like: str, changed: dict[str, str], first: int, count: int, owners: int
) -> None:
    names = [column.name for column in jobs.columns]
    values = ", ".join(changed.get(name, name) for name in names)
    connection.execute(
        text(
            f"INSERT INTO jobs ({', '.join(names)}) SELECT {values}"  # names of our own columns
            " FROM jobs, generate_series(1, :count) AS n WHERE id = :like"
        ),
        {"first": first, "count": count, "owners": owners, "like": like},
    )
