# SPDX-License-Identifier: MIT
"""The handler of data frames."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pandas as pd

from cacheness_pandas.axes import encode_names, is_kept
from cacheness_pandas.blocks import frame_of
from cacheness_pandas.columns import values_of
from cacheness_pandas.describing import describe_frame
from cacheness_pandas.fingerprint import feed_frame
from cacheness_pandas.handler import PandasHandler
from cacheness_pandas.interop import PANDAS, pandas_note
from cacheness_pandas.reading import columns_of, columns_of_index
from cacheness_pandas.selection import positions_of
from cacheness_pandas.state import pack_state, restore_state
from cacheness_pandas.writing import SPEC

if TYPE_CHECKING:
    import pyarrow as pa

    from cacheness.handlers.protocols import Update
    from cacheness_pandas.reading import Reader
    from cacheness_pandas.selection import Selection
    from cacheness_pandas.writing import Writer

__all__ = ["DataFrameHandler"]


class DataFrameHandler(PandasHandler):
    """Keeps ``pandas.DataFrame``, and no subclass of it."""

    name = "dataframe"

    def can_handle(self, obj: object) -> bool:
        return type(obj) is pd.DataFrame and is_kept(obj.index) and is_kept(obj.columns)

    def describe(self, obj: pd.DataFrame) -> str:
        return describe_frame(obj)

    def fingerprint(self, obj: pd.DataFrame, update: Update) -> None:
        feed_frame(obj, update)

    def to_table(self, obj: pd.DataFrame, writer: Writer) -> pa.Table:
        specs, noted = [], []
        for label, series in obj.items():
            spec, field = writer.column(_field(label), values_of(series))
            specs.append(spec)
            if field is not None:
                noted.append((label, field, series.dtype))
        index, index_fields = writer.index(obj.index, index_names(obj.index))
        whole = {
            "columns": specs,
            "labels": encode_names(obj.columns, writer),
            "index": index,
            **pack_state(obj, writer),
        }
        metadata = {SPEC: json.dumps(whole).encode()}
        table = writer.table(metadata)
        note = pandas_note(noted, obj.columns, obj.index, index_fields, table.schema)
        return table.replace_schema_metadata({**metadata, PANDAS: note})

    def columns_for(
        self, spec: dict[str, Any], selection: Selection, reader: Reader
    ) -> list[int] | None:
        if selection.columns is None:
            return None
        starts = _starts(spec)
        wanted = positions_of(selection.columns, reader.names(spec["labels"]))
        found = {starts[at] for at in wanted if columns_of(spec["columns"][at])}
        index = range(starts[-1], starts[-1] + columns_of_index(spec["index"]))
        return sorted({*found, *index})

    def from_columns(
        self, spec: dict[str, Any], selection: Selection, reader: Reader
    ) -> pd.DataFrame:
        starts = _starts(spec)
        labels = reader.names(spec["labels"])
        if selection.columns is None:
            wanted = list(range(len(labels)))
        else:
            wanted = positions_of(selection.columns, labels)
            labels = labels.take(wanted)
        columns = [reader.column(spec["columns"][at], starts[at]) for at in wanted]
        index = reader.index(spec["index"], starts[-1])
        frame = frame_of(columns, index, labels, reader.memory)
        restore_state(frame, spec, reader)
        return frame


def index_names(index: pd.Index[Any]) -> list[str]:
    """Names for the columns of an index in a file: its own, or one that says what it is."""
    return [
        name if isinstance(name, str) and _field(name) == name else f"__index_level_{level}__"
        for level, name in enumerate(index.names)
    ]


def _field(label: object) -> str:
    """A column's name in the file, which has to be a text in UTF-8."""
    return str(label).encode(errors="replace").decode()


def _starts(spec: dict[str, Any]) -> list[int]:
    """Where each column is in the file, and last where the index begins."""
    return list(accumulate(map(columns_of, spec["columns"]), initial=0))
