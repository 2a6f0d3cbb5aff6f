"""Jobs and results as they are listed: past ones by words and days, and the rows of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as time_of_day

from mmapp import records
from mmapp.db.batches import StoredRow
from mmapp.db.jobs import Filters
from mmapp.types import Job, Result, Status, TaskName


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


def filters_of(
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


def row_result(
    row: StoredRow, jobs: Mapping[str, Job], results: Mapping[str, tuple[Result, str]]
) -> BatchRowResult:
    if row.job_id is None:
        return BatchRowResult(row.row, row.cells, None, None, row.error)
    job = jobs[row.job_id]
    result = results[row.job_id][0] if row.job_id in results else None
    error = job.error or ("The job was cancelled" if job.status is Status.CANCELLED else "")
    return BatchRowResult(row.row, row.cells, job, result, error)


def result_row(job: Job, results: Mapping[str, tuple[Result, str]]) -> ResultRow:
    if job.id not in results:
        return ResultRow(job, None, job.error)
    result, headline = results[job.id]
    return ResultRow(job, result, headline)
