"""One evaluation: asks about every input, and writes what came of it into a folder.

predictions.jsonl grows line by line, so that a run that was killed can be resumed; then come
metrics.json and report.html. An input that can't be answered has an error in its line. Refuses to
resume what was begun with other data, weights or options. Called by `python -m workers.evaluation`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mmapp
from mmapp.config import Settings
from mmapp.errors import BadInput, MmappError
from mmapp.types import Engine
from model.engine import EngineError
from model.prompt import PromptError
from workers.evaluation.answers import Answers
from workers.evaluation.calibrate import calibrate
from workers.evaluation.kinds import Id, Kind, KindName, Measured, Prediction
from workers.evaluation.listings import Listings
from workers.evaluation.report import report
from workers.evaluation.summaries import Summaries

PREDICTIONS = "predictions.jsonl"
METRICS = "metrics.json"
REPORT = "report.html"
#: What the predictions of a folder were made from.
RUN = "run.json"

#: Called with (inputs done, inputs in all).
Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Options:
    kind: KindName
    data: Path
    out: Path
    sentences: int = 1
    limit: int | None = None
    resume: bool = False
    calibrate: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a person is told at the end."""

    measured: Measured
    inputs: int
    failed: int


def evaluate(
    options: Options, settings: Settings, load_engine: Callable[[], Engine], tell: Tell
) -> Outcome:
    """The engine is loaded only after the data was found good."""
    kind = _open(options, settings)
    if options.calibrate and options.kind is not KindName.LISTINGS:
        raise BadInput("--calibrate fits the score of listings; the other kinds have none")
    ids = kind.load(options.limit)
    if not ids:
        raise BadInput(f"{options.data.name} has no rows; there is nothing to evaluate")
    engine = load_engine()
    options.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    origin = _origin(options, engine)
    predictions = _resumed(options, origin, set(ids))
    resumed = len(predictions)
    _predict(kind, engine, predictions, len(ids), options.out / PREDICTIONS, tell)
    measured = kind.measure(predictions, engine.profile)
    if options.calibrate:
        calibrate(settings.checkpoint, measured.scored)
    failed = sum("error" in prediction for prediction in predictions.values())
    about = {
        "inputs": len(ids),
        "failed": failed,
        "resumed": resumed,
        "seconds": round(time.monotonic() - began, 3),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": engine.device,
        "dtype": engine.dtype,
        "mmapp": mmapp.__version__,
        **origin,
    }
    figures = {figure.key: figure.value for figure in measured.figures}
    _write(options.out / METRICS, _json({**figures, **measured.details, "run": about}))
    _write(options.out / REPORT, report(options.kind, measured, about))
    return Outcome(measured, len(ids), failed)


def _open(options: Options, settings: Settings) -> Kind:
    match options.kind:
        case KindName.LISTINGS:
            return Listings(options.data, settings)
        case KindName.SUMMARIES:
            return Summaries(options.data, settings, options.sentences)
        case KindName.ANSWERS:
            return Answers(options.data, settings)


def _predict(
    kind: Kind,
    engine: Engine,
    predictions: dict[Id, Prediction],
    total: int,
    path: Path,
    tell: Tell,
) -> None:
    """Adds the predictions that are not there yet, each to the file as soon as it is made."""
    tell(len(predictions), total)
    with path.open("a", encoding="utf-8") as file:
        for id_, question in kind.questions():
            if id_ in predictions:
                continue
            try:
                predictions[id_] = question(engine)
            except (MmappError, EngineError, PromptError) as error:
                predictions[id_] = {"error": " ".join(str(error).split())}
            file.write(_line(id_, predictions[id_]))
            file.flush()
            tell(len(predictions), total)


def _line(id_: Id, prediction: Prediction) -> str:
    return json.dumps({"id": id_, **prediction}, ensure_ascii=False) + "\n"


def _origin(options: Options, engine: Engine) -> dict[str, Any]:
    """What the predictions depend on."""
    with options.data.open("rb") as file:
        data_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "kind": options.kind,
        "data": options.data.name,
        "data_sha256": data_sha256,
        "sentences": options.sentences if options.kind is KindName.SUMMARIES else None,
        "checkpoint": engine.name,
        "weights_sha256": engine.weights_sha256,
    }


def _resumed(options: Options, origin: Mapping[str, Any], ids: set[Id]) -> dict[Id, Prediction]:
    """The predictions of an earlier run that stay, and nothing else in the file; errors are tried
    again."""
    run, path = options.out / RUN, options.out / PREDICTIONS
    known: dict[Id, Prediction] = {}
    if options.resume and run.is_file() and path.is_file():
        if json.loads(run.read_text(encoding="utf-8")) != origin:
            raise BadInput(
                f"{options.out} has predictions from other data, weights or options; leave --resume"
                " out to replace them, or give another folder"
            )
        for line in path.read_text(encoding="utf-8").split("\n"):
            prediction = _whole(line)
            id_ = prediction.pop("id", None)
            if id_ in ids and "error" not in prediction:
                known[id_] = prediction
    _write(run, _json(origin))
    _write(path, "".join(_line(id_, prediction) for id_, prediction in known.items()))
    return known


def _whole(line: str) -> dict[str, Any]:
    """The object in a line; empty for half a line, which a killed run may leave."""
    try:
        value: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return value


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _write(path: Path, text: str) -> None:
    """The whole file or the one before: a kill leaves no half of it."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
