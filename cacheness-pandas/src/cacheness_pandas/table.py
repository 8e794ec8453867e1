# SPDX-License-Identifier: MIT
"""The handler of Arrow tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cacheness.errors import ConfigError
from cacheness.handlers.base import BufferHandler
from cacheness_pandas.body import EXTENSIONS, TableFile, write_batches, write_parquet
from cacheness_pandas.categories import has_several_dictionaries
from cacheness_pandas.checking import check_table
from cacheness_pandas.compression import noted_codec
from cacheness_pandas.describing import describe_table
from cacheness_pandas.fingerprint import feed_arrow
from cacheness_pandas.handler import format_of
from cacheness_pandas.parquet import parquet_keeps
from cacheness_pandas.selection import PARTIAL, Selection
from cacheness_pandas.stored import StoredTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cacheness.handlers.base import HandlerContext
    from cacheness.handlers.protocols import Buffer, Update
    from cacheness_pandas.body import Format

__all__ = ["ArrowTableHandler"]

_KINDS = {
    pa.Table: "table",
    pa.RecordBatch: "batch",
    pa.ChunkedArray: "chunked",
    pa.Schema: "schema",
}
_ONLY = "values"


class ArrowTableHandler(BufferHandler):
    """Keeps pyarrow's Table, RecordBatch, ChunkedArray, Array and Schema.

    The file is the table itself, with its own metadata, so that whatever reads Arrow or
    Parquet reads it. Chunks stay as they are where all columns have the same ones.
    """

    name = "arrow"
    extension = ".arrow"
    data_only = True
    compresses = True
    opens_buffers = True
    buffers_last = True
    """`open` and `map` take a payload's bytes in memory, too, where it has no file of its own."""
    partial_options = PARTIAL
    """The options of a get that need only a part of the file: `get_with` reads that alone."""

    def can_handle(self, obj: object) -> bool:
        return type(obj) in _KINDS or isinstance(obj, pa.Array)

    def describe(self, obj: Any) -> str:
        name = type(obj).__name__
        if isinstance(obj, pa.Schema):
            return f"Schema of {len(obj)} fields"
        if isinstance(obj, (pa.Table, pa.RecordBatch)):
            return describe_table(name, obj.shape, obj.schema.types, obj.nbytes)
        return describe_table(name, (len(obj),), [obj.type], obj.nbytes)

    def fingerprint(self, obj: Any, update: Update) -> None:
        feed_arrow(obj, update)

    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        table = _as_table(obj)
        chosen = _format_for(table, format_of(context.options))
        metadata: dict[str, Any] = {
            "format": chosen,
            "rows": table.num_rows,
            "kind": _KINDS.get(type(obj), "array"),
        }
        if chosen != "arrow":
            metadata["extension"] = EXTENSIONS[chosen]
        codec = noted_codec(context.compressor, table, metadata)
        if chosen == "parquet":
            return write_parquet(table, codec), metadata
        batches = table.to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
        if metadata["kind"] in ("batch", "array"):
            batches = [obj] if isinstance(obj, pa.RecordBatch) else _one_batch(table, obj)
        stream = chosen == "arrow_stream"
        return write_batches(table.schema, batches, codec, stream=stream), metadata

    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        return self._read(buffer, metadata, context)

    def get_with(self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext) -> Any:
        """Read from the memory-mapped file only what the options ask for."""
        return self._read(file_path, metadata, context)

    def map(
        self, file_path: str | memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        """The table over the memory-mapped file."""
        return self._read(file_path, metadata, context)

    def open(
        self, file_path: str | memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> StoredTable:
        """A lazy handle on the memory-mapped file."""
        file = TableFile(file_path, metadata)

        def read(options: Mapping[str, Any]) -> Any:
            return _selected(file, context, Selection(options)).to_pandas()

        return StoredTable(file, read)

    def _read(
        self, source: memoryview | str, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        file = TableFile(source, metadata)
        if metadata["kind"] == "schema":
            return file.schema
        selection = Selection(context.options)
        if selection.columns is not None and metadata["kind"] not in ("table", "batch"):
            raise ConfigError("an array has no columns to choose from: leave option columns out")
        return _as_stored(_selected(file, context, selection), metadata["kind"])


def _as_table(obj: Any) -> pa.Table:
    if isinstance(obj, pa.Table):
        return obj
    if isinstance(obj, pa.RecordBatch):
        return pa.Table.from_batches([obj])
    if isinstance(obj, pa.Schema):
        return obj.empty_table()
    return pa.table({_ONLY: obj})


def _one_batch(table: pa.Table, array: pa.Array) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_arrays([array], schema=table.schema)]


def _format_for(table: pa.Table, wanted: Format) -> Format:
    """The format that keeps the table exactly: Parquet lacks some of Arrow's types.

    Raises:
        ConfigError: It is to be Parquet and can't.
    """
    if wanted == "parquet":
        lost = [field.name for field in table.schema if not parquet_keeps(field.type)]
        if lost:
            raise ConfigError(f"Parquet can't keep the types of the columns {lost}: store as arrow")
        return wanted
    several = any(has_several_dictionaries(column) for column in table.columns)
    return "arrow_stream" if several else "arrow"


def _selected(file: TableFile, context: HandlerContext, selection: Selection) -> pa.Table:
    names = file.schema.names
    numbers = None
    if selection.columns is not None:
        missing = [name for name in selection.columns if names.count(name) != 1]
        if missing:
            raise ConfigError(f"the stored table has no single column of the names {missing}")
        numbers = sorted({names.index(name) for name in selection.columns})
    rows, then = selection.span(file.num_rows)
    table = file.read(numbers, rows)
    if not context.verified:
        check_table(table)
    if selection.columns is not None:
        table = table.select(selection.columns)
    return table if then is None else table.take(pa.array(range(table.num_rows)[then], pa.int64()))


def _as_stored(table: pa.Table, kind: str) -> Any:
    if kind == "table":
        return table
    if kind == "batch":
        return _batch_of(table)
    column = table.column(0)
    if kind == "chunked":
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return column.combine_chunks()


def _batch_of(table: pa.Table) -> pa.RecordBatch:
    batches = table.to_batches()
    if len(batches) == 1:
        return batches[0]
    arrays = [column.combine_chunks() for column in table.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema)
