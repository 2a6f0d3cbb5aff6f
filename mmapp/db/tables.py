"""The SQL tables, as SQLAlchemy Core. Called by `repository` (queries) and by `migrations/` (DDL).

They hold what must survive any process: documents and their pages, jobs with lease and attempt,
results with their reviews, batches, the heartbeat of each worker, and the turns of sweepers. Bytes
of files are not here (`mmapp.storage`).
"""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Enum,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

from mmapp.types import Label, MediaType, Priority, Recognition, Role, Status, TaskName

#: Every constraint has a name, because SQLite's batch migrations can only drop what is named.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC, on databases with and without time zones; refuses naive ones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; moments are stored in UTC")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class PackedJson(TypeDecorator[Any]):
    """JSON, deflated: a page's lines with their character edges shrink about three times."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002
        if value is None:
            return None
        text = json.dumps(value, separators=(",", ":"))
        return zlib.compress(text.encode(), level=1)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any | None:  # noqa: ARG002
        return None if value is None else json.loads(zlib.decompress(value))


def _enum(values: type[StrEnum], name: str) -> Enum:
    return Enum(
        values,
        native_enum=False,
        create_constraint=True,
        length=32,
        name=name,
        values_callable=lambda members: [member.value for member in members],
    )


metadata = MetaData(naming_convention=NAMING_CONVENTION)

documents = Table(
    "documents",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("media_type", _enum(MediaType, "media_type"), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("page_count", Integer, nullable=False),
    Column("encrypted", Boolean, nullable=False),
    #: The bookmarks that a PDF brings with it; None: not looked for when stored.
    Column("outline", PackedJson),
    Column("created_at", UtcDateTime, nullable=False),
)

pages = Table(
    "pages",
    metadata,
    Column("document_sha256", ForeignKey("documents.sha256"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("width", Float, nullable=False),
    Column("height", Float, nullable=False),
    #: Degrees by which the page is turned when it is shown.
    Column("rotation", Integer, nullable=False),
    Column("lines", PackedJson, nullable=False),
    Column("characters", Integer, nullable=False),
    Column("error", Text, nullable=False),
    #: Words of the text layer that the page does not show; None: not looked for when stored.
    Column("hidden", PackedJson),
    #: What there is to be done about words in its pictures; None: no one looked when it was stored.
    Column("recognition", _enum(Recognition, "recognition")),
    #: Blob of the page's picture, once there is one.
    Column("image_sha256", String(64)),
    CheckConstraint("number >= 1", name="number_from_1"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", Text, nullable=False),
    Column("task", _enum(TaskName, "task"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("task", _enum(TaskName, "task"), nullable=False),
    Column("status", _enum(Status, "status"), nullable=False),
    Column("priority", _enum(Priority, "priority"), nullable=False),
    #: What it needs next: only workers of this role take it.
    Column("role", _enum(Role, "role"), nullable=False, server_default=Role.INGEST),
    #: All roles that it needs, in order, with commas between.
    Column("roles", Text, nullable=False, server_default="ingest,generate"),
    #: What earlier roles leave to later ones (`jobs.handing`); None: nothing yet.
    Column("carried", JSON(none_as_null=True)),
    #: How often it was handed over to its next role: attempts that count as no try.
    Column("handed_over", Integer, nullable=False, server_default="0"),
    #: Who takes turns with the others.
    Column("owner", Text, nullable=False, server_default="local"),
    Column("label", Text, nullable=False),
    #: The label in lower case, because SQLite folds the case of ASCII alone.
    Column("label_folded", Text, nullable=False),
    Column("params", JSON, nullable=False),
    #: What the result depends on, as one hash; None when the checkpoint was not known.
    Column("run_key", String(64)),
    #: The fence: raised by each take, never lowered. Only the holder of this number may write.
    Column("attempt", Integer, nullable=False),
    #: The attempt number at which the present series of attempts began (raised by `retry`).
    Column("series_start", Integer, nullable=False),
    Column("worker", Text),
    Column("lease_until", UtcDateTime),
    Column("progress", JSON, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("error", Text, nullable=False),
    Column("error_code", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("queued_at", UtcDateTime, nullable=False),
    #: When the id was last given to the broker; None when that has to be done.
    Column("sent_at", UtcDateTime),
    #: Not given to the broker before this moment: what went wrong may have passed by then.
    Column("not_before", UtcDateTime),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    #: The job with the same run key that runs for this one too.
    Column("follows", ForeignKey("jobs.id")),
    #: The job whose result is this one's: itself, or the one that ran for it.
    Column("result_of", ForeignKey("jobs.id")),
    Column("batch_id", ForeignKey("batches.id")),
    Column("batch_row", Integer),
    #: What it was thought to take when it was submitted (`types.Estimate`).
    Column("estimate", JSON(none_as_null=True)),
    CheckConstraint("attempt >= series_start", name="attempt_in_series"),
    CheckConstraint("status <> 'running' OR lease_until IS NOT NULL", name="running_has_lease"),
    CheckConstraint("status <> 'succeeded' OR result_of IS NOT NULL", name="succeeded_has_result"),
    CheckConstraint("follows IS NULL OR status = 'queued'", name="follower_is_queued"),
    Index("ix_jobs_status_priority", "status", "priority", "id"),
    Index("ix_jobs_line", "status", "priority", "owner", "queued_at", "id"),
    Index("ix_jobs_line_of_role", "status", "role", "priority", "owner", "queued_at", "id"),
    Index("ix_jobs_sent", "status", "sent_at"),
    Index("ix_jobs_turn", "owner", "priority", "started_at"),
    Index("ix_jobs_run_key", "run_key"),
    Index("ix_jobs_follows", "follows"),
    Index("ix_jobs_result_of", "result_of"),
    Index("ix_jobs_worker", "worker"),
    Index("ix_jobs_batch_id_batch_row", "batch_id", "batch_row"),
    Index("ix_jobs_created_at", "created_at"),
    Index("ix_jobs_finished_at", "finished_at"),
)

results = Table(
    "results",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("task", _enum(TaskName, "task"), nullable=False),
    Column("schema_version", Integer, nullable=False),
    #: With the hash of the weights that really ran.
    Column("run_key", String(64), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("record", JSON, nullable=False),
    #: One line for lists.
    Column("headline", Text, nullable=False),
    #: The payload's words in lower case, for search.
    Column("words", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_results_run_key", "run_key"),
)

#: What people said of verdicts. Rows are added and never changed: the newest of a verdict counts.
reviews = Table(
    "reviews",
    metadata,
    Column("id", Integer, primary_key=True),
    #: The job that made the result.
    Column("job_id", ForeignKey("results.job_id"), nullable=False),
    #: Which claim, from 1; None: the listing as a whole.
    Column("claim", Integer),
    Column("label", _enum(Label, "label"), nullable=False),
    Column("note", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("claim >= 1", name="claim_from_1"),
    Index("ix_reviews_job_id", "job_id"),
)

batch_rows = Table(
    "batch_rows",
    metadata,
    Column("batch_id", ForeignKey("batches.id"), primary_key=True),
    Column("row", Integer, primary_key=True),
    #: The input's columns as they were.
    Column("cells", JSON, nullable=False),
    Column("job_id", ForeignKey("jobs.id")),
    #: Why the row could not become a job.
    Column("error", Text, nullable=False),
    CheckConstraint("(job_id IS NULL) = (error <> '')", name="job_or_error"),
    Index("ix_batch_rows_job_id", "job_id"),
)

workers = Table(
    "workers",
    metadata,
    Column("name", String(128), primary_key=True),
    #: Process ids mean something on this machine (and process-id namespace) only.
    Column("machine", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    #: When the process began, in the machine's own count: tells it from a later one with its pid.
    Column("pid_began", Text, nullable=False),
    Column("parent_pid", Integer, nullable=False),
    #: What it does, with commas between.
    Column("roles", Text, nullable=False, server_default=",".join(Role)),
    Column("checkpoint", Text, nullable=False),
    Column("weights_sha256", String(64), nullable=False),
    Column("device", Text, nullable=False),
    Column("dtype", Text, nullable=False),
    Column("ready", Boolean, nullable=False),
    #: Why the engine could not be loaded.
    Column("error", Text, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("last_seen", UtcDateTime, nullable=False),
    #: What it has done since it started (`jobs.tally`); None: it has not told yet.
    Column("counters", JSON(none_as_null=True)),
    #: What its engine can hold (`types.Capacity`); None: not loaded yet, or of an older version.
    Column("capacity", JSON(none_as_null=True)),
)

#: One row, which all who sweep share: whose turn it is, and what was found in all.
sweeps = Table(
    "sweeps",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    #: When somebody swept for all.
    Column("swept_at", UtcDateTime, nullable=False),
    Column("rounds", BigInteger, nullable=False),
    #: Jobs taken from lost workers, and ids sent again or late.
    Column("freed", BigInteger, nullable=False),
    Column("sent", BigInteger, nullable=False),
    #: What workers had done that are no longer on the list; None: there were none.
    Column("counters", JSON(none_as_null=True)),
    CheckConstraint("id = 1", name="one_row"),
)
