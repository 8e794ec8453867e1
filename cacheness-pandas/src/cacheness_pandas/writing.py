# SPDX-License-Identifier: MIT
"""Collects the Arrow columns of one payload while it is being encoded."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from cacheness_pandas.axes import IndexSpec, encode_index
from cacheness_pandas.batches import batches_of
from cacheness_pandas.columns import Column, Encoded, Spec, encode, values_of
from cacheness_pandas.parquet import fit_for_parquet

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from cacheness.handlers.base import HandlerContext

__all__ = ["SPEC", "Writer"]

SPEC = b"cacheness"
"""The key in the schema's metadata under which a payload's spec is."""


class Writer:
    """The table of one payload, column by column.

    Args:
        context: Keeps parts.
        parquet: Whether the table is to be a Parquet file, which keeps fewer types.
    """

    def __init__(self, context: HandlerContext, *, parquet: bool = False) -> None:
        self._context = context
        self.parquet = parquet
        self._arrays: list[pa.Array | pa.ChunkedArray] = []
        self._names: list[str] = []
        self._taken: set[str] = set()

    def column(self, name: str, values: Column) -> tuple[Spec, str | None]:
        """Add a column; give its spec, and its name in the file if it is there."""
        return self._add(name, *encode(values, self))

    def index(
        self, index: pd.Index[Any], names: Sequence[str]
    ) -> tuple[IndexSpec, list[str | None]]:
        """Add the columns of an index; give its spec, and the names of its columns."""
        arrays, spec = encode_index(index, self)
        if spec["kind"] == "index":
            spec["values"], field = self._add(names[0], arrays[0], spec["values"])
            return spec, [field]
        fields: list[str | None] = []
        for number, array in enumerate(arrays):
            level, field = self._add(names[number], array, spec["levels"][number])
            spec["levels"][number] = level
            fields.append(field)
        return spec, fields

    def index_values(self, index: pd.Index[Any]) -> tuple[pa.Array | None, IndexSpec]:
        """An index in one Arrow array, without adding it to the table."""
        arrays, spec = encode_index(index, self)
        if spec["kind"] == "range":
            return pa.array(values_of(index)), spec
        return arrays[0], spec

    def pack(self, index: pd.Index[Any]) -> str:
        """An index of its own length as text for the spec."""
        inner = Writer(self._context)
        spec, _ = inner.index(index, [str(level) for level in range(index.nlevels)])
        table = inner.table({SPEC: json.dumps(spec).encode()})
        out = io.BytesIO()
        with pa.ipc.new_stream(out, table.schema) as stream:
            for batch in batches_of(table):
                stream.write_batch(batch)
        return base64.b64encode(out.getvalue()).decode()

    def part(self, obj: object) -> dict[str, Any]:
        """Keep an object beside the table, by its own handler; give its spec."""
        plain = isinstance(obj, np.ndarray) and obj.dtype != object
        if not (plain or isinstance(obj, pa.ChunkedArray)):
            self._context.require_signature()
        return {"kind": "part", "part": self._context.put_part(obj)}

    def apart(self, values: Column) -> Encoded:
        """Keep a whole column beside the table."""
        return None, self.part(values)

    def table(self, metadata: dict[bytes, bytes]) -> pa.Table:
        """The table of all columns that were added."""
        fields = [
            pa.field(name, array.type)
            for name, array in zip(self._names, self._arrays, strict=True)
        ]
        return pa.Table.from_arrays(self._arrays, schema=pa.schema(fields, metadata))

    def _add(
        self, name: str, array: pa.Array | pa.ChunkedArray | None, spec: Any
    ) -> tuple[Any, str | None]:
        if array is None:
            return spec, None
        if self.parquet:
            kept = fit_for_parquet(array, spec)
            if kept is None:
                return self._beside(array, spec), None
            array = kept
        field = self._free(name)
        self._arrays.append(array)
        self._names.append(field)
        return spec, field

    def _beside(self, array: pa.Array | pa.ChunkedArray, spec: Any) -> dict[str, Any]:
        """Keep a column that Parquet can't as an Arrow file of its own."""
        if isinstance(array, pa.Array):
            array = pa.chunked_array([array])
        whole = {"kind": "plain", "dtype": spec} if isinstance(spec, str) else spec
        return {**whole, "apart": self.part(array)}

    def _free(self, name: str) -> str:
        """The name, made unique: other tools want that of a file's columns."""
        free, number = name, 0
        while free in self._taken:
            number += 1
            free = f"{name}.{number}"
        self._taken.add(free)
        return free
