"""`python -m model train` and `python -m model evaluate`. Called by `model.__main__`."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.train.loop import Run

PROMPTS = Path(__file__).parents[2] / "mmapp" / "tasks" / "prompts.toml"


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
    parser.add_argument("recipe", type=Path, help="a TOML file such as model/recipes/nano.toml")
    parser.add_argument("--data", type=Path, required=True, help="has documents/ and listings/")
    parser.add_argument("--run", type=Path, required=True, help="folder for the state of the run")
    parser.add_argument("--out", type=Path, help="folder for the checkpoint")
    parser.add_argument("--export", action="store_true", help="only export what is saved")
    parser.add_argument("--until", metavar="HH:MM", help="stop at this time; a later call goes on")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    parser.add_argument("--limit", type=int, help="val rows of each kind to measure; default: all")
    arguments = parser.parse_args(argv)
    import torch

    from model.train.loop import Run
    from model.train.recipe import read_recipe

    torch.set_num_threads(arguments.threads)
    run = Run(read_recipe(arguments.recipe), arguments.data, arguments.run, _say)
    if not arguments.export:
        run.train(_clock(arguments.until) if arguments.until else float("inf"))
    if arguments.out:
        run.export(arguments.out)
        _measure(run, arguments)
    return 0


def evaluate(argv: list[str]) -> int:
    """Measure a checkpoint folder on the val split and print the table."""
    parser = argparse.ArgumentParser(prog="python -m model evaluate", description=evaluate.__doc__)
    parser.add_argument("folder", type=Path, help="a checkpoint folder")
    parser.add_argument("--data", type=Path, required=True, help="has documents/ and listings/")
    parser.add_argument("--prompts", type=Path, default=PROMPTS, help="default: the application's")
    parser.add_argument("--limit", type=int, help="rows of each kind; default: all")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    arguments = parser.parse_args(argv)
    import torch

    from model.engine import load
    from model.train.card import table
    from model.train.evaluate import evaluate as measure
    from model.train.recipe import read_prompts

    torch.set_num_threads(arguments.threads)
    engine, prompts = load(arguments.folder), read_prompts(arguments.prompts)
    measured = measure(
        engine, prompts, arguments.data, limit=arguments.limit, on_progress=_progress
    )
    sys.stdout.write(table(measured.figures))
    return 0


def _measure(run: Run, arguments: argparse.Namespace) -> None:
    """Calibrate the exported checkpoint and write down its figures."""
    from model.engine import load
    from model.train.card import table, write_card, write_profile
    from model.train.evaluate import evaluate as measure

    measured = measure(
        load(arguments.out),
        run.curriculum.prompts,
        arguments.data,
        limit=arguments.limit,
        on_progress=_progress,
    )
    write_profile(arguments.out, run.recipe, measured)
    write_card(arguments.out, run.recipe, measured, run.step)
    sys.stdout.write(table(measured.figures))


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


def _progress(what: str, done: int, total: int) -> None:
    """A line that stays where it is, on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{what}: {done}/{total} " + ("" if done < total else "\n"))


def _say(line: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()
