"""`python -m benchmarks.context`: what reading a token costs, the more tokens stand before it.

A small model with Scout's layers (three in chunks of 8,192 tokens, one that sees everything) reads
up to 256K tokens here, and transformers beside it, in two ways, as far as time and memory allow.
Each reads in a process of its own, on the same random weights; they take turns. Told are CPU
seconds, the memory that reading takes and the bytes that the cache holds beside the formula of
`model.cache`. A line is fitted to the cost of whole chunks: chunked layers cost the same in each,
global ones more and more; what longer texts would cost is computed with it, and said to be so.

    python -m benchmarks.context                   256K tokens; a quarter of an hour on two cores
    python -m benchmarks.context --tokens 32768    less
    python -m benchmarks.context --out FOLDER      also writes context.json and context.svg there
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from benchmarks.engine import machine, say
from benchmarks.plot import Series, lines_svg
from benchmarks.readers import READERS, OutOfMemory, ReaderProcess, Taken
from benchmarks.shapes import text_config, write_text_checkpoint
from model.cache import cache_bytes
from model.config import TextConfig
from model.engine import choose_device, choose_dtype
from model.memory import free_bytes
from model.progress import Progress

SHAPE = "narrow"
CONTEXT = 2**20  #: tokens that the checkpoint claims; none was ever trained
STEP = 4096  #: tokens read in a turn
MARKS = (4096, 16_384, 65_536, 131_072, 262_144)  #: tokens after which figures are told
SIMULATED = (2**19, 2**20)  #: tokens of readings that are computed from the line
PATIENCE = 60.0  #: CPU seconds after which a peer starts nothing longer
MEMORY_SHARE = 0.5  #: of what is free, that one process may take
HALF = 22_000  #: tokens before one for which attention costs as much as all else; for the time left

Measured = Mapping[str, Sequence[Taken]]  #: by the reader's name, the longer the later


@dataclass(frozen=True)
class Line:
    """CPU seconds of one more token: `first`, and `each` for every token before it."""

    first: float
    each: float
    residual: float  #: root of the mean square of what it misses, as a share of the mean cost

    def whole(self, tokens: int) -> float:
        """CPU seconds of a text of so many tokens."""
        return self.first * tokens + self.each * tokens**2 / 2


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if options.dtype == "auto":
        dtype = choose_dtype("auto", choose_device("cpu"))
        options.dtype = str(dtype).removeprefix("torch.")
    here, text = machine(), text_config(SHAPE, CONTEXT)
    measured = measure(options)
    line = fit(measured["ours"], text.chunk(0) or STEP)
    rows = [*compare(measured, text, getattr(torch, options.dtype)), *simulate(line)]
    results = {"machine": here, "options": _said(options), "line": asdict(line), "rows": rows}
    if options.out is not None:
        write(options.out, results, measured, line)
    sys.stdout.write(json.dumps(results, indent=1) + "\n" if options.json else table(rows, line))
    return 0


def measure(options: argparse.Namespace) -> dict[str, list[Taken]]:
    """Step by step: ours, then each peer that has not come to its end."""
    measured: dict[str, list[Taken]] = {name: [] for name in READERS if name not in options.without}
    memory = int(MEMORY_SHARE * free_bytes(torch.device("cpu")))
    progress = Progress("reading", lambda done, total: f"{100 * done // total} %")
    with ExitStack() as stack:
        say("loading")
        readers = {
            name: ReaderProcess(name, checkpoint(options.dtype), options.dtype, 1, memory)
            for name in measured
        }
        for reader in readers.values():
            stack.callback(reader.close)
        for tokens in range(STEP, options.tokens + 1, STEP):
            for name, reader in list(readers.items()):
                if not is_next(name, tokens, measured[name]):
                    continue
                try:
                    measured[name].append(reader.read(tokens if "one pass" in name else STEP))
                except OutOfMemory:
                    say(f"{name}: {tokens:,} tokens do not fit {memory / 2**30:.1f} GiB")
                    del readers[name]
            progress(_effort(tokens), _effort(options.tokens))
    return measured


def checkpoint(dtype: str) -> Path:
    """Random weights, written where there are none yet."""
    folder = Path(tempfile.gettempdir()) / "mmapp-benchmarks" / f"{SHAPE}-{dtype}"
    if not folder.exists():
        say("writing random weights")
        partial = folder.with_name(folder.name + ".partial")
        write_text_checkpoint(SHAPE, partial, getattr(torch, dtype), CONTEXT)
        partial.rename(folder)
    return folder


def is_next(name: str, tokens: int, read: Sequence[Taken]) -> bool:
    """Whether the reader goes on to so many tokens: a peer only until its patience is used up, and
    what starts from the beginning each time only to doubled lengths."""
    if name == "ours":
        return True
    is_patient = not read or read[-1].cpu_seconds < PATIENCE
    return is_patient and ("one pass" not in name or (tokens // STEP).bit_count() == 1)


def fit(read: Sequence[Taken], chunk: int) -> Line:
    """The line through the mean cost of a token in each whole chunk, by least squares. Without two
    chunks it is level."""
    ends = [Taken(0, 0.0, 0.0, 0, 0), *(taken for taken in read if taken.tokens % chunk == 0)]
    spans = [(a.tokens, b.tokens, b.cpu_seconds - a.cpu_seconds) for a, b in pairwise(ends)]
    before = torch.tensor([(a + b) / 2 for a, b, _ in spans], dtype=torch.float64)
    cost = torch.tensor([cpu / (b - a) for a, b, cpu in spans], dtype=torch.float64)
    terms = torch.stack([torch.ones_like(before), before], dim=1)
    first, each = torch.linalg.lstsq(terms, cost[:, None]).solution.flatten().tolist()
    missed = cost - (first + each * before)
    return Line(first, each, float(missed.square().mean().sqrt() / cost.mean()))


def compare(measured: Measured, text: TextConfig, dtype: torch.dtype) -> list[dict[str, Any]]:
    """A row for each reader and each of `MARKS` that it came to, and for where each ended."""
    marks = {*MARKS, *(read[-1].tokens for read in measured.values() if read)}
    marks |= {taken.tokens for taken in measured.get("transformers, in one pass", ())}
    return [
        {
            "reader": name, "tokens": taken.tokens, "cpu_seconds": taken.cpu_seconds,
            "wall_seconds": taken.wall_seconds,
            "seconds_per_token": taken.cpu_seconds / taken.tokens,
            "seconds_of_the_last": _last(before, taken),
            "peak_bytes": taken.peak_bytes, "cache_bytes": taken.cache_bytes,
            "formula_bytes": cache_bytes(text, taken.tokens, dtype),
        }
        for name, read in measured.items()
        for before, taken in zip((None, *read), read, strict=False)
        if taken.tokens in marks
    ]  # fmt: skip


def simulate(line: Line) -> list[dict[str, Any]]:
    return [
        {
            "reader": "ours, computed", "tokens": tokens, "cpu_seconds": line.whole(tokens),
            "seconds_per_token": line.whole(tokens) / tokens,
            "seconds_of_the_last": line.first + line.each * tokens,
        }
        for tokens in SIMULATED
    ]  # fmt: skip


def table(rows: Sequence[Mapping[str, Any]], line: Line) -> str:
    head = f"{'reader':26} {'tokens':>9} {'CPU s':>9} {'ms each':>9} {'ms last':>9}"
    head += f" {'peak MiB':>9} {'cache MiB':>10} {'formula':>8}"
    lines = [
        f"{row['reader']:26} {row['tokens']:>9,} {row['cpu_seconds']:>9,.1f} "
        f"{1e3 * row['seconds_per_token']:>9.3f} {1e3 * row['seconds_of_the_last']:>9.3f}"
        + "".join(_mebibytes(row.get(key), width) for key, width in _BYTES)
        for row in rows
    ]
    said = (
        f"a token costs {1e3 * line.first:.3f} ms and {1e6 * 1000 * line.each:.3f} µs more for "
        f"each 1,000 before it; the line misses whole chunks by {100 * line.residual:.1f} %"
    )
    return "\n".join([head, *lines, said]) + "\n"


def write(out: Path, results: Mapping[str, Any], measured: Measured, line: Line) -> None:
    """context.json, with every turn, and context.svg."""
    out.mkdir(parents=True, exist_ok=True)
    turns = {name: [asdict(taken) for taken in read] for name, read in measured.items()}
    told = json.dumps({**results, "turns": turns}, indent=1) + "\n"
    (out / "context.json").write_text(told, encoding="utf-8")
    (out / "context.svg").write_text(plot(measured, line), encoding="utf-8")


def plot(measured: Measured, line: Line) -> str:
    """Milliseconds for each token of a text against its length; what is computed is dashed."""
    series = [
        Series(name, [(t.tokens, 1e3 * t.cpu_seconds / t.tokens) for t in read])
        for name, read in measured.items()
    ]
    last = measured["ours"][-1].tokens
    beyond = [last, *(tokens for tokens in SIMULATED if tokens > last)]
    computed = [(tokens, 1e3 * line.whole(tokens) / tokens) for tokens in beyond]
    series.append(Series("ours, computed", computed, is_dashed=True))
    return lines_svg(series, "tokens of the text", "CPU milliseconds for each")


_BYTES = (("peak_bytes", 10), ("cache_bytes", 11), ("formula_bytes", 9))


def _mebibytes(count: int | None, width: int) -> str:
    return f"{'-' if not count else f'{count / 2**20:,.1f}':>{width}}"


def _last(before: Taken | None, taken: Taken) -> float:
    """CPU seconds for each of the last tokens that were read in a turn."""
    if before is None:
        return taken.cpu_seconds / taken.tokens
    return (taken.cpu_seconds - before.cpu_seconds) / (taken.tokens - before.tokens)


def _effort(tokens: int) -> int:
    """About what reading so many tokens costs, in tokens at the beginning."""
    return tokens + tokens**2 // (2 * HALF)


def _said(options: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(options).items() if name not in ("out", "json")}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.context", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "--tokens", type=_tokens, default=MARKS[-1], metavar="N",
        help=f"of the text; a multiple of {STEP:,}, at least 16,384",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="all figures as JSON on stdout")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where context.json and a plot go")
    parser.add_argument(
        "--without", nargs="*", choices=[n for n in READERS if n != "ours"], default=[],
        help="who is left out",
    )  # fmt: skip
    parser.add_argument(
        "--dtype", choices=("auto", "float32", "bfloat16"), default="auto",
        help="auto: bfloat16 where this CPU computes it, else float32",
    )  # fmt: skip
    return parser


def _tokens(word: str) -> int:
    number = int(word)
    if number % STEP or not 16_384 <= number <= CONTEXT:
        raise argparse.ArgumentTypeError(
            f"{word} is not a multiple of {STEP:,} from 16,384 to {CONTEXT:,}"
        )
    return number


if __name__ == "__main__":
    sys.exit(main())
