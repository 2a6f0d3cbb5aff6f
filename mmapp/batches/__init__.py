"""Batches: tables of listings or documents read as rows of work, and their results written."""

from mmapp.batches.columns import CATEGORIES, COLUMNS, NEEDED, RESULTS, Columns, parse_map
from mmapp.batches.fields import fields_workbook, write_fields
from mmapp.batches.results import harmless, write_results
from mmapp.batches.rows import Keeper, read_batch, read_cells, read_columns

__all__ = [
    "CATEGORIES",
    "COLUMNS",
    "NEEDED",
    "RESULTS",
    "Columns",
    "Keeper",
    "fields_workbook",
    "harmless",
    "parse_map",
    "read_batch",
    "read_cells",
    "read_columns",
    "write_fields",
    "write_results",
]
