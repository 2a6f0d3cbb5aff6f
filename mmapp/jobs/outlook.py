"""The outlook of jobs that wait: how many come before each, when it begins, and when it is done.

Told by playing the queue through: the ready workers end what they run, and each then takes the job
whose turn it is (`db.turns`), for as many seconds as it is estimated to take. What was never
measured, and whatever begins after it on the same worker, has no time; how many come before is told
all the same. Jobs that come later, and change of turns by them, are not foreseen.

Pure but for `read`, which asks the database. Called by the verbs; refuses nothing.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmapp.db.repository import Repository
from mmapp.db.turns import LANES, QueuedJob, RunningJob
from mmapp.jobs.rates import Rates
from mmapp.types import Estimate, Outlook, Priority, TaskName

#: Jobs of each user that are played through, and users; what stands further behind is reckoned by
#: the pace of these.
MOST_JOBS = 100
MOST_OWNERS = 50


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits and what runs, at one moment."""

    #: By lane and owner, in the order in which owners and their jobs have their turns.
    waiting: Mapping[Priority, Mapping[str, Sequence[QueuedJob]]]
    running: Sequence[RunningJob]
    #: Names of the workers that are ready.
    workers: Sequence[str]
    rates: Rates


def read(repository: Repository, workers: Sequence[str], rates: Rates) -> Queue:
    """The queue as it stands."""
    waiting = {
        lane: {
            owner: repository.turns.line(lane, owner, MOST_JOBS)
            for owner in repository.turns.owners(lane)[:MOST_OWNERS]
        }
        for lane in LANES
    }
    return Queue(waiting, repository.turns.running(), workers, rates)


def outlook(queue: Queue, job_id: str, ahead: int) -> Outlook:
    """Of a job that waits; `ahead`: of its owner's jobs, those before it."""
    played = play(queue)
    if job_id in played:
        return played[job_id]
    # Further behind than is played: at the pace of those that are.
    starts = [one.starts_s for one in played.values()]
    if not starts or None in starts:
        return Outlook(max(ahead, len(played)), None, None)
    pace_s = max((start for start in starts if start is not None), default=0.0) / len(starts)
    before = len(played) + max(0, ahead - MOST_JOBS)
    return Outlook(before, round(pace_s * before, 1), None)


def play(queue: Queue) -> dict[str, Outlook]:
    """The outlook of each waiting job that is known here."""
    lines = {
        lane: {owner: list(reversed(jobs)) for owner, jobs in owners.items()}
        for lane, owners in queue.waiting.items()
    }
    # When each worker is free, in seconds from now; infinite: not known.
    held = {one.worker: one for one in queue.running}
    free: list[tuple[float, int, RunningJob | QueuedJob | None]] = []
    for number, worker in enumerate(queue.workers):
        now = held.get(worker)
        free.append((0.0 if now is None else left_s(now, queue.rates), number, now))
    heapq.heapify(free)
    busy = Counter((one.priority, one.owner) for one in queue.running)
    #: The turn in which an owner had a job last.
    last: dict[tuple[Priority, str], int] = {}
    found: dict[str, Outlook] = {}
    while free:
        at, number, ended = heapq.heappop(free)
        if ended is not None:
            busy[ended.priority, ended.owner] -= 1
        job = _next(lines, busy, last)
        if job is None:
            break
        last[job.priority, job.owner] = len(found)
        busy[job.priority, job.owner] += 1
        end = at + seconds_of(job.task, job.estimate, queue.rates)
        found[job.id] = Outlook(len(found), _known(at), _known(end))
        heapq.heappush(free, (end, number, job))
    return found if queue.workers else _without_workers(lines, busy)


def left_s(running: RunningJob, rates: Rates) -> float:
    """Seconds until a running job ends: as it tells itself, else as estimated; infinite: not
    known."""
    if running.progress.eta_s is not None:
        return running.progress.eta_s
    return max(0.0, seconds_of(running.task, running.estimate, rates) - running.since_s)


def seconds_of(task: TaskName, estimate: Estimate | None, rates: Rates) -> float:
    """By what is measured now; infinite: never measured."""
    found = None if estimate is None else rates.time_of(task, estimate)
    return math.inf if found is None else found.seconds


def _next(
    lines: Mapping[Priority, Mapping[str, list[QueuedJob]]],
    busy: Mapping[tuple[Priority, str], int],
    last: Mapping[tuple[Priority, str], int],
) -> QueuedJob | None:
    """Takes the job whose turn it is off its line, by the rule of `db.turns`."""
    for lane, owners in lines.items():
        order = {owner: place - len(owners) for place, owner in enumerate(owners)}
        waiting = [owner for owner, jobs in owners.items() if jobs]
        if waiting:
            first = min(
                waiting,
                key=lambda owner: (busy[lane, owner], last.get((lane, owner), order[owner])),
            )
            return owners[first].pop()
    return None


def _without_workers(
    lines: Mapping[Priority, Mapping[str, list[QueuedJob]]], busy: Counter[tuple[Priority, str]]
) -> dict[str, Outlook]:
    """Their order alone: nobody knows when a worker comes."""
    found: dict[str, Outlook] = {}
    last: dict[tuple[Priority, str], int] = {}
    while (job := _next(lines, busy, last)) is not None:
        last[job.priority, job.owner] = len(found)
        found[job.id] = Outlook(len(found), None, None)
    return found


def _known(seconds: float) -> float | None:
    return None if math.isinf(seconds) else round(seconds, 1)
