# SPDX-License-Identifier: MIT
"""What the package registers with cacheness."""

from __future__ import annotations

from cacheness import HandlerSpec, hookimpl

cacheness_api = 1


@hookimpl
def cacheness_handlers() -> list[HandlerSpec]:
    """Name the handler; polars is imported when one of its frames turns up."""
    return [
        HandlerSpec(
            "polars",
            "cacheness_polars.frame:PolarsHandler",
            types=("polars.DataFrame", "polars.Series"),
            priority=100,
        )
    ]
