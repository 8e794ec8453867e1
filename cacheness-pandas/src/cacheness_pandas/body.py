# SPDX-License-Identifier: MIT
"""The files that tables are stored in: Arrow IPC, its stream form, Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from cacheness_pandas.batches import batches_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cacheness.handlers.protocols import Buffer

__all__ = [
    "EXTENSIONS",
    "PARQUET_ROWS",
    "Format",
    "TableFile",
    "write_batches",
    "write_parquet",
]

Format: TypeAlias = Literal["arrow", "arrow_stream", "parquet"]

EXTENSIONS: dict[Format, str] = {
    "arrow": ".arrow",
    "arrow_stream": ".arrows",
    "parquet": ".parquet",
}
PARQUET_ROWS = 1 << 17
"""Rows in a row group of a Parquet file: what a partial read has to decode."""
_SMALL = 64 << 10
"""Up to this size, bytes are gathered into one buffer rather than handed on one by one."""


def write_batches(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], codec: str | None, *, stream: bool = False
) -> Iterator[Buffer]:
    """An Arrow IPC file, buffer by buffer; columns are not copied.

    Args:
        schema: The table's.
        batches: Its rows.
        codec: ``"lz4"``, ``"zstd"``, or None.
        stream: Write the stream form, which allows each batch its own dictionaries.
    """
    sink = _Sink()
    options = pa.ipc.IpcWriteOptions(compression=codec)
    open_writer = pa.ipc.new_stream if stream else pa.ipc.new_file
    file = pa.PythonFile(sink, mode="w")
    with open_writer(file, schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield from sink.drain()
    yield from sink.drain(last=True)


def write_parquet(table: pa.Table, codec: str | None) -> Iterator[Buffer]:
    """A Parquet file, row group by row group.

    Args:
        table: Its columns are of types that Parquet keeps.
        codec: ``"lz4"``, ``"zstd"``, ``"gzip"``, or None.
    """
    sink = _Sink()
    file = pa.PythonFile(sink, mode="w")
    with pq.ParquetWriter(
        file, table.schema, compression=codec or "none", use_compliant_nested_type=False
    ) as writer:
        for batch in batches_of(table, PARQUET_ROWS):
            writer.write_batch(batch, row_group_size=PARQUET_ROWS)
            yield from sink.drain()
    yield from sink.drain(last=True)


class TableFile:
    """A stored file that is open for reading, whole or in part.

    Args:
        source: The file's bytes, or its path: such a file is memory-mapped.
        metadata: What its entry says: ``format``, ``rows``, and ``batch_rows`` where all
            batches but the last have that many rows.

    Raises:
        ValueError: The entry names no format of a table.
    """

    def __init__(self, source: memoryview | str, metadata: Mapping[str, Any]) -> None:
        stored: Format = metadata["format"]
        if stored not in EXTENSIONS:
            raise ValueError(f"{stored!r} is no format of a stored table")
        self.format = stored
        self.num_rows = int(metadata["rows"])
        self._batch_rows = int(metadata.get("batch_rows", 0))
        self._compressed = bool(metadata.get("codec"))
        self.buffer: pa.Buffer = (
            _mapped(source) if isinstance(source, str) else pa.py_buffer(source)
        )
        """The file's bytes, read or mapped."""
        self._parquet: Any = None
        self._whole: Any = None
        self.schema: pa.Schema
        """The schema of all columns."""
        if stored == "parquet":
            self._parquet = pq.ParquetFile(pa.BufferReader(self.buffer))
            self.schema = self._parquet.schema_arrow
        else:
            self._whole = self._open_arrow(None)
            self.schema = self._whole.schema

    def read(self, columns: Sequence[int] | None = None, rows: slice | None = None) -> pa.Table:
        """Read a table; without a copy where the file is not compressed.

        Args:
            columns: The numbers of the columns to read, ascending; None for all.
            rows: The rows to read, of step one and within the table; None for all.
        """
        if columns is not None and not columns:
            return pa.table({})
        if self._parquet is not None:
            return _read_parquet(self._parquet, columns, rows)
        if self.format == "arrow_stream":
            reader = self._open_arrow(None)  # a stream is read once
        elif columns is None or not self._compressed:
            reader = self._whole  # to pick columns would copy them; all together cost nothing
        else:
            reader = self._open_arrow(list(columns))
        if rows is not None and self._is_regular(reader):
            return _read_batches(reader, rows, self._batch_rows)
        table = reader.read_all()
        if columns is not None and table.num_columns > len(columns):
            table = table.select(list(columns))
        return table if rows is None else _cut(table, rows)

    def _is_regular(self, reader: Any) -> bool:
        """Whether the batches have the size they should: very long texts may split some."""
        size = self._batch_rows
        return size > 0 and reader.num_record_batches == -(-self.num_rows // size)

    def _open_arrow(self, fields: list[int] | None) -> Any:
        if self.format == "arrow_stream":
            return pa.ipc.open_stream(self.buffer)
        return pa.ipc.open_file(self.buffer, options=pa.ipc.IpcReadOptions(included_fields=fields))


def _mapped(path: str) -> pa.Buffer:
    """A file's bytes, memory-mapped for as long as anything refers to them."""
    with pa.memory_map(path) as file:
        return file.read_buffer()


def _read_parquet(file: Any, columns: Sequence[int] | None, rows: slice | None) -> pa.Table:
    names = None if columns is None else [file.schema_arrow.names[at] for at in columns]
    if rows is None:
        return file.read(columns=names)
    groups, first = _row_groups(file.metadata, rows)
    table = file.read_row_groups(groups, columns=names)
    return _cut(table, slice(rows.start - first, rows.stop - first))


def _cut(table: pa.Table, rows: slice) -> pa.Table:
    return table.slice(rows.start, rows.stop - rows.start)


def _read_batches(reader: Any, rows: slice, size: int) -> pa.Table:
    first = rows.start // size
    last = min(max(first + 1, -(-rows.stop // size)), reader.num_record_batches)
    batches = [reader.get_batch(at) for at in range(first, last)]
    table = pa.Table.from_batches(batches, reader.schema)
    return _cut(table, slice(rows.start - first * size, rows.stop - first * size))


def _row_groups(metadata: Any, rows: slice) -> tuple[list[int], int]:
    """The row groups that the rows lie in, and the number of the first row of those."""
    groups: list[int] = []
    first, at = rows.start, 0
    for number in range(metadata.num_row_groups):
        size = metadata.row_group(number).num_rows
        if at < rows.stop and rows.start < at + size:
            first = first if groups else at
            groups.append(number)
        at += size
    return groups, first


class _Sink:
    """A file for Arrow to write to, which keeps what it is given until it is fetched."""

    def __init__(self) -> None:
        self._full: list[Buffer] = []
        self._small = bytearray()
        self._size = 0
        self.closed = False

    def write(self, data: pa.Buffer | bytes) -> int:
        size = len(data)
        self._size += size
        if size <= _SMALL:
            self._small += data
        else:
            self._flush()
            self._full.append(memoryview(data).cast("B"))
        return size

    def drain(self, *, last: bool = False) -> list[Buffer]:
        """What was written since; small leftovers stay until the last time."""
        if last or len(self._small) > _SMALL:
            self._flush()
        full, self._full = self._full, []
        return full

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Nothing to do: all is fetched by `drain`."""

    def close(self) -> None:
        self.closed = True

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def _flush(self) -> None:
        if self._small:
            self._full.append(self._small)
            self._small = bytearray()
