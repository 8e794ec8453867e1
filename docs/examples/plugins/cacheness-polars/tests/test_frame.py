# SPDX-License-Identifier: MIT
"""The handler keeps cacheness's promises for frames and series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from polars.testing import assert_frame_equal
from polars.testing.parametric import dataframes, series

from cacheness import UnifiedCache
from cacheness.testing import HandlerContract

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hypothesis.strategies import SearchStrategy


class TestPolarsHandler(HandlerContract):
    handler = "polars"

    def objects(self) -> SearchStrategy[Any]:
        return dataframes(max_cols=4, max_size=6) | series(max_size=6)

    def equal(self, one: Any, other: Any) -> bool:
        if type(one) is not type(other):
            return False
        if isinstance(one, pl.Series):
            one, other = one.to_frame(), other.to_frame()
        return one.schema == other.schema and one.equals(other)

    def copy_of(self, obj: Any) -> Any:
        return obj.clone()

    def changed(self, obj: Any) -> Any:
        return obj.alias("renamed") if isinstance(obj, pl.Series) else obj.head(0)

    def change_in_place(self, obj: Any) -> bool:
        if isinstance(obj, pl.Series):
            return False
        obj.insert_column(0, pl.Series("a new column", [1] * obj.height, dtype=pl.Int8))
        return True

    def refused(self) -> Iterable[object]:
        objects = pl.Series("o", [object()], dtype=pl.Object)
        return [objects, objects.to_frame(), pl.LazyFrame({"a": [1]}), {"a": [1]}]


def test_only_the_columns_that_are_asked_for_are_read(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": range(20_000), "b": range(20_000)})

    with UnifiedCache(tmp_path) as cache:
        cache.put(frame, run=1)
        some = cache.get(run=1, options={"columns": ["b"]})
        lazy = cache.open(run=1).filter(pl.col("a") < 3).collect()

    assert_frame_equal(some, frame.select("b"))
    assert_frame_equal(lazy, frame.head(3))


def test_a_frame_without_columns_keeps_its_rows(tmp_path: Path) -> None:
    with UnifiedCache(tmp_path) as cache:
        cache["none"] = pl.DataFrame()
        assert cache["none"].shape == (0, 0)
