# SPDX-License-Identifier: MIT
"""The handler for frames and series: one Arrow IPC file each."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.exceptions import PanicException

from cacheness import CannotHandleError, Handler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cacheness import HandlerContext

__all__ = ["PolarsHandler"]


class PolarsHandler(Handler):
    """Keeps `polars.DataFrame` and `polars.Series`; columns of Python objects it leaves to others.

    ``options={"columns": [...]}`` reads some columns of a frame, and `open` gives a lazy frame.
    """

    name = "polars"
    extension = ".arrow"
    data_only = True
    partial_options = frozenset({"columns"})

    def can_handle(self, obj: object) -> bool:
        return type(obj) in (pl.DataFrame, pl.Series)

    def put(self, obj: pl.DataFrame | pl.Series, file_path: str) -> dict[str, Any]:
        frame = obj.to_frame() if isinstance(obj, pl.Series) else obj
        held = [name for name, dtype in frame.schema.items() if _holds_objects(dtype)]
        if held:
            raise CannotHandleError(f"the column {held[0]!r} holds Python objects")
        frame.write_ipc(file_path)
        if not frame.width:
            # Arrow has no rows without columns, so their number is told beside the file.
            return {"kind": type(obj).__name__, "rows": frame.height}
        return {"kind": type(obj).__name__}

    def get_with(
        self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext
    ) -> pl.DataFrame | pl.Series:
        # From an open file, as a path might be mapped: the file may be gone soon.
        with open(file_path, "rb") as file, _panics_as_errors():
            frame = pl.read_ipc(file, columns=context.options.get("columns"))
        if "rows" in metadata:
            return pl.DataFrame(height=metadata["rows"]) if metadata["rows"] else frame
        return frame.to_series() if metadata.get("kind") == "Series" else frame

    def open(
        self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext
    ) -> pl.LazyFrame:
        """A lazy frame over the file."""
        return pl.scan_ipc(file_path)

    def map(
        self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext
    ) -> pl.DataFrame | pl.Series:
        """The frame over the mapped file."""
        if "rows" in metadata:
            return self.get_with(file_path, metadata, context)
        with _panics_as_errors():
            frame = pl.scan_ipc(file_path).collect()
        return frame.to_series() if metadata.get("kind") == "Series" else frame

    def describe(self, obj: pl.DataFrame | pl.Series) -> str:
        if isinstance(obj, pl.Series):
            return f"{obj.dtype} ({len(obj)},)"[:200]
        return f"DataFrame {obj.shape}"


@contextmanager
def _panics_as_errors() -> Iterator[None]:
    """Make an error of a panic, which no ``except Exception`` would hold back."""
    try:
        yield
    except PanicException as panic:
        raise ValueError(f"polars can't read the file: {panic}") from None


def _holds_objects(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List | pl.Array):
        return _holds_objects(dtype.inner)  # type: ignore[arg-type]  # a class would be none of these
    if isinstance(dtype, pl.Struct):
        return any(_holds_objects(field.dtype) for field in dtype.fields)  # type: ignore[arg-type]
    return dtype == pl.Object
