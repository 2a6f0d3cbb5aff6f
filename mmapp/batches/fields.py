"""The fields of an extraction as a table: CSV or an Excel workbook, one row for each value.

A field without a value has one row that says so by being empty. Cells that a spreadsheet would run
are escaped. Called by `cli` and `api`; refuses nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from mmapp.batches.results import harmless

COLUMNS = ("field", "value", "normal", "label", "found_by", "probability", "page", "context")


def field_rows(payload: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The cells of each value, as `COLUMNS` names them; page and context are of its first place."""
    for field in payload["fields"]:
        if not field["values"]:
            yield (field["name"], *[""] * (len(COLUMNS) - 1))
        for value in field["values"]:
            likely = "" if value["probability"] is None else f"{value['probability']:.4f}"
            yield (
                *(field["name"], value["text"], value["normal"], value["label"]),
                *(value["found_by"], likely, str(value["evidence"][0]["page"]), value["context"]),
            )


def write_fields(payload: Mapping[str, Any], out: TextIO) -> None:
    """As CSV; `out` should be opened with `newline=""`."""
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in field_rows(payload):
        table.writerow(map(harmless, row))


def fields_workbook(payload: Mapping[str, Any]) -> bytes:
    """As an Excel workbook of one sheet, every cell a text."""
    from openpyxl import Workbook

    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet("fields")
    sheet.append(COLUMNS)
    for row in field_rows(payload):
        sheet.append([harmless(cell) for cell in row])
    packed = io.BytesIO()
    workbook.save(packed)
    return packed.getvalue()
