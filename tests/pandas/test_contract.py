# SPDX-License-Identifier: MIT
"""The handlers of the package keep the promises that any handler makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.extra import pandas as pdst
from pandas.testing import assert_frame_equal, assert_index_equal, assert_series_equal

from cacheness.testing import HandlerContract

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hypothesis.strategies import SearchStrategy

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


def holds(check: Any, *arguments: Any, **options: Any) -> bool:
    """Whether an assertion of pandas holds."""
    try:
        check(*arguments, **options)
    except AssertionError:
        return False
    return True


def indexes() -> SearchStrategy[Any]:
    sizes = st.integers(0, 5)
    return (
        sizes.map(pd.RangeIndex)
        | st.lists(st.integers(-9, 9), max_size=5).map(lambda v: pd.Index(v, dtype="int64"))
        | st.lists(TEXT, max_size=5).map(lambda v: pd.Index(v, dtype="string", name="n"))
        | sizes.map(lambda n: pd.date_range("2020", periods=n, freq="D", tz="Asia/Tokyo"))
        | sizes.map(lambda n: pd.MultiIndex.from_product([["a", "b"], range(n)], names=["x", 1]))
        | sizes.map(lambda n: pd.interval_range(0, n))
    )


def columns(size: int) -> SearchStrategy[Any]:
    def of(elements: SearchStrategy[Any], dtype: Any) -> SearchStrategy[Any]:
        return st.lists(elements, min_size=size, max_size=size).map(
            lambda values: pd.array(values, dtype=dtype)
        )

    return (
        of(st.integers(-100, 100), "int16")
        | of(st.floats(width=32), "float32")
        | of(st.none() | st.integers(0, 9), "Int64")
        | of(st.none() | TEXT, "string")
        | of(st.none() | st.sampled_from(["a", "b"]), pd.CategoricalDtype(["b", "a", "unused"]))
        | of(st.none() | st.booleans(), "boolean")
        | of(st.datetimes().map(pd.Timestamp), "datetime64[us]")
    )


class TestDataFrameHandler(HandlerContract):
    handler = "dataframe"
    examples = 20

    def objects(self) -> SearchStrategy[Any]:
        def of(index: Any) -> SearchStrategy[Any]:
            return st.dictionaries(TEXT, columns(len(index)), max_size=3).map(
                lambda named: pd.DataFrame(named, index=index)
            )

        mixed = pdst.data_frames(
            [pdst.column("a", elements=st.floats()), pdst.column("b", dtype=bool)]
        )
        return indexes().flatmap(of) | mixed

    def equal(self, one: Any, other: Any) -> bool:
        return type(one) is type(other) and holds(
            assert_frame_equal, one, other, check_exact=True, check_freq=True, check_flags=True
        )

    def copy_of(self, obj: Any) -> Any:
        return obj.copy(deep=True)

    def changed(self, obj: Any) -> Any:
        return obj.assign(added=1)

    def change_in_place(self, obj: Any) -> bool:
        obj["changed"] = 1
        return True

    def refused(self) -> Iterable[object]:
        return [pd.Series([1]), {"a": [1]}, np.zeros((2, 2))]


class TestSeriesHandler(HandlerContract):
    handler = "series"
    examples = 20

    def objects(self) -> SearchStrategy[Any]:
        names = st.none() | TEXT | st.integers()
        return indexes().flatmap(
            lambda index: st.builds(
                lambda values, name: pd.Series(values, index=index, name=name),
                columns(len(index)),
                names,
            )
        )

    def equal(self, one: Any, other: Any) -> bool:
        return type(one) is type(other) and holds(
            assert_series_equal, one, other, check_exact=True, check_freq=True, check_flags=True
        )

    def copy_of(self, obj: Any) -> Any:
        return obj.copy(deep=True)

    def changed(self, obj: Any) -> Any:
        return obj.rename("renamed")

    def change_in_place(self, obj: Any) -> bool:
        obj.name = "changed"
        return True

    def refused(self) -> Iterable[object]:
        return [pd.DataFrame({"a": [1]}), pd.Index([1]), [1]]


class TestIndexHandler(HandlerContract):
    handler = "index"
    examples = 20

    def objects(self) -> SearchStrategy[Any]:
        return indexes()

    def equal(self, one: Any, other: Any) -> bool:
        return (
            type(one) is type(other)
            and holds(assert_index_equal, one, other, exact=True, check_exact=True)
            and getattr(one, "freq", None) == getattr(other, "freq", None)
        )

    def copy_of(self, obj: Any) -> Any:
        return obj.copy(deep=True)

    def changed(self, obj: Any) -> Any:
        return obj.append(obj) if len(obj) else obj.set_names(["new"] * obj.nlevels)

    def change_in_place(self, obj: Any) -> bool:
        obj.names = ["changed"] * obj.nlevels
        return True

    def refused(self) -> Iterable[object]:
        return [pd.Series([1]), range(3)]


class TestArrowTableHandler(HandlerContract):
    handler = "arrow"
    examples = 20

    def objects(self) -> SearchStrategy[Any]:
        tables = st.integers(0, 4).flatmap(
            lambda size: st.dictionaries(TEXT, columns(size), min_size=1, max_size=3).map(
                lambda named: pa.table({k: pa.array(v) for k, v in named.items()})
            )
        )
        arrays = st.lists(st.none() | st.lists(st.integers(0, 9), max_size=2), max_size=4)
        return (
            tables
            | tables.map(lambda table: table.schema)
            | tables.map(lambda table: table.combine_chunks().to_batches()[:1])
            .filter(bool)
            .map(lambda batches: batches[0])
            | arrays.map(lambda values: pa.array(values, pa.list_(pa.int8())))
            | arrays.map(lambda values: pa.chunked_array([values, values], pa.list_(pa.int8())))
        )

    def equal(self, one: Any, other: Any) -> bool:
        if type(one) is not type(other):
            return False
        if isinstance(one, (pa.Table, pa.RecordBatch, pa.Schema)):
            same = one.equals(other, check_metadata=True)
        else:
            same = one.equals(other)
        # A NaN is equal to nothing in Arrow, whose text of it is the same.
        return same or str(one) == str(other)

    def copy_of(self, obj: Any) -> Any:
        import pickle

        return pickle.loads(pickle.dumps(obj, 5))

    def change_in_place(self, obj: Any) -> bool:
        return False

    def refused(self) -> Iterable[object]:
        return [pa.scalar(1), pa.int8(), [1], pd.Index([1])]
