"""`mmapp jobs list|show|cancel|retry|wait`: jobs and batches by their ids."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mmapp.cli import failures
from mmapp.cli.outputs import TaskChoice, job_json, job_with_result, write_json
from mmapp.cli.session import Desk, open_desk, open_jobs, read_settings
from mmapp.cli.tasks import (
    Json,
    batch_json,
    open_jobs_of,
    show_ended,
    task_name,
    tell_batch,
    wait_for_batch,
)
from mmapp.errors import NotFound, NotPossible
from mmapp.types import Batch, Job, Status

app = typer.Typer(help="List, show, cancel, retry and wait for jobs and batches.")

Ids = Annotated[
    list[str], typer.Argument(metavar="ID...", help="Ids of jobs or batches", show_default=False)
]


@app.command("list")
def list_(
    status: Annotated[Status | None, typer.Option(help="Only jobs in this status")] = None,
    task: Annotated[TaskChoice | None, typer.Option(help="Only jobs of this task")] = None,
    batch: Annotated[str | None, typer.Option(help="Only jobs of the batch with this id")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most jobs that are shown")] = 50,
    as_json: Json = False,
) -> int:
    """List jobs, newest first."""
    with open_jobs(read_settings()) as jobs:
        found = jobs.list(
            status=status,
            task=None if task is None else task_name(task),
            batch_id=batch,
            limit=limit,
        )
        if as_json:
            write_json([job_json(job) for job in found])
        elif found:
            from mmapp.display import job_table, show

            show(job_table(found))
        else:
            failures.say("no such jobs; submit one with `mmapp summarize FILE`")
    return 0


@app.command()
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of a job or a batch")],  # noqa: A002
    as_json: Json = False,
) -> int:
    """Show a job with its result, or how a batch stands."""
    from mmapp import display

    with open_desk() as desk:
        job = _job_or_batch(desk, id)
        if isinstance(job, Batch):
            if as_json:
                write_json(batch_json(desk, job, None))
            else:
                display.show(display.batch_view(job))
                display.show(display.job_table(desk.jobs.list(batch_id=job.id, limit=50)))
        elif as_json:
            write_json(job_with_result(desk.jobs, job))
        else:
            display.show(display.job_view(job, desk.jobs.outlook(job.id)))
            if job.status is Status.SUCCEEDED:
                display.show("")
                result = desk.jobs.result(job.id)
                display.show(display.result_view(job, result, desk.web_url))
    return 0


@app.command()
def cancel(ids: Ids, as_json: Json = False) -> int:
    """Cancel queued and running jobs, or all of a batch."""
    with open_desk() as desk:
        wanted: list[str] = []
        for id_ in ids:
            found = _job_or_batch(desk, id_)
            if isinstance(found, Job):
                wanted.append(found.id)
                continue
            still_open = open_jobs_of(desk, found.id)
            if not still_open:
                raise NotPossible(f"Batch {found.id} has ended; there is nothing to cancel")
            wanted += still_open
        cancelled = [desk.jobs.cancel(job_id) for job_id in wanted]
        _write_jobs(cancelled, as_json)
    return 0


@app.command()
def retry(
    ids: Ids,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Queue the jobs again, and leave")
    ] = False,
    as_json: Json = False,
) -> int:
    """Run failed and cancelled jobs again, and wait for them; of a batch, all of those."""
    with open_desk() as desk:
        desk.check_checkpoint()
        again = [desk.jobs.retry(job_id) for id_ in ids for job_id in _ended_badly(desk, id_)]
        if no_wait:
            _write_jobs(again, as_json)
            if not desk.is_served:
                failures.say("they wait for `mmapp up`")
            return 0
        ended = desk.wait([job.id for job in again])
        return show_ended(desk, ended, as_json, is_list=len(again) > 1)


@app.command()
def wait(ids: Ids, as_json: Json = False) -> int:
    """Wait until jobs or batches have ended, and show what became of them."""
    with open_desk() as desk:
        found = [_job_or_batch(desk, id_) for id_ in ids]
        batches = [one for one in found if isinstance(one, Batch)]
        job_ids = [one.id for one in found if isinstance(one, Job)]
        status = 0
        if job_ids:
            ended = desk.wait(job_ids)
            status = show_ended(desk, ended, as_json, is_list=len(job_ids) > 1)
        for batch in batches:
            done = wait_for_batch(desk, batch.id)
            if as_json:
                write_json(batch_json(desk, done, None))
            else:
                from mmapp.display import batch_view, show

                show(batch_view(done))
            status = max(status, tell_batch(done))
        return status


def _job_or_batch(desk: Desk, id_: str) -> Job | Batch:
    try:
        return desk.jobs.get(id_)
    except NotFound:
        pass
    try:
        return desk.jobs.batch(id_)
    except NotFound:
        raise NotFound(f"There is no job or batch {id_}; see `mmapp jobs list`") from None


def _ended_badly(desk: Desk, id_: str) -> list[str]:
    """The job, or those of the batch that failed or were cancelled."""
    found = _job_or_batch(desk, id_)
    if isinstance(found, Job):
        return [found.id]
    bad: list[str] = []
    for status in (Status.FAILED, Status.CANCELLED):
        jobs = desk.jobs.list(status=status, batch_id=found.id, limit=max(found.rows, 1))
        bad += [job.id for job in jobs]
    if not bad:
        raise NotPossible(f"Batch {found.id} has no failed or cancelled job; nothing to retry")
    return bad


def _write_jobs(jobs: list[Job], as_json: bool) -> None:
    if as_json:
        write_json([job_json(job) for job in jobs])
        return
    for job in jobs:
        asked = (
            " (stops at its next step)" if not job.status.is_final and job.cancel_requested else ""
        )
        sys.stdout.write(f"{job.id} {job.status}{asked}\n")
