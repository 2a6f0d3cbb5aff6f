"""Metrics for Prometheus: the queue as the database has it, and what each worker has counted.

Every process that serves them tells the same, because nothing is counted in it: what rises is in
the rows of the workers (a worker's series ends with it, a new one begins at zero; histograms are
sums over all workers that ever were), all else is asked when Prometheus asks. No name of a document
and no word of a person is among them. Called by `mmapp.api`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from mmapp import __version__
from mmapp.jobs import Jobs, Statistics, WorkerInfo
from mmapp.jobs.tally import BUCKETS_S

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics(jobs: Jobs) -> bytes:
    """All metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Collector(jobs.statistics()))
    return generate_latest(registry)


@dataclass(frozen=True, eq=False)
class _Collector(Collector):
    """One answer to Prometheus."""

    statistics: Statistics

    def collect(self) -> Iterator[Metric]:
        yield _gauge("mmapp_info", "The version that answers", ["version"], [([__version__], 1)])
        yield from self._queue()
        yield from self._workers()
        yield from _counted(self.statistics.workers)
        yield from self._times()
        yield from self._sweeps()

    def _queue(self) -> Iterator[Metric]:
        lanes = self.statistics.lanes
        yield _gauge(
            "mmapp_queue_jobs",
            "Jobs that wait, by lane",
            ["lane"],
            [([lane.priority], lane.waiting) for lane in lanes],
        )
        yield _gauge(
            "mmapp_queue_oldest_seconds",
            "How long the job that waits longest has waited, by lane",
            ["lane"],
            [([lane.priority], lane.oldest_s) for lane in lanes],
        )
        roles = self.statistics.roles
        yield _gauge(
            "mmapp_role_queue_jobs",
            "Jobs that wait, by the role of workers that they need next",
            ["role"],
            [([queue.role], queue.waiting) for queue in roles],
        )
        yield _gauge(
            "mmapp_role_queue_oldest_seconds",
            "How long ago the oldest job that waits was queued, by the role that it needs next",
            ["role"],
            [([queue.role], queue.oldest_s) for queue in roles],
        )
        yield _gauge(
            "mmapp_role_served",
            "Whether a worker has the role",
            ["role"],
            [([queue.role], queue.role in self.statistics.had) for queue in roles],
        )
        yield _gauge(
            "mmapp_jobs",
            "Jobs that are stored, by status",
            ["status"],
            [([status], count) for status, count in self.statistics.statuses.items()],
        )
        yield _gauge(
            "mmapp_duplicates_last_hour",
            "Jobs submitted in the last hour that show what another made",
            [],
            [([], self.statistics.duplicates_last_hour)],
        )

    def _workers(self) -> Iterator[Metric]:
        states = {"ready": 0, "loading": 0, "failed": 0}
        for worker in self.statistics.workers:
            states[worker.state] += 1
        yield _gauge(
            "mmapp_workers",
            "Workers, by whether their engine is loaded",
            ["state"],
            [([state], count) for state, count in states.items()],
        )
        yield _gauge(
            "mmapp_worker_silent_seconds",
            "How long ago a worker showed that it lives",
            ["worker"],
            [
                ([worker.name], (self.statistics.now - worker.last_seen).total_seconds())
                for worker in self.statistics.workers
            ],
        )

    def _times(self) -> Iterator[Metric]:
        counted = self.statistics.counted
        yield _histogram(
            "mmapp_waiting_seconds",
            "How long jobs waited until they were first taken, by lane",
            ["lane"],
            counted["waits"],
            counted["waited"],
        )
        yield _histogram(
            "mmapp_stage_duration_seconds",
            "How long jobs took that succeeded, by task and stage",
            ["task", "stage"],
            counted["durations"],
            counted["seconds"],
        )

    def _sweeps(self) -> Iterator[Metric]:
        swept = self.statistics.swept
        rounds = CounterMetricFamily("mmapp_sweeps", "Sweeps that looked after the jobs of all")
        rounds.add_metric([], swept.rounds)
        yield rounds
        jobs = CounterMetricFamily(
            "mmapp_swept_jobs",
            "Jobs that sweeps took from lost workers, and ids that they sent again or late",
            labels=["what"],
        )
        jobs.add_metric(["freed"], swept.freed)
        jobs.add_metric(["sent"], swept.sent)
        yield jobs


def _counted(workers: Sequence[WorkerInfo]) -> Iterator[Metric]:
    """What the workers say that they have done."""
    retries = CounterMetricFamily(
        "mmapp_retries", "Jobs taken that had been taken before", labels=["worker"]
    )
    for worker in workers:
        retries.add_metric([worker.name], worker.counters.get("retries", 0))
    yield retries
    for key, name, help_, label in (
        ("jobs", "mmapp_jobs_ended", "Attempts that ended, by task and outcome", "outcome"),
        ("tokens", "mmapp_tokens", "Tokens that the model was asked with, by kind", "kind"),
        ("seconds", "mmapp_stage_seconds", "Seconds that jobs spent, by stage", "stage"),
    ):
        family = CounterMetricFamily(name, help_, labels=["worker", "task", label])
        for worker in workers:
            for task, what, count in worker.counters.get(key, ()):
                family.add_metric([worker.name, task, what], count)
        yield family


def _histogram(
    name: str,
    help_: str,
    labels: Sequence[str],
    counts: Sequence[Sequence[Any]],
    sums: Sequence[Sequence[Any]],
) -> Metric:
    """Rows of a tally: labels with the counts of each bucket, and labels with the sum."""
    family = HistogramMetricFamily(name, help_, labels=labels)
    seconds = {(*of,): total for *of, total in sums}
    for *of, in_buckets in counts:
        ends = [*(f"{end:g}" for end in BUCKETS_S), "+Inf"]
        buckets = list(zip(ends, itertools.accumulate(in_buckets), strict=True))
        family.add_metric(of, buckets, seconds[*of,])
    return family


def _gauge(
    name: str, help_: str, labels: Sequence[str], values: Sequence[tuple[Sequence[str], float]]
) -> Metric:
    family = GaugeMetricFamily(name, help_, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family
