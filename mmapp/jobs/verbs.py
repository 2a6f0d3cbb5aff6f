"""The verbs: everything that the pages, the command line and the workers ask of jobs.

What only looks something up stands here whole; what decides is in the modules beside: `submitting`,
`running`, `reviewing`, `recovery`, `outbox`, `library`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

from mmapp.broker import Broker
from mmapp.config import FEATURES, READINGS, Settings
from mmapp.db import Database
from mmapp.db.jobs import Filters
from mmapp.db.workers import WorkerInfo
from mmapp.errors import NotFound, NotPossible
from mmapp.jobs.backup import Backup, Report, read_backup, write_backup
from mmapp.jobs.found import found
from mmapp.jobs.library import Library
from mmapp.jobs.listed import BatchRowResult, ResultRow, filters_of, result_row, row_result
from mmapp.jobs.outbox import Outbox
from mmapp.jobs.outlook import outlook, read
from mmapp.jobs.recovery import Recovery
from mmapp.jobs.retention import Pruned, Retention
from mmapp.jobs.reviewing import Reviewing, ReviewRow
from mmapp.jobs.running import Admit, Attempt, Model, Runner
from mmapp.jobs.statistics import Statistics, System, statistics, system
from mmapp.jobs.submitting import BatchRow, Submitter, ended
from mmapp.jobs.sweeping import Sweeping
from mmapp.storage import check, open_blobs, open_shelf
from mmapp.types import (
    Batch,
    Document,
    Estimate,
    Job,
    Label,
    Outlook,
    Page,
    Params,
    Priority,
    Progress,
    Result,
    Review,
    Status,
    TaskName,
)

#: Rows of a batch that are read in one transaction.
ROWS_AT_ONCE = 100


class Jobs:
    """The application's verbs, for one process; safe for threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._database = Database(settings.sqlalchemy_url)
        self._blobs = open_blobs(settings)
        self._broker = Broker(settings.redis_url, settings.job_seconds)
        self._outbox = Outbox(self._database, self._broker, settings.sweep_seconds)
        self._library = Library(settings, self._database, self._blobs)
        self._submitter = Submitter(settings, self._database, self._outbox)
        self._reviewing = Reviewing(self._database)
        self._recovery = Recovery(self._database, settings)
        self._sweeping = Sweeping(
            self._database, self._recovery, self._outbox, settings.sweep_seconds
        )
        self._runner = Runner(settings, self._database, self._library, self._outbox, self._recovery)

    @classmethod
    def open(cls, settings: Settings) -> Jobs:
        """Raises `DatabaseNotReady` unless the database answers and is migrated."""
        jobs = cls(settings)
        try:
            jobs.check_database()
        except BaseException:
            jobs.close()
            raise
        return jobs

    def close(self) -> None:
        self._runner.close()
        self._library.close()
        self._broker.close()
        self._database.close()

    def __enter__(self) -> Jobs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check_broker(self) -> None:
        """Raises `BrokerDown` unless Redis answers; jobs can be submitted all the same."""
        self._broker.check()

    def waiting_messages(self) -> int:
        """Messages that wait for a worker of the settings' roles; raises `BrokerDown`."""
        return self._broker.depth(self.settings.worker_roles)

    def check_database(self) -> None:
        """Raises `DatabaseNotReady` unless the database answers and is migrated."""
        self._database.check()

    def check_blobs(self) -> None:
        """Raises what is wrong unless a small file can be stored, read and removed."""
        check(self._blobs)

    # --- documents -------------------------------------------------------------------------------

    def add_document(self, name: str, data: bytes, *, password: str | None = None) -> Document:
        """Reads and keeps a file; the same bytes again are the same document."""
        return self._library.add(name, data, password)

    def document(self, sha256: str) -> Document:
        return self._library.document(sha256)

    def pages(self, sha256: str, numbers: Collection[int] | None = None) -> list[Page]:
        """All pages of a document, or those of these numbers."""
        return self._library.pages(sha256, numbers)

    def page_image(self, sha256: str, number: int) -> bytes:
        """The picture of a page; made on first use."""
        return self._library.page_image(sha256, number)

    # --- submit ----------------------------------------------------------------------------------

    def submit(
        self,
        task: TaskName,
        params: Params,
        *,
        priority: Priority = Priority.INTERACTIVE,
        label: str = "",
        owner: str = "",
    ) -> Job:
        """A new job: answered at once, or by the run of the same work in flight, or by a worker.

        `owner` takes turns with others, and is that of the settings when empty. Raises
        `TooManyWaiting`.
        """
        return self._submitter.submit(task, params, priority, label, owner)

    def submit_batch(
        self, name: str, task: TaskName, rows: Iterable[BatchRow], *, owner: str = ""
    ) -> Batch:
        """Many jobs, read from `rows` as they come; a bad row is kept with its error."""
        return self.batch(self._submitter.submit_batch(name, task, rows, owner))

    def estimate(self, task: TaskName, params: Params) -> Estimate:
        """What a job would take; raises as `submit` does where it would be refused."""
        return self._submitter.estimate(task, params)

    def can_write(self) -> bool:
        """Whether the checkpoint writes text of its own, as abstractive summaries need it."""
        return self._submitter.can_write()

    def retry(self, job_id: str) -> Job:
        """Runs a failed or cancelled job again, as if submitted now."""
        return self._submitter.retry(self.get(job_id))

    def cancel(self, job_id: str) -> Job:
        """Ends a queued job at once and a running one at its next step."""
        with self._database.transaction() as repository:
            cancelled = repository.jobs.cancel(job_id)
            job = found(repository.jobs.find(job_id), "job", job_id)
        if not cancelled:
            raise NotPossible(f"Job {job_id} has already {ended(job)}; there is nothing to cancel")
        return job

    # --- jobs and batches ------------------------------------------------------------------------

    def get(self, job_id: str) -> Job:
        with self._database.snapshot() as repository:
            return found(repository.jobs.find(job_id), "job", job_id)

    def outlook(self, job_id: str) -> Outlook | None:
        """When a job that waits will begin and be done; None: it does not wait."""
        job = self.get(job_id)
        if job.status is not Status.QUEUED:
            return None
        measured = self._submitter.measured()
        with self._database.snapshot() as repository:
            leader, ahead = repository.turns.before(job_id)
            # Nobody foresees a queue for each role: then its order is told, and no time.
            is_whole = all(worker.has_all_roles for worker in measured.workers)
            names = [worker.name for worker in measured.workers if is_whole]
            queue = read(repository, names, measured.rates)
        return outlook(queue, leader, ahead)

    def list(
        self,
        *,
        status: Status | None = None,
        task: TaskName | None = None,
        batch_id: str | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> Sequence[Job]:
        """Newest first."""
        filters = Filters(status=status, task=task, batch_id=batch_id)
        with self._database.snapshot() as repository:
            return repository.jobs.newest(filters, limit, offset)

    def watch(self, job_ids: Sequence[str], *, poll_s: float = 0.25) -> Iterator[Job]:
        """Yields each job now and whenever it has changed, until all have ended."""
        seen: dict[str, Job] = {}
        open_ids = [*dict.fromkeys(job_ids)]
        while True:
            with self._database.snapshot() as repository:
                jobs = repository.jobs.find_many(open_ids)
            for job_id in open_ids:
                job = found(jobs.get(job_id), "job", job_id)
                if seen.get(job_id) != job:
                    seen[job_id] = job
                    yield job
            open_ids = [job_id for job_id in open_ids if not seen[job_id].status.is_final]
            if not open_ids:
                return
            time.sleep(poll_s)

    def batch(self, batch_id: str) -> Batch:
        with self._database.snapshot() as repository:
            return found(repository.batches.find(batch_id), "batch", batch_id)

    def batches(self, limit: int = 50) -> Sequence[Batch]:
        """Newest first."""
        with self._database.snapshot() as repository:
            return repository.batches.newest(limit)

    def batch_rows(self, batch_id: str) -> Iterator[BatchRowResult]:
        """Each row in input order, with what became of it."""
        self.batch(batch_id)
        last = -1
        while True:
            with self._database.snapshot() as repository:
                rows = repository.batches.rows(batch_id, after=last, limit=ROWS_AT_ONCE)
                job_ids = [row.job_id for row in rows if row.job_id is not None]
                jobs = repository.jobs.find_many(job_ids)
                results = repository.results.by_job(job_ids)
            if not rows:
                return
            for row in rows:
                yield row_result(row, jobs, results)
            last = rows[-1].row

    # --- results ---------------------------------------------------------------------------------

    def result(self, job_id: str) -> Result:
        """Raises `NotFound` for a job without a result, with what to do."""
        with self._database.snapshot() as repository:
            job = found(repository.jobs.find(job_id), "job", job_id)
            result = repository.results.find(job_id)
        if result is None:
            raise NotFound(f"Job {job_id} has no result: it {_state(job)}")
        return result

    def annotated(self, job_id: str) -> bytes:
        """The PDF that a result is about, with its evidence highlighted."""
        return self._library.annotated(self.result(job_id))

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
        filters = filters_of(query, task, status, since, until)
        with self._database.snapshot() as repository:
            jobs = repository.jobs.newest(filters, limit, offset)
            results = repository.results.by_job([job.id for job in jobs])
        return [result_row(job, results) for job in jobs]

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
            return repository.jobs.count(filters_of(query, task, status, since, until))

    # --- reviews ---------------------------------------------------------------------------------

    def review(
        self,
        job_id: str,
        *,
        claim: int | None = None,
        label: Label | None = None,
        note: str = "",
        by: str,
    ) -> Review:
        """A person's word on the verdict of a claim (from 1), or of the whole listing.

        `label`: None accepts what the model says. Everybody who asked for this result sees it.
        """
        return self._reviewing.review(job_id, claim, label, note, by)

    def reviews(self, limit: int = 50, offset: int = 0) -> Sequence[ReviewRow]:
        """Newest first."""
        return self._reviewing.newest(limit, offset)

    def is_reviewed(self, batch_id: str) -> bool:
        """Whether somebody reviewed a verdict of the batch."""
        return self._reviewing.has_any(batch_id)

    def to_review(self, batch_id: str | None = None, limit: int = 10) -> Sequence[ResultRow]:
        """Listings that nobody reviewed as a whole, the least certain first."""
        return self._reviewing.next(batch_id, limit)

    # --- workers ---------------------------------------------------------------------------------

    def take(self, job_id: str, worker: str) -> Attempt | None:
        """The right to run this very job; None when it is held, ended or unknown."""
        return self._runner.take(job_id, worker)

    def take_next(self, told_of: str, worker: str) -> Attempt | None:
        """The right to run the job whose turn it is, for a worker that a message woke."""
        return self._runner.take_next(told_of, worker)

    def run(self, job_id: str, model: Model, worker: str) -> None:
        """Runs this very job as far as the settings' roles go: to its end if these are all. Nothing
        happens when there is nothing to take."""
        self._runner.run(job_id, model, worker)

    def run_next(self, told_of: str, model: Model, worker: str, admit: Admit | None = None) -> None:
        """The same with the job whose turn it is, for a worker that a message woke.

        `admit` makes room for it first, or raises why there is none.
        """
        self._runner.run_next(told_of, model, worker, admit)

    def renew(self, attempt: Attempt, progress: Progress) -> None:
        """Stores progress; raises `JobCancelled` or `LeaseLost` when the work has to stop."""
        self._runner.renew(attempt, progress)

    def greet(self, worker: WorkerInfo) -> None:
        """A worker says what it is and whether its engine is loaded."""
        with self._database.transaction() as repository:
            repository.workers.greet(worker)

    def beat(self, worker: str) -> None:
        """A worker lives: what this process runs stays its own, however long its steps are.

        Raises `JobStalled` when its run hangs; the process has to end then.
        """
        self._runner.beat(worker)

    def workers(self) -> Sequence[WorkerInfo]:
        """The workers that live, as far as is known here, and those that failed to start."""
        with self._database.snapshot() as repository:
            infos = repository.workers.all()
        return [info for info in infos if info.error or not info.process.is_dead]

    def sweep(self) -> int:
        """Frees what dead workers left and sends what no worker was told of; how many."""
        return self._sweeping.everything()

    def sweep_by_turns(self) -> int:
        """The same, for one of many who sweep: the jobs of all are looked after by one at a time.

        How many jobs were freed and ids sent by this one.
        """
        return self._sweeping.by_turns()

    def children(self, parent_pid: int) -> Sequence[WorkerInfo]:
        """Workers of this machine that live and have this parent."""
        with self._database.snapshot() as repository:
            here = repository.workers.here()
        return [one for one in here if one.parent_pid == parent_pid and not one.process.is_dead]

    def silent_workers(self, parent_pid: int) -> Sequence[WorkerInfo]:
        """Workers of this parent that hang as a whole: they live, and do not beat any more."""
        return self._recovery.silent_workers(parent_pid)

    def put_back(self) -> int:
        """Queues the jobs of workers that were stopped on purpose: their attempts do not count."""
        return self._recovery.free_lost(forgiven=True)

    # --- statistics ------------------------------------------------------------------------------

    def statistics(self) -> Statistics:
        """The queue and the workers at this moment."""
        return statistics(self._database, self.workers())

    def system(self, hours: int) -> System:
        """All that is shown of the system: the statistics, and the last hours."""
        return system(self._database, self.settings.data_dir, self.statistics(), hours)

    # --- keeping ---------------------------------------------------------------------------------

    def backup(self, path: Path, report: Report) -> Backup:
        """Writes database and blobs into one new file, while everything goes on."""
        return write_backup(self._database, self._blobs, path, report)

    def restore(self, path: Path, report: Report) -> Backup:
        """Fills an empty database and the blobs from a backup."""
        return read_backup(self._database, self._blobs, path, report)

    def prune(self, age: timedelta, *, keep_results: bool = False, dry_run: bool = False) -> Pruned:
        """Removes jobs that ended longer ago, and files that nothing needs any more."""
        kept = [self.settings.data_dir / name for name in (READINGS, FEATURES)]
        shelf = open_shelf(self.settings)
        retention = Retention(self._database, self._blobs, kept, shelf)
        return retention.prune(age, keep_results=keep_results, dry_run=dry_run)


def _state(job: Job) -> str:
    if job.status is Status.FAILED:
        return f"failed ({job.error})"
    if job.status is Status.CANCELLED:
        return f"was cancelled; run `mmapp jobs retry {job.id}`"
    return f"is {job.status}; wait for it with `mmapp jobs wait {job.id}`"
