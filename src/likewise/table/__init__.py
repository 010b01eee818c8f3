"""The engine: one walk over a table of distances, rows against columns, tile by tile."""

from __future__ import annotations

from likewise.table.listed import listed_distances
from likewise.table.protocol import Near, Part, Rows, TableFunction, Tile, WholeRows
from likewise.table.value import TableRequest, in_one_tile, rows_and_near, table_value

__all__ = [
    "Near",
    "Part",
    "Rows",
    "TableFunction",
    "TableRequest",
    "Tile",
    "WholeRows",
    "in_one_tile",
    "listed_distances",
    "rows_and_near",
    "table_value",
]
