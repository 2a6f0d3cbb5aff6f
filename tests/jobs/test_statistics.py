"""Statistics are those of the database and of all workers, on both databases."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mmapp.jobs import Jobs, WorkerInfo
from mmapp.metrics import metrics
from mmapp.processes import Process
from mmapp.types import Priority, Progress, Status, SummarizeParams, TaskName
from tests.jobs.conftest import AddText
from tests.jobs.scenes import TEXT, engine


def told(jobs: Jobs) -> dict[str, float]:
    """Every sample as `name{label=value,…}`, read back by Prometheus' own parser."""
    families = text_string_to_metric_families(metrics(jobs).decode())
    return {
        f"{sample.name}{{{','.join(f'{k}={v}' for k, v in sample.labels.items())}}}": sample.value
        for family in families
        for sample in family.samples
    }


def worker(name: str) -> WorkerInfo:
    now = datetime.now(UTC)
    of = Process.current()
    return WorkerInfo(name, "nano", "", "cpu", "", False, "", now, now, None, of, of.pid)


def test_metrics_tell_the_queue_and_what_workers_did(jobs: Jobs, add_text: AddText) -> None:
    jobs.greet(worker("w"))
    assert told(jobs)["mmapp_workers{state=loading}"] == 1
    jobs.greet(dataclasses.replace(worker("w"), ready=True))
    done = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(TEXT).sha256, 1))
    jobs.run(done.id, engine(), "w")
    jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(TEXT).sha256, 1))
    later = SummarizeParams(add_text(TEXT + " More.").sha256, 1)
    jobs.submit(TaskName.SUMMARIZE, later, priority=Priority.BATCH)
    jobs.beat("w")

    samples = told(jobs)
    assert samples["mmapp_workers{state=ready}"] == 1
    assert samples["mmapp_queue_jobs{lane=batch}"] == 1
    assert samples["mmapp_queue_jobs{lane=interactive}"] == 0
    assert samples["mmapp_queue_oldest_seconds{lane=batch}"] >= 0
    assert samples["mmapp_role_queue_jobs{role=generate}"] == 1
    assert samples["mmapp_role_queue_jobs{role=encode}"] == 0
    assert samples["mmapp_role_queue_oldest_seconds{role=generate}"] >= 0
    assert samples["mmapp_role_served{role=encode}"] == 1
    assert samples["mmapp_jobs{status=succeeded}"] == 2
    assert samples["mmapp_duplicates_last_hour{}"] == 1
    by = "task=summarize,worker=w"
    assert samples[f"mmapp_jobs_ended_total{{outcome=succeeded,{by}}}"] == 1
    record = jobs.result(done.id).record
    assert samples[f"mmapp_tokens_total{{kind=read,{by}}}"] == record["tokens"]["read"]
    total = samples[f"mmapp_stage_seconds_total{{stage=total,{by}}}"]
    assert total == pytest.approx(record["durations_s"]["total"])
    assert samples["mmapp_retries_total{worker=w}"] == 0


def test_a_job_that_is_taken_again_is_a_retry(jobs: Jobs, add_text: AddText) -> None:
    jobs.greet(worker("w"))
    job = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(TEXT).sha256, 1))
    attempt = jobs.take(job.id, "gone")
    assert attempt is not None
    jobs.renew(attempt, Progress("reading", 1, 2, "tokens"))
    with jobs._database.transaction() as repository:
        repository.attempts.put_back(job.id, attempt.number, forgiven=False)
    jobs.run(job.id, engine(), "w")
    jobs.beat("w")
    assert told(jobs)["mmapp_retries_total{worker=w}"] == 1


def test_the_last_hours_count_what_ended_in_them(jobs: Jobs, add_text: AddText) -> None:
    job = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(TEXT).sha256, 1))
    jobs.run(job.id, engine(), "w")
    system = jobs.system(24)
    assert len(system.hours) == 24
    assert sum(hour.succeeded for hour in system.hours[-2:]) == 1
    assert sum(hour.failed for hour in system.hours) == 0
    stored = system.stored
    assert (stored.documents, stored.pages, stored.results) == (1, 1, 1)
    assert system.statistics.statuses[Status.SUCCEEDED] == 1
