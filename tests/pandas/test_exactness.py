# SPDX-License-Identifier: MIT
"""What Arrow can't keep is kept another way or refused, and never changed silently."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from cacheness import CannotHandleError, ConfigError, SignatureError


def test_only_the_columns_that_arrow_cant_keep_are_pickled(store):
    frame = pd.DataFrame({"n": [1, 2], "mixed": [1, "a"], "s": ["x", "y"], "cells": [[1], {2}]})

    stored = store(frame)

    assert len(stored.context.parts) == 2
    assert not stored.data_only
    assert_frame_equal(stored.load(), frame, check_exact=True)


@pytest.mark.parametrize(
    "column",
    [
        ["a", None],
        [b"a", None],
        [True, None],
        [1, None],
        [1.5, None],
        [pd.Timestamp("2020").date(), None],
    ],
)
def test_columns_of_one_plain_type_are_data_only(store, column):
    stored = store(pd.DataFrame({"x": pd.Series(column, dtype=object)}))

    assert stored.data_only
    assert stored.load(verified=False)["x"].tolist() == column


def test_pickled_columns_are_not_read_unverified(store):
    stored = store(pd.DataFrame({"mixed": [1, "a"]}))

    with pytest.raises(SignatureError):
        stored.load(verified=False)


def test_pickled_columns_are_refused_where_pickle_is(handler, context):
    frame = pd.DataFrame({"mixed": [1, "a"]})

    with pytest.raises(CannotHandleError):
        handler(frame).dumps(frame, context(allow_pickle=False))


def test_subclasses_are_left_to_other_handlers(handler):
    class Frame(pd.DataFrame):
        pass

    class Series(pd.Series):
        pass

    for obj in (Frame({"a": [1]}), Series([1])):
        with pytest.raises(CannotHandleError):
            handler(obj)


def test_attrs_that_json_cant_keep_come_back_as_they_were(store):
    frame = pd.DataFrame({"a": [1]})
    frame.attrs = {"unit": "m", 3: (1, 2), "nan": float("inf")}

    found = store(frame).load()

    assert found.attrs == frame.attrs
    assert type(found.attrs[3]) is tuple


def test_plain_attrs_leave_the_payload_data_only(store):
    frame = pd.DataFrame({"a": [1]})
    frame.attrs = {"unit": "m", "nested": {"scale": [1, 2.5, None]}}

    stored = store(frame)

    assert stored.data_only
    assert stored.load().attrs == frame.attrs


def test_a_custom_calendar_keeps_its_holidays(store):
    freq = pd.offsets.CustomBusinessDay(holidays=["2020-01-02"])
    frame = pd.DataFrame({"a": range(3)}, index=pd.date_range("2020-01-01", periods=3, freq=freq))

    assert store(frame).load().index.freq == freq


@pytest.mark.parametrize("inline", [False, True])
def test_what_was_read_can_be_changed_without_changing_the_payload(store, inline):
    frame = pd.DataFrame(
        {
            "i": [1, 2, 3],
            "f": [1.0, 2.0, 3.0],
            "b": [True, False, True],
            "t": pd.to_datetime(["2020", None, "2021"]),
            "n": pd.array([1, None, 3], dtype="Int64"),
            "c": pd.Categorical(["a", "b", None]),
            "s": ["x", "y", "z"],
        }
    )
    stored = store(frame)
    payload = bytes(stored.payload)
    found = stored.load(inline=inline)

    found.loc[0, "i"] = 9
    found.loc[0, "f"] = 9.0
    found.loc[0, "b"] = False
    found.loc[0, "t"] = pd.Timestamp("1999")
    found.loc[0, "n"] = 9
    found.loc[0, "c"] = "b"
    found.loc[0, "s"] = "changed"

    assert found.loc[0].tolist() == [9, 9.0, False, pd.Timestamp("1999"), 9, "b", "changed"]
    assert stored.payload == payload
    assert_frame_equal(stored.load(inline=inline), frame)


def test_numbers_are_read_in_place(store):
    frame = pd.DataFrame({"a": np.arange(1000.0), "b": np.arange(1000.0), "c": np.arange(1000)})
    stored = store(frame)
    private = bytearray(stored.payload)

    found = stored.handler.loads(memoryview(private), stored.metadata, stored.context)

    whole = np.frombuffer(private, np.uint8)
    for column in found:
        assert np.shares_memory(found[column].to_numpy(), whole)


def test_numbers_are_written_without_a_copy(store, handler, context):
    values = np.arange(100_000.0)
    frame = pd.DataFrame({"a": values}, copy=False)

    buffers, _ = handler(frame).dumps(frame, context())

    assert any(
        np.shares_memory(np.frombuffer(buffer, np.uint8), values)
        for buffer in buffers
        if len(buffer) == values.nbytes
    )


@pytest.mark.parametrize(
    ("compressor", "codec"),
    [
        ("none", None),
        ("lz4", "lz4"),
        ("zstd", "zstd"),
        ("gzip", "zstd"),
        ("blosc2-lz4", "lz4"),
        ("blosc2-zlib", "zstd"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"format": "parquet"}])
def test_the_compressor_is_applied_inside_the_format(store, options, compressor, codec):
    frame = pd.DataFrame({"a": np.zeros(100_000), "b": "text"})

    stored = store(frame, options, compressor)

    assert stored.metadata["compressed"]
    assert stored.metadata.get("codec") == codec
    assert_frame_equal(stored.load(), frame)
    if codec:
        assert len(stored.payload) < 600_000


def test_a_compressor_that_arrow_lacks_is_left_to_the_cache(store):
    stored = store(pd.DataFrame({"a": [1]}), None, "snakeoil")

    assert "compressed" not in stored.metadata


def test_automatic_compression_takes_what_shrinks_much_and_nothing_else(store):
    repeated = pd.DataFrame({"a": np.zeros(1_000_000)})
    noise = pd.DataFrame({"a": np.random.default_rng(0).random(1_000_000)})

    assert store(repeated, None, "auto").metadata["codec"] == "lz4"
    assert "codec" not in store(noise, None, "auto").metadata


def test_an_unknown_format_is_refused(store):
    with pytest.raises(ConfigError, match="feather"):
        store(pd.DataFrame({"a": [1]}), {"format": "feather"})
