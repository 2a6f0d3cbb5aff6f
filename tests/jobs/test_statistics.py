"""Statistics are those of the database and of all workers, on both databases."""

from __future__ import annotations

import dataclasses
import math
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mmapp.jobs import Jobs, WorkerInfo
from mmapp.jobs.tally import BUCKETS_S, Tally, total
from mmapp.metrics import metrics
from mmapp.processes import Process, machine
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
    ran_s = samples[f"mmapp_stage_seconds_total{{stage=total,{by}}}"]
    assert ran_s == pytest.approx(record["durations_s"]["total"])
    assert samples["mmapp_retries_total{worker=w}"] == 0
    assert samples["mmapp_waiting_seconds_count{lane=interactive}"] == 1
    assert samples["mmapp_waiting_seconds_bucket{lane=interactive,le=+Inf}"] == 1
    waited_s = samples["mmapp_waiting_seconds_sum{lane=interactive}"]
    assert waited_s == pytest.approx(record["durations_s"]["queued"], abs=0.001)
    stage = "stage=total,task=summarize"
    assert samples[f"mmapp_stage_duration_seconds_sum{{{stage}}}"] == pytest.approx(ran_s)
    assert samples[f"mmapp_stage_duration_seconds_count{{{stage}}}"] == 1


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
    samples = told(jobs)
    assert samples["mmapp_retries_total{worker=w}"] == 1
    assert "mmapp_waiting_seconds_count{lane=interactive}" not in samples  # taken first elsewhere


def test_times_are_counted_in_the_bucket_that_holds_them() -> None:
    tally = Tally()
    for waited_s in (0.0, 0.05, 0.051, 4.0, 9_999.0):
        tally.took(Priority.BATCH, waited_s, is_again=False)
    (lane, counts), (_, waited_s) = tally.as_json()["waits"][0], tally.as_json()["waited"][0]
    assert (lane, sum(counts), waited_s) == ("batch", 5, pytest.approx(10_003.101))
    held = {end: count for end, count in zip((*BUCKETS_S, math.inf), counts, strict=True) if count}
    assert held == {0.05: 2, 0.1: 1, 5.0: 1, math.inf: 1}


def test_what_several_have_counted_is_added_up_key_by_key() -> None:
    first = {"retries": 1, "jobs": [["ask", "succeeded", 2]], "waits": [["batch", [1, 0]]]}
    second = {"retries": 2, "jobs": [["ask", "stalled", 1], ["ask", "succeeded", 3]]}
    third = {"waits": [["interactive", [0, 4]], ["batch", [5, 6]]]}
    assert total([first, second, third]) == {
        "retries": 3,
        "jobs": [["ask", "succeeded", 5], ["ask", "stalled", 1]],
        "tokens": [],
        "seconds": [],
        "durations": [],
        "waited": [],
        "waits": [["batch", [6, 6]], ["interactive", [0, 4]]],
    }


def test_histograms_never_fall_when_workers_end(jobs: Jobs, add_text: AddText) -> None:
    """Each of two processes sweeps both dead workers away; their counts are kept once."""
    dead = Process(machine(), os.getpid(), "1")
    with Jobs.open(jobs.settings) as other:
        for number, counting in enumerate((jobs, other)):
            name = f"w{number}"
            counting.greet(dataclasses.replace(worker(name), ready=True, process=dead))
            params = SummarizeParams(add_text(f"{TEXT} {number}").sha256, 1)
            counting.run(counting.submit(TaskName.SUMMARIZE, params).id, engine(), name)
            counting.beat(name)
        before = told(jobs)
        assert before["mmapp_waiting_seconds_count{lane=interactive}"] == 2
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda one: one.sweep(), (jobs, other)))
    after = told(jobs)
    assert "mmapp_retries_total{worker=w0}" not in after
    histograms = {name for name in before if "_seconds_" in name and "worker" not in name}
    assert len(histograms) > 30
    assert {name: after[name] for name in histograms} == {name: before[name] for name in histograms}


def test_sweeps_are_counted(jobs: Jobs, add_text: AddText) -> None:
    job = jobs.submit(TaskName.SUMMARIZE, SummarizeParams(add_text(TEXT).sha256, 1))
    assert told(jobs)["mmapp_sweeps_total{}"] == 0
    attempt = jobs.take(job.id, "gone")
    assert attempt is not None
    with jobs._database.transaction() as repository:
        repository.attempts.renew(job.id, attempt.number, Progress(), -1.0)
    jobs.sweep()
    samples = told(jobs)
    assert samples["mmapp_sweeps_total{}"] == 1
    assert samples["mmapp_swept_jobs_total{what=freed}"] == 1
    assert samples["mmapp_swept_jobs_total{what=sent}"] == 0  # there is no broker to send to


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
