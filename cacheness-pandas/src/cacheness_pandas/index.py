# SPDX-License-Identifier: MIT
"""The handler of indexes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cacheness.errors import ConfigError
from cacheness_pandas.axes import is_kept
from cacheness_pandas.describing import describe_index
from cacheness_pandas.fingerprint import feed_index
from cacheness_pandas.frame import index_names
from cacheness_pandas.handler import PandasHandler
from cacheness_pandas.writing import SPEC

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from cacheness.handlers.protocols import Update
    from cacheness_pandas.reading import Reader
    from cacheness_pandas.selection import Selection
    from cacheness_pandas.writing import Writer

__all__ = ["IndexHandler"]


class IndexHandler(PandasHandler):
    """Keeps pandas' own index classes, and no subclass of them."""

    name = "index"

    def can_handle(self, obj: object) -> bool:
        return is_kept(obj)

    def describe(self, obj: pd.Index[Any]) -> str:
        return describe_index(obj)

    def fingerprint(self, obj: pd.Index[Any], update: Update) -> None:
        feed_index(obj, update)

    def to_table(self, obj: pd.Index[Any], writer: Writer) -> pa.Table:
        spec, _ = writer.index(obj, index_names(obj))
        return writer.table({SPEC: json.dumps(spec).encode()})

    def columns_for(self, spec: dict[str, Any], selection: Selection, reader: Reader) -> None:
        if selection.columns is not None:
            raise ConfigError("an index has no columns to choose from: leave option columns out")

    def from_columns(
        self, spec: dict[str, Any], selection: Selection, reader: Reader
    ) -> pd.Index[Any]:
        return reader.index(spec, 0)
