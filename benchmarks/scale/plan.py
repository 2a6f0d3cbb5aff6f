"""What a load asks of each part, at which load it is full, and what is assumed for that.

By the utilisation law a part is used U = X D, where X is the rate of jobs and D what one job asks
of it (Denning and Buzen, The Operational Analysis of Queueing Network Models, 1978). To that comes
what workers ask without any job. Called by the command; nothing here was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.scale.gauge import Cost
from benchmarks.scale.measure import Measured
from mmapp.jobs import progress

DAY_S = 86_400.0
YEAR_DAYS = 365

#: Seconds between two heartbeats of a worker (`workers.child`), between two rounds of its sweeper,
#: and at least between two rounds for all.
BEAT_S, SWEEP_S, TURN_S = 2.0, 5.0, 2.5


@dataclass(frozen=True)
class Assumptions:
    """What this machine can't tell."""

    documents_per_day: float = 10e6
    workers: int = 1_000
    #: The busiest moment of the day has so many times the mean rate, the quietest 2 minus that.
    peak: float = 1.8
    #: Of all jobs: those for which a person waits. The others come as batches of so many rows.
    interactive: float = 0.2
    batch_rows: int = 1_000
    #: Pages of a document: log-normal, cut off at the most that is accepted.
    median_pages: float = 5.0
    mean_pages: float = 10.0
    most_pages: int = 5_000
    #: A page's picture in 17 tiles of 144 tokens, as Llama 4 sees it, and its words.
    tokens_per_page: float = 17 * 144 + 394
    #: Measured: nano, the first question about 29,002 tokens, 26.9 CPU seconds (ARCHITECTURE.md).
    cpu_s_per_token: float = 26.9 / 29_002
    #: Parameters that a token passes: nano's, and Llama 4 Scout's.
    parameters: float = 8.263936e6
    large_parameters: float = 17e9
    #: Sustained by one worker's GPUs on such products, operations a second.
    gpu_rate: float = 4e14
    #: Loading a document's rows and pictures, and whatever else the GPU waits for.
    overhead_s: float = 0.3
    #: Servers: cores of the database's and of Redis', as fast as those here; bytes a second that
    #: the log's disk takes, and that the store of blobs gives and takes.
    database_cores: float = 32.0
    broker_cores: float = 1.0
    log_bytes_s: float = 500e6
    blob_bytes_s: float = 25e9 / 8
    #: A document's file; the picture of each of its pages is measured.
    document_bytes: float = 1e6
    #: Times that a blob is read after it was written.
    blob_reads: float = 2.0

    @property
    def rate(self) -> float:
        """Jobs a second in the mean of the day."""
        return self.documents_per_day / DAY_S

    @property
    def token_s(self) -> float:
        """GPU seconds of one token: CPU seconds here by the factor of model and machine."""
        return self.cpu_s_per_token * self.gpu_factor

    @property
    def gpu_factor(self) -> float:
        """GPU seconds with the large model for one CPU second with the small one."""
        cpu_rate = 2 * self.parameters / self.cpu_s_per_token
        return (self.large_parameters / self.parameters) * (cpu_rate / self.gpu_rate)

    @property
    def page_s(self) -> float:
        return self.tokens_per_page * self.token_s

    @property
    def service_s(self) -> float:
        """A worker's mean time with a job."""
        return self.overhead_s + self.mean_pages * self.page_s

    @property
    def sigma(self) -> float:
        """Of the log-normal: mean = median exp(sigma² / 2)."""
        return math.sqrt(2 * math.log(self.mean_pages / self.median_pages))


@dataclass(frozen=True, slots=True)
class Part:
    """What jobs share; `per_job` and `always` in units of which `most` are there each second."""

    name: str
    per_job: float
    #: Without any job.
    always: float
    most: float

    def use(self, rate: float) -> float:
        """The share that is used; above 1 it can't follow."""
        return (rate * self.per_job + self.always) / self.most

    def full_at(self) -> float:
        """Jobs a second at which nothing is left; 0: it is full without any."""
        return max(0.0, (self.most - self.always) / self.per_job) if self.per_job else math.inf


def parts(measured: Measured, assumed: Assumptions, waiting: int) -> list[Part]:
    """All that may be full first, with the costs that were measured with so many jobs waiting."""
    cost = costs(measured.calls, waiting)
    reports = 1 + assumed.service_s / progress.PERIOD_S
    always = {
        "heartbeat": assumed.workers / BEAT_S,
        "sweep": assumed.workers / SWEEP_S,
        "sweep for all": 1 / TURN_S,
    }
    jobs = {"submit": 1.0, "take": 1.0, "end": 1.0, "progress": reports}
    pictures = assumed.mean_pages * measured.stored.blob_per_picture
    blob_bytes = assumed.document_bytes + pictures
    return [
        Part("GPU workers", assumed.service_s, 0.0, assumed.workers),
        Part(
            "database, CPU",
            sum(count * cost[name].server_ms / 1000 for name, count in jobs.items()),
            sum(count * cost[name].server_ms / 1000 for name, count in always.items()),
            assumed.database_cores,
        ),
        Part(
            "database, log",
            sum(count * cost[name].wal for name, count in jobs.items()),
            sum(count * cost[name].wal for name, count in always.items()),
            assumed.log_bytes_s,
        ),
        Part("broker", measured.broker["server us"] / 1e6, 0.0, assumed.broker_cores),
        Part("blobs", blob_bytes * (1 + assumed.blob_reads), 0.0, assumed.blob_bytes_s),
    ]


def costs(calls: Mapping[str, Cost], waiting: int) -> dict[str, Cost]:
    """The costs that were measured with so many jobs waiting, by call."""
    end = f", {waiting} waiting"
    return {name.removesuffix(end): cost for name, cost in calls.items() if name.endswith(end)}


def bytes_per_job(measured: Measured, assumed: Assumptions) -> dict[str, float]:
    """What a document with one job leaves in the database, by table."""
    rows = measured.stored.bytes_per_row
    return {
        "documents": rows["documents"],
        "pages": rows["pages"] * assumed.mean_pages,
        "jobs": rows["jobs"],
        "results": rows["results"],
    }
