"""Tasks: pure functions from a document or a listing to a payload; prompt beside parser.

No database, no queue, no torch, no files: an engine and plain values in, plain JSON out. `compare`
asks no engine. `run` is called by jobs on a worker. It lets the exceptions of `report` pass: that
is how a job is cancelled.
"""

from __future__ import annotations

from typing import Any

from mmapp.tasks.abstractive import write_summary
from mmapp.tasks.ask import ask
from mmapp.tasks.check_listing import check_listing
from mmapp.tasks.compare import compare
from mmapp.tasks.extract import extract
from mmapp.tasks.figures import figures
from mmapp.tasks.inputs import DocumentInput, FiguresInput, Inputs, ListingInput, VersionsInput
from mmapp.tasks.summarize import summarize
from mmapp.types import (
    AskParams,
    Engine,
    ExtractParams,
    Params,
    ReportProgress,
    SummarizeParams,
    TaskName,
)

__all__ = [
    "DocumentInput",
    "FiguresInput",
    "Inputs",
    "ListingInput",
    "VersionsInput",
    "run",
    "schema_version",
]

_SCHEMA_VERSIONS = {
    TaskName.SUMMARIZE: 2,
    TaskName.CHECK_LISTING: 1,
    TaskName.ASK: 1,
    TaskName.EXTRACT: 1,
    TaskName.COMPARE: 1,
    TaskName.FIGURES: 1,
}


def schema_version(task: TaskName) -> int:
    """Version of the payload that `run` makes; raised when a key changes its meaning."""
    return _SCHEMA_VERSIONS[task]


def run(
    task: TaskName,
    engine: Engine | None,
    inputs: Inputs,
    params: Params,
    report: ReportProgress,
) -> dict[str, Any]:
    """The task's payload; its key "usage" is for the record: tokens, durations, prompt hash.

    `engine`: None is enough for tasks that ask none.
    """
    if isinstance(inputs, VersionsInput):
        return compare(inputs, report)
    if engine is None:
        raise TypeError(f"{task} asks an engine, and there is none")
    if isinstance(inputs, DocumentInput) and isinstance(params, SummarizeParams):
        if params.mode == "abstractive":
            return write_summary(engine, inputs, params, report)
        return summarize(engine, inputs, params, report)
    if isinstance(inputs, DocumentInput) and isinstance(params, AskParams):
        return ask(engine, inputs, params, report)
    if isinstance(inputs, DocumentInput) and isinstance(params, ExtractParams):
        return extract(engine, inputs, params, report)
    if isinstance(inputs, FiguresInput):
        return figures(engine, inputs, report)
    if isinstance(inputs, ListingInput) and task is TaskName.CHECK_LISTING:
        return check_listing(engine, inputs, report)
    raise TypeError(f"{task} can't take {type(inputs).__name__} with {type(params).__name__}")
