# SPDX-License-Identifier: MIT
"""What a Parquet file keeps of Arrow's types."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from cacheness_pandas.columns import Spec

__all__ = ["fit_for_parquet", "parquet_keeps"]

Column: TypeAlias = pa.Array | pa.ChunkedArray


def fit_for_parquet(column: Column, spec: Spec) -> Column | None:
    """The column as Parquet keeps it, or None where it would come back as another type.

    Seconds become milliseconds, and a dictionary may come back as its values: whoever
    reads these knows what they were.

    Args:
        column: Any column.
        spec: What its reader goes by.
    """
    kind = column.type
    if parquet_keeps(kind):
        return column
    if not isinstance(spec, str) and spec.get("kind") == "arrow":
        return None
    if pa.types.is_dictionary(kind) and parquet_keeps(kind.value_type):
        return column
    if pa.types.is_timestamp(kind) and kind.unit == "s":
        try:
            return column.cast(pa.timestamp("ms", kind.tz))
        except pa.ArrowInvalid:
            return None  # too far from 1970 for milliseconds
    return None


@lru_cache(maxsize=256)
def parquet_keeps(kind: pa.DataType) -> bool:
    """Whether a column of the type comes back from a Parquet file as what it was."""
    if _has_dictionary(kind):
        return False
    empty = pa.table({"c": pa.array([], kind)})
    out = io.BytesIO()
    try:
        pq.write_table(empty, out, use_compliant_nested_type=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    found = pq.read_schema(pa.BufferReader(out.getvalue())).field(0).type
    return bool(found.equals(kind, check_metadata=True))


def _has_dictionary(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return True
    return any(_has_dictionary(kind.field(at).type) for at in range(kind.num_fields))
