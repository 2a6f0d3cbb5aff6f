"""Running: a worker takes a job, works with no transaction open, and ends it if it still holds it.

Called by the verbs for a worker's process, which runs one job at a time; its heartbeat's thread
renews the lease meanwhile. Every write names the attempt, so whoever was overtaken writes nothing.
A worker that has some roles only hands a job over to the next one when it has done its part.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

import structlog

from mmapp import checkpoints, records
from mmapp.config import Settings
from mmapp.db import Database
from mmapp.db.attempts import NewResult
from mmapp.db.repository import Repository
from mmapp.errors import (
    CheckpointProblem,
    DatabaseNotReady,
    JobCancelled,
    JobStalled,
    LeaseLost,
    MmappError,
)
from mmapp.jobs import failures
from mmapp.jobs.found import found
from mmapp.jobs.handing import Carried, HandOver, Preparing, to_do
from mmapp.jobs.library import Library
from mmapp.jobs.outbox import Outbox
from mmapp.jobs.progress import Reporter
from mmapp.jobs.recovery import Recovery
from mmapp.jobs.scans import Scans
from mmapp.jobs.tally import Tally
from mmapp.logs import get_logger
from mmapp.types import (
    CompareParams,
    Encoder,
    Engine,
    FiguresParams,
    Job,
    Listing,
    Params,
    Progress,
    Role,
    Status,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmapp.tasks import DocumentInput, Inputs

log = get_logger(__name__)
T = TypeVar("T")
#: Makes room for a job in its worker, or raises what says that there is none.
Admit = Callable[[Job], None]


@dataclass(frozen=True, slots=True)
class Attempt:
    """The right to run a job, until somebody else gets the next one."""

    job: Job
    number: int
    worker: str
    #: How long the job had waited, in all.
    queued_s: float
    #: What earlier roles left.
    carried: Carried = field(default_factory=Carried)


#: What a worker works with: an engine, the vision encoder alone, or nothing.
Model = Engine | Encoder | None


#: What comes of an attempt.
Outcome = NewResult | HandOver | MmappError


class Runner:
    """Takes jobs and runs them."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        library: Library,
        outbox: Outbox,
        recovery: Recovery,
    ) -> None:
        self._settings = settings
        self._database = database
        self._library = library
        self._outbox = outbox
        self._recovery = recovery
        self._tally = Tally()
        self._scans = Scans(settings, database, library)
        self._preparing = Preparing(library, self._scans)
        #: What `run` is at, and when it last said how far it is; the heartbeat's thread reads both.
        self._running: Attempt | None = None
        self._told = 0.0

    def close(self) -> None:
        self._scans.close()

    def run_next(self, told_of: str, model: Model, worker: str, admit: Admit | None = None) -> None:
        """Runs the job whose turn it is as far as this worker's roles go, or none when there is
        nothing to take.

        `admit` is asked before a model reads for it.
        """
        self._run(self.take_next(told_of, worker), told_of, model, worker, admit)

    def run(self, job_id: str, model: Model, worker: str) -> None:
        """Runs this very job as far as this worker's roles go, whoever's turn it is."""
        self._run(self.take(job_id, worker), job_id, model, worker, None)

    def _run(
        self,
        attempt: Attempt | None,
        told_of: str,
        model: Model,
        worker: str,
        admit: Admit | None,
    ) -> None:
        job_id = told_of if attempt is None else attempt.job.id
        with structlog.contextvars.bound_contextvars(job_id=job_id, worker=worker):
            if attempt is None:
                log.info("nothing to take")
                return
            job = attempt.job
            log.info("taken", task=job.task, attempt=attempt.number, role=job.role)
            if job.role is job.roles[0] or job.attempts > 1:
                self._tally.took(job.priority, attempt.queued_s, is_again=job.attempts > 1)
            self._told, self._running = time.monotonic(), attempt
            try:
                self._end(attempt, self._outcome(attempt, model, admit))
            finally:
                self._running = None

    def take_next(self, told_of: str, worker: str) -> Attempt | None:
        """The right to run the job whose turn it is; None when none waits.

        The message that woke this worker names a job, and says no more than that one waits: which
        is next stands in the database. If the one that it names is held by a process that has
        ended, it is freed first. Waits, as long as a lease, for a database that restarts: whoever
        gave up at once would go through the whole queue and take nothing.
        """
        return self._patiently(lambda: self._free_and_take_next(told_of, worker))

    def take(self, job_id: str, worker: str) -> Attempt | None:
        """The right to run this very job; None when it is held, ended or unknown."""
        return self._patiently(lambda: self._take_or_free(job_id, worker))

    def _free_and_take_next(self, told_of: str, worker: str) -> Attempt | None:
        self._recovery.free_if_holder_died(told_of)
        with self._database.transaction() as repository:
            # None waits: then the job of the message, if its lease has run out.
            job_id = repository.turns.next(self._settings.worker_roles) or told_of
            return self._take(repository, job_id, worker)

    def _take_or_free(self, job_id: str, worker: str) -> Attempt | None:
        for _ in range(2):
            with self._database.transaction() as repository:
                attempt = self._take(repository, job_id, worker)
            if attempt is not None or not self._recovery.free_if_holder_died(job_id):
                return attempt
        return None

    def _take(self, repository: Repository, job_id: str, worker: str) -> Attempt | None:
        settings = self._settings
        number = repository.attempts.take(
            job_id, worker, settings.lease_seconds, settings.max_attempts, settings.worker_roles
        )
        if number is None:
            return None
        job = found(repository.jobs.find(job_id), "job", job_id)
        carried = Carried.from_json(repository.attempts.carried(job_id))
        queued_s = max(0.0, repository.jobs.queued_s(job_id) - sum(carried.seconds.values()))
        return Attempt(job, number, worker, queued_s, carried)

    def _outcome(self, attempt: Attempt, model: Model, admit: Admit | None) -> Outcome:
        """What came of the work: a result, a part of one, or why there is none."""
        try:
            return self._work(attempt, model, admit)
        except MmappError as error:
            return error
        except Exception as error:
            log.exception("the task stopped")
            return failures.told(error)

    def _work(self, attempt: Attempt, model: Model, admit: Admit | None) -> NewResult | HandOver:
        def store(progress: Progress) -> None:
            self._told = time.monotonic()
            self.renew(attempt, progress)

        expected_s = attempt.job.estimate.seconds if attempt.job.estimate else None
        report = Reporter(store, self._settings.job_seconds, expected_s)
        ours, next_role = to_do(attempt.job, self._settings.worker_roles)
        if next_role is None:
            if admit is not None:
                admit(attempt.job)
            # Whoever has the last role has an engine, if the task asks one.
            return self._result(attempt, cast("Engine | None", model), report)
        carried = attempt.carried
        for role in ours:
            carried = self._prepared(role, attempt.job, carried, model, report)
        return HandOver(next_role, carried)

    def _prepared(
        self, role: Role, job: Job, carried: Carried, model: Model, report: Reporter
    ) -> Carried:
        """What later roles need of one that is not the last."""
        if role is Role.INGEST:
            return self._preparing.ingest(job, carried, self._profile(), report)
        inputs = self._inputs(records.params_from_json(job.task, job.params), report, carried)
        return self._preparing.encode(inputs, cast("Encoder", model), carried, report)

    def _profile(self) -> Mapping[str, Any]:
        """What is known of the checkpoint on a machine that need not have it."""
        settings = self._settings
        try:
            return checkpoints.answering(
                settings.checkpoint, settings.data_dir, settings.engine_url, settings.engine_model
            ).profile
        except CheckpointProblem:
            return {}

    def _result(self, attempt: Attempt, engine: Engine | None, report: Reporter) -> NewResult:
        from mmapp import tasks

        job, carried = attempt.job, attempt.carried
        start = time.monotonic()
        params = records.params_from_json(job.task, job.params)
        before = self._scans.recognised, self._scans.seconds
        inputs = self._inputs(params, report, carried)
        recognised = carried.recognised + self._scans.recognised - before[0]
        payload = tasks.run(job.task, engine, inputs, params, report)
        usage = payload.pop("usage")
        version = tasks.schema_version(job.task)
        worked_s = time.monotonic() - start + sum(carried.seconds.values())
        durations_s = {**carried.seconds, "queued": attempt.queued_s, "total": worked_s}
        if recognised:
            spent_s = self._scans.seconds - before[1]
            durations_s["recognising"] = carried.recognising_s + spent_s
        maker = records.maker(job.task, engine)
        key = records.run_key(
            job.task,
            job.params,
            maker.weights_sha256,
            maker.profile,
            usage["prompt_sha256"],
            version,
            self._settings.recognition,
        )
        return NewResult(
            task=job.task,
            schema_version=version,
            run_key=key,
            payload=payload,
            record=records.record(
                job, maker, attempt.worker, usage, durations_s, version, recognised
            ),
            headline=records.headline(job.task, payload),
            words=records.words(payload),
        )

    def _inputs(self, params: Params, report: Reporter, carried: Carried) -> Inputs:
        from mmapp.tasks import FiguresInput, ListingInput, VersionsInput

        if isinstance(params, Listing):
            return ListingInput(params, tuple(self._picture(sha, 1) for sha in params.photos))
        if isinstance(params, CompareParams):
            old, new = (
                self._read_document(sha, report, carried) for sha in (params.old, params.new)
            )
            return VersionsInput(old, new)
        document = self._read_document(params.document, report, carried)
        if isinstance(params, FiguresParams):
            pictures = self._library.pictures(document.document)
            sha256 = params.document
            return FiguresInput(document, pictures, lambda page: self._picture(sha256, page))
        return document

    def _read_document(self, sha256: str, report: Reporter, carried: Carried) -> DocumentInput:
        from mmapp.tasks import DocumentInput

        document = self._library.document(sha256)
        return DocumentInput(
            document,
            self._scans.pages(document, report, carried.unread.get(sha256)),
            None
            if document.media_type.is_text
            else lambda number: self._picture(document.sha256, number),
        )

    def _picture(self, sha256: str, number: int) -> Image:
        from PIL import Image

        with Image.open(io.BytesIO(self._library.page_image(sha256, number))) as image:
            return image.convert("RGB")

    def renew(self, attempt: Attempt, progress: Progress) -> None:
        """Stores progress; raises `JobCancelled` or `LeaseLost` when the work has to stop."""
        try:
            with self._database.transaction() as repository:
                cancel = repository.attempts.renew(
                    attempt.job.id, attempt.number, progress, self._settings.lease_seconds
                )
        except DatabaseNotReady as error:
            # The lease is long enough for a database that restarts.
            log.warning("progress not stored", reason=str(error))
            return
        if cancel is None:
            raise LeaseLost(f"Job {attempt.job.id} is run by another attempt now")
        if cancel:
            raise JobCancelled(f"Job {attempt.job.id} was cancelled")

    def beat(self, worker: str) -> None:
        """A worker lives: what this process runs stays its own, however long its steps are.

        Raises `JobStalled` when the run has said nothing for too long. Its job has been given back
        then, and the process has to end, because nothing else stops a call that hangs.
        """
        running, silent_s = self._running, time.monotonic() - self._told
        if running is not None and silent_s > self._settings.stall_seconds:
            stalled = _stalled(running, self._settings.stall_seconds)
            self._end(running, stalled)
            raise stalled
        with self._database.transaction() as repository:
            repository.workers.beat(worker, self._tally.as_json())
            if running is not None:
                repository.attempts.renew_lease(
                    running.job.id, running.number, self._settings.lease_seconds
                )

    def _end(self, attempt: Attempt, outcome: Outcome) -> None:
        ours = not isinstance(outcome, LeaseLost) and self._write(
            lambda repository: self._store(repository, attempt, outcome)
        )
        if not ours:
            log.warning("lease lost, nothing stored", attempt=attempt.number)
            return
        if isinstance(outcome, HandOver):
            self._tally.handed_over(attempt.job.task)
            log.info("handed over", role=outcome.role)
        else:
            self._tally.ended(attempt.job.task, outcome)
            log.info("ended", outcome=getattr(outcome, "code", Status.SUCCEEDED.value))
        self._outbox.send_unsent()

    def _store(self, repository: Repository, attempt: Attempt, outcome: Outcome) -> bool:
        """Writes how an attempt ended; False: the job is not ours any more."""
        job_id, number = attempt.job.id, attempt.number
        if isinstance(outcome, NewResult):
            return repository.attempts.succeed(job_id, number, outcome)
        if isinstance(outcome, HandOver):
            carried = outcome.carried.as_json()
            return repository.attempts.hand_over(job_id, number, outcome.role, carried)
        if isinstance(outcome, JobCancelled):
            return repository.attempts.end_cancelled(job_id, number)
        held = repository.attempts.held(job_id)
        if outcome.may_pass and held is not None and held.used < self._settings.max_attempts:
            pause_s = failures.pause_s(held.used)
            return repository.attempts.put_back(job_id, number, after_s=pause_s)
        return repository.attempts.fail(job_id, number, records.plain(str(outcome)), outcome.code)

    def _write(self, write: Callable[[Repository], T]) -> T:
        """One transaction that waits, as long as a lease, for a database that restarts."""

        def once() -> T:
            with self._database.transaction() as repository:
                return write(repository)

        return self._patiently(once)

    def _patiently(self, do: Callable[[], T]) -> T:
        deadline = time.monotonic() + self._settings.lease_seconds
        while True:
            try:
                return do()
            except DatabaseNotReady:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)


def _stalled(attempt: Attempt, limit_s: float) -> JobStalled:
    return JobStalled(
        f"“{attempt.job.label}” made no progress for {limit_s:g} s, and its worker was ended; see"
        " worker.log, or raise MMAPP_STALL_SECONDS"
    )
