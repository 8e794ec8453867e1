# SPDX-License-Identifier: MIT
"""The stored files open in pandas, pyarrow, polars and DuckDB, without cacheness."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

FORMATS = {"arrow": "zstd", "parquet": "zstd", "raw": "none"}


def usual(index=None):
    """The dtypes that every tool has, and pandas' own that its files tell it about."""
    return pd.DataFrame(
        {
            "i": [1, 2, 3],
            "f": [0.5, np.nan, -1.0],
            "b": [True, False, True],
            "s": ["a", None, "ü"],
            "c": pd.Categorical(["x", "y", None], categories=["y", "x", "z"], ordered=True),
            "t": pd.to_datetime(["2020-01-01", None, "2021-01-01"]).astype("M8[us]"),
            "tz": pd.date_range("2020", periods=3, tz="Europe/Berlin").as_unit("us"),
            "d": pd.to_timedelta([1, 2, None], unit="s").astype("m8[us]"),
            "n": pd.array([1, None, 3], dtype="Int64"),
            "o": np.array([b"x", None, b"y"], dtype=object),
        },
        index=index,
    )


@pytest.fixture(params=FORMATS)
def file(store, tmp_path, request):
    def write(frame):
        options = {"format": "parquet"} if request.param == "parquet" else {}
        stored = store(frame, options, FORMATS[request.param])
        suffix = ".parquet" if options else ".arrow"
        return stored.write(str(tmp_path / f"payload{suffix}"))

    return write


def read_with_pandas(path):
    return pd.read_parquet(path) if path.endswith(".parquet") else pd.read_feather(path)


def read_with_pyarrow(path):
    if path.endswith(".parquet"):
        return pq.read_table(path)
    with pa.memory_map(path) as source:
        return pa.ipc.open_file(source).read_all()


def read_with_polars(path):
    return pl.read_parquet(path) if path.endswith(".parquet") else pl.read_ipc(path)


@pytest.mark.parametrize(
    "index",
    [
        None,
        pd.RangeIndex(3, 9, 2, name="r"),
        pd.Index(["p", "q", "r"], name="key"),
        pd.date_range("2020", periods=3, name="day"),
    ],
)
def test_pandas_gives_back_the_frame(file, index):
    frame = usual(index)

    found = read_with_pandas(file(frame))

    assert_frame_equal(found, frame, check_freq=False)


def test_pandas_gives_back_periods_intervals_and_levels(file):
    levels = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["l", "m"])
    frame = pd.DataFrame(
        {"p": pd.period_range("2020", periods=4, freq="M"), "v": pd.interval_range(0, 4)},
        index=levels,
    )

    found = read_with_pandas(file(frame))

    assert_frame_equal(found, frame, check_index_type=False, check_categorical=False)


def test_pandas_opens_a_file_with_binned_numbers(file):
    frame = pd.DataFrame({"bin": pd.cut([1, 5, 9], [0, 3, 6, 9]), "n": [1, 2, 3]})

    found = read_with_pandas(file(frame))

    assert found["n"].tolist() == [1, 2, 3]


def test_pandas_gives_back_labels_of_columns_that_are_numbers(file):
    frame = pd.DataFrame(np.arange(6).reshape(2, 3), columns=[2010, 2011, 2012])

    found = read_with_pandas(file(frame))

    assert list(found.columns) == [2010, 2011, 2012]


def test_pyarrow_reads_the_columns(file):
    table = read_with_pyarrow(file(usual()))

    assert table.column_names == list(usual())
    assert table["i"].to_pylist() == [1, 2, 3]
    assert table["s"].to_pylist() == ["a", None, "ü"]
    assert table["c"].to_pylist() == ["x", "y", None]
    assert table["n"].to_pylist() == [1, None, 3]
    assert table["t"].null_count == 1


def test_polars_reads_the_columns(file):
    frame = read_with_polars(file(usual()))

    assert frame.columns == list(usual())
    assert frame["i"].to_list() == [1, 2, 3]
    assert frame["s"].to_list() == ["a", None, "ü"]
    assert frame["c"].cast(pl.String).to_list() == ["x", "y", None]
    assert frame["n"].to_list() == [1, None, 3]
    assert frame["t"].null_count() == 1


def test_polars_reads_zones_that_it_does_not_know(file):
    import datetime as dt

    zone = dt.timezone(dt.timedelta(hours=5, minutes=30))
    frame = pd.DataFrame({"t": pd.date_range("2020", periods=2, tz=zone).as_unit("us")})

    found = read_with_polars(file(frame))

    assert found["t"].dt.epoch("us").to_list() == [
        stamp.value // 1000 for stamp in frame["t"].dt.as_unit("ns")
    ]


def test_duckdb_queries_the_file(file):
    path = file(usual())
    with duckdb.connect() as connection:
        if path.endswith(".parquet"):
            table = connection.read_parquet(path)
        else:
            table = connection.from_arrow(read_with_pyarrow(path))
        found = table.aggregate("sum(i), count(s), sum(n), max(i)").fetchall()

    assert found == [(6, 2, 4, 3)]
