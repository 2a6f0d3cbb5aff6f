"""`python -m benchmarks.listings`: listings checked in a second, packed and one by one.

The same listings, the project's samples with claims of different lengths, are checked by the task
that every job runs, in one process, in turns:

- one by one: every framing of the photos, and every photo with a part hidden, in a pass of its own;
- packed: those of one listing in the same passes, as workers and `mmapp evaluate` do it;
- packed, seen before: the same again by an engine that has the features of the photos still.

Last, the engine alone is asked about the framings: those of one listing in the same passes, as
before, and those of several listings, which no queue does. Results must be equal; the largest
difference of a score is shown.

    python -m benchmarks.listings                     three rounds, nano, one thread
    python -m benchmarks.listings --rounds 1 --json   rows of work, way, CPU and wall seconds, rate
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import model
from mmapp import tasks
from mmapp.config import REPOSITORY
from mmapp.tasks import prompts
from mmapp.tasks.claims import take_claims
from mmapp.types import Continuation, Listing, OnTokens, Progress, TaskName
from model.framings import framings
from model.progress import Progress as Told

SAMPLES = REPOSITORY / "samples"
NANO = REPOSITORY / "checkpoints" / "nano"
ONE = "one by one"
TOGETHER = 8  #: listings whose framings are packed in the same passes

Inputs = Sequence[tasks.ListingInput]
#: Checks the listings; what comes out for each.
Way = Callable[[Inputs], list[float]]


class Profiled:
    """The engine, with another profile."""

    def __init__(self, engine: model.Engine, profile: Mapping[str, Any]) -> None:
        self._engine = engine
        self.profile = profile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


class OneByOne(Profiled):
    """The same, doing nothing together, by which packing is measured."""

    def prefill_many(self, prompts: Sequence[Any], on_progress: OnTokens) -> list[model.Prefix]:
        return [self._engine.prefill(parts, on_progress) for parts in prompts]

    def score_many(self, asked: Sequence[tuple[Any, Any]], on_progress: OnTokens) -> Any:
        return [
            self._engine.score(
                before if isinstance(before, model.Prefix) else self._engine.prefill(before),
                continuations,
                on_progress,
            )
            for before, continuations in asked
        ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.listings")
    parser.add_argument("folder", type=Path, nargs="?", default=NANO, help="a checkpoint folder")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--json", action="store_true", help="rows as JSON on stdout")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    rows = measure(arguments.folder, arguments.rounds)
    sys.stdout.write(json.dumps(rows, indent=2) + "\n" if arguments.json else table(rows))
    return 0


def measure(folder: Path, rounds: int) -> list[dict[str, Any]]:
    listings = list(_listings())
    ways = _ways(folder)
    tell, done = Told("checking", lambda done, total: f"{done}/{total} rounds"), 0
    seconds: dict[tuple[str, str], list[tuple[float, float]]] = {key: [] for key in ways}
    scores: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for key, way in ways.items():
            cpu, wall = time.process_time(), time.perf_counter()
            scores[key] = way(listings)
            seconds[key].append((time.process_time() - cpu, time.perf_counter() - wall))
            done += 1
            tell(done, rounds * len(ways))
    rows = []
    for work, way_name in ways:
        cpu, wall = (statistics.median(each) for each in zip(*seconds[work, way_name], strict=True))
        pairs = zip(scores[work, way_name], scores[work, ONE], strict=True)
        rows.append(
            {
                "work": work,
                "way": way_name,
                "listings": len(listings),
                "cpu_seconds": cpu,
                "wall_seconds": wall,
                "per_cpu_second": len(listings) / cpu,
                "difference": max(abs(a - b) for a, b in pairs),
            }
        )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"{row['work']:<24}{row['way']:<26}{row['per_cpu_second']:>7.2f} listings per CPU second"
        f"{row['wall_seconds']:>8.2f} s{row['difference']:>10.1g} off"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _ways(folder: Path) -> dict[tuple[str, str], Way]:
    """Engines without memory of photos, but for the one that is measured by it."""
    fresh, warm = model.load(folder, feature_bytes=0), model.load(folder)
    ways: dict[tuple[str, str], Way] = {}
    for work, more in (("with regions", {}), ("without regions", {"regions": False})):
        profile = {**fresh.profile, **more}
        ways[work, ONE] = _checked_by(OneByOne(fresh, profile))
        ways[work, "packed"] = _checked_by(Profiled(fresh, profile))
        ways[work, "packed, seen before"] = _checked_by(Profiled(warm, profile))
    for name, together in ((ONE, 1), (f"{TOGETHER} listings packed", TOGETHER)):
        ways["framings, engine alone", name] = partial(_asked, fresh, together=together)
    return ways


def _checked_by(engine: Any) -> Way:
    def check(inputs: Inputs) -> list[float]:
        payloads = [
            tasks.run(TaskName.CHECK_LISTING, engine, one, one.listing, _ignore) for one in inputs
        ]
        return [payload["score"] for payload in payloads]

    return check


def _asked(engine: model.Engine, inputs: Inputs, *, together: int) -> list[float]:
    """The sum of the margins of each listing; so many listings in the same passes."""
    rounds = len(framings(engine.profile))
    found: list[float] = []
    for start in range(0, len(inputs), together):
        some = inputs[start : start + together]
        scores = engine.score_many([pair for one in some for pair in _questions(engine, one)])
        margins = [sum(each[::3]) - sum(each[1::3]) for each in scores]
        found += [sum(margins[place : place + rounds]) for place in range(0, len(margins), rounds)]
    return found


def _questions(
    engine: model.Engine, inputs: tasks.ListingInput
) -> Iterator[tuple[list[str | Image.Image], list[Continuation]]]:
    """For each framing, the photos and what is asked about them."""
    claims, _ = take_claims(inputs.listing)
    asked: list[Continuation] = [
        (prompts.listing_question(claim.attribute, claim.text), answer)
        for claim in claims
        for answer in prompts.answers("check_listing")
    ]
    for framing in framings(engine.profile):
        yield prompts.listing_parts([framing.of(photo) for photo in inputs.photos]), asked


def _listings() -> Iterator[tasks.ListingInput]:
    """The samples."""
    with (SAMPLES / "listings.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            names = row.pop("image").split("|")
            photos = tuple(Image.open(SAMPLES / name).convert("RGB") for name in names)
            title, description = row.pop("title"), row.pop("description")
            row.pop("id")
            listing = Listing(
                title=title,
                description=description,
                attributes={name: value for name, value in row.items() if value},
                photos=tuple("0" * 64 for _ in photos),
            )
            yield tasks.ListingInput(listing, photos)


def _ignore(progress: Progress) -> None:
    """The bar counts rounds."""


if __name__ == "__main__":
    sys.exit(main())
