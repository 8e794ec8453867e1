# SPDX-License-Identifier: MIT
"""The handler of series."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from cacheness.errors import ConfigError
from cacheness_pandas.axes import is_kept
from cacheness_pandas.columns import values_of
from cacheness_pandas.describing import describe_series
from cacheness_pandas.fingerprint import feed_series
from cacheness_pandas.frame import index_names
from cacheness_pandas.handler import PandasHandler
from cacheness_pandas.interop import PANDAS, pandas_note
from cacheness_pandas.labels import pack_label, unpack_label
from cacheness_pandas.reading import columns_of
from cacheness_pandas.state import pack_state, restore_state
from cacheness_pandas.writing import SPEC

if TYPE_CHECKING:
    import pyarrow as pa

    from cacheness.handlers.protocols import Update
    from cacheness_pandas.reading import Reader
    from cacheness_pandas.selection import Selection
    from cacheness_pandas.writing import Writer

__all__ = ["SeriesHandler"]


class SeriesHandler(PandasHandler):
    """Keeps ``pandas.Series``, and no subclass of it."""

    name = "series"

    def can_handle(self, obj: object) -> bool:
        return type(obj) is pd.Series and is_kept(obj.index)

    def describe(self, obj: pd.Series[Any]) -> str:
        return describe_series(obj)

    def fingerprint(self, obj: pd.Series[Any], update: Update) -> None:
        feed_series(obj, update)

    def to_table(self, obj: pd.Series[Any], writer: Writer) -> pa.Table:
        label = "values" if obj.name is None else obj.name
        spec, field = writer.column(str(label).encode(errors="replace").decode(), values_of(obj))
        index, index_fields = writer.index(obj.index, index_names(obj.index))
        whole = {
            "values": spec,
            "name": pack_label(obj.name, writer.part),
            "index": index,
            **pack_state(obj, writer),
        }
        metadata = {SPEC: json.dumps(whole).encode()}
        table = writer.table(metadata)
        noted = [] if field is None else [(label, field, obj.dtype)]
        labels = pd.Index([str(label)])
        note = pandas_note(noted, labels, obj.index, index_fields, table.schema)
        return table.replace_schema_metadata({**metadata, PANDAS: note})

    def columns_for(self, spec: dict[str, Any], selection: Selection, reader: Reader) -> None:
        if selection.columns is not None:
            raise ConfigError("a series has no columns to choose from: leave option columns out")

    def from_columns(
        self, spec: dict[str, Any], selection: Selection, reader: Reader
    ) -> pd.Series[Any]:
        values: Any = reader.column(spec["values"], 0)
        index = reader.index(spec["index"], columns_of(spec["values"]))
        name = unpack_label(spec["name"], reader.part)
        series: pd.Series[Any] = pd.Series(
            values, index=index, name=name, dtype=values.dtype, copy=False
        )
        restore_state(series, spec, reader)
        return series
