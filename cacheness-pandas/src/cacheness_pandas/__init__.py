# SPDX-License-Identifier: MIT
"""Frames, series, indexes and Arrow tables for cacheness: exact, fast, readable by other tools.

Installing the package is all there is to do: cacheness finds it. What is here is for
those who want to name a class.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness_pandas.frame import DataFrameHandler
    from cacheness_pandas.index import IndexHandler
    from cacheness_pandas.listing import entries_frame
    from cacheness_pandas.series import SeriesHandler
    from cacheness_pandas.stored import StoredTable
    from cacheness_pandas.table import ArrowTableHandler

__all__ = [
    "ArrowTableHandler",
    "DataFrameHandler",
    "IndexHandler",
    "SeriesHandler",
    "StoredTable",
    "entries_frame",
]

_MODULES = {
    "ArrowTableHandler": "table",
    "DataFrameHandler": "frame",
    "IndexHandler": "index",
    "SeriesHandler": "series",
    "StoredTable": "stored",
    "entries_frame": "listing",
}


def __getattr__(name: str) -> object:
    """Import a public name at its first use: importing this package costs nothing."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
