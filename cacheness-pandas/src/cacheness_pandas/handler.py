# SPDX-License-Identifier: MIT
"""What the handlers of frames, series, indexes and tables have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from cacheness.errors import ConfigError
from cacheness.handlers.base import BufferHandler
from cacheness_pandas.batches import COMPRESSED_ROWS, batches_of
from cacheness_pandas.body import EXTENSIONS, Format, TableFile, write_batches, write_parquet
from cacheness_pandas.checking import check_table
from cacheness_pandas.compression import noted_codec
from cacheness_pandas.numbers import Memory, Ownership
from cacheness_pandas.reading import Reader, spec_of
from cacheness_pandas.selection import PARTIAL, Selection
from cacheness_pandas.stored import StoredTable
from cacheness_pandas.writing import Writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa

    from cacheness.handlers.base import HandlerContext
    from cacheness.handlers.protocols import Buffer

__all__ = ["PandasHandler", "format_of", "write_table"]


class PandasHandler(BufferHandler):
    """Keeps pandas objects as Arrow IPC files or, with ``format="parquet"``, as Parquet.

    What Arrow can't keep exactly lies beside the table, each column by its own handler.
    The file's schema says under ``cacheness`` how the object is put together again, and
    under ``pandas`` what pandas and other tools want to know.
    """

    extension = ".arrow"
    data_only = True
    compresses = True
    maps_payload = True
    opens_buffers = True
    buffers_last = True
    """`open` and `map` take a payload's bytes in memory, too, where it has no file of its own."""
    partial_options = PARTIAL
    """The options of a get that need only a part of the file: `get_with` reads that alone."""

    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        chosen = format_of(context.options)
        table = self.to_table(obj, Writer(context, parquet=chosen == "parquet"))
        return write_table(table, chosen, len(obj), context)

    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        if buffer.readonly:
            buffer = memoryview(bytearray(buffer))
        file = TableFile(buffer, metadata)
        return self._read(file, Memory(buffer, Ownership.PRIVATE), context)

    def get_with(self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext) -> Any:
        """Read from the file only what the options ask for."""
        file = TableFile(file_path, metadata)
        return self._read(file, Memory(None, Ownership.SHARED), context)

    def map(
        self, file_path: str | memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        """The object as a read-only view of the memory-mapped file."""
        file = TableFile(file_path, metadata)
        return self._read(file, Memory(None, Ownership.VIEW), context)

    def open(
        self, file_path: str | memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> StoredTable:
        """A lazy handle on the memory-mapped file."""
        file = TableFile(file_path, metadata)
        memory = Memory(None, Ownership.SHARED)

        def read(options: Mapping[str, Any]) -> Any:
            return self._read_selected(file, memory, context, Selection(options))

        return StoredTable(file, read)

    @abstractmethod
    def to_table(self, obj: Any, writer: Writer) -> pa.Table:
        """The object's table, made by ``writer``, with its spec in the schema's metadata.

        Raises:
            CannotHandleError: It can't be kept exactly.
        """

    @abstractmethod
    def columns_for(self, spec: dict[str, Any], selection: Selection, reader: Reader) -> Any:
        """The numbers of the columns to read, ascending, or None for all.

        Args:
            spec: What `to_table` noted of the object.
            selection: The columns and rows that were asked for.
            reader: Reads labels and parts.

        Raises:
            ConfigError: Such an object has no columns to choose from.
        """

    @abstractmethod
    def from_columns(self, spec: dict[str, Any], selection: Selection, reader: Reader) -> Any:
        """The object that ``spec`` notes, of the ``selection`` that ``reader`` has read."""

    def _read(self, file: TableFile, memory: Memory, context: HandlerContext) -> Any:
        return self._read_selected(file, memory, context, Selection(context.options))

    def _read_selected(
        self,
        file: TableFile,
        memory: Memory,
        context: HandlerContext,
        selection: Selection,
    ) -> Any:
        spec = spec_of(file.schema)
        rows, then = selection.span(file.num_rows)
        parquet = file.format == "parquet"
        reader = Reader(context, memory, {}, parquet=parquet, rows=rows)
        wanted = self.columns_for(spec, selection, reader)
        table = file.read(wanted, rows)
        if not context.verified:
            check_table(table)
        numbers = range(table.num_columns) if wanted is None else wanted
        reader.columns = dict(zip(numbers, table.columns, strict=True))
        found = self.from_columns(spec, selection, reader)
        if then is None:
            return found
        return found.iloc[then] if hasattr(found, "iloc") else found[then]


def format_of(options: Mapping[str, Any]) -> Format:
    """The format that a put asks for.

    Raises:
        ConfigError: There is no such format.
    """
    chosen = options.get("format", "arrow")
    if chosen == "arrow":
        return "arrow"
    if chosen == "parquet":
        return "parquet"
    raise ConfigError(f'option format is "arrow" or "parquet", not {chosen!r}')


def write_table(
    table: pa.Table, format: Format, rows: int, context: HandlerContext
) -> tuple[Iterable[Buffer], dict[str, Any]]:
    """A table's file, buffer by buffer, and what its entry says of it."""
    metadata: dict[str, Any] = {"format": format, "rows": rows}
    if format != "arrow":
        metadata["extension"] = EXTENSIONS[format]
    codec = noted_codec(context.compressor, table, metadata)
    if format == "parquet":
        return write_parquet(table, codec), metadata
    if codec is None:
        return write_batches(table.schema, batches_of(table), None), metadata
    metadata["batch_rows"] = COMPRESSED_ROWS
    return write_batches(table.schema, batches_of(table, COMPRESSED_ROWS), codec), metadata
