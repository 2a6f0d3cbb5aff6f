"""Submitting: a job or a batch is checked, placed in one transaction, and sent after the commit.

The same work is not done twice: a stored result answers at once, and a run in flight answers all
who ask meanwhile. Called by the verbs; refuses what `checks` and `crowd` refuse.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from mmapp import checkpoints, records
from mmapp.checkpoints import Checkpoint
from mmapp.config import Settings
from mmapp.db import Database
from mmapp.db.batches import StoredRow
from mmapp.db.jobs import NewJob
from mmapp.db.repository import Repository
from mmapp.errors import BadInput, CheckpointProblem, MmappError, NotPossible
from mmapp.ids import new_id
from mmapp.jobs.checks import check_checkpoint, check_params
from mmapp.jobs.course import course
from mmapp.jobs.crowd import refuse_crowd, room
from mmapp.jobs.estimating import ROW_CHARACTERS, Estimator, Measured, refuse_unfit
from mmapp.jobs.found import found
from mmapp.jobs.outbox import Outbox
from mmapp.types import (
    AskParams,
    Estimate,
    Job,
    Listing,
    Message,
    Params,
    Priority,
    Status,
    TaskName,
)

#: Rows of a batch in one transaction.
BATCH_CHUNK = 100

#: Characters of a user's name.
LONGEST_OWNER = 128


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One row of a batch as given: the input's columns, and what to do or why nothing can be."""

    cells: Mapping[str, str]
    params: Params | None = None
    error: str = ""


class Submitter:
    """Places jobs where they belong."""

    def __init__(self, settings: Settings, database: Database, outbox: Outbox) -> None:
        self._settings = settings
        self._database = database
        self._outbox = outbox
        self._estimator = Estimator(settings, database)

    def estimate(self, task: TaskName, params: Params) -> Estimate:
        """What a job would take; raises as `submit` does for what can't become a result."""
        checkpoint = _checkpoint(self._settings)
        estimate = self._estimator.estimate(task, params, checkpoint)
        with self._database.snapshot() as repository:
            new = self._new_job(
                repository, task, params, checkpoint, Priority.INTERACTIVE, "", "", estimate
            )
        refuse_unfit(new.label, params, estimate)
        return estimate

    def measured(self) -> Measured:
        """Who works, and how fast work went lately."""
        return self._estimator.measured()

    def submit(
        self, task: TaskName, params: Params, priority: Priority, label: str, owner: str
    ) -> Job:
        checkpoint = _checkpoint(self._settings)
        owner = self._owner(owner)
        estimate = self._estimator.estimate(task, params, checkpoint)
        with self._database.transaction() as repository:
            new = self._new_job(
                repository, task, params, checkpoint, priority, label, owner, estimate
            )
            has_to_be_sent = _place(repository, new)
            if has_to_be_sent:
                refuse_unfit(new.label, params, estimate)
                refuse_crowd(repository, owner, self._settings)
            job = found(repository.jobs.find(new.id), "job", new.id)
        if has_to_be_sent:
            self._outbox.send([Message(job.id, priority, job.role)])
        return job

    def can_write(self) -> bool:
        """Whether the checkpoint writes text of its own; one that is not known here may."""
        from mmapp.tasks.abstractive import writes

        checkpoint = _checkpoint(self._settings)
        return checkpoint is None or writes(checkpoint.profile)

    def retry(self, job: Job) -> Job:
        """Runs a failed or cancelled job again, as if submitted now."""
        if job.status not in (Status.FAILED, Status.CANCELLED):
            state = f"has {ended(job)}" if job.status.is_final else f"is {job.status}"
            raise NotPossible(
                f"Job {job.id} {state}; only a failed or cancelled job can be retried"
            )
        checkpoint = _checkpoint(self._settings)
        params = records.params_from_json(job.task, job.params)
        check_checkpoint(job.task, params, checkpoint)
        run_key = _run_key(job.task, job.params, checkpoint, self._settings.recognition)
        estimate = self._estimator.estimate(job.task, params, checkpoint)
        with self._database.transaction() as repository:
            if run_key is not None:
                repository.jobs.lock_run_key(run_key)
            roles = course(repository, job.task, params, checkpoint, self._settings)
            has_to_be_sent = repository.jobs.replace(job.id, run_key, roles, estimate)
            if has_to_be_sent:
                refuse_unfit(job.label, params, estimate)
                refuse_crowd(repository, job.owner, self._settings)
            placed = found(repository.jobs.find(job.id), "job", job.id)
        if has_to_be_sent:
            self._outbox.send([Message(job.id, job.priority, placed.role)])
        return placed

    def submit_batch(self, name: str, task: TaskName, rows: Iterable[BatchRow], owner: str) -> str:
        """Many jobs, read from `rows` as they come; the batch's id."""
        batch_id = new_id()
        owner = self._owner(owner)
        checkpoint = _checkpoint(self._settings)
        with self._database.transaction() as repository:
            repository.batches.add(batch_id, records.plain(name), task)
        numbered = enumerate(rows)
        known: dict[str, Estimate] = {}
        is_up = True
        while chunk := [
            (number, row, self._estimated(task, row, checkpoint, known))
            for number, row in islice(numbered, BATCH_CHUNK)
        ]:
            with self._database.transaction() as repository:
                to_send = self._place_rows(repository, batch_id, task, chunk, checkpoint, owner)
                if not is_up:
                    # No second wait for a broker that is down: the sweeper sends these.
                    repository.messages.mark_unsent([message.job_id for message in to_send])
            is_up = is_up and self._outbox.send(to_send)
        return batch_id

    def _place_rows(
        self,
        repository: Repository,
        batch_id: str,
        task: TaskName,
        rows: Sequence[tuple[int, BatchRow, Estimate | None]],
        checkpoint: Checkpoint | None,
        owner: str,
    ) -> list[Message]:
        stored: list[StoredRow] = []
        to_send: list[Message] = []
        left = room(repository, owner, self._settings)
        for number, row, estimate in rows:
            job_id, error = None, row.error
            if row.params is not None and not error:
                try:
                    if len(to_send) >= left.jobs:
                        raise left.refusal
                    new = self._new_job(
                        repository,
                        task,
                        row.params,
                        checkpoint,
                        Priority.BATCH,
                        "",
                        owner,
                        estimate,
                    )
                    if estimate is not None:
                        refuse_unfit(new.label, row.params, estimate)
                except MmappError as problem:
                    error = str(problem)
                else:
                    new = dataclasses.replace(new, batch_id=batch_id, batch_row=number)
                    job_id = new.id
                    if _place(repository, new):
                        to_send.append(Message(new.id, Priority.BATCH, new.roles[0]))
            if job_id is None:
                error = records.plain(error) or "The row says nothing to do"
            stored.append(StoredRow(number, dict(row.cells), job_id, "" if job_id else error))
        repository.batches.add_rows(batch_id, stored)
        return to_send

    def _new_job(
        self,
        repository: Repository,
        task: TaskName,
        params: Params,
        checkpoint: Checkpoint | None,
        priority: Priority,
        label: str,
        owner: str,
        estimate: Estimate | None,
    ) -> NewJob:
        check_checkpoint(task, params, checkpoint)
        if isinstance(params, Listing) and params.threshold is None:
            params = dataclasses.replace(params, threshold=self._settings.threshold or None)
        title = check_params(repository, task, params, self._settings.max_photos)
        stored = records.params_as_json(params)
        return NewJob(
            id=new_id(),
            task=task,
            priority=priority,
            label=records.plain(label or title),
            params=stored,
            run_key=_run_key(task, stored, checkpoint, self._settings.recognition),
            owner=owner,
            roles=course(repository, task, params, checkpoint, self._settings),
            estimate=estimate,
        )

    def _estimated(
        self,
        task: TaskName,
        row: BatchRow,
        checkpoint: Checkpoint | None,
        known: dict[str, Estimate],
    ) -> Estimate | None:
        """Of a row that may become a job; outside of the transaction that places it.

        Rows that ask the same document something are estimated once: `known` by its hash.
        """
        if row.params is None or row.error:
            return None
        key = row.params.document if isinstance(row.params, AskParams) else ""
        if key in known:
            return known[key]
        found = self._estimator.estimate(task, row.params, checkpoint, ROW_CHARACTERS)
        if key:
            known[key] = found
        return found

    def _owner(self, told: str) -> str:
        """Whose job it is, by a name that lists can show."""
        name = " ".join(records.plain(told).split()) or self._settings.user
        if len(name) > LONGEST_OWNER:
            raise BadInput(f"A user's name has at most {LONGEST_OWNER} characters")
        return name


def _place(repository: Repository, new: NewJob) -> bool:
    if new.run_key is not None:
        repository.jobs.lock_run_key(new.run_key)
    return repository.jobs.place(new)


def _checkpoint(settings: Settings) -> Checkpoint | None:
    """Which weights will answer; None where neither the folder nor a worker tells."""
    try:
        return checkpoints.answering(
            settings.checkpoint, settings.data_dir, settings.engine_url, settings.engine_model
        )
    except CheckpointProblem:
        return None


def _run_key(
    task: TaskName, params: Mapping[str, Any], checkpoint: Checkpoint | None, recognition: str
) -> str | None:
    from mmapp import tasks
    from mmapp.tasks.prompts import prompt_sha256

    version = tasks.schema_version(task)
    if task in records.WITHOUT_MODEL:
        return records.run_key(task, params, "", {}, "", version, recognition)
    if checkpoint is None:
        return None
    return records.run_key(
        task,
        params,
        checkpoint.weights_sha256,
        checkpoint.profile,
        prompt_sha256(),
        version,
        recognition,
    )


def ended(job: Job) -> str:
    """How a job ended, behind "has"."""
    return "been cancelled" if job.status is Status.CANCELLED else str(job.status)
