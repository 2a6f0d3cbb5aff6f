"""`python -m model train` and `python -m model evaluate`. Called by `model.__main__`."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from model.train.measure import SUBJECTS

if TYPE_CHECKING:
    from model.train.card import Earlier
    from model.train.crew import Crew
    from model.train.loop import Run
    from model.train.measure.common import Measured
    from model.train.measure.recall import Recall

PROMPTS = Path(__file__).parents[2] / "mmapp" / "tasks" / "prompts.toml"
SAY_SECONDS = 30
LIMIT = "val rows of each kind to measure; default: all, and enough of what is made up"
DATA = "has listings.csv or documents.jsonl of your own, or listings/ and documents/ with splits"


def main(verb: str, argv: list[str]) -> int:
    """Returns the exit code: 0 done, 2 bad usage or input."""
    # Threads that spin while they wait slow training down fivefold when anything else runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    verbs: dict[str, Callable[[list[str]], int]] = {"train": train, "evaluate": evaluate}
    try:
        return verbs[verb](argv)
    except (ValueError, FileNotFoundError) as error:
        sys.stderr.write(f"python -m model {verb}: {error}\n")
        return 2


def train(argv: list[str]) -> int:
    """Train by a recipe, or go on with it, and export the checkpoint."""
    parser = argparse.ArgumentParser(prog="python -m model train", description=train.__doc__)
    parser.add_argument(
        "recipe", type=Path, nargs="?", help="a TOML file such as model/recipes/nano.toml"
    )
    parser.add_argument("--config", type=Path, metavar="RECIPE", help="the same, as an option")
    parser.add_argument("--data", type=Path, required=True, help=DATA)
    parser.add_argument("--run", type=Path, required=True, help="folder for the state of the run")
    parser.add_argument("--start", type=Path, help="a checkpoint folder to go on from")
    parser.add_argument("--out", type=Path, help="folder for the checkpoint")
    parser.add_argument("--export", action="store_true", help="only export what is saved")
    parser.add_argument("--until", metavar="HH:MM", help="stop at this time; a later call goes on")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    parser.add_argument(
        "--processes", type=int, default=1, help="that share the threads; default: 1"
    )
    parser.add_argument("--limit", type=int, help=LIMIT)
    arguments = parser.parse_args(argv)
    arguments.recipe = arguments.recipe or arguments.config
    if arguments.recipe is None:
        parser.error("name a recipe, such as model/recipes/nano.toml")
    until = _clock(arguments.until) if arguments.until else float("inf")
    from model.train.crew import Crew, lead

    if not arguments.export:
        lead(arguments.processes, _train, arguments, until)
    if arguments.out:
        _finish(_run(Crew(), arguments), arguments)
    return 0


def _finish(run: Run, arguments: argparse.Namespace) -> None:
    """Export a run that is done; one that was stopped goes on when it is called again."""
    if arguments.export or run.step >= run.recipe.steps:
        _export(run, arguments)
        return
    _say(
        f"stopped after step {run.step} of {run.recipe.steps}: the same command goes on; "
        "with --export it makes a checkpoint of what there is"
    )


def _train(crew: Crew, arguments: argparse.Namespace, until: float) -> None:
    """One process's part of a run."""
    _run(crew, arguments).train(until)


def _run(crew: Crew, arguments: argparse.Namespace) -> Run:
    import torch

    from model.train.loop import Run
    from model.train.recipe import read_recipe

    torch.set_num_threads(max(1, arguments.threads // crew.size))
    return Run(
        read_recipe(arguments.recipe), arguments.data, arguments.run, _say, arguments.start, crew
    )


def evaluate(argv: list[str]) -> int:
    """Measure a checkpoint folder on the val split and print the table. `evaluate recall` measures
    what it recalls of long texts (its own --help)."""
    if argv[:1] == ["recall"]:
        return recall(argv[1:])
    parser = argparse.ArgumentParser(prog="python -m model evaluate", description=evaluate.__doc__)
    parser.add_argument("folder", type=Path, help="a checkpoint folder")
    parser.add_argument("--data", type=Path, required=True, help=DATA)
    parser.add_argument("--prompts", type=Path, default=PROMPTS, help="default: the application's")
    parser.add_argument("--limit", type=int, help=LIMIT)
    parser.add_argument(
        "--only", action="append", choices=SUBJECTS, help="measure this; repeatable; default: all"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    arguments = parser.parse_args(argv)
    import torch

    from model.engine import load
    from model.train.card import measured_line, table
    from model.train.evaluate import evaluate as measure
    from model.train.recipe import read_prompts

    torch.set_num_threads(arguments.threads)
    engine, prompts = load(arguments.folder), read_prompts(arguments.prompts)
    measured = measure(
        engine,
        prompts,
        arguments.data,
        only=arguments.only or SUBJECTS,
        limit=arguments.limit,
        on_progress=Progress(),
    )
    if not measured.figures:
        raise ValueError(f"{arguments.data} holds nothing to measure of {arguments.folder}")
    sys.stdout.write(f"{measured_line()}.\n\n{table(measured.figures)}")
    return 0


def recall(argv: list[str]) -> int:
    """Measure how many facts that are hidden in a text are recalled, by its length and their depth.
    Each is asked about with four answers to choose from, so any checkpoint can be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m model evaluate recall", description=recall.__doc__
    )
    parser.add_argument("folder", type=Path, help="a checkpoint folder")
    parser.add_argument("--data", type=Path, required=True, help="has documents/ with a val split")
    parser.add_argument(
        "--tokens", type=int, action="append", metavar="N",
        help="length of the texts, longer than the context too where positions go on (Llama 4); "
        "repeatable; default: doubled from 1,000 to the whole context",
    )  # fmt: skip
    parser.add_argument("--each", type=int, default=8, metavar="N", help="texts of each length")
    parser.add_argument("--lang", choices=("en", "zh"), default="en", help="of texts and facts")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a heat map there, as SVG")
    parser.add_argument("--json", action="store_true", help="the shares as JSON on stdout")
    parser.add_argument("--cache-dtype", default="auto", help="of what was read: fp8, int8, ...")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    arguments = parser.parse_args(argv)
    import torch

    from model.engine import EngineError, load
    from model.train.heat import heat_map
    from model.train.measure.recall import lengths, measure_recall, needed, recall_table

    torch.set_num_threads(arguments.threads)
    context = needed(arguments.tokens) if arguments.tokens else None
    try:
        engine = load(arguments.folder, cache_dtype=arguments.cache_dtype, context_length=context)
    except EngineError as error:
        raise ValueError(str(error)) from error
    found = measure_recall(
        engine,
        arguments.data,
        arguments.tokens or lengths(engine),
        lang=arguments.lang,
        each=arguments.each,
        report=Progress(),
    )
    if arguments.plot:
        arguments.plot.write_text(heat_map(found, engine.name), encoding="utf-8")
    sys.stdout.write(_as_json(found) if arguments.json else recall_table(found))
    return 0


def _as_json(rows: Sequence[Recall]) -> str:
    return json.dumps([asdict(row) for row in rows], indent=2) + "\n"


def _export(run: Run, arguments: argparse.Namespace) -> None:
    """Write the checkpoint, calibrate it and write down its figures."""
    from model.train.card import read_earlier, write_framings

    earlier = read_earlier(arguments.out)
    run.export(arguments.out)
    write_framings(arguments.out, run.recipe, arguments.start)
    _measure(run, arguments, earlier)


def _measure(run: Run, arguments: argparse.Namespace, earlier: Earlier) -> None:
    from model.engine import load
    from model.train.card import table, write_card, write_profile
    from model.train.evaluate import evaluate as measure
    from model.train.tables import has_tables

    measured = measure(
        load(arguments.out),
        run.curriculum.prompts,
        arguments.data,
        only=_taught(run, arguments.start),
        limit=arguments.limit,
        on_progress=Progress(),
    )
    if arguments.start and (run.recipe.text is None or has_tables(arguments.data)):
        _write_tuned(run, arguments, measured, earlier)
    else:
        write_profile(arguments.out, run.recipe, measured, earlier)
        write_card(arguments.out, run.recipe, measured, run.step)
    sys.stdout.write(table(measured.figures))


def _taught(run: Run, start: Path | None) -> list[str]:
    """What is worth measuring. Drawn products and answers only where they were taught, here or
    before: the application asks no checkpoint that has no calibration for it."""
    from model.train.card import read_profile

    before = read_profile(start) if start else {}
    phases = run.recipe.phases
    untaught = {
        "drawn": not any(phase.drawn for phase in phases)
        and "drawn products" not in before.get("figures", {}),
        "answers": not any(phase.asks for phase in phases)
        and "ask" not in before.get("calibration", {}),
    }
    return [name for name in SUBJECTS if not untaught.get(name)]


def _write_tuned(
    run: Run, arguments: argparse.Namespace, measured: Measured, earlier: Earlier
) -> None:
    """Profile and card of a checkpoint that was fine-tuned."""
    from model.train.card import write_profile
    from model.train.tuned import keep_profile, leave_out_unmeasured, write_tuned_card

    out, start, data = arguments.out, arguments.start, arguments.data
    leave_out_unmeasured(measured, data, arguments.limit)
    write_profile(out, run.recipe, measured, earlier)
    keep_profile(out, start)
    write_tuned_card(out, start, data, run.recipe, measured.figures, run.step)


def _clock(text: str) -> float:
    """Seconds since the epoch of the next time the clock shows HH:MM."""
    now = dt.datetime.now()
    try:
        wanted = dt.datetime.strptime(text, "%H:%M").time()
    except ValueError as error:
        raise ValueError(f"--until {text!r}: give a time such as 17:30") from error
    moment = dt.datetime.combine(now.date(), wanted)
    if moment <= now:
        moment += dt.timedelta(days=1)
    return moment.timestamp()


class Progress:
    """A line that stays where it is on a terminal; elsewhere one every half a minute."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        line = f"{what}: {done}/{total}"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{line} " + ("" if done < total else "\n"))
        elif done == total or time.monotonic() - self._said > SAY_SECONDS:
            self._said = time.monotonic()
            sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")


def _say(line: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()
