"""`python -m workers.evaluation KIND DATA --out DIR`: one evaluation, told to `mmapp evaluate`.

On stdout stands one JSON object a line: `{"done", "total"}` as it goes, and at the end either
`{"table", "inputs", "failed"}` or `{"error", "exit_code"}`. Settings are those of the environment.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmapp.config import Settings, load_settings
from mmapp.errors import CheckpointProblem, MmappError
from mmapp.types import Engine


def main(argv: Sequence[str]) -> int:
    # Threads of torch that wait shall sleep: the machine has other things to do.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from workers.evaluation.run import evaluate

    try:
        settings = load_settings()
        outcome = evaluate(_options(argv), settings, lambda: _load_engine(settings), _tell)
    except MmappError as error:
        _say({"error": str(error), "exit_code": error.exit_code})
        return error.exit_code
    table = [[figure.label, figure.shown] for figure in outcome.measured.figures]
    _say({"table": table, "inputs": outcome.inputs, "failed": outcome.failed})
    return 0


def _options(argv: Sequence[str]) -> Any:
    from workers.evaluation.kinds import KindName
    from workers.evaluation.run import Options

    parser = argparse.ArgumentParser(prog="python -m workers.evaluation")
    parser.add_argument("kind", type=KindName)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=1)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--calibrate", action="store_true")
    return Options(**vars(parser.parse_args(argv)))


def _load_engine(settings: Settings) -> Engine:
    if settings.engine_url:
        from workers.remote import RemoteEngine

        remote = RemoteEngine.from_settings(settings)
        remote.profile = {**remote.profile, "regions": False}
        return remote
    import torch

    import model
    from workers.readings import open_store

    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        engine = model.load(settings.checkpoint, dtype=settings.dtype, device=settings.device)
    except (ValueError, OSError, RuntimeError) as error:
        raise CheckpointProblem(f"{settings.checkpoint} can't be loaded: {error}") from error
    # Several questions may be about one document; nothing of this data is left on the disk.
    engine.prefixes = open_store(settings.model_copy(update={"prefix_disk_mb": 0}), engine.device)
    # Where in a photo a verdict comes from is not measured, and costs two thirds of the time.
    engine.profile = {**engine.profile, "regions": False}
    return engine


def _tell(done: int, total: int) -> None:
    _say({"done": done, "total": total})


def _say(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (KeyboardInterrupt, BrokenPipeError):
        # Interrupted, or nobody listens any more; what was done is in the folder.
        os._exit(130)
