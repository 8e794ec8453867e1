# SPDX-License-Identifier: MIT
"""A lazy handle on a table in the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    import polars
    import pyarrow as pa
    import pyarrow.dataset

    from cacheness_pandas.body import TableFile

__all__ = ["StoredTable"]


class StoredTable:
    """A frame, series, index or table in the cache, of which nothing is read yet.

    The file is memory-mapped: of an Arrow file nothing but what is touched is read from
    the disk, of a compressed or Parquet file the columns and row groups asked for. The
    handle stays good when the entry is replaced or deleted. ``cache.open(...)`` makes it.

    Example:
        >>> with cache.open(day="2013-01-01") as flights:
        ...     flights.num_rows
        ...     flights.to_pandas(columns=["carrier", "dep_delay"], rows=slice(0, 1000))
    """

    def __init__(self, file: TableFile, read: Callable[[Mapping[str, Any]], Any]) -> None:
        self._file: TableFile | None = file
        self._num_rows = file.num_rows
        self._read = read

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the file: the columns, then those of the index."""
        return self._open().schema

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return self._num_rows

    def to_arrow(self, columns: list[str] | None = None, rows: slice | None = None) -> pa.Table:
        """The Arrow table as it lies in the file, memory-mapped where it is not compressed.

        Args:
            columns: Names of columns of `schema`; None for all.
            rows: Rows by position, of step one; None for all.

        Raises:
            KeyError: There is no such column.
        """
        file = self._open()
        span = None if rows is None else slice(*rows.indices(self._num_rows)[:2])
        if span is not None and span.stop < span.start:
            span = slice(span.start, span.start)
        if columns is None:
            return file.read(None, span)
        names = file.schema.names
        missing = [name for name in columns if name not in names]
        if missing:
            raise KeyError(f"the stored table has no columns {missing}")
        return file.read(sorted(names.index(name) for name in columns), span).select(columns)

    def to_pandas(self, columns: list[Hashable] | None = None, rows: slice | None = None) -> Any:
        """The object as it was stored, or some columns and rows of it.

        Args:
            columns: Labels of columns; None for all.
            rows: A slice by position; None for all.

        Raises:
            ConfigError: There is no such column.
        """
        self._open()
        return self._read({"columns": columns, "rows": rows})

    def to_polars(
        self, columns: list[str] | None = None, rows: slice | None = None
    ) -> polars.DataFrame:
        """The table as a polars frame; needs polars. Arguments as for `to_arrow`."""
        import polars

        frame = polars.from_arrow(self.to_arrow(columns, rows))
        assert isinstance(frame, polars.DataFrame)  # noqa: S101 - for type checkers: a table makes a frame
        return frame

    def scan(self) -> pyarrow.dataset.Dataset:
        """The file as a pyarrow dataset: filters and projections read what they need."""
        import pyarrow.dataset as ds

        file = self._open()
        kinds = {"arrow": ds.IpcFileFormat, "parquet": ds.ParquetFileFormat}
        if file.format not in kinds:
            return ds.dataset(file.read())
        kind = kinds[file.format]()
        fragment = kind.make_fragment(file.buffer)
        return ds.FileSystemDataset([fragment], file.schema, kind)

    def close(self) -> None:
        """Let go of the file; what was read of it stays good."""
        self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._file is None:
            return "<StoredTable, closed>"
        return f"<StoredTable of {self._num_rows} rows: {', '.join(self.schema.names)}>"

    def _open(self) -> TableFile:
        if self._file is None:
            raise ValueError("this StoredTable was closed")
        return self._file
