"""Jobs: submit, take, run, cancel, retry, sweep. The state machine, alone in calling the broker.

The database is the only truth; a message is a hint that can be lost or come twice. Whoever runs a
job holds a lease and the number of its attempt, and every write of a run is fenced by that number,
so that no job shows two results, whatever was killed when. Called by the web, the command line and
the workers; refuses what can't become a result (no words, a photo that is none, a question to a
checkpoint that was not trained for them) when it is given.
"""

from __future__ import annotations

import dataclasses
import io
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from mmapp import checkpoints, exports, records
from mmapp.broker import Broker
from mmapp.config import Settings
from mmapp.db import Database
from mmapp.db.repository import (
    Filters,
    Held,
    NewJob,
    NewResult,
    Repository,
    StoredRow,
    WorkerInfo,
)
from mmapp.errors import (
    BadInput,
    BrokerDown,
    CheckpointProblem,
    DatabaseNotReady,
    JobCancelled,
    JobFailed,
    LeaseLost,
    MmappError,
    NoText,
    NotFound,
    NotPossible,
)
from mmapp.ids import new_id
from mmapp.logs import get_logger
from mmapp.storage import Blobs
from mmapp.types import (
    AskParams,
    Batch,
    CompareParams,
    Document,
    Engine,
    ExtractParams,
    Job,
    Listing,
    MediaType,
    Page,
    Params,
    Priority,
    Progress,
    Result,
    Status,
    SummarizeParams,
    TaskName,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmapp.documents import Reader
    from mmapp.tasks import DocumentInput, Inputs

__all__ = [
    "Attempt",
    "BatchRow",
    "BatchRowResult",
    "Jobs",
    "ResultRow",
    "WorkerInfo",
]

#: Sentences that a summary may be asked for.
MOST_SENTENCES = 50

#: Characters that a question may have.
MOST_QUESTION = 2_000

#: Rows of a batch in one transaction.
BATCH_CHUNK = 100

#: Ids that one sweep sends; the next goes on.
SWEEP_LIMIT = 1000

#: Seconds between two writes of a job's progress.
PROGRESS_PERIOD_S = 0.5

#: A worker of another machine that was silent for so long is taken off the list.
FORGET_WORKER = timedelta(days=1)

log = get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Attempt:
    """The right to run a job, until somebody else gets the next one."""

    job: Job
    number: int
    worker: str
    #: How long the job had waited.
    queued_s: float


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One row of a batch as given: the input's columns, and what to do or why nothing can be."""

    cells: Mapping[str, str]
    params: Params | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class BatchRowResult:
    """One row of a batch as it stands; `error` is the row's own or its failed job's."""

    row: int
    cells: Mapping[str, str]
    job: Job | None
    result: Result | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One line in the list of past results; `headline` is the error of a failed job."""

    job: Job
    result: Result | None
    headline: str


class Jobs:
    """The application's verbs, for one process; safe for threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._database = Database(settings.sqlalchemy_url)
        self._blobs = Blobs(settings.data_dir / "blobs")
        self._broker = Broker(settings.redis_url, settings.job_seconds)
        #: What `run` is at; the heartbeat's thread reads it.
        self._running: Attempt | None = None
        self._reader: Reader | None = None
        self._reader_lock = threading.Lock()

    @classmethod
    def open(cls, settings: Settings) -> Jobs:
        """Raises `DatabaseNotReady` unless the database answers and is migrated."""
        jobs = cls(settings)
        try:
            jobs._database.check()
        except BaseException:
            jobs.close()
            raise
        return jobs

    def close(self) -> None:
        with self._reader_lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
        self._broker.close()
        self._database.close()

    def __enter__(self) -> Jobs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check_broker(self) -> None:
        """Raises `BrokerDown` unless Redis answers; jobs can be submitted all the same."""
        self._broker.check()

    def check_database(self) -> None:
        """Raises `DatabaseNotReady` unless the database answers and is migrated."""
        self._database.check()

    # --- documents -------------------------------------------------------------------------------

    def add_document(self, name: str, data: bytes, *, password: str | None = None) -> Document:
        """Reads and keeps a file; the same bytes again are the same document."""
        known = self._known_document(data)
        if known is not None and not known.encrypted:
            return known
        read = self._open_reader().read(name, data, password=password)
        document = dataclasses.replace(read.document, name=records.plain(read.document.name))
        self._blobs.put(data)
        images = [self._blobs.put(image) for image in read.images]
        with self._database.transaction() as repository:
            repository.add_document(document, read.pages, images)
        return self.document(document.sha256)

    def _known_document(self, data: bytes) -> Document | None:
        """The document, if its bytes are still stored too."""
        sha256 = records.sha256(data)
        with self._database.snapshot() as repository:
            known = repository.document(sha256)
        return known if self._blobs.has(sha256) else None

    def document(self, sha256: str) -> Document:
        with self._database.snapshot() as repository:
            return _found(repository.document(sha256), "document", sha256)

    def pages(self, sha256: str) -> list[Page]:
        self.document(sha256)
        with self._database.snapshot() as repository:
            return repository.pages(sha256)

    def page_image(self, sha256: str, number: int) -> bytes:
        """The picture of a page; made on first use."""
        document = self.document(sha256)
        if not 1 <= number <= document.page_count:
            raise NotFound(
                f"{document.name} has {document.page_count} pages; there is no page {number}"
            )
        with self._database.snapshot() as repository:
            image = repository.page_image(sha256, number)
        is_pdf = document.media_type is MediaType.PDF
        if image is not None and (self._blobs.has(image) or not is_pdf):
            return self._blobs.get(image)
        if not is_pdf:
            raise NotFound(f"{document.name} is text; its pages have no pictures")
        picture: bytes = self._open_reader().render(self._blobs.get(sha256), number)
        image = self._blobs.put(picture)
        with self._database.transaction() as repository:
            repository.set_page_image(sha256, number, image)
        return picture

    def _open_reader(self) -> Reader:
        from mmapp.documents import Reader

        with self._reader_lock:
            if self._reader is None:
                self._reader = Reader(self.settings)
            return self._reader

    # --- submit ----------------------------------------------------------------------------------

    def submit(
        self,
        task: TaskName,
        params: Params,
        *,
        priority: Priority = Priority.INTERACTIVE,
        label: str = "",
    ) -> Job:
        """A new job: answered at once, or by the run of the same work in flight, or by a worker."""
        checkpoint = self._checkpoint()
        with self._database.transaction() as repository:
            new = self._new_job(repository, task, params, checkpoint, priority, label)
            has_to_be_sent = self._place(repository, new)
            job = _found(repository.job(new.id), "job", new.id)
        if has_to_be_sent:
            self._send([(job.id, priority)])
        return job

    def _new_job(
        self,
        repository: Repository,
        task: TaskName,
        params: Params,
        checkpoint: checkpoints.Checkpoint | None,
        priority: Priority,
        label: str,
    ) -> NewJob:
        _check_checkpoint(task, checkpoint)
        title = self._check_params(repository, task, params)
        stored = records.params_as_json(params)
        return NewJob(
            id=new_id(),
            task=task,
            priority=priority,
            label=records.plain(label or title),
            params=stored,
            run_key=_run_key(task, stored, checkpoint),
        )

    def _check_params(self, repository: Repository, task: TaskName, params: Params) -> str:
        """What a person calls the input; raises when it can't become a result."""
        if task is TaskName.SUMMARIZE and isinstance(params, SummarizeParams):
            return _check_summarize(repository, params)
        if task is TaskName.CHECK_LISTING and isinstance(params, Listing):
            return _check_listing(repository, params, self.settings.max_photos)
        if task is TaskName.ASK and isinstance(params, AskParams):
            return _check_ask(repository, params)
        if task is TaskName.EXTRACT and isinstance(params, ExtractParams):
            return _check_extract(repository, params)
        if task is TaskName.COMPARE and isinstance(params, CompareParams):
            return _check_compare(repository, params)
        raise BadInput(f"{task} can't be done with {type(params).__name__}")

    def _place(self, repository: Repository, new: NewJob) -> bool:
        if new.run_key is not None:
            repository.lock_run_key(new.run_key)
        return repository.place_job(new)

    def _checkpoint(self) -> checkpoints.Checkpoint | None:
        """Which weights will answer; None where neither the folder nor a worker tells."""
        try:
            settings = self.settings
            return checkpoints.answering(
                settings.checkpoint, settings.data_dir, settings.engine_url, settings.engine_model
            )
        except CheckpointProblem:
            return None

    def _send(self, jobs: Sequence[tuple[str, Priority]]) -> bool:
        """Tells the workers; what could not be sent is kept for the next sweep."""
        try:
            self._broker.send(jobs)
        except BrokerDown as error:
            log.warning("not sent, kept for the next sweep", jobs=len(jobs), reason=str(error))
            with self._database.transaction() as repository:
                repository.mark_unsent([job_id for job_id, _ in jobs])
            return False
        return True

    # --- batches ---------------------------------------------------------------------------------

    def submit_batch(self, name: str, task: TaskName, rows: Iterable[BatchRow]) -> Batch:
        """Many jobs, read from `rows` as they come; a bad row is kept with its error."""
        batch_id = new_id()
        checkpoint = self._checkpoint()
        with self._database.transaction() as repository:
            repository.add_batch(batch_id, records.plain(name), task)
        numbered = enumerate(rows)
        is_up = True
        while chunk := list(islice(numbered, BATCH_CHUNK)):
            with self._database.transaction() as repository:
                to_send = self._place_rows(repository, batch_id, task, chunk, checkpoint)
                if not is_up:
                    # No second wait for a broker that is down: the sweeper sends these.
                    repository.mark_unsent([job_id for job_id, _ in to_send])
            is_up = is_up and self._send(to_send)
        return self.batch(batch_id)

    def _place_rows(
        self,
        repository: Repository,
        batch_id: str,
        task: TaskName,
        rows: Sequence[tuple[int, BatchRow]],
        checkpoint: checkpoints.Checkpoint | None,
    ) -> list[tuple[str, Priority]]:
        stored: list[StoredRow] = []
        to_send: list[tuple[str, Priority]] = []
        for number, row in rows:
            job_id, error = None, row.error
            if row.params is not None and not error:
                try:
                    new = self._new_job(
                        repository, task, row.params, checkpoint, Priority.BATCH, ""
                    )
                except MmappError as problem:
                    error = str(problem)
                else:
                    new = dataclasses.replace(new, batch_id=batch_id, batch_row=number)
                    job_id = new.id
                    if self._place(repository, new):
                        to_send.append((new.id, Priority.BATCH))
            if job_id is None:
                error = records.plain(error) or "The row says nothing to do"
            stored.append(StoredRow(number, dict(row.cells), job_id, "" if job_id else error))
        repository.add_batch_rows(batch_id, stored)
        return to_send

    def batch(self, batch_id: str) -> Batch:
        with self._database.snapshot() as repository:
            return _found(repository.batch(batch_id), "batch", batch_id)

    def batches(self, limit: int = 50) -> list[Batch]:
        """Newest first."""
        with self._database.snapshot() as repository:
            return repository.batches(limit)

    def batch_rows(self, batch_id: str) -> Iterator[BatchRowResult]:
        """Each row in input order, with what became of it."""
        self.batch(batch_id)
        last = -1
        while True:
            with self._database.snapshot() as repository:
                rows = repository.batch_rows(batch_id, after=last, limit=BATCH_CHUNK)
                job_ids = [row.job_id for row in rows if row.job_id is not None]
                jobs = repository.jobs_by_id(job_ids)
                results = repository.results_by_job(job_ids)
            if not rows:
                return
            for row in rows:
                yield _row_result(row, jobs, results)
            last = rows[-1].row

    # --- jobs ------------------------------------------------------------------------------------

    def get(self, job_id: str) -> Job:
        with self._database.snapshot() as repository:
            return _found(repository.job(job_id), "job", job_id)

    def list(
        self,
        *,
        status: Status | None = None,
        task: TaskName | None = None,
        batch_id: str | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> list[Job]:
        """Newest first."""
        filters = Filters(status=status, task=task, batch_id=batch_id)
        with self._database.snapshot() as repository:
            return repository.jobs(filters, limit, offset)

    def cancel(self, job_id: str) -> Job:
        """Ends a queued job at once and a running one at its next step."""
        with self._database.transaction() as repository:
            cancelled = repository.cancel(job_id)
            job = _found(repository.job(job_id), "job", job_id)
        if not cancelled:
            raise NotPossible(f"Job {job_id} has already {_ended(job)}; there is nothing to cancel")
        return job

    def retry(self, job_id: str) -> Job:
        """Runs a failed or cancelled job again, as if submitted now."""
        job = self.get(job_id)
        if job.status not in (Status.FAILED, Status.CANCELLED):
            state = f"has {_ended(job)}" if job.status.is_final else f"is {job.status}"
            raise NotPossible(
                f"Job {job_id} {state}; only a failed or cancelled job can be retried"
            )
        checkpoint = self._checkpoint()
        _check_checkpoint(job.task, checkpoint)
        run_key = _run_key(job.task, job.params, checkpoint)
        with self._database.transaction() as repository:
            if run_key is not None:
                repository.lock_run_key(run_key)
            has_to_be_sent = repository.replace_job(job_id, run_key)
            job = _found(repository.job(job_id), "job", job_id)
        if has_to_be_sent:
            self._send([(job_id, job.priority)])
        return job

    def watch(self, job_ids: Sequence[str], *, poll_s: float = 0.25) -> Iterator[Job]:
        """Yields each job now and whenever it has changed, until all have ended."""
        seen: dict[str, Job] = {}
        open_ids = list(dict.fromkeys(job_ids))
        while True:
            with self._database.snapshot() as repository:
                jobs = repository.jobs_by_id(open_ids)
            for job_id in open_ids:
                job = _found(jobs.get(job_id), "job", job_id)
                if seen.get(job_id) != job:
                    seen[job_id] = job
                    yield job
            open_ids = [job_id for job_id in open_ids if not seen[job_id].status.is_final]
            if not open_ids:
                return
            time.sleep(poll_s)

    # --- results ---------------------------------------------------------------------------------

    def result(self, job_id: str) -> Result:
        """Raises `NotFound` for a job without a result, with what to do."""
        with self._database.snapshot() as repository:
            job = _found(repository.job(job_id), "job", job_id)
            result = repository.result(job_id)
        if result is None:
            raise NotFound(f"Job {job_id} has no result: it {_state(job)}")
        return result

    def annotated(self, job_id: str) -> bytes:
        """The PDF that a result is about, with its evidence highlighted."""
        result = self.result(job_id)
        found = exports.marks(result)
        if not found:
            raise NotPossible(
                f"The result of job {job_id} quotes no page; export it as Markdown or JSON"
            )
        document = self.document(exports.marked_document(result))
        if document.media_type is not MediaType.PDF or document.encrypted:
            kind = "encrypted" if document.encrypted else f"{document.media_type}, no PDF"
            raise NotPossible(f"{document.name} is {kind}; export its result as Markdown or JSON")
        data = self._blobs.get(document.sha256)
        return self._open_reader().annotate(data, found, name=document.name)

    def results(
        self,
        query: str = "",
        *,
        task: TaskName | None = None,
        status: Status | None = None,
        since: date | None = None,
        until: date | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> Sequence[ResultRow]:
        """Past jobs whose label or result has every word of `query`, newest first."""
        filters = _filters(query, task, status, since, until)
        with self._database.snapshot() as repository:
            jobs = repository.jobs(filters, limit, offset)
            results = repository.results_by_job([job.id for job in jobs])
        return [_result_row(job, results) for job in jobs]

    def count_results(
        self,
        query: str = "",
        *,
        task: TaskName | None = None,
        status: Status | None = None,
        since: date | None = None,
        until: date | None = None,
    ) -> int:
        with self._database.snapshot() as repository:
            return repository.count_jobs(_filters(query, task, status, since, until))

    # --- workers: run ----------------------------------------------------------------------------

    def take(self, job_id: str, worker: str) -> Attempt | None:
        """The right to run a job; None when it is held, ended or unknown."""
        attempt = self._take(job_id, worker)
        if attempt is None and self._free_if_holder_died(job_id):
            attempt = self._take(job_id, worker)
        return attempt

    def _take(self, job_id: str, worker: str) -> Attempt | None:
        settings = self.settings
        with self._database.transaction() as repository:
            number = repository.take(job_id, worker, settings.lease_seconds, settings.max_attempts)
            if number is None:
                return None
            job = _found(repository.job(job_id), "job", job_id)
            return Attempt(job, number, worker, repository.queued_s(job_id))

    def _free_if_holder_died(self, job_id: str) -> bool:
        with self._database.snapshot() as repository:
            held = repository.held_job(job_id)
            dead = [worker.name for worker in repository.workers() if worker.process.is_dead]
        if held is None or held.worker not in dead:
            return False
        self._free(held)
        return True

    def run(self, job_id: str, engine: Engine, worker: str) -> None:
        """Runs a job to its end, or drops it when there is nothing to take."""
        with structlog.contextvars.bound_contextvars(job_id=job_id, worker=worker):
            attempt = self.take(job_id, worker)
            if attempt is None:
                log.info("nothing to take")
                return
            log.info("taken", task=attempt.job.task, attempt=attempt.number)
            self._running = attempt
            try:
                self._end(attempt, self._outcome(attempt, engine))
            finally:
                self._running = None

    def _outcome(self, attempt: Attempt, engine: Engine) -> NewResult | MmappError:
        """What came of the work: a result, or why there is none."""
        try:
            return self._work(attempt, engine)
        except MmappError as error:
            return error
        except Exception as error:
            log.exception("defect")
            line = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            return JobFailed(f"The task stopped on an unforeseen error ({line}); see worker.log")

    def _end(self, attempt: Attempt, outcome: NewResult | MmappError) -> None:
        job_id, number = attempt.job.id, attempt.number
        if isinstance(outcome, NewResult):
            ours = self._write(lambda repository: repository.succeed(job_id, number, outcome))
        elif isinstance(outcome, JobCancelled):
            ours = self._write(lambda repository: repository.end_cancelled(job_id, number))
        elif isinstance(outcome, LeaseLost):
            ours = False
        elif isinstance(outcome, DatabaseNotReady):
            ours = self._write(lambda repository: self._put_back(repository, attempt, outcome))
        else:
            error, code = records.plain(str(outcome)), outcome.code
            ours = self._write(lambda repository: repository.fail(job_id, number, error, code))
        if not ours:
            log.warning("lease lost, nothing stored", attempt=number)
            return
        log.info("ended", outcome=getattr(outcome, "code", Status.SUCCEEDED.value))
        self._send_unsent()

    def _put_back(self, repository: Repository, attempt: Attempt, error: DatabaseNotReady) -> bool:
        """Queues the job again, or fails it after its last attempt; False: not ours any more."""
        job_id, number = attempt.job.id, attempt.number
        held = repository.held_job(job_id)
        if held is not None and held.used >= self.settings.max_attempts:
            return repository.fail(job_id, number, records.plain(str(error)), error.code)
        return repository.put_back(job_id, number, forgiven=False)

    def _work(self, attempt: Attempt, engine: Engine) -> NewResult:
        from mmapp import tasks

        job = attempt.job
        start = time.monotonic()
        params = records.params_from_json(job.task, job.params)
        inputs = self._inputs(params)
        report = _Reporter(self, attempt)
        payload = tasks.run(job.task, engine, inputs, params, report)
        usage = payload.pop("usage")
        version = tasks.schema_version(job.task)
        durations_s = {"queued": attempt.queued_s, "total": time.monotonic() - start}
        maker = records.maker(job.task, engine)
        key = records.run_key(
            job.task,
            job.params,
            maker.weights_sha256,
            maker.profile,
            usage["prompt_sha256"],
            version,
        )
        return NewResult(
            task=job.task,
            schema_version=version,
            run_key=key,
            payload=payload,
            record=records.record(job, maker, attempt.worker, usage, durations_s, version),
            headline=records.headline(job.task, payload),
            words=records.words(payload),
        )

    def _inputs(self, params: Params) -> Inputs:
        from mmapp.tasks import ListingInput, VersionsInput

        if isinstance(params, Listing):
            return ListingInput(params, tuple(self._picture(sha, 1) for sha in params.photos))
        if isinstance(params, CompareParams):
            return VersionsInput(self._read_document(params.old), self._read_document(params.new))
        return self._read_document(params.document)

    def _read_document(self, sha256: str) -> DocumentInput:
        from mmapp.tasks import DocumentInput

        document = self.document(sha256)
        return DocumentInput(
            document,
            tuple(self.pages(sha256)),
            None
            if document.media_type.is_text
            else lambda number: self._picture(document.sha256, number),
        )

    def _picture(self, sha256: str, number: int) -> Image:
        from PIL import Image

        with Image.open(io.BytesIO(self.page_image(sha256, number))) as image:
            return image.convert("RGB")

    def renew(self, attempt: Attempt, progress: Progress) -> None:
        """Stores progress; raises `JobCancelled` or `LeaseLost` when the work has to stop."""
        try:
            with self._database.transaction() as repository:
                cancel = repository.renew(
                    attempt.job.id, attempt.number, progress, self.settings.lease_seconds
                )
        except DatabaseNotReady as error:
            # The lease is long enough for a database that restarts.
            log.warning("progress not stored", reason=str(error))
            return
        if cancel is None:
            raise LeaseLost(f"Job {attempt.job.id} is run by another attempt now")
        if cancel:
            raise JobCancelled(f"Job {attempt.job.id} was cancelled")

    def _write(self, write: Callable[[Repository], T]) -> T:
        """One transaction that waits, as long as a lease, for a database that restarts."""
        deadline = time.monotonic() + self.settings.lease_seconds
        while True:
            try:
                with self._database.transaction() as repository:
                    return write(repository)
            except DatabaseNotReady:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1.0)

    # --- workers: heartbeat and sweep ------------------------------------------------------------

    def greet(self, worker: WorkerInfo) -> None:
        """A worker says what it is and whether its engine is loaded."""
        with self._database.transaction() as repository:
            repository.greet(worker)

    def beat(self, worker: str) -> None:
        """A worker lives: what this process runs stays its own, however long its steps are."""
        running = self._running
        with self._database.transaction() as repository:
            repository.beat(worker)
            if running is not None:
                repository.renew_lease(running.job.id, running.number, self.settings.lease_seconds)

    def workers(self) -> Sequence[WorkerInfo]:
        """The workers that live, as far as is known here, and those that failed to start."""
        with self._database.snapshot() as repository:
            infos = repository.workers()
        return [info for info in infos if info.error or not info.process.is_dead]

    def sweep(self) -> int:
        """Frees what dead workers left and sends what no worker was told of; how many."""
        return self._free_lost() + self._send_unsent()

    def put_back(self) -> int:
        """Queues the jobs of workers that were stopped on purpose: their attempts do not count."""
        held = self._lost()
        for lost in held:
            self._free(lost, forgiven=True)
        return len(held)

    def _free_lost(self) -> int:
        held = self._lost()
        for lost in held:
            self._free(lost)
        self._forget_workers()
        return len(held)

    def _lost(self) -> Sequence[Held]:
        with self._database.snapshot() as repository:
            dead = [worker.name for worker in repository.workers() if worker.process.is_dead]
            held = repository.expired() + repository.held_by(dead)
        return list({lost.job_id: lost for lost in held}.values())

    def _free(self, lost: Held, *, forgiven: bool = False) -> None:
        log.warning("worker lost", job_id=lost.job_id, worker=lost.worker, attempt=lost.attempt)
        with self._database.transaction() as repository:
            if repository.is_cancel_requested(lost.job_id):
                repository.end_cancelled(lost.job_id, lost.attempt)
            elif lost.used >= self.settings.max_attempts and not forgiven:
                repository.fail(lost.job_id, lost.attempt, _worker_died(lost), "worker_lost")
            else:
                repository.put_back(lost.job_id, lost.attempt, forgiven=forgiven)

    def _forget_workers(self) -> None:
        with self._database.snapshot() as repository:
            now = repository.now()
            gone = [
                worker.name
                for worker in repository.workers()
                if (worker.process.is_dead and not worker.error)
                or now - worker.last_seen > FORGET_WORKER
            ]
        if gone:
            with self._database.transaction() as repository:
                repository.forget_workers(gone)

    def _send_unsent(self) -> int:
        """Sends queued jobs that were never sent, and as many as the broker seems to have lost."""
        grace_s = self.settings.sweep_seconds
        with self._database.snapshot() as repository:
            unsent, sent = repository.count_unsent(), repository.count_sent(grace_s)
        try:
            # Those sent a while ago and not taken must still wait in the queue.
            lost = sent - self._broker.depth() if sent else 0
        except BrokerDown:
            return 0
        if unsent == 0 and lost <= 0:
            return 0
        with self._database.transaction() as repository:
            to_send = repository.unsent(SWEEP_LIMIT) if unsent else []
            if lost > 0:
                to_send += repository.lost(grace_s, min(lost, SWEEP_LIMIT))
        return len(to_send) if self._send(to_send) else 0


@dataclass(slots=True)
class _Reporter:
    """Stores a running job's progress now and then, with the time left; stops what has to stop."""

    jobs: Jobs
    attempt: Attempt
    began: float = field(default_factory=time.monotonic)
    written: float = float("-inf")
    phase: str = ""
    phase_began: float = 0.0
    phase_from: int = 0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        limit_s = self.jobs.settings.job_seconds
        if now - self.began > limit_s:
            raise JobFailed(
                f"The job took longer than {limit_s:.0f} s; give it fewer pages, or raise"
                " MMAPP_JOB_SECONDS"
            )
        left_s = self._seconds_left(progress, now)
        if now - self.written >= PROGRESS_PERIOD_S:
            self.written = now
            self.jobs.renew(self.attempt, dataclasses.replace(progress, eta_s=left_s))

    def _seconds_left(self, progress: Progress, now: float) -> float | None:
        """Of this phase, at its pace so far; None in its first second."""
        if progress.phase != self.phase:
            self.phase, self.phase_began, self.phase_from = progress.phase, now, progress.done
        done, elapsed = progress.done - self.phase_from, now - self.phase_began
        if done <= 0 or elapsed < 1.0:
            return None
        return round(elapsed / done * max(0, progress.total - progress.done), 1)


def _check_checkpoint(task: TaskName, checkpoint: checkpoints.Checkpoint | None) -> None:
    """Refuses at once what the worker would refuse; without a checkpoint here, the worker does."""
    if task is TaskName.ASK and checkpoint is not None:
        from mmapp.tasks.ask import refuse_untrained

        refuse_untrained(checkpoint.name, checkpoint.profile)


def _check_summarize(repository: Repository, params: SummarizeParams) -> str:
    if not 1 <= params.sentences <= MOST_SENTENCES:
        raise BadInput(
            f"A summary has 1 to {MOST_SENTENCES} sentences; {params.sentences} were asked for"
        )
    return _readable(repository, params.document).name


def _check_ask(repository: Repository, params: AskParams) -> str:
    question = " ".join(params.question.split())
    if not question:
        raise BadInput("The question is empty; ask something about the document")
    if len(params.question) > MOST_QUESTION:
        raise BadInput(
            f"A question has at most {MOST_QUESTION:,} characters; this one has"
            f" {len(params.question):,}"
        )
    if records.plain(question) != question:
        raise BadInput("The question has characters that are no text; write it again")
    name = _readable(repository, params.document).name
    return f"{name}: {question[: records.HEADLINE]}"


def _check_extract(repository: Repository, params: ExtractParams) -> str:
    from mmapp.tasks.extract import check_fields

    check_fields(params.fields)
    name = _readable(repository, params.document).name
    return f"{name}: {', '.join(params.fields)}"[: records.HEADLINE] if params.fields else name


def _check_compare(repository: Repository, params: CompareParams) -> str:
    old, new = (_readable(repository, sha256).name for sha256 in (params.old, params.new))
    return f"{old} → {new}"


def _readable(repository: Repository, sha256: str) -> Document:
    """The document, which has words to read."""
    document = _found(repository.document(sha256), "document", sha256)
    if repository.characters(document.sha256) == 0:
        raise NoText(
            f"{document.name}: no page has words to read; a scan needs text recognition first"
        )
    return document


def _check_listing(repository: Repository, listing: Listing, max_photos: int) -> str:
    title = " ".join(listing.title.split())
    if not title:
        raise BadInput("The listing has no title; give one")
    if not 1 <= len(listing.photos) <= max_photos:
        raise BadInput(
            f"A listing has 1 to {max_photos} photos; this one has {len(listing.photos)}"
        )
    documents = repository.documents(listing.photos)
    for sha256 in listing.photos:
        photo = _found(documents.get(sha256), "document", sha256)
        if not photo.media_type.is_image:
            raise BadInput(f"{photo.name} is {photo.media_type}, not a photo")
    return title


def _run_key(
    task: TaskName, params: Mapping[str, Any], checkpoint: checkpoints.Checkpoint | None
) -> str | None:
    from mmapp import tasks
    from mmapp.tasks.prompts import prompt_sha256

    version = tasks.schema_version(task)
    if task in records.WITHOUT_MODEL:
        return records.run_key(task, params, "", {}, "", version)
    if checkpoint is None:
        return None
    weights, profile = checkpoint.weights_sha256, checkpoint.profile
    return records.run_key(task, params, weights, profile, prompt_sha256(), version)


def _filters(
    query: str,
    task: TaskName | None,
    status: Status | None,
    since: date | None,
    until: date | None,
) -> Filters:
    return Filters(
        words=tuple(records.plain(query).split()),
        task=task,
        status=status,
        since=None if since is None else _midnight(since),
        before=None if until is None else _midnight(until + timedelta(days=1)),
    )


def _midnight(day: date) -> datetime:
    """The start of a day where this process runs: people mean their own days."""
    return datetime.combine(day, time_of_day()).astimezone()


def _row_result(
    row: StoredRow, jobs: Mapping[str, Job], results: Mapping[str, tuple[Result, str]]
) -> BatchRowResult:
    if row.job_id is None:
        return BatchRowResult(row.row, row.cells, None, None, row.error)
    job = jobs[row.job_id]
    result = results[row.job_id][0] if row.job_id in results else None
    error = job.error or ("The job was cancelled" if job.status is Status.CANCELLED else "")
    return BatchRowResult(row.row, row.cells, job, result, error)


def _result_row(job: Job, results: Mapping[str, tuple[Result, str]]) -> ResultRow:
    if job.id not in results:
        return ResultRow(job, None, job.error)
    result, headline = results[job.id]
    return ResultRow(job, result, headline)


def _worker_died(lost: Held) -> str:
    doing = lost.progress.phase or "starting on"
    times = "once" if lost.used == 1 else f"{lost.used} times"
    return (
        f"The worker died {times} while {doing} “{lost.label}”; it may need more memory than"
        f" there is. See worker.log, then run `mmapp jobs retry {lost.job_id}`"
    )


def _ended(job: Job) -> str:
    return "been cancelled" if job.status is Status.CANCELLED else str(job.status)


def _state(job: Job) -> str:
    if job.status is Status.FAILED:
        return f"failed ({job.error})"
    if job.status is Status.CANCELLED:
        return f"was cancelled; run `mmapp jobs retry {job.id}`"
    return f"is {job.status}; wait for it with `mmapp jobs wait {job.id}`"


def _found(value: T | None, noun: str, name: str) -> T:
    if value is None:
        raise NotFound(f"There is no {noun} {name}")
    return value
