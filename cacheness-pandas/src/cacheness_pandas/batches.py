# SPDX-License-Identifier: MIT
"""How a table is cut into the batches of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["COMPRESSED_ROWS", "batches_of"]

COMPRESSED_ROWS = 1 << 18
"""Rows in a batch of a compressed file: what a partial read has to decompress."""
_MOST_ROWS = (1 << 31) - 1
_GATHERED_ROWS = 1 << 22
"""Rows that are copied together at a time where columns come in many chunks."""


def batches_of(table: pa.Table, rows: int = 0) -> Iterator[pa.RecordBatch]:
    """The table's rows in batches; one even where there are no rows, for its dictionaries.

    A column in one chunk is not copied. All rows are one batch where that may be, so that
    numbers can be used in place; many chunks are copied together a few at a time.

    Args:
        table: Columns of any chunking.
        rows: Rows in a batch at most; 0 for as many as possible.
    """
    if not table.num_rows:
        yield _without_rows(table)
        return
    if not rows:
        chunked = any(column.num_chunks > 1 for column in table.columns)
        rows = _GATHERED_ROWS if chunked else _MOST_ROWS
    for start in range(0, table.num_rows, rows):
        yield from table.slice(start, rows).combine_chunks().to_batches()


def _without_rows(table: pa.Table) -> pa.RecordBatch:
    arrays = [
        column.chunk(0)[:0] if column.num_chunks else pa.array([], column.type)
        for column in table.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema)
