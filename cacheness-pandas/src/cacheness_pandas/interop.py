# SPDX-License-Identifier: MIT
"""The note by which pandas and pyarrow know a frame in an Arrow or Parquet file."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PANDAS", "pandas_note"]

PANDAS = b"pandas"
"""The key in the schema's metadata under which pandas looks."""

_NAMES = {
    "string": "unicode",
    "large_string": "unicode",
    "binary": "bytes",
    "large_binary": "bytes",
    "date32[day]": "date",
    "halffloat": "float16",
    "float": "float32",
    "double": "float64",
    "null": "empty",
}


def pandas_note(
    columns: Sequence[tuple[object, str, Any]],
    labels: pd.Index[Any],
    index: pd.Index[Any],
    index_fields: Sequence[str | None],
    schema: pa.Schema,
) -> bytes:
    """The JSON that pandas' documentation of stored frames describes.

    cacheness itself never reads it: it can't say all that an exact round trip needs.

    Args:
        columns: Label, name in the file and dtype of each column that is in the file.
        labels: The index of all columns.
        index: The rows' index.
        index_fields: The names in the file of the index's columns.
        schema: The file's.
    """
    names = list(index.names)
    fields = [field for field in index_fields if field is not None]
    noted = [_column(_text(label), field, dtype, schema) for label, field, dtype in columns]
    for level, field in enumerate(index_fields):
        if field is not None:
            dtype = index.levels[level].dtype if isinstance(index, pd.MultiIndex) else index.dtype
            noted.append(_column(_text(names[level]), field, dtype, schema))
    note = {
        "index_columns": [_range(index)] if isinstance(index, pd.RangeIndex) else fields,
        "column_indexes": _column_indexes(labels),
        "columns": noted,
        "attributes": {},
        "creator": {"library": "cacheness-pandas", "version": "1"},
        "pandas_version": pd.__version__,
    }
    return json.dumps(note).encode()


def _column(name: str | None, field: str, dtype: Any, schema: pa.Schema) -> dict[str, Any]:
    kind = schema.field(field).type
    note = _kind_of_numpy(dtype, kind) if isinstance(dtype, np.dtype) else _kind(dtype, kind)
    return {"name": name, "field_name": field, **note}


@lru_cache(maxsize=256)
def _kind_of_numpy(dtype: np.dtype[Any], kind: pa.DataType) -> dict[str, Any]:
    """The same for each of a wide frame's columns; pandas' dtypes may hold whole indexes."""
    return _kind(dtype, kind)


def _kind(dtype: Any, kind: pa.DataType) -> dict[str, Any]:
    """What the note says of a column of a dtype."""
    note: dict[str, Any] = {
        "pandas_type": _NAMES.get(str(kind), str(kind)),
        "numpy_type": str(dtype),
        "metadata": None,
    }
    if pa.types.is_dictionary(kind):
        ordered = isinstance(dtype, pd.CategoricalDtype) and bool(dtype.ordered)
        note["pandas_type"] = "categorical"
        note["numpy_type"] = str(kind.index_type)
        note["metadata"] = {"num_categories": None, "ordered": ordered}
    elif isinstance(dtype, pd.CategoricalDtype):
        note["numpy_type"] = str(kind)  # bare codes
    elif pa.types.is_timestamp(kind):
        note["pandas_type"] = "datetime" if kind.tz is None else "datetimetz"
        note["numpy_type"] = f"datetime64[{kind.unit}]"
        note["metadata"] = None if kind.tz is None else {"timezone": kind.tz}
    elif pa.types.is_duration(kind):
        note["pandas_type"] = "timedelta"
    elif pa.types.is_fixed_size_list(kind):
        note["numpy_type"] = "object"  # complex numbers, as pairs
    return note


def _column_indexes(labels: pd.Index[Any]) -> list[dict[str, Any]]:
    several = isinstance(labels, pd.MultiIndex)
    levels = labels.levels if isinstance(labels, pd.MultiIndex) else [labels]
    return [
        _column_index(name, level, plain=not several)
        for name, level in zip(labels.names, levels, strict=True)
    ]


def _column_index(name: object, level: pd.Index[Any], *, plain: bool) -> dict[str, Any]:
    kind = "unicode"
    numpy_type = "object"
    if plain and isinstance(level.dtype, type(pd.Series([0]).dtype)) and level.dtype.kind in "iu":
        kind = numpy_type = str(level.dtype)
    return {
        "name": _text(name),
        "field_name": _text(name),
        "pandas_type": kind,
        "numpy_type": numpy_type,
        "metadata": {"encoding": "UTF-8"} if kind == "unicode" else None,
    }


def _range(index: pd.RangeIndex) -> dict[str, Any]:
    return {
        "kind": "range",
        "name": _text(index.name),
        "start": index.start,
        "stop": index.stop,
        "step": index.step,
    }


def _text(label: object) -> str | None:
    if label is None:
        return None
    return str(label).encode(errors="replace").decode()
