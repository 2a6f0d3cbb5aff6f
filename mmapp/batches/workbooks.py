"""Excel workbooks: the first visible sheet -> rows of cells as a person sees them.

The sheet is read row by row with openpyxl, which takes no formula and no macro to run: a formula is
what Excel stored as its value. Refused, before anything is unpacked: parts that state more bytes
than MMAPP_MAX_BYTES, because the shared words of a workbook are held in memory whole. Rows behind a
long gap and columns beyond the most that are read do not exist. Entities that grow without bound
are stopped by expat itself. Called by `tables`.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import IO, TYPE_CHECKING, Any

from mmapp.errors import BadInput
from mmapp.records import plain

if TYPE_CHECKING:
    from openpyxl.workbook import Workbook

#: Rows that Excel has.
MOST_ROWS = 1_048_576

#: A table ends before so many empty rows. A file may number its rows as it likes, and the reader
#: gives an empty one for each number that was left out.
MOST_EMPTY_ROWS = 1_000


def sheet_rows(
    file: IO[bytes], name: str, most_columns: int, most_bytes: int
) -> Iterator[list[str]]:
    """Each row of the first visible sheet, empty ones too, without empty cells at its end."""
    _check_parts(file, name, most_bytes)
    workbook = _open(file, name)
    try:
        sheets = [sheet for sheet in workbook.worksheets if sheet.sheet_state == "visible"]
        if not sheets:
            raise BadInput(f"{name} has no visible sheet; put the table on one")
        # The stated size of a sheet is a hint of whoever wrote it, and often wrong.
        sheets[0].reset_dimensions()
        empty = 0
        for row in sheets[0].iter_rows(max_row=MOST_ROWS, max_col=most_columns, values_only=True):
            cells = [_cell(value) for value in row]
            while cells and not cells[-1]:
                cells.pop()
            empty = 0 if cells else empty + 1
            if empty > MOST_EMPTY_ROWS:
                return
            yield cells
    except BadInput:
        raise
    except Exception as error:  # a damaged sheet raises whatever its reader trips over
        raise _damaged(name, error) from error
    finally:
        workbook.close()


def _check_parts(file: IO[bytes], name: str, most_bytes: int) -> None:
    """The sizes that a zip states bind: no part gives more than it states."""
    try:
        with zipfile.ZipFile(file) as archive:
            parts = [entry for entry in archive.infolist() if entry.filename.endswith(".xml")]
    except (zipfile.BadZipFile, ValueError) as error:
        raise _damaged(name, error) from error
    total = sum(part.file_size for part in parts)
    if total > most_bytes:
        raise BadInput(
            f"{name} unpacks to {total:,} bytes of cells; at most {most_bytes:,} are read. Split"
            " it, save it as CSV, or raise MMAPP_MAX_BYTES."
        )
    file.seek(0)


def _open(file: IO[bytes], name: str) -> Workbook:
    from openpyxl import load_workbook

    try:
        with warnings.catch_warnings():
            # About styles and validations, which are not read.
            warnings.simplefilter("ignore")
            return load_workbook(file, read_only=True, data_only=True, keep_links=False)
    except Exception as error:  # as above
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> BadInput:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return BadInput(
        f"{name} can't be read as a workbook: {reason}. Open it in a spreadsheet and save it anew."
    )


def _cell(value: Any) -> str:
    """Nearly as the sheet shows it: whole numbers without a point, days without a midnight."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, datetime | date | time):
        return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    return plain(str(value))
