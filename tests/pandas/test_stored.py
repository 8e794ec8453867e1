# SPDX-License-Identifier: MIT
"""A handle on a stored table reads it lazily and as other tools would."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

from cacheness import ConfigError


@pytest.fixture(params=["arrow", "parquet"])
def opened(store, tmp_path, request):
    with store(flights(), {"format": request.param}).open(str(tmp_path / "table")) as handle:
        yield handle


def flights():
    return pd.DataFrame(
        {"carrier": ["UA", "AA", "UA"], "delay": [2.0, np.nan, 11.0], "flight": [1545, 1714, 1141]},
        index=pd.Index([10, 20, 30], name="id"),
    )


def test_it_tells_what_it_holds(opened):
    assert opened.num_rows == 3
    assert opened.schema.names == ["carrier", "delay", "flight", "id"]
    assert "carrier" in repr(opened)


def test_it_gives_the_frame_or_a_part_of_it(opened):
    assert_frame_equal(opened.to_pandas(), flights())
    part = opened.to_pandas(columns=["flight"], rows=slice(1, None))
    assert_frame_equal(part, flights()[["flight"]].iloc[1:])


def test_it_gives_an_arrow_table_or_a_part_of_it(opened):
    assert opened.to_arrow().num_rows == 3
    part = opened.to_arrow(["flight", "carrier"], slice(-2, None))
    assert part.to_pydict() == {"flight": [1714, 1141], "carrier": ["AA", "UA"]}
    assert opened.to_arrow(rows=slice(2, 1)).num_rows == 0


def test_it_gives_a_polars_frame(opened):
    frame = opened.to_polars(["flight"])
    assert isinstance(frame, pl.DataFrame)
    assert frame["flight"].to_list() == [1545, 1714, 1141]


def test_it_gives_a_dataset_that_filters(opened):
    found = opened.scan().to_table(columns=["flight"], filter=pc.field("carrier") == "UA")
    assert found.to_pydict() == {"flight": [1545, 1141]}


def test_it_refuses_unknown_columns(opened):
    with pytest.raises(KeyError, match="nope"):
        opened.to_arrow(["nope"])
    with pytest.raises(ConfigError, match="nope"):
        opened.to_pandas(["nope"])


def test_it_stays_good_when_its_file_is_gone(store, tmp_path):
    handle = store(flights()).open(str(tmp_path / "table"))
    os.remove(tmp_path / "table")

    assert_frame_equal(handle.to_pandas(), flights())
    assert handle.scan().count_rows() == 3


def test_it_is_of_no_use_once_closed(opened):
    opened.close()

    with pytest.raises(ValueError, match="closed"):
        opened.to_pandas()


def test_an_uncompressed_table_is_mapped_and_not_read(store, tmp_path):
    frame = pd.DataFrame({"a": np.arange(1_000_000)})
    handle = store(frame).open(str(tmp_path / "table"))
    before = pa.total_allocated_bytes()

    table = handle.to_arrow()

    assert pa.total_allocated_bytes() - before < 100_000
    assert table.num_rows == 1_000_000


def test_a_mapped_frame_is_a_read_only_view(store, tmp_path):
    frame = pd.DataFrame(
        {
            "a": np.arange(5.0),
            "t": pd.to_datetime(["2020", None] * 2 + ["2021"]),
            "s": list("abcde"),
        }
    )

    found = store(frame).map(str(tmp_path / "table"))

    assert_frame_equal(found, frame)
    assert not found["a"].to_numpy().flags.writeable


def test_a_mapped_series_and_table(store, tmp_path):
    series = pd.Series(range(3), name="x")
    table = pa.table({"a": [1, 2]})

    assert_series_equal(store(series).map(str(tmp_path / "series")), series)
    assert store(table).map(str(tmp_path / "table")).equals(table)


def test_a_table_can_be_opened_too(store, tmp_path):
    table = pa.table({"a": [1, 2], "b": ["x", "y"]})
    handle = store(table).open(str(tmp_path / "table"))

    assert handle.to_arrow(["b"]).to_pydict() == {"b": ["x", "y"]}
    assert handle.to_pandas(["a"], slice(1))["a"].tolist() == [1]
