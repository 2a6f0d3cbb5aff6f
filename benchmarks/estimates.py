"""`python -m benchmarks.estimates`: how well jobs are estimated before they begin.

    python -m benchmarks.estimates                       8 jobs to learn from, 12 that are judged
    python -m benchmarks.estimates --jobs 4 --most 4000  a first look
    python -m benchmarks.estimates --json                figures for programs

A real queue with one worker does summaries and questions about texts of many lengths, English and
Chinese, none twice. After the first jobs, which the deployment learns its pace from, each is
estimated when it is submitted and then done alone, and what was told is set beside what it took:
tokens that the engine read and asked about, and seconds from its start to its end. At last several
are submitted at once, and the end that the queue foresees for the last of them is set beside the
true one. A ratio is what was told divided by what it took; the worst is the one furthest from 1 in
either direction.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.faults.scene import Plan, Scene, set_up
from mmapp.jobs import Jobs
from mmapp.samples import load
from mmapp.types import AskParams, Job, Status, SummarizeParams, TaskName
from model.progress import Progress

#: Characters of the shortest text.
LEAST = 600
#: Jobs that are submitted at once in the end.
AT_ONCE = 6
ENGLISH = Path(__file__).resolve().parent.parent / "ARCHITECTURE.md"


@dataclass(frozen=True, slots=True)
class Told:
    """One job: what was told of it, and what it took."""

    task: str
    characters: int
    tokens: tuple[int, int]
    seconds: tuple[float, float]

    @property
    def ratios(self) -> tuple[float, float]:
        return self.tokens[0] / self.tokens[1], self.seconds[0] / self.seconds[1]


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    with set_up(Plan(workers=1, database="sqlite", checkpoint=arguments.checkpoint)) as scene:
        figures = measure(scene, arguments.learned, arguments.jobs, arguments.most)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n" if arguments.json else table(figures))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.estimates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--learned", type=int, default=8, help="jobs before the first that is judged")
    add("--jobs", type=int, default=12, help="jobs that are judged (default %(default)s)")
    add("--most", type=int, default=24_000, help="characters of the longest text")
    add("--checkpoint", type=Path, default=Plan.checkpoint, help="what the worker loads")
    add("--json", action="store_true", help="figures as JSON on stdout")
    return parser


def measure(scene: Scene, learned: int, judged: int, most: int) -> dict[str, Any]:
    """One run."""
    count = learned + judged
    show = Progress("jobs", "{:,} of {:,} done".format)
    texts = Texts(scene.jobs)
    told: list[Told] = []
    for number in range(count):
        # Lengths rise by the same factor, in an order that mixes short and long.
        place = number * 7 % count / max(1, count - 1)
        job = _submit(scene.jobs, texts, number, round(LEAST * (most / LEAST) ** place))
        ended = _ended(scene.jobs, job)
        if number >= learned:
            told.append(_told(scene.jobs, job, ended))
        show(number + 1, count)
    return {
        "jobs": [asdict(one) for one in told],
        "tokens": _judged([one.ratios[0] for one in told]),
        "seconds": _judged([one.ratios[1] for one in told]),
        "queue": _queue(scene.jobs, texts, count, most // 4),
    }


class Texts:
    """Texts of wished lengths, cut from this project's own documents, none of them twice."""

    def __init__(self, jobs: Jobs) -> None:
        chinese = next(sample for sample in load().documents if "zh" in sample.path.name)
        document = jobs.add_document(chinese.path.name, chinese.path.read_bytes())
        pages = jobs.pages(document.sha256)
        self._sources = (
            ENGLISH.read_text(encoding="utf-8"),
            "\n".join(line.text for page in pages for line in page.lines),
        )

    def text(self, number: int, characters: int) -> str:
        source = self._sources[number % 3 == 2]
        start = number * 4_111 % len(source)
        whole = source[start:]
        for copy in range(1 + characters // len(source)):
            # What is said again is said in other words, or it would be no candidate.
            whole += source.replace("。", f"（{copy}）。").replace(". ", f" ({copy}). ")
        return f"{number}. {whole[:characters]}"


def _submit(jobs: Jobs, texts: Texts, number: int, characters: int) -> Job:
    text = texts.text(number, characters)
    document = jobs.add_document(f"{number}.txt", text.encode()).sha256
    if number % 2:
        params = AskParams(document, "How is the memory of a worker bounded?")
        return jobs.submit(TaskName.ASK, params)
    return jobs.submit(TaskName.SUMMARIZE, SummarizeParams(document))


def _ended(jobs: Jobs, job: Job) -> Job:
    ended = list(jobs.watch([job.id], poll_s=0.05))[-1]
    if ended.status is not Status.SUCCEEDED:
        raise RuntimeError(f"a job has {ended.status}: {ended.error}")
    return ended


def _told(jobs: Jobs, job: Job, ended: Job) -> Told:
    estimate, record = job.estimate, jobs.result(ended.id).record
    if estimate is None or estimate.tokens is None or estimate.seconds is None:
        raise RuntimeError(f"job {job.id} was not estimated; raise --learned")
    tokens = record["tokens"]
    took = sum(tokens.values()) - 2 * tokens["remembered"]
    return Told(
        str(job.task),
        estimate.characters,
        (estimate.tokens, took),
        (estimate.seconds, record["durations_s"]["total"]),
    )


def _queue(jobs: Jobs, texts: Texts, first: int, most: int) -> dict[str, float]:
    """Several at once: when the last ends, as foreseen and in truth, in seconds from now."""
    sizes = [round(LEAST + (most - LEAST) * n / (AT_ONCE - 1)) for n in range(AT_ONCE)]
    submitted = [_submit(jobs, texts, first + n, size) for n, size in enumerate(sizes)]
    ahead, began = jobs.outlook(submitted[-1].id), time.monotonic()
    for _ in jobs.watch([job.id for job in submitted], poll_s=0.05):
        pass
    if ahead is None or ahead.ends_s is None:
        raise RuntimeError("the last job did not wait, or its time is not known")
    took = time.monotonic() - began
    return {"told": ahead.ends_s, "took": round(took, 1), "ratio": round(ahead.ends_s / took, 2)}


def _judged(ratios: Sequence[float]) -> dict[str, float]:
    worst = max(ratios, key=lambda ratio: max(ratio, 1 / ratio))
    return {"median ratio": round(statistics.median(ratios), 2), "worst ratio": round(worst, 2)}


def table(figures: dict[str, Any]) -> str:
    return "".join(f"{line}\n" for line in _lines(figures))


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    heads = f"{'tokens told':>11} {'took':>7}  {'s told':>7} {'took':>7}"
    yield f"{'task':<10} {'characters':>10}  {heads}"
    for one in figures["jobs"]:
        (tokens, took), (seconds, lasted) = one["tokens"], one["seconds"]
        yield (
            f"{one['task']:<10} {one['characters']:>10,}  {tokens:>11,} {took:>7,}"
            f"  {seconds:>7.2f} {lasted:>7.2f}"
        )
    for name in ("tokens", "seconds", "queue"):
        words = ", ".join(f"{key} {value}" for key, value in figures[name].items())
        yield f"{name}: {words}"


if __name__ == "__main__":
    sys.exit(main())
