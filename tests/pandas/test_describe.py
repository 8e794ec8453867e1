# SPDX-License-Identifier: MIT
"""One line tells what an entry holds, and never its contents."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest


@pytest.mark.parametrize(
    ("obj", "line"),
    [
        (pd.DataFrame({"a": [1.0], "b": [2.0], "c": [1]}), "DataFrame (1, 3) 2 float64, 1 int64"),
        (pd.DataFrame(), "DataFrame (0, 0) without columns; "),
        (pd.Series(np.zeros(1000)), "Series (1000,) float64; 7.9 KiB"),
        (pd.date_range("2020", periods=3, unit="us"), "DatetimeIndex (3,) datetime64[us]"),
        (pd.MultiIndex.from_product([[1, 2], [0.5]]), "MultiIndex (2,) 1 int64, 1 float64"),
        (pa.table({"a": [1, 2], "b": [3, 4]}), "Table (2, 2) 2 int64; 32 B"),
        (pa.array([True]), "BooleanArray (1,) bool; 1 B"),
        (pa.schema([("a", pa.int8())]), "Schema of 1 fields"),
    ],
)
def test_it_names_shape_dtypes_and_memory(handler, obj, line):
    assert handler(obj).describe(obj).startswith(line)


def test_it_never_shows_contents(handler):
    frame = pd.DataFrame(
        {
            "secret column": pd.Categorical(["secret value"]),
            "s": pd.array(
                [{"secret field": 1}],
                dtype=pd.ArrowDtype(pa.struct([("secret field", pa.int64())])),
            ),
        }
    )

    assert "secret" not in handler(frame).describe(frame)
