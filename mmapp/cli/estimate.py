"""`mmapp estimate`: what a job would take, without submitting it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mmapp.cli.outputs import TaskChoice, write_json
from mmapp.cli.session import good_ones, open_desk
from mmapp.cli.tasks import Json, Password, task_name
from mmapp.errors import BadInput
from mmapp.types import (
    AskParams,
    CompareParams,
    Estimate,
    ExtractParams,
    FiguresParams,
    Listing,
    Params,
    SummarizeParams,
)


def estimate(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="PDFs, images or texts", show_default=False),
    ],
    task: Annotated[TaskChoice, typer.Option(help="What would be done")] = TaskChoice.SUMMARIZE,
    question: Annotated[str, typer.Option(help="What would be asked, with --task ask")] = "",
    title: Annotated[str, typer.Option(help="What the listing says, with --task check")] = "",
    password: Password = None,
    as_json: Json = False,
) -> int:
    """Estimate pages, tokens, memory and time of a job, without submitting it."""
    if task is TaskChoice.COMPARE and len(paths) != 2:
        raise BadInput("two versions are compared; give OLD and NEW")
    with open_desk() as desk:
        added, status = good_ones(paths, lambda path: desk.add_file(path, password))
        if status:
            return status
        hashes = [document.sha256 for document in added]
        name = task_name(task)
        found: list[tuple[str, Estimate]] = []
        for sha256s in [hashes] if task in TOGETHER else [[sha256] for sha256 in hashes]:
            params = params_of(task, sha256s, question, title)
            names = [document.name for document in added if document.sha256 in sha256s]
            found.append((", ".join(names), desk.jobs.estimate(name, params)))
    if as_json:
        write_json([{"task": name, "label": label, **asdict(told)} for label, told in found])
        return 0
    from mmapp.display import estimate_view, show

    for label, told in found:
        show(estimate_view(label, name, told))
    return 0


#: Tasks that take all paths in one job.
TOGETHER = (TaskChoice.CHECK, TaskChoice.COMPARE)


def params_of(task: TaskChoice, sha256s: Sequence[str], question: str, title: str) -> Params:
    """The parameters of a task, with defaults for what is not asked for."""
    first, *others = sha256s
    match task:
        case TaskChoice.SUMMARIZE:
            return SummarizeParams(first)
        case TaskChoice.ASK:
            return AskParams(first, question)
        case TaskChoice.EXTRACT:
            return ExtractParams(first)
        case TaskChoice.FIGURES:
            return FiguresParams(first)
        case TaskChoice.COMPARE:
            return CompareParams(first, others[0])
        case TaskChoice.CHECK:
            return Listing(tuple(sha256s), title)
