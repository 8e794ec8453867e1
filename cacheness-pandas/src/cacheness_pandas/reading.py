# SPDX-License-Identifier: MIT
"""Gives the columns of a stored table back as pandas' arrays."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cacheness_pandas.axes import decode_index
from cacheness_pandas.checking import check_table
from cacheness_pandas.columns import Column, Spec, decode
from cacheness_pandas.numbers import Memory, Ownership
from cacheness_pandas.writing import SPEC, Writer

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from cacheness.handlers.base import HandlerContext

__all__ = ["Reader", "columns_of", "columns_of_index", "spec_of"]


class Reader:
    """The columns of one stored table, by their number in the file.

    Args:
        context: Gives back parts.
        memory: Makes numpy arrays of Arrow buffers.
        columns: The columns that were read, each already cut to ``rows``.
        parquet: Whether they come from a Parquet file.
        rows: The rows that are read, of step one; None for all.
    """

    def __init__(
        self,
        context: HandlerContext,
        memory: Memory,
        columns: Mapping[int, pa.ChunkedArray],
        *,
        parquet: bool = False,
        rows: slice | None = None,
    ) -> None:
        self._context = context
        self.columns = columns
        self.memory = memory
        self.parquet = parquet
        self.rows = rows

    @property
    def verified(self) -> bool:
        """Whether somebody vouches for what is read."""
        return self._context.verified

    def column(self, spec: Spec, at: int) -> Column:
        """The column that the spec tells of, which lies at ``at`` in the file."""
        return decode(spec, self._fetch(spec, at), self)

    def index(self, spec: dict[str, Any], at: int) -> pd.Index[Any]:
        """The index that the spec tells of, whose columns begin at ``at`` in the file."""
        columns = []
        for each in _specs_of_index(spec):
            columns.append(self._fetch(each, at))
            at += columns_of(each)
        return decode_index(spec, columns, self)

    def names(self, spec: dict[str, Any]) -> pd.Index[Any]:
        """An index of its own length, which is all in its spec: a frame's columns."""
        return decode_index(spec, [], self._whole({}))

    def index_of(self, spec: dict[str, Any], values: pa.ChunkedArray) -> pd.Index[Any]:
        """An index of its own length, whose values were read already."""
        return decode_index(spec, [values], self._whole({0: values}))

    def unpack(self, packed: str) -> pd.Index[Any]:
        """The index that `Writer.pack` was given."""
        with pa.ipc.open_stream(base64.b64decode(packed)) as stream:
            table = stream.read_all()
        if not self._context.verified:
            check_table(table)
        memory = Memory(None, Ownership.VIEW)  # an index never changes
        inner = Reader(self._context, memory, dict(enumerate(table.columns)))
        return inner.index(spec_of(table.schema), 0)

    def arrow_values(self, labels: pd.Index[Any]) -> pa.Array:
        """An index's values as they were written into a dictionary."""
        values, _ = Writer(self._context).index_values(labels)
        return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values  # pyright: ignore[reportOptionalMemberAccess]  # pyarrow has no types

    def part(self, spec: dict[str, Any]) -> Any:
        """What was kept beside the table."""
        return self._context.get_part(spec["part"])

    def _whole(self, columns: Mapping[int, pa.ChunkedArray]) -> Reader:
        return Reader(self._context, self.memory, columns, parquet=self.parquet)

    def _fetch(self, spec: Spec, at: int) -> pa.ChunkedArray:
        if isinstance(spec, dict) and "apart" in spec:
            column = self.part(spec["apart"])
            if not isinstance(column, pa.ChunkedArray):
                raise ValueError("a part is no Arrow column")
            return column[self.rows] if self.rows else column
        return self.columns[at] if columns_of(spec) else None


def spec_of(schema: pa.Schema) -> dict[str, Any]:
    """The spec of a stored table.

    Raises:
        ValueError: It has none.
    """
    found = (schema.metadata or {}).get(SPEC)
    if found is None:
        raise ValueError("the table was not stored by cacheness-pandas")
    spec: dict[str, Any] = json.loads(found)
    return spec


def columns_of(spec: Spec) -> int:
    """How many columns of the file a column's spec takes: one, or none if it lies apart."""
    if isinstance(spec, str):
        return 1
    return 0 if spec.get("kind") in ("part", "sparse") or "apart" in spec else 1


def columns_of_index(spec: dict[str, Any]) -> int:
    """How many columns of the file an index's spec takes."""
    return sum(map(columns_of, _specs_of_index(spec)))


def _specs_of_index(spec: dict[str, Any]) -> list[Any]:
    if spec["kind"] == "index":
        return [spec["values"]]
    levels: list[Any] = spec.get("levels", [])
    return levels
