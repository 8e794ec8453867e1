# SPDX-License-Identifier: MIT
"""Series of polars count by their values, not by how they came about."""

import datetime as dt
from decimal import Decimal

import pytest

from cacheness import UnhashableParameterError
from cacheness.keys.encoding import params_key

pl = pytest.importorskip("polars")


def key(value):
    return params_key({"of": value})


SERIES = [
    pl.Series("n", [1, None, 3]),
    pl.Series("n", [1, None, 3], dtype=pl.Int8),
    pl.Series("n", [1, 0, 3]),
    pl.Series("m", [1, None, 3]),
    pl.Series("n", [1.0, None, 3.0]),
    pl.Series("n", [2**100, None, 3], dtype=pl.Int128),
    pl.Series("n", [True, None, False]),
    pl.Series("n", ["a", None, "bc"]),
    pl.Series("n", ["ab", None, "c"]),
    pl.Series("n", ["a", "", "bc"]),
    pl.Series("n", [b"a", None, b"bc"]),
    pl.Series("n", ["a", None, "bc"], dtype=pl.Categorical),
    pl.Series("n", ["a", None, "bc"], dtype=pl.Enum(["a", "bc"])),
    pl.Series("n", ["a", None, "bc"], dtype=pl.Enum(["bc", "a"])),
    pl.Series("n", [Decimal("1.5"), None, Decimal(3)]),
    pl.Series("n", [dt.date(2020, 1, 1), None]),
    pl.Series("n", [dt.datetime(2020, 1, 1), None]),
    pl.Series("n", [dt.datetime(2020, 1, 1), None], dtype=pl.Datetime("ms")),
    pl.Series("n", [dt.timedelta(1), None]),
    pl.Series("n", [dt.time(1), None]),
    pl.Series("n", [[1], None, [], [2, None]]),
    pl.Series("n", [[1], None, [2, None]]),
    pl.Series("n", [[1], [], [2, None]]),
    pl.Series("n", [[1, 2], None, []]),
    pl.Series("n", [[1], [2], None]),
    pl.Series("n", [[1, 2], None], dtype=pl.Array(pl.Int64, 2)),
    pl.Series("n", [{"a": 1, "b": "x"}, None]),
    pl.Series("n", [{"a": 1, "b": "x"}, {"a": None, "b": None}]),
    pl.Series("n", [{"b": 1, "a": "x"}, None]),
    pl.Series("n", [None, None]),
    pl.Series("n", [], dtype=pl.Int64),
    pl.Series("n", [], dtype=pl.List(pl.Int64)),
]


def test_different_series_make_different_keys():
    assert len({key(series) for series in SERIES}) == len(SERIES)


@pytest.mark.parametrize("series", SERIES, ids=lambda s: f"{s.dtype} {s.to_list()}"[:60])
def test_equal_series_make_equal_keys_however_they_came_about(series):
    size = len(series)
    appended = pl.concat([series.head(1), series.tail(max(0, size - 1))], rechunk=False)
    sliced = pl.concat([series, series]).slice(size, size)

    assert key(appended) == key(series)
    assert key(sliced) == key(series)
    assert key(series.to_frame()) == key(appended.to_frame())


def test_what_lies_beneath_a_missing_value_does_not_count():
    numbers = pl.Series("n", [1, 2, 3])
    masked = pl.select(pl.when(numbers != 2).then(numbers).alias("n")).to_series()
    structs = pl.DataFrame({"a": [1, 2, 3]}).to_struct("n")
    masked_structs = pl.select(pl.when(numbers != 2).then(structs).alias("n")).to_series()

    assert key(masked) == key(pl.Series("n", [1, None, 3]))
    assert key(masked_structs) == key(pl.Series("n", [{"a": 1}, None, {"a": 3}]))


def test_a_series_that_was_found_sorted_is_the_same():
    assert key(pl.Series("n", [1, 2]).sort()) == key(pl.Series("n", [1, 2]))


def test_a_frame_counts_by_its_columns_in_order_and_its_height():
    one = pl.DataFrame({"a": [1], "b": [2]})

    assert key(one) == key(pl.DataFrame({"a": [1], "b": [2]}))
    assert key(one) != key(one.select("b", "a"))
    assert key(one.head(0)) != key(one)


def test_python_objects_have_no_key():
    with pytest.raises(UnhashableParameterError, match="Object"):
        key(pl.Series("n", [object()], dtype=pl.Object))
