"""Jobs and results as the JSON of the contract, written to stdout. Called by the verbs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mmapp import reviews
from mmapp.types import Job, Result, Status

if TYPE_CHECKING:
    from mmapp.jobs import Jobs


class TaskChoice(StrEnum):
    """Tasks by the names of their verbs."""

    CHECK = "check"
    SUMMARIZE = "summarize"
    ASK = "ask"
    EXTRACT = "extract"
    COMPARE = "compare"
    FIGURES = "figures"


class BatchChoice(StrEnum):
    """The tasks that are done for each row of a table."""

    CHECK = "check"
    SUMMARIZE = "summarize"


def write_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=_plain) + "\n")
    sys.stdout.flush()


def result_json(result: Result) -> dict[str, Any]:
    """A result as its verb writes it with `--json`."""
    return {
        "job": result.job_id,
        **result.payload,
        **reviews.in_json(result),
        "record": dict(result.record),
    }


def job_json(job: Job) -> dict[str, Any]:
    """A job as `jobs --json` shows it."""
    return {
        "job": job.id,
        "task": job.task,
        "status": job.status,
        "label": job.label,
        "priority": job.priority,
        "owner": job.owner,
        "attempts": job.attempts,
        "role": job.role,
        "roles": list(job.roles),
        "progress": asdict(job.progress),
        "params": dict(job.params),
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "error": job.error,
        "batch": job.batch_id,
        "batch_row": job.batch_row,
        "estimate": None if job.estimate is None else asdict(job.estimate),
    }


def job_with_result(jobs: Jobs, job: Job) -> dict[str, Any]:
    """A job, what lies before it while it waits, and the result that it made, if any."""
    made = result_json(jobs.result(job.id)) if job.status is Status.SUCCEEDED else None
    ahead = jobs.outlook(job.id)
    return {
        **job_json(job),
        "outlook": None if ahead is None else asdict(ahead),
        "result": made,
    }


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON")
