"""`python -m benchmarks.scale`: what is full first with a thousand workers, and how long jobs wait.

    python -m benchmarks.scale                            measure, plan, simulate: ten minutes
    python -m benchmarks.scale --quick                    the same, small, in seconds
    python -m benchmarks.scale --out scale.json --plots docs/images
    python -m benchmarks.scale --measured scale.json      plan anew from what was measured before

First the calls of the queue are measured on a real PostgreSQL and a real Redis. Then it is worked
out what a load asks of each part and which is full first. Then a day is simulated: how long people
and batches wait. What is assumed for that stands in `plan.Assumptions` and is printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.plot import Series, lines_svg
from benchmarks.scale.day import Hour, simulate
from benchmarks.scale.gauge import Cost
from benchmarks.scale.measure import QUICK, Measured, Scope, Stored, measure
from benchmarks.scale.plan import YEAR_DAYS, Assumptions, Part, bytes_per_job, parts
from model.progress import Progress

MILLION = 1e6

#: Loads of the plot in documents a day, and those for which the busiest hours are simulated, as
#: multiples of the load that is asked for.
LOADS = [2**n * MILLION for n in range(9)]
STEPS = (0.5, 1.0, 1.4, 1.6, 1.8, 2.0)

#: In which the day is busiest.
BUSY_HOURS = range(11, 15)

#: What a logarithmic scale can show of a wait of nothing, in seconds.
SHORTEST_S = 0.01


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    scope = QUICK if options.quick else Scope()
    assumed = Assumptions(documents_per_day=options.documents * MILLION, workers=options.workers)
    if options.quick:
        assumed = dataclasses.replace(assumed, workers=10, documents_per_day=60_000, batch_rows=20)
    measured = _read(options.measured) if options.measured else measure(scope)
    figures = _figures(measured, assumed, options.seed, is_quick=options.quick)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if options.plots:
        _draw(options.plots, measured, assumed, figures)
    sys.stdout.write(
        json.dumps(figures, indent=1) + "\n"
        if options.json
        else _report(measured, assumed, figures)
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="few calls and ten workers, to see that it runs")
    add("--documents", type=float, default=10, help="millions a day (default %(default)s)")
    add("--workers", type=int, default=1_000, help="GPU workers (default %(default)s)")
    add("--seed", type=int, default=0, help="of the simulated day (default %(default)s)")
    add("--measured", type=Path, help="plan from the figures of this file, and measure nothing")
    add("--out", type=Path, help="write the figures to this file")
    add("--plots", type=Path, help="draw into this folder")
    add("--json", action="store_true", help="figures as JSON on stdout")
    return parser


def _figures(
    measured: Measured, assumed: Assumptions, seed: int, *, is_quick: bool
) -> dict[str, Any]:
    show = Progress("simulating", "{} of {} hours".format)
    steps = [assumed.documents_per_day * multiple for multiple in STEPS]
    busy = {
        f"{load:.0f}": simulate(
            dataclasses.replace(assumed, documents_per_day=load), seed, show, BUSY_HOURS
        )
        for load in (steps[:2] if is_quick else steps)
    }
    return {
        "measured": dataclasses.asdict(measured),
        "assumed": dataclasses.asdict(assumed),
        "parts": {
            str(waiting): [dataclasses.asdict(part) for part in parts(measured, assumed, waiting)]
            for waiting in _waiting(measured)
        },
        "day": [dataclasses.asdict(hour) for hour in simulate(assumed, seed, show)],
        "busy hours by documents a day": {
            load: dataclasses.asdict(_busiest(hours)) for load, hours in busy.items()
        },
    }


def _busiest(hours: Sequence[Hour]) -> Hour:
    """The hour in which batches wait longest."""
    return max(hours, key=lambda hour: (hour.batch_p95_s, hour.used))


def _waiting(measured: Measured) -> list[int]:
    """The numbers of waiting jobs with which calls were measured."""
    return sorted({int(name.split(", ")[1].split()[0]) for name in measured.calls})


def _read(path: Path) -> Measured:
    stored = json.loads(path.read_text(encoding="utf-8"))["measured"]
    return Measured(
        calls={name: Cost(**cost) for name, cost in stored["calls"].items()},
        takes={name: Cost(**cost) for name, cost in stored["takes"].items()},
        stored=Stored(**stored["stored"]),
        broker=stored["broker"],
        server=stored["server"],
    )


def _report(measured: Measured, assumed: Assumptions, figures: dict[str, Any]) -> str:
    most = _waiting(measured)[-1]
    planned = parts(measured, assumed, most)
    sections = (
        ("Measured", _costs(measured)),
        ("Stored", _stored(measured, assumed)),
        (f"Parts, with {most:,} jobs waiting", _parts(planned, assumed)),
        ("The day", _hours([Hour(**hour) for hour in figures["day"]])),
        ("The busiest hour by load", _loads(figures["busy hours by documents a day"])),
    )
    return "\n".join(f"## {name}\n\n{''.join(lines)}" for name, lines in sections)


def _costs(measured: Measured) -> Iterator[str]:
    yield from _head("call", "calls/s", "server CPU, ms", "log, bytes", "statements")
    for name, cost in (measured.calls | measured.takes).items():
        statements = f"{cost.statements / cost.calls:.1f}" if cost.statements else ""
        yield _row(
            name, f"{cost.per_s:,.0f}", f"{cost.server_ms:.2f}", f"{cost.wal:,.0f}", statements
        )
    broker = measured.broker
    yield (
        f"\nBroker: {broker['sent per s']:,.0f} messages sent and {broker['received per s']:,.0f}"
        f" received per second by one process; {broker['server us']:.0f} µs of Redis' CPU and"
        f" {broker['bytes']:,.0f} bytes for each. Server: "
        + ", ".join(f"{name} {value}" for name, value in measured.server.items())
        + ".\n"
    )


def _stored(measured: Measured, assumed: Assumptions) -> Iterator[str]:
    rows = bytes_per_job(measured, assumed)
    yield from _head("table", "bytes a row", "bytes a document", "TB a year")
    for name, size in (rows | {"all": sum(rows.values())}).items():
        year = size * assumed.documents_per_day * YEAR_DAYS / 1e12
        row = measured.stored.bytes_per_row.get(name)
        yield _row(name, f"{row:,.0f}" if row else "", f"{size:,.0f}", f"{year:,.1f}")


def _parts(planned: Sequence[Part], assumed: Assumptions) -> Iterator[str]:
    yield from _head("part", "used, mean", "used, busiest", "full at, million documents a day")
    for part in sorted(planned, key=Part.full_at):
        most = part.full_at() * assumed.documents_per_day / assumed.rate / MILLION
        used = f"{part.use(assumed.rate):.1%}", f"{part.use(assumed.rate * assumed.peak):.1%}"
        yield _row(part.name, *used, f"{most / assumed.peak:,.1f}")


def _hours(hours: Sequence[Hour]) -> Iterator[str]:
    yield from _head("hour", "jobs", "used", "people p50, p95, s", "batches p50, p95, s", "left")
    for hour in hours:
        yield _row(f"{hour.hour}", *_waits(hour))


def _loads(loads: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield from _head(
        *("million a day", "jobs", "used", "people p50, p95, s", "batches p50, p95, s", "left")
    )
    for load, stored in loads.items():
        yield _row(f"{float(load) / MILLION:g}", *_waits(Hour(**stored)))


def _waits(hour: Hour) -> tuple[str, ...]:
    return (
        f"{hour.jobs:,}",
        f"{hour.used:.0%}",
        f"{hour.interactive_p50_s:.2f}, {hour.interactive_p95_s:.2f}",
        f"{hour.batch_p50_s:.2f}, {hour.batch_p95_s:.2f}",
        f"{hour.left:,}",
    )


def _head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield _row(*("---" for _ in names))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def _draw(folder: Path, measured: Measured, assumed: Assumptions, figures: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    planned = parts(measured, assumed, _waiting(measured)[-1])
    per_s = assumed.rate / assumed.documents_per_day * assumed.peak
    used = [
        Series(part.name, [(load / MILLION, 100 * part.use(load * per_s)) for load in LOADS])
        for part in planned
    ]
    full = Series("full", [(LOADS[0] / MILLION, 100.0), (LOADS[-1] / MILLION, 100.0)], True)
    _write(
        folder / "scale-parts.svg",
        lines_svg([*used, full], "million documents a day", "% used when busiest", "{:g}".format),
    )
    loads = figures["busy hours by documents a day"]
    waits = [
        Series(
            name,
            [(float(load) / MILLION, max(hour[key], SHORTEST_S)) for load, hour in loads.items()],
        )
        for name, key in (("batches, p95", "batch_p95_s"), ("people, p95", "interactive_p95_s"))
    ]
    _write(
        folder / "scale-waits.svg",
        lines_svg(waits, "million documents a day", "seconds waited", "{:g}".format),
    )


def _write(path: Path, svg: str) -> None:
    path.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
