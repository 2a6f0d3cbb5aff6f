"""Every query, bound to one open transaction. Only `mmapp.jobs` calls these.

Moments come from the database's clock where it has one, because leases are compared across
machines. A row that another process may have changed is never overwritten: such a write names the
state that it expects, and its return value tells whether it found it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    and_,
    case,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from mmapp.db.tables import batch_rows, batches, documents, jobs, pages, results, workers
from mmapp.processes import Process
from mmapp.types import (
    Batch,
    Bookmark,
    Document,
    HiddenText,
    Hiding,
    Job,
    Line,
    Page,
    Priority,
    Progress,
    Result,
    Status,
    TaskName,
)

#: Fewer bound values than the 32,766 that SQLite allows in one statement.
CHUNK = 500


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to insert; where it stands at first is decided by `Repository.place_job`."""

    id: str
    task: TaskName
    priority: Priority
    label: str
    params: Mapping[str, Any]
    run_key: str | None
    batch_id: str | None = None
    batch_row: int | None = None


@dataclass(frozen=True, slots=True)
class NewResult:
    """What a job made, ready to be stored."""

    task: TaskName
    schema_version: int
    #: With the hash of the weights that really ran.
    run_key: str
    payload: Mapping[str, Any]
    record: Mapping[str, Any]
    #: One line for lists.
    headline: str
    #: The payload's words in lower case, for search.
    words: str


@dataclass(frozen=True, slots=True)
class Held:
    """A running job whose holder is in doubt, as `sweep` found it."""

    job_id: str
    attempt: int
    #: Attempts of this series, the present one included.
    used: int
    label: str
    worker: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One row of a batch as it was given."""

    row: int
    cells: Mapping[str, str]
    job_id: str | None
    error: str


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list of jobs is narrowed to; None and empty narrow nothing."""

    words: tuple[str, ...] = ()
    task: TaskName | None = None
    status: Status | None = None
    batch_id: str | None = None
    since: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker's heartbeat."""

    name: str
    checkpoint: str
    weights_sha256: str
    device: str
    dtype: str
    #: Its engine is loaded.
    ready: bool
    #: Why the engine could not be loaded; empty otherwise.
    error: str
    started_at: datetime
    last_seen: datetime
    job_id: str | None
    process: Process
    parent_pid: int


_leader = jobs.alias("leader")
#: A job that follows another shows that one's status and progress: one truth, stored once.
_status: ColumnElement[Status] = case(
    (_leader.c.id.is_not(None), _leader.c.status), else_=jobs.c.status
)
_shown = select(
    jobs,
    _status.label("shown_status"),
    _leader.c.progress.label("leader_progress"),
    _leader.c.started_at.label("leader_started_at"),
    _leader.c.attempt.label("leader_attempt"),
).select_from(jobs.outerjoin(_leader, jobs.c.follows == _leader.c.id))


class Repository:
    """The queries of one transaction; opened by `Database.transaction()` or `.snapshot()`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._is_postgresql = connection.dialect.name == "postgresql"

    # --- documents -------------------------------------------------------------------------------

    def add_document(
        self, document: Document, pages_: Sequence[Page], images: Sequence[str]
    ) -> None:
        """Stores a document and its pages once; `images` are blobs of page pictures, or empty."""
        outline = [[one.level, one.title, one.page] for one in document.outline]
        values = {**_fields(document), "outline": outline, "created_at": self._now()}
        if not self._insert_once(documents, values):
            return
        for start in range(0, len(pages_), CHUNK):
            self._connection.execute(
                insert(pages),
                [
                    _page_values(document.sha256, page, images)
                    for page in pages_[start : start + CHUNK]
                ],
            )

    def document(self, sha256: str) -> Document | None:
        row = self._one(select(documents).where(documents.c.sha256 == sha256))
        return None if row is None else _document(row)

    def documents(self, sha256s: Sequence[str]) -> dict[str, Document]:
        rows = self._connection.execute(
            select(documents).where(documents.c.sha256.in_(sorted(set(sha256s))))
        )
        return {row.sha256: _document(row) for row in rows}

    def characters(self, sha256: str) -> int:
        """How many characters of text the document has."""
        query = select(func.coalesce(func.sum(pages.c.characters), 0)).where(
            pages.c.document_sha256 == sha256
        )
        return int(self._connection.execute(query).scalar_one())

    def pages(self, sha256: str, numbers: Collection[int] | None = None) -> list[Page]:
        """Those of these numbers, or all."""
        query = select(pages).where(pages.c.document_sha256 == sha256).order_by(pages.c.number)
        if numbers is not None:
            query = query.where(pages.c.number.in_(sorted(numbers)))
        known: dict[float, float] = {}
        return [_page(row, known) for row in self._connection.execute(query)]

    def page_image(self, sha256: str, number: int) -> str | None:
        query = select(pages.c.image_sha256).where(
            pages.c.document_sha256 == sha256, pages.c.number == number
        )
        image: str | None = self._connection.execute(query).scalar()
        return image

    def set_page_image(self, sha256: str, number: int, image: str) -> None:
        self._connection.execute(
            update(pages)
            .where(pages.c.document_sha256 == sha256, pages.c.number == number)
            .values(image_sha256=image)
        )

    # --- jobs: submit ----------------------------------------------------------------------------

    def lock_run_key(self, run_key: str) -> None:
        """Makes submitters of the same work wait for each other until the transaction ends."""
        if self._is_postgresql:
            number = int(run_key[:15], 16)
            self._connection.execute(select(func.pg_advisory_xact_lock(number)))

    def place_job(self, new: NewJob) -> bool:
        """Inserts a job where it belongs; True when its id has to be sent."""
        result_of, follows = self._same_work(new.run_key, new.priority, but=new.id)
        status = Status.SUCCEEDED if result_of else Status.QUEUED
        now = self._now()
        self._connection.execute(
            insert(jobs).values(
                **_fields(new),
                label_folded=new.label.casefold(),
                status=status,
                attempt=0,
                series_start=0,
                progress={},
                cancel_requested=False,
                error="",
                error_code="",
                created_at=now,
                queued_at=now,
                sent_at=None if result_of or follows else now,
                started_at=now if result_of else None,
                finished_at=now if result_of else None,
                result_of=result_of,
                follows=follows,
            )
        )
        return not (result_of or follows)

    def replace_job(self, job_id: str, run_key: str | None) -> bool | None:
        """Puts a failed or cancelled job back, as if submitted now; None when it is neither.

        True when its id has to be sent.
        """
        job = self.job(job_id)
        if job is None:
            return None
        result_of, follows = self._same_work(run_key, job.priority, but=job_id)
        now = self._now()
        changed = self._connection.execute(
            update(jobs)
            .where(jobs.c.id == job_id, jobs.c.status.in_([Status.FAILED, Status.CANCELLED]))
            .values(
                status=Status.SUCCEEDED if result_of else Status.QUEUED,
                run_key=run_key,
                series_start=jobs.c.attempt,
                worker=None,
                lease_until=None,
                progress={},
                cancel_requested=False,
                error="",
                error_code="",
                queued_at=now,
                sent_at=None if result_of or follows else now,
                started_at=now if result_of else None,
                finished_at=now if result_of else None,
                result_of=result_of,
                follows=follows,
            )
        )
        return None if changed.rowcount == 0 else not (result_of or follows)

    def _same_work(
        self, run_key: str | None, priority: Priority, *, but: str
    ) -> tuple[str | None, str | None]:
        """(job that has the result of this run key, job that is about to make it)."""
        if run_key is None:
            return None, None
        # Locked until this transaction ends, so that it can't end before its follower is there.
        leader = self._one(
            select(jobs.c.id, jobs.c.priority)
            .where(
                jobs.c.run_key == run_key,
                jobs.c.status.in_([Status.QUEUED, Status.RUNNING]),
                jobs.c.follows.is_(None),
                jobs.c.cancel_requested.is_(False),
                jobs.c.id != but,
            )
            .limit(1)
            .with_for_update()
        )
        if leader is None:
            done = select(results.c.job_id).where(results.c.run_key == run_key).limit(1)
            return self._connection.execute(done).scalar(), None
        if priority is Priority.INTERACTIVE and leader.priority is Priority.BATCH:
            # A person waits for it now; unsent, it will be sent anew among what is interactive.
            self._connection.execute(
                update(jobs)
                .where(jobs.c.id == leader.id)
                .values(priority=Priority.INTERACTIVE, sent_at=None)
            )
        return None, leader.id

    # --- jobs: read ------------------------------------------------------------------------------

    def job(self, job_id: str) -> Job | None:
        row = self._one(_shown.where(jobs.c.id == job_id))
        return None if row is None else _job(row)

    def jobs_by_id(self, job_ids: Sequence[str]) -> dict[str, Job]:
        found: dict[str, Job] = {}
        for start in range(0, len(job_ids), CHUNK):
            rows = self._connection.execute(
                _shown.where(jobs.c.id.in_(job_ids[start : start + CHUNK]))
            )
            found.update((row.id, _job(row)) for row in rows)
        return found

    def jobs(self, filters: Filters, limit: int, offset: int) -> list[Job]:
        """Newest first."""
        query = _filtered(_shown, filters)
        query = query.order_by(jobs.c.id.desc()).limit(limit).offset(offset)
        return [_job(row) for row in self._connection.execute(query)]

    def count_jobs(self, filters: Filters) -> int:
        query = _filtered(_shown.with_only_columns(func.count()), filters)
        return int(self._connection.execute(query).scalar_one())

    def run_key(self, job_id: str) -> str | None:
        key: str | None = self._connection.execute(
            select(jobs.c.run_key).where(jobs.c.id == job_id)
        ).scalar()
        return key

    def queued_s(self, job_id: str) -> float:
        """Seconds from the moment that the job was queued to the start of its present attempt."""
        row = self._connection.execute(
            select(jobs.c.queued_at, jobs.c.started_at).where(jobs.c.id == job_id)
        ).one()
        waited: timedelta = row.started_at - row.queued_at
        return waited.total_seconds()

    # --- jobs: run -------------------------------------------------------------------------------

    def take(self, job_id: str, worker: str, lease_s: float, max_attempts: int) -> int | None:
        """Grants a lease and returns the attempt's number; None when there is nothing to take."""
        taken = self._connection.execute(
            update(jobs)
            .where(
                jobs.c.id == job_id,
                jobs.c.follows.is_(None),
                jobs.c.cancel_requested.is_(False),
                jobs.c.attempt - jobs.c.series_start < max_attempts,
                or_(
                    jobs.c.status == Status.QUEUED,
                    and_(jobs.c.status == Status.RUNNING, jobs.c.lease_until < self._now()),
                ),
            )
            .values(
                status=Status.RUNNING,
                attempt=jobs.c.attempt + 1,
                worker=worker,
                lease_until=self._now(lease_s),
                started_at=self._now(),
                progress={},
            )
            .returning(jobs.c.attempt)
        )
        attempt: int | None = taken.scalar()
        return attempt

    def renew(self, job_id: str, attempt: int, progress: Progress, lease_s: float) -> bool | None:
        """Stores progress and renews the lease; whether to cancel, or None: not ours any more."""
        renewed = self._connection.execute(
            update(jobs)
            .where(*_held(job_id, attempt))
            .values(progress=_fields(progress), lease_until=self._now(lease_s))
            .returning(jobs.c.cancel_requested)
        )
        cancel: bool | None = renewed.scalar()
        return cancel

    def succeed(self, job_id: str, attempt: int, result: NewResult) -> bool:
        """Stores the result and ends the job and its followers; False: not ours any more."""
        ended = self._connection.execute(
            update(jobs)
            .where(*_held(job_id, attempt))
            .values(status=Status.SUCCEEDED, result_of=job_id, finished_at=self._now())
        )
        if ended.rowcount == 0:
            return False
        self._connection.execute(
            insert(results).values(job_id=job_id, created_at=self._now(), **_fields(result))
        )
        self._connection.execute(
            update(jobs)
            .where(jobs.c.follows == job_id)
            .values(
                status=Status.SUCCEEDED,
                follows=None,
                result_of=job_id,
                started_at=self._now(),
                finished_at=self._now(),
            )
        )
        return True

    def fail(self, job_id: str, attempt: int, error: str, code: str) -> bool:
        """Ends the job without a result; False: not ours any more."""
        ended = self._connection.execute(
            update(jobs)
            .where(*_held(job_id, attempt))
            .values(status=Status.FAILED, error=error, error_code=code, finished_at=self._now())
        )
        if ended.rowcount:
            self._promote_follower(job_id)
        return ended.rowcount == 1

    def end_cancelled(self, job_id: str, attempt: int) -> bool:
        """Ends a running job that somebody cancelled; False: not ours any more."""
        ended = self._connection.execute(
            update(jobs)
            .where(*_held(job_id, attempt))
            .values(status=Status.CANCELLED, finished_at=self._now())
        )
        if ended.rowcount:
            self._promote_follower(job_id)
        return ended.rowcount == 1

    def put_back(self, job_id: str, attempt: int, *, forgiven: bool) -> bool:
        """Queues a running job again; `forgiven`: the attempt does not count."""
        values: dict[str, Any] = {
            "status": Status.QUEUED,
            "worker": None,
            "lease_until": None,
            "sent_at": None,
            "progress": {},
        }
        if forgiven:
            values["series_start"] = jobs.c.series_start + 1
        back = self._connection.execute(update(jobs).where(*_held(job_id, attempt)).values(values))
        return back.rowcount == 1

    def cancel(self, job_id: str) -> bool:
        """Ends a queued job, or marks a running one; False when it is neither."""
        ended = self._connection.execute(
            update(jobs)
            .where(jobs.c.id == job_id, jobs.c.status == Status.QUEUED)
            .values(
                status=Status.CANCELLED,
                cancel_requested=True,
                follows=None,
                finished_at=self._now(),
            )
        )
        if ended.rowcount:
            self._promote_follower(job_id)
            return True
        marked = self._connection.execute(
            update(jobs)
            .where(jobs.c.id == job_id, jobs.c.status == Status.RUNNING)
            .values(cancel_requested=True)
        )
        return marked.rowcount == 1

    def _promote_follower(self, leader_id: str) -> None:
        """Lets the first that follows an ended job run itself, and the rest follow that one."""
        first = self._connection.execute(
            select(jobs.c.id)
            .where(jobs.c.follows == leader_id)
            .order_by((jobs.c.priority == Priority.INTERACTIVE).desc(), jobs.c.id)
            .limit(1)
        ).scalar()
        if first is None:
            return
        self._connection.execute(
            update(jobs).where(jobs.c.id == first).values(follows=None, sent_at=None)
        )
        self._connection.execute(
            update(jobs).where(jobs.c.follows == leader_id).values(follows=first)
        )

    # --- jobs: sweep -----------------------------------------------------------------------------

    def expired(self) -> list[Held]:
        """Running jobs whose lease has run out."""
        return self._held_where(jobs.c.lease_until < self._now())

    def held_by(self, names: Sequence[str]) -> list[Held]:
        """Running jobs of these workers."""
        return self._held_where(jobs.c.worker.in_(names))

    def held_job(self, job_id: str) -> Held | None:
        """The job if it is running."""
        held = self._held_where(jobs.c.id == job_id)
        return held[0] if held else None

    def _held_where(self, condition: ColumnElement[bool]) -> list[Held]:
        rows = self._connection.execute(
            select(jobs).where(jobs.c.status == Status.RUNNING, condition).order_by(jobs.c.id)
        )
        return [
            Held(
                job_id=row.id,
                attempt=row.attempt,
                used=row.attempt - row.series_start,
                label=row.label,
                worker=row.worker or "",
                progress=Progress(**row.progress),
            )
            for row in rows
        ]

    def is_cancel_requested(self, job_id: str) -> bool:
        query = select(jobs.c.cancel_requested).where(jobs.c.id == job_id)
        return bool(self._connection.execute(query).scalar())

    def count_unsent(self) -> int:
        """Queued jobs whose id has to be given to the broker."""
        query = select(func.count()).where(_waiting(), jobs.c.sent_at.is_(None))
        return int(self._connection.execute(query).scalar_one())

    def count_sent(self, age_s: float) -> int:
        """Queued jobs whose id the broker should hold since `age_s` or longer."""
        query = select(func.count()).where(_waiting(), jobs.c.sent_at <= self._now(-age_s))
        return int(self._connection.execute(query).scalar_one())

    def unsent(self, limit: int) -> list[tuple[str, Priority]]:
        """Takes over the sending of queued jobs that were never sent."""
        return self._mark_sent(jobs.c.sent_at.is_(None), limit)

    def lost(self, age_s: float, limit: int) -> list[tuple[str, Priority]]:
        """Takes over the sending of those that were sent longest ago."""
        return self._mark_sent(jobs.c.sent_at <= self._now(-age_s), limit)

    def _mark_sent(self, condition: ColumnElement[bool], limit: int) -> list[tuple[str, Priority]]:
        chosen = (
            select(jobs.c.id)
            .where(_waiting(), condition)
            .order_by((jobs.c.priority == Priority.INTERACTIVE).desc(), jobs.c.id)
            .limit(limit)
        )
        marked = self._connection.execute(
            update(jobs)
            .where(jobs.c.id.in_(chosen), _waiting(), condition)
            .values(sent_at=self._now())
            .returning(jobs.c.id, jobs.c.priority)
        )
        return sorted((row.id, row.priority) for row in marked)

    def mark_unsent(self, job_ids: Sequence[str]) -> None:
        """The broker did not take them: the next sweep tries again."""
        for start in range(0, len(job_ids), CHUNK):
            self._connection.execute(
                update(jobs)
                .where(jobs.c.id.in_(job_ids[start : start + CHUNK]), _waiting())
                .values(sent_at=None)
            )

    # --- results ---------------------------------------------------------------------------------

    def result(self, job_id: str) -> Result | None:
        return self.results_by_job([job_id]).get(job_id, (None, ""))[0]

    def results_by_job(self, job_ids: Sequence[str]) -> dict[str, tuple[Result, str]]:
        """Results and headlines by the job that was asked for, which another may have run for."""
        query = select(jobs.c.id.label("asked"), results).join(
            results, results.c.job_id == jobs.c.result_of
        )
        found: dict[str, tuple[Result, str]] = {}
        for start in range(0, len(job_ids), CHUNK):
            for row in self._connection.execute(
                query.where(jobs.c.id.in_(job_ids[start : start + CHUNK]))
            ):
                found[row.asked] = (replace(_result(row), job_id=row.asked), row.headline)
        return found

    # --- batches ---------------------------------------------------------------------------------

    def add_batch(self, batch_id: str, name: str, task: TaskName) -> None:
        self._connection.execute(
            insert(batches).values(id=batch_id, name=name, task=task, created_at=self._now())
        )

    def add_batch_rows(self, batch_id: str, rows: Iterable[StoredRow]) -> None:
        values = [{"batch_id": batch_id, **_fields(row)} for row in rows]
        if values:
            self._connection.execute(insert(batch_rows), values)

    def batch(self, batch_id: str) -> Batch | None:
        row = self._one(select(batches).where(batches.c.id == batch_id))
        return None if row is None else self._batch(row)

    def batches(self, limit: int) -> list[Batch]:
        """Newest first."""
        query = select(batches).order_by(batches.c.id.desc()).limit(limit)
        return [self._batch(row) for row in self._connection.execute(query).all()]

    def _batch(self, row: Row[Any]) -> Batch:
        counts = self._connection.execute(
            _shown.with_only_columns(_status.label("status"), func.count().label("number"))
            .where(jobs.c.batch_id == row.id)
            .group_by(_status)
        )
        by_status = {Status(count.status): count.number for count in counts}
        total, rejected = self._connection.execute(
            select(func.count(), func.count().filter(batch_rows.c.job_id.is_(None))).where(
                batch_rows.c.batch_id == row.id
            )
        ).one()
        reused = self._connection.execute(
            select(func.count()).where(jobs.c.batch_id == row.id, jobs.c.result_of != jobs.c.id)
        ).scalar_one()
        return Batch(
            id=row.id,
            name=row.name,
            task=row.task,
            created_at=row.created_at,
            rows=total,
            counts={status: by_status.get(status, 0) for status in Status},
            rejected=rejected,
            reused=reused,
        )

    def batch_rows(self, batch_id: str, after: int, limit: int) -> list[StoredRow]:
        """The rows behind row number `after`, in input order."""
        rows = self._connection.execute(
            select(batch_rows)
            .where(batch_rows.c.batch_id == batch_id, batch_rows.c.row > after)
            .order_by(batch_rows.c.row)
            .limit(limit)
        )
        return [StoredRow(row.row, row.cells, row.job_id, row.error) for row in rows]

    # --- workers ---------------------------------------------------------------------------------

    def greet(self, worker: WorkerInfo) -> None:
        """Stores what a worker says about itself, in place of what it said before."""
        said_before = workers.c.name == worker.name
        if worker.ready:
            # What kept earlier workers of this machine from starting is settled.
            failed = and_(workers.c.machine == worker.process.machine, workers.c.error != "")
            said_before = or_(said_before, failed)
        self._connection.execute(delete(workers).where(said_before))
        self._connection.execute(
            insert(workers).values(
                name=worker.name,
                machine=worker.process.machine,
                pid=worker.process.pid,
                pid_began=worker.process.began,
                parent_pid=worker.parent_pid,
                checkpoint=worker.checkpoint,
                weights_sha256=worker.weights_sha256,
                device=worker.device,
                dtype=worker.dtype,
                ready=worker.ready,
                error=worker.error,
                started_at=worker.started_at,
                last_seen=self._now(),
            )
        )

    def beat(self, name: str) -> None:
        """A worker lives."""
        self._connection.execute(
            update(workers).where(workers.c.name == name).values(last_seen=self._now())
        )

    def renew_lease(self, job_id: str, attempt: int, lease_s: float) -> None:
        """Renews the lease of an attempt, if it still is the one."""
        self._connection.execute(
            update(jobs).where(*_held(job_id, attempt)).values(lease_until=self._now(lease_s))
        )

    def workers(self) -> list[WorkerInfo]:
        query = (
            select(workers, func.min(jobs.c.id).label("job_id"))
            .select_from(
                workers.outerjoin(
                    jobs, and_(jobs.c.worker == workers.c.name, jobs.c.status == Status.RUNNING)
                )
            )
            .group_by(workers.c.name)
            .order_by(workers.c.started_at)
        )
        return [_worker(row) for row in self._connection.execute(query)]

    def forget_workers(self, names: Sequence[str]) -> None:
        self._connection.execute(delete(workers).where(workers.c.name.in_(names)))

    # --- helpers ---------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The database's clock."""
        if not self._is_postgresql:
            return datetime.now(UTC)
        moment: datetime = self._connection.execute(select(func.now())).scalar_one()
        return moment.astimezone(UTC)

    def _now(self, offset_s: float = 0.0) -> Any:
        """A moment in SQL: PostgreSQL's clock; SQLite has one machine and so one clock anyway."""
        if not self._is_postgresql:
            return datetime.now(UTC) + timedelta(seconds=offset_s)
        return func.now() + literal(timedelta(seconds=offset_s))

    def _one(self, query: Select[Any]) -> Row[Any] | None:
        return self._connection.execute(query).one_or_none()

    def _insert_once(self, table: Table, values: Mapping[str, Any]) -> bool:
        """Inserts unless the key is there; whether it did."""
        dialect = postgresql if self._is_postgresql else sqlite
        statement = dialect.insert(table).values(values).on_conflict_do_nothing()
        inserted = self._connection.execute(statement.returning(*table.primary_key))
        return inserted.one_or_none() is not None


def _fields(value: Any) -> dict[str, Any]:
    """A frozen value as columns: our values and tables use the same names."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _held(job_id: str, attempt: int) -> tuple[ColumnElement[bool], ...]:
    """The fence: the job runs, and in this very attempt."""
    return jobs.c.id == job_id, jobs.c.attempt == attempt, jobs.c.status == Status.RUNNING


def _waiting() -> ColumnElement[bool]:
    """Jobs that some worker has to be told about."""
    return and_(jobs.c.status == Status.QUEUED, jobs.c.follows.is_(None))


def _filtered(query: Select[Any], filters: Filters) -> Select[Any]:
    for word in filters.words:
        query = query.where(_mentions(word))
    if filters.task is not None:
        query = query.where(jobs.c.task == filters.task)
    if filters.status is not None:
        query = query.where(_status == filters.status)
    if filters.batch_id is not None:
        query = query.where(jobs.c.batch_id == filters.batch_id)
    if filters.since is not None:
        query = query.where(jobs.c.created_at >= filters.since)
    if filters.before is not None:
        query = query.where(jobs.c.created_at < filters.before)
    return query


def _mentions(word: str) -> ColumnElement[bool]:
    """The job's label or its result has the word, also as a part: Chinese has no spaces."""
    folded = word.casefold()
    in_result = (
        select(results.c.job_id)
        .where(
            results.c.job_id == jobs.c.result_of, results.c.words.contains(folded, autoescape=True)
        )
        .correlate(jobs)
    )
    return or_(jobs.c.label_folded.contains(folded, autoescape=True), in_result.exists())


def _document(row: Row[Any]) -> Document:
    return Document(
        sha256=row.sha256,
        name=row.name,
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        page_count=row.page_count,
        encrypted=row.encrypted,
        outline=tuple(Bookmark(*one) for one in row.outline or ()),
    )


def _page_values(sha256: str, page: Page, images: Sequence[str]) -> dict[str, Any]:
    return {
        "document_sha256": sha256,
        "number": page.number,
        "width": page.width,
        "height": page.height,
        "rotation": page.rotation,
        "lines": [[line.text, line.box, line.edges, line.block] for line in page.lines],
        "hidden": [[one.text, one.why, one.box] for one in page.hidden],
        "characters": sum(len(line.text) for line in page.lines),
        "error": page.error,
        "image_sha256": images[page.number - 1] if images else None,
    }


def _page(row: Row[Any], known: dict[float, float]) -> Page:
    """`known` holds each edge once: a book has millions of them, of few values."""
    return Page(
        number=row.number,
        width=row.width,
        height=row.height,
        lines=tuple(
            Line(
                words,
                None if box is None else tuple(box),
                tuple(known.setdefault(edge, edge) for edge in edges),
                block,
            )
            for words, box, edges, block in row.lines
        ),
        hidden=tuple(
            HiddenText(words, Hiding(why), tuple(box)) for words, why, box in row.hidden or ()
        ),
        error=row.error,
        rotation=row.rotation,
    )


def _job(row: Row[Any]) -> Job:
    follows = row.follows is not None
    return Job(
        id=row.id,
        task=row.task,
        status=Status(row.shown_status),
        priority=row.priority,
        label=row.label,
        params=row.params,
        attempts=row.leader_attempt if follows else row.attempt,
        progress=Progress(**(row.leader_progress if follows else row.progress)),
        created_at=row.created_at,
        started_at=row.leader_started_at if follows else row.started_at,
        finished_at=row.finished_at,
        error=row.error,
        batch_id=row.batch_id,
        batch_row=row.batch_row,
        cancel_requested=row.cancel_requested,
    )


def _result(row: Row[Any]) -> Result:
    return Result(
        job_id=row.job_id,
        task=row.task,
        schema_version=row.schema_version,
        payload=row.payload,
        record=row.record,
        created_at=row.created_at,
    )


def _worker(row: Row[Any]) -> WorkerInfo:
    return WorkerInfo(
        name=row.name,
        checkpoint=row.checkpoint,
        weights_sha256=row.weights_sha256,
        device=row.device,
        dtype=row.dtype,
        ready=row.ready,
        error=row.error,
        started_at=row.started_at,
        last_seen=row.last_seen,
        job_id=row.job_id,
        process=Process(row.machine, row.pid, row.pid_began),
        parent_pid=row.parent_pid,
    )
