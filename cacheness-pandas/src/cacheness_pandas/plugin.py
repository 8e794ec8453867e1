# SPDX-License-Identifier: MIT
"""What the package registers with cacheness."""

from __future__ import annotations

from cacheness import HandlerSpec, hookimpl

cacheness_api = 1


@hookimpl
def cacheness_handlers() -> list[HandlerSpec]:
    """Name the handlers; their modules are imported when a frame or table turns up."""
    return [
        HandlerSpec(
            "dataframe",
            "cacheness_pandas.frame:DataFrameHandler",
            types=("pandas.DataFrame",),
            priority=100,
        ),
        HandlerSpec(
            "series",
            "cacheness_pandas.series:SeriesHandler",
            types=("pandas.Series",),
            priority=100,
        ),
        HandlerSpec(
            "index",
            "cacheness_pandas.index:IndexHandler",
            types=("pandas.Index",),
            priority=100,
        ),
        HandlerSpec(
            "arrow",
            "cacheness_pandas.table:ArrowTableHandler",
            types=(
                "pyarrow.Table",
                "pyarrow.RecordBatch",
                "pyarrow.ChunkedArray",
                "pyarrow.Array",
                "pyarrow.Schema",
            ),
            priority=100,
        ),
    ]
