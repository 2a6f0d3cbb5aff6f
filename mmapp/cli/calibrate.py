"""`mmapp calibrate`: calibration and threshold of listings, fitted to what people say of verdicts.

The fit is done by a process of its own, `python -m workers.evaluation.reviewed`, where model meets
application; no model is loaded. What it finds is kept in the data folder (`mmapp.calibrations`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmapp import calibrations
from mmapp.cli.outputs import write_json
from mmapp.cli.review import every_review
from mmapp.cli.session import open_jobs, read_settings
from mmapp.cli.tasks import Json
from mmapp.errors import BadInput, JobFailed

if TYPE_CHECKING:
    from mmapp.checkpoints import Checkpoint
    from mmapp.config import Settings
    from mmapp.jobs import Jobs

FIGURES = {"accuracy": "Accuracy", "ece": "Expected calibration error", "auroc": "AUROC"}


def calibrate(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be fitted, and keep nothing")
    ] = False,
    reset: Annotated[
        bool, typer.Option("--reset", help="Go back to what came with the checkpoint")
    ] = False,
    as_json: Json = False,
) -> int:
    """Fit listings' calibration and threshold to your reviews; workers use them from then on."""
    from mmapp.display import working

    settings = read_settings()
    if reset:
        return _reset(settings, _weights(settings), as_json)
    checkpoint = _answering(settings)
    with open_jobs(settings) as jobs:
        listings = _reviewed(jobs, checkpoint)
    current = calibrations.in_record(checkpoint.profile, "check_listing")
    with working("Fitting"):
        found = _fit({"current": _numbers(current), "listings": listings})
    found["id"] = None
    if not dry_run:
        found["id"] = calibrations.write(
            settings.data_dir,
            checkpoint.weights_sha256,
            found["constants"],
            figures=found["figures"],
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    if as_json:
        write_json(found)
    else:
        _show(found)
    return 0


def _answering(settings: Settings) -> Checkpoint:
    from mmapp.checkpoints import answering

    return answering(
        settings.checkpoint, settings.data_dir, settings.engine_url, settings.engine_model
    )


def _weights(settings: Settings) -> str:
    """Which weights answer, whatever state their calibration is in."""
    from mmapp.checkpoints import identify, identify_remote

    if settings.engine_url:
        return identify_remote(settings.engine_url, settings.engine_model).weights_sha256
    return identify(settings.checkpoint, settings.data_dir).weights_sha256


def _reset(settings: Settings, weights_sha256: str, as_json: bool) -> int:
    was_there = calibrations.reset(settings.data_dir, weights_sha256)
    if as_json:
        write_json({"reset": was_there})
    elif was_there:
        sys.stdout.write("The calibration that came with the checkpoint is in force again\n")
    else:
        sys.stdout.write("Nothing was fitted; the checkpoint's own calibration is in force\n")
    return 0


def _reviewed(jobs: Jobs, checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """The listings that these weights have checked and people have reviewed, in one order."""
    own = checkpoint.profile.get("calibration", {}).get("check_listing", {})
    said: dict[str, dict[int, str]] = defaultdict(dict)
    rows = {}
    for row in every_review(jobs):
        if row.counts and row.result.record["weights_sha256"] == checkpoint.weights_sha256:
            rows[row.job.id] = row
            said[row.job.id][row.review.claim or 0] = row.review.label.value
    return [
        {
            "params": dict(row.job.params),
            "claims": row.result.payload["claims"],
            # Results of earlier versions were made with what came with the weights.
            "made_with": _numbers(row.result.record.get("calibration", own)),
            "said": _decided(said[job_id]),
        }
        for job_id, row in sorted(rows.items())
    ]


def _decided(said: Mapping[int, str]) -> dict[int, str]:
    """Without what people find unclear: that is neither right nor wrong."""
    return {number: label for number, label in said.items() if label != "NOT_ENOUGH_INFO"}


def _numbers(constants: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in constants.items() if isinstance(value, int | float)}


def _fit(given: Mapping[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "workers.evaluation.reviewed"]
    done = subprocess.run(
        command, input=json.dumps(given), stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    if done.returncode:
        raise JobFailed(f"The fit ended with status {done.returncode}; nothing was changed")
    found: dict[str, Any] = json.loads(done.stdout)
    if "error" in found:
        raise BadInput(found["error"])
    return found


def _show(found: Mapping[str, Any]) -> None:
    from rich import box
    from rich.table import Table

    from mmapp.display import show

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "before", "after"):
        table.add_column(column, justify="right" if column else "left")
    before, after = found["figures"]["before"], found["figures"]["after"]
    for of in ("claims", "listings"):
        table.add_row(f"Reviewed {of}", str(before[of]["count"]), "")
        for key, name in FIGURES.items():
            table.add_row(f"  {name}", _figure(before[of][key]), _figure(after[of][key]))
    show(table)
    show("After: fitted to four fifths of the listings, and measured on the others, in turn.")
    for of, missing in found["missing"].items():
        if missing:
            show(f"For {of} nothing was fitted: {missing} are needed.")
    if found["left_out"]:
        show(f"{found['left_out']} listings were left out: checked by an earlier version.")
    constants = ", ".join(f"{name} {value:g}" for name, value in found["constants"].items())
    kept = f"Kept as {found['id']}, from the next job on" if found["id"] else "Not kept"
    show(f"{kept}: {constants}")


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
