"""The results of a batch as CSV: the columns of the input, then what came out.

Called by `cli` and `api`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from typing import Any, TextIO

from mmapp import reviews
from mmapp.batches.columns import RESULTS
from mmapp.jobs import BatchRowResult
from mmapp.types import TaskName

#: A spreadsheet runs a cell that begins so (OWASP, "CSV Injection"), the wide forms in CJK locales.
RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def write_results(
    rows: Iterable[BatchRowResult], task: TaskName, out: TextIO, *, is_reviewed: bool = False
) -> None:
    """One line of CSV for each row: its columns, then what came out.

    `refuted` is the refuted claims' words, joined by "; "; `claims` and `summary` are JSON as in
    `--json`; `pages` is how many the document has. Cells that a spreadsheet would run begin with an
    apostrophe. With `is_reviewed` what people said of verdicts (`mmapp.reviews`) is at the end.
    `out` should be opened with `newline=""`.
    """
    writer = csv.writer(out, lineterminator="\n")
    made = [name for name in RESULTS[task] if is_reviewed or name not in reviews.COLUMNS]
    columns: list[str] | None = None
    for row in rows:
        if columns is None:
            columns = [name for name in row.cells if name.casefold() not in RESULTS[task]]
            writer.writerow(map(harmless, [*columns, *made]))
        cells = [row.cells.get(name, "") for name in columns]
        writer.writerow(map(harmless, [*cells, *_outcome(row, task)[: len(made)]]))
    if columns is None:
        writer.writerow(made)


def harmless(cell: str) -> str:
    """The cell so that a spreadsheet shows it as text."""
    return f"'{cell}" if cell.startswith(RUN_BY_SPREADSHEETS) else cell


def _outcome(row: BatchRowResult, task: TaskName) -> list[str]:
    if row.result is None:
        return [row.error if name == "error" else "" for name in RESULTS[task]]
    payload = row.result.payload
    if task is TaskName.SUMMARIZE:
        return [_as_json(payload["summary"]), str(payload["document"]["pages"]), row.error]
    refuted = [claim["text"] for claim in payload["claims"] if claim["label"] == "REFUTED"]
    score = f"{payload['score']:.4f}"
    found = [payload["verdict"], score, "; ".join(refuted), _as_json(payload["claims"]), row.error]
    return [*found, *reviews.cells(row.result)]


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
