# SPDX-License-Identifier: MIT
"""A part of a stored frame is what pandas would cut out of the whole."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal, assert_series_equal

from cacheness import ConfigError

ROWS = 40
bounds = st.none() | st.integers(-ROWS - 2, ROWS + 2)
slices = st.builds(slice, bounds, bounds, st.sampled_from([None, 1, 2, 7, -1, -3]))
NAMES = ["f", "i", "s", "c", "cut", "t", "tz", "n", "b", "z", "mixed", "sparse", "period", "list"]


def sample(index=None):
    n = np.arange(ROWS)
    nested = pa.array([[int(i), None] if i % 3 else None for i in n])
    return pd.DataFrame(
        {
            "f": n / 3,
            "i": n,
            "s": [f"text {i}" if i % 5 else None for i in n],
            "c": pd.Categorical([None if i % 7 == 0 else "abc"[i % 3] for i in n]),
            "cut": pd.cut(n, 4),
            "t": pd.date_range("2020", periods=ROWS),
            "tz": pd.date_range("2020", periods=ROWS, tz="Europe/Berlin"),
            "n": pd.array([None if i % 4 == 0 else i for i in n], dtype="Int32"),
            "b": n % 3 == 0,
            "z": n * 1j,
            "mixed": pd.Series([i if i % 2 else str(i) for i in n], dtype=object),
            "sparse": pd.arrays.SparseArray(np.where(n % 9, 0, n)),
            "period": pd.period_range("2020", periods=ROWS, freq="M"),
            "list": pd.arrays.ArrowExtensionArray(nested),
        },
        index=index,
    )


INDEXES = {
    "range": pd.RangeIndex(5, 5 + 2 * ROWS, 2, name="r"),
    "dates": pd.date_range("2020", periods=ROWS, freq="D", name="day"),
    "texts": pd.Index([f"row {i}" for i in range(ROWS)]),
    "levels": pd.MultiIndex.from_product([["a", "b"], range(ROWS // 2)], names=["l", None]),
}
FORMATS = {
    "arrow": ({}, "none"),
    "compressed": ({}, "zstd"),
    "parquet": ({"format": "parquet"}, "zstd"),
}


@pytest.fixture(scope="session", params=FORMATS)
def stored(store, request):
    options, compressor = FORMATS[request.param]
    return {
        kind: (sample(index), store(sample(index), options, compressor))
        for kind, index in INDEXES.items()
    }


@pytest.fixture(scope="session")
def path(tmp_path_factory):
    return str(tmp_path_factory.mktemp("partial") / "payload")


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(INDEXES)),
    st.none() | st.lists(st.sampled_from(NAMES), max_size=4),
    st.none() | slices,
)
def test_every_part_is_the_cut_of_the_whole(stored, path, kind, columns, rows):
    frame, payload = stored[kind]
    options = {"columns": columns, "rows": rows}
    expected = frame if columns is None else frame[columns]
    expected = expected if rows is None else expected.iloc[rows]

    for found in (payload.load(options), payload.load_file(path, options)):
        assert_frame_equal(found, expected, check_exact=True, check_freq=True)
        assert type(found.index) is type(expected.index)


def test_a_label_that_is_there_twice_gives_both_columns(store):
    frame = pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"])

    found = store(frame).load({"columns": ["a", "b"]})

    assert_frame_equal(found, frame[["a", "b"]])


def test_columns_are_found_by_any_label(store):
    columns = pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)])
    frame = pd.DataFrame(np.arange(6).reshape(2, 3), columns=columns)

    found = store(frame).load({"columns": [("b", 1), ("a", 2)]})

    assert_frame_equal(found, frame[[("b", 1), ("a", 2)]])


def test_rows_of_a_series_and_of_an_index(store, path):
    series = pd.Series(range(10), index=pd.date_range("2020", periods=10), name="x")

    found = store(series).load_file(path, {"rows": slice(2, 7)})
    index = store(series.index).load_file(path, {"rows": slice(None, None, 3)})

    assert_series_equal(found, series.iloc[2:7], check_freq=True)
    assert index.equals(series.index[::3])


@pytest.mark.slow
def test_rows_of_many_batches(store, path):
    frame = pd.DataFrame({"a": np.arange(600_000), "s": pd.Series(["x", "y"] * 300_000)})
    payload = store(frame, None, "zstd")

    for rows in (slice(262_000, 262_300), slice(599_999, None), slice(0, 600_000), slice(9, 9)):
        found = payload.load_file(path, {"columns": ["a"], "rows": rows})
        assert_frame_equal(found, frame[["a"]].iloc[rows])


@pytest.mark.parametrize(
    "options",
    [{"columns": ["nope"]}, {"columns": "a"}, {"rows": 3}, {"colums": ["a"]}],
)
def test_options_that_make_no_sense_are_refused(store, options):
    with pytest.raises(ConfigError):
        store(pd.DataFrame({"a": [1]})).load(options)


def test_a_part_can_be_changed_without_changing_the_file(store, path):
    frame = sample()
    stored = store(frame)
    found = stored.load_file(path, {"columns": ["f", "n", "t"], "rows": slice(0, 3)})

    found.loc[0, "f"] = -1.0
    found.loc[0, "n"] = -1
    found.loc[0, "t"] = pd.Timestamp("1999")

    with open(path, "rb") as file:
        assert file.read() == stored.payload


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_a_part_of_a_large_file_reads_only_what_it_needs(store, path, form):
    """Counted in the bytes that Arrow allocates and the pages that are touched."""
    options, compressor = FORMATS[form]
    noise = np.random.default_rng(0).random((1_000_000, 4))
    frame = pd.DataFrame(noise, columns=list("abcd"))
    payload = store(frame, options, compressor)
    payload.write(path)
    before = pa.total_allocated_bytes()

    with payload.open(path) as opened:
        table = opened.to_arrow(["b"], slice(500_000, 500_010))
        allocated = pa.total_allocated_bytes() - before

    assert table.num_rows == 10
    assert allocated < 8_000_000
