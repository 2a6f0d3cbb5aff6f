"""`python -m benchmarks.engine`: the model's speed and memory beside its peers', as ratios.

All engines run the same random weights and take turns at each work, so that whatever else the
machine does meets all of them; figures are medians. Speed is counted in CPU seconds of all threads,
which other programs disturb less than wall time; both are kept. Peers that are not installed
(benchmarks/requirements.txt) are said and left out. An engine that is slow at a work gets fewer
turns at it, so that `--quick` ends within five minutes on two idle cores.

    python -m benchmarks.engine --quick            a table of ratios
    python -m benchmarks.engine --quick --json     rows of work, peer, ours, theirs, ratio
    python -m benchmarks.engine --only decode      the works whose name begins so
    python -m benchmarks.engine --out FOLDER       also writes results.json and ratios.svg there

A ratio is how many times as fast as the peer we are; of memory, our share of the peer's.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.limits import matrix_rate, read_rate
from benchmarks.plot import ratios_svg
from benchmarks.shapes import SHAPES, text_config, write_text_checkpoint, write_vision_checkpoint
from model.checkpoint import load_transformer, save_checkpoint
from model.convert.gguf import CHUNK, export_gguf
from model.engine import choose_device, choose_dtype
from model.progress import Progress
from model.quantized.quantize import quantize
from model.quantized.rounding import Precision

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"transformers": "transformers", "llama.cpp": "xllamacpp"}
TURNS = 5
#: Seconds of wall time after which an engine gets no further turn at a work.
PATIENCE, QUICK_PATIENCE = 60.0, 8.0
#: Eager attention holds the scores of all pairs of tokens: 16,384 would take some 20 GB.
EAGER_TOKENS = 4096


@dataclass(frozen=True)
class Work:
    """One line of the table."""

    name: str
    kind: str  #: prefill, decode, images, load or memory
    unit: str
    tokens: int = 0  #: to read, or tiles to see
    behind: int = 0  #: tokens before those that are decoded
    batch: int = 1
    steps: int = 0
    is_quick: bool = False

    @property
    def count(self) -> int:
        """What a turn yields, in the unit's things."""
        return self.batch * self.steps if self.kind == "decode" else self.tokens

    @property
    def is_share(self) -> bool:
        """Whether the ratio is a share of the peer's use, and not a speed."""
        return self.kind == "memory"

    def message(self, variant: str) -> dict[str, Any]:
        return {"kind": self.kind, "tokens": self.tokens, "tiles": self.tokens,
                "steps": self.steps, "variant": variant}  # fmt: skip


#: Which of our ways to compute a peer is compared with, where it is not "ours".
OURS_OF = {"llama.cpp q8_0": "ours int8"}

PER_SECOND = "tokens per CPU second"
WORKS = (
    Work("load to first token", "load", "CPU seconds", is_quick=True),
    Work("prefill 512", "prefill", PER_SECOND, tokens=512, is_quick=True),
    Work("prefill 4096", "prefill", PER_SECOND, tokens=4096),
    Work("prefill 16384", "prefill", PER_SECOND, tokens=16_384),
    Work("decode after 512", "decode", PER_SECOND, behind=512, steps=16, is_quick=True),
    Work("decode after 16384", "decode", PER_SECOND, behind=16_384, steps=16),
    Work("decode 8 after 128", "decode", PER_SECOND, behind=128, batch=8, steps=8, is_quick=True),
    Work("vision encoder", "images", "tiles per CPU second", tokens=4, is_quick=True),
    Work("peak memory, prefill 512", "memory", "MiB", tokens=512, is_quick=True),
    Work("peak memory, prefill 16384", "memory", "MiB", tokens=16_384),
)


@dataclass(frozen=True)
class Contender:
    """An engine with one of its ways to compute."""

    name: str
    runner: str
    path: Path
    variant: str = ""
    longest: float = math.inf  #: tokens that it can read at once on a common machine

    def can(self, work: Work) -> bool:
        return max(work.tokens, work.behind) <= self.longest


@dataclass
class Turns:
    """What an engine took for a work, turn by turn; seconds, or bytes for memory."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    peak_bytes: list[float] = field(default_factory=list)

    def value(self, work: Work) -> float:
        if work.kind == "memory":
            return statistics.median(self.peak_bytes) / 2**20
        cpu = statistics.median(self.cpu)
        return cpu if work.kind == "load" else work.count / cpu


class Runner:
    """A process of `benchmarks.runners`."""

    def __init__(self, contender: Contender, options: argparse.Namespace, context: int) -> None:
        command = [sys.executable, "-m", "benchmarks.runners", contender.runner]
        command += [str(contender.path), "--dtype", options.dtype]
        command += ["--threads", str(options.threads), "--context", str(context)]
        command += ["--sees"] if contender.path.name.startswith("vision") else []
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        environment["TOKENIZERS_PARALLELISM"] = "false"
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
        )  # fmt: skip
        self.name = contender.name
        self.loading = self._answer()

    def ask(self, message: Mapping[str, Any]) -> dict[str, float]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=60)
        self._log.close()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._log.seek(0)
            raise SystemExit(f"error: {self.name} ended:\n{self._log.read()[-2000:]}")
        answer: dict[str, float] = json.loads(line)
        return answer


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    torch.set_num_threads(options.threads)
    if options.dtype == "auto":
        dtype = choose_dtype("auto", choose_device("cpu"))
        options.dtype = str(dtype).removeprefix("torch.")
    works = chosen(options)
    here = machine()
    measured = measure(works, options)
    limits = {"read": read_rate(), "matrix": matrix_rate(getattr(torch, options.dtype))}
    rows = [*compare(works, measured), *shares(works, measured, limits, options)]
    if options.out is not None:
        write(options.out, here, rows, works, measured, options)
    sys.stdout.write(json.dumps(rows, indent=1) + "\n" if options.json else table(rows))
    return 0


def chosen(options: argparse.Namespace) -> list[Work]:
    """The works that were asked for."""
    works = [work for work in WORKS if work.is_quick or not options.quick]
    if options.only:
        works = [work for work in works if work.name.startswith(tuple(options.only))]
    if not works:
        raise SystemExit(f"error: no work begins so; there are {', '.join(w.name for w in WORKS)}")
    return works


def measure(works: Sequence[Work], options: argparse.Namespace) -> dict[str, dict[str, Turns]]:
    """The turns of each contender by work and name."""
    measured: dict[str, dict[str, Turns]] = {work.name: {} for work in works}
    say("writing random weights")
    texts, visions = contenders(options)
    context = max(work.tokens + work.batch * (work.behind + 8 * work.steps) for work in works) + 64
    done, total = 0, sum(len(visions if w.kind == "images" else texts) for w in works)
    progress = Progress("measuring", lambda done, total: f"{done} of {total}")
    with ExitStack() as stack:
        for kinds, group in ((("load", "prefill", "decode"), texts), (("images",), visions)):
            runners: dict[str, Runner] = {}
            for contender in group:
                say(f"loading {contender.name}")
                runners[contender.name] = start(stack, runners, contender, options, context)
            for work in (work for work in works if work.kind in kinds):
                say(work.name)
                able = [contender for contender in group if contender.can(work)]
                measured[work.name] = take_turns(work, able, runners, options)
                done += len(group)
                progress(done, total)
    for work in (work for work in works if work.kind == "memory"):
        say(work.name)
        for contender in texts:
            if contender.can(work):
                measured[work.name][contender.name] = peak(work, contender, options)
            done += 1
            progress(done, total)
    return measured


def start(
    stack: ExitStack,
    runners: Mapping[str, Runner],
    contender: Contender,
    options: argparse.Namespace,
    context: int,
) -> Runner:
    """The process of the contender: variants of one engine share theirs."""
    for runner in runners.values():
        if runner.name.split()[0] == contender.runner and contender.variant:
            return runner
    runner = Runner(contender, options, context)
    stack.callback(runner.close)
    return runner


def take_turns(
    work: Work,
    group: Sequence[Contender],
    runners: Mapping[str, Runner],
    options: argparse.Namespace,
) -> dict[str, Turns]:
    turns = {contender.name: Turns() for contender in group}
    if work.kind == "load":
        for contender in group:
            note(turns[contender.name], runners[contender.name].loading)
        return turns
    patience = QUICK_PATIENCE if options.quick else PATIENCE
    for number in range(TURNS):
        for contender in group:
            taken, runner = turns[contender.name], runners[contender.name]
            if sum(taken.wall) > patience:
                continue
            if work.kind == "decode" and number == 0:
                runner.ask({"kind": "begin", "behind": work.behind, "batch": work.batch,
                            "variant": contender.variant})  # fmt: skip
            note(taken, runner.ask(work.message(contender.variant)))
    return turns


def note(turns: Turns, answer: Mapping[str, float]) -> None:
    turns.cpu.append(answer["cpu"])
    turns.wall.append(answer["wall"])
    turns.peak_bytes.append(answer["peak_bytes"])


def peak(work: Work, contender: Contender, options: argparse.Namespace) -> Turns:
    """A fresh process that does this and nothing else."""
    turns, runner = Turns(), Runner(contender, options, work.tokens + 64)
    note(turns, runner.ask({**work.message(contender.variant), "kind": "prefill"}))
    runner.close()
    return turns


def contenders(options: argparse.Namespace) -> tuple[list[Contender], list[Contender]]:
    """Of text and of images; writes the weights that are not there yet."""
    dtype = getattr(torch, options.dtype)
    here = Path(tempfile.gettempdir()) / "mmapp-benchmarks" / f"{options.shape}-{options.dtype}"
    chunk = options.chunk or SHAPES[options.shape]["attention_chunk_size"]
    folder = text_checkpoint(options, here, chunk)
    seeing = written(
        here / "vision", lambda path: write_vision_checkpoint(options.shape, path, dtype)
    )
    texts = [Contender("ours", "ours", folder)]
    visions = [Contender("ours", "ours", seeing)]
    present = {name for name in PACKAGES if find_spec(PACKAGES[name]) and name in options.peers}
    for name in sorted(set(options.peers) - present):
        say(f"{name} is left out: pip install -r benchmarks/requirements.txt")
    if "transformers" in present:
        for attention, longest in (("eager", EAGER_TOKENS), ("sdpa", math.inf)):
            name = f"transformers {attention}"
            texts.append(Contender(name, "transformers", folder, attention, longest))
            visions.append(Contender(name, "transformers", seeing, attention))
    if "llama.cpp" in present:
        types = ["bf16" if dtype == torch.bfloat16 else "f32"]
        if not options.quick:
            types.append("q8_0")
            texts.append(Contender(OURS_OF["llama.cpp q8_0"], "ours", int8(folder)))
        # The same weights, but for the chunk, of which llama.cpp knows one only.
        known = text_checkpoint(options, here, CHUNK)
        texts += [Contender(f"llama.cpp {kind}", "llama.cpp", gguf(known, kind)) for kind in types]
    return texts, visions


def text_checkpoint(options: argparse.Namespace, here: Path, chunk: int) -> Path:
    dtype = getattr(torch, options.dtype)
    return written(
        here / f"text-{chunk}",
        lambda path: write_text_checkpoint(options.shape, path, dtype, chunk=chunk),
    )


def int8(folder: Path) -> Path:
    """The same weights in eight bits, as `python -m model quantize --unembedding` makes them, for
    q8_0 has that matrix in eight bits too."""

    def write(path: Path) -> None:
        transformer = load_transformer(folder)
        progress = Progress("quantizing", "{} of {}".format)
        quantize(transformer, Precision("8"), None, progress, with_unembedding=True)
        save_checkpoint(transformer, path)

    return written(folder.with_name(f"{folder.name}-int8"), write)


def gguf(folder: Path, kind: str) -> Path:
    """The same weights for llama.cpp, in its type `kind`."""
    progress = Progress(f"writing {kind}", _in_mebibytes)
    path = folder.with_name(f"{kind}.gguf")
    return written(path, lambda path: export_gguf(folder, path, kind, progress))


def written(path: Path, write: Callable[[Path], object]) -> Path:
    """This path, made if it is not there yet: whole or not at all."""
    if not path.exists():
        unfinished = path.with_name(f"{path.name}.unfinished")
        write(unfinished)
        unfinished.rename(path)
    return path


def compare(
    works: Sequence[Work], measured: Mapping[str, Mapping[str, Turns]]
) -> Iterator[dict[str, Any]]:
    for work in works:
        values = {name: turns.value(work) for name, turns in measured[work.name].items()}
        peers = (name for name in values if not name.startswith("ours"))
        for peer in peers:
            ours, theirs = values[OURS_OF.get(peer, "ours")], values[peer]
            is_less_better = work.kind == "load"
            ratio = theirs / ours if is_less_better else ours / theirs
            yield row(f"{work.name} ({work.unit})", peer, ours, theirs, ratio)


def shares(
    works: Sequence[Work],
    measured: Mapping[str, Mapping[str, Turns]],
    limits: Mapping[str, float],
    options: argparse.Namespace,
) -> Iterator[dict[str, Any]]:
    """How much of what the machine can do at most our prefill and decoding use."""
    weights = used_weights(text_config(options.shape))
    for work in works:
        for name, turns in measured[work.name].items():
            if not name.startswith("ours") or work.batch > 1:
                continue
            way = name.removeprefix("ours").replace(" ", ", ")
            if work.kind == "prefill":
                told = f"GFLOP/s of products{way}"
                layers, _ = weights  # the unembedding is multiplied with the last token alone
                reached, limit = 2 * turns.value(work) * layers, limits["matrix"]
            elif work.kind == "decode":
                size = getattr(torch, options.dtype).itemsize
                read = sum(weights) * (1 if name in OURS_OF.values() else size)
                told = f"GB/s of weights{way}"
                reached, limit = turns.value(work) * read, limits["read"]
            else:
                continue
            yield row(
                f"{work.name} ({told})", "this machine", reached / 1e9, limit / 1e9, reached / limit
            )


def used_weights(text: Any) -> tuple[int, int]:
    """Weights that a text token is multiplied with: of the layers, and of the unembedding."""
    heads = 2 * text.num_attention_heads + 2 * text.num_key_value_heads
    experts = 3 * text.intermediate_size * (1 + text.num_experts_per_tok)
    layer = text.hidden_size * (heads * text.head_dim + experts)
    return int(text.num_hidden_layers * layer), int(text.vocab_size * text.hidden_size)


def row(work: str, peer: str, ours: float, theirs: float, ratio: float) -> dict[str, Any]:
    return {
        "work": work, "peer": peer, "ours": _rounded(ours), "theirs": _rounded(theirs),
        "ratio": _rounded(ratio),
    }  # fmt: skip


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"{'work':48} {'peer':20} {'ours':>10} {'theirs':>10} {'ratio':>7}"]
    lines += [
        f"{r['work']:48} {r['peer']:20} {r['ours']:10,} {r['theirs']:10,} {r['ratio']:7,}"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


def write(
    out: Path,
    here: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    works: Sequence[Work],
    measured: Mapping[str, Mapping[str, Turns]],
    options: argparse.Namespace,
) -> None:
    """results.json, with every turn, and ratios.svg."""
    out.mkdir(parents=True, exist_ok=True)
    units = {work.name: work.unit for work in works}
    turns = {
        work: {"unit": units[work], **{name: asdict(taken) for name, taken in by_name.items()}}
        for work, by_name in measured.items()
    }
    said = {name: value for name, value in vars(options).items() if name not in ("out", "json")}
    results = {"machine": here, "options": said, "rows": rows, "turns": turns}
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (out / "ratios.svg").write_text(ratios_svg(rows), encoding="utf-8")


def machine() -> dict[str, Any]:
    """What the figures depend on, as it is before the first turn."""
    abilities = torch.cpu.get_capabilities()
    packages = {}
    for name in ("torch", "transformers", "xllamacpp"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return {
        "cpu": str(abilities.get("cpu_name") or platform.processor()),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "abilities": [name for name in ("avx2", "avx512_bf16", "amx_bf16") if abilities.get(name)],
        "packages": packages,
        "commit": commit.stdout.strip(),
    }


def say(line: str) -> None:
    sys.stderr.write(f"\r\033[K{line}\n" if sys.stderr.isatty() else f"{line}\n")


def _rounded(value: float) -> float:
    """Three digits that count."""
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return round(value, max(digits, 0))


def _in_mebibytes(done: int, total: int) -> str:
    return f"{done / 2**20:,.0f}/{total / 2**20:,.0f} MiB"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="short works only; five minutes")
    parser.add_argument(
        "--only", nargs="+", metavar="WORK", help="works whose name begins so, such as decode"
    )
    parser.add_argument("--json", action="store_true", help="the rows as JSON on stdout")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where results.json and a plot go")
    parser.add_argument("--shape", choices=SHAPES, default="tiny", help="size of the model")
    parser.add_argument(
        "--chunk", type=int, metavar="N",
        help="tokens that layers with RoPE see together, if not the shape's (llama.cpp: 8192)",
    )  # fmt: skip
    parser.add_argument(
        "--dtype", choices=("auto", "float32", "bfloat16"), default="auto",
        help="auto: bfloat16 where this CPU computes it, else float32",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of each engine")
    parser.add_argument(
        "--peers", nargs="*", choices=PACKAGES, default=list(PACKAGES), help="who is compared with"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
