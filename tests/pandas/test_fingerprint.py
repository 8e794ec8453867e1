# SPDX-License-Identifier: MIT
"""Equal frames make equal keys, however they lie in memory; different ones different keys."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheness import UnhashableParameterError, UnifiedCache

ROWS = 20


def sample():
    n = np.arange(ROWS)
    return pd.DataFrame(
        {
            "f": n / 3,
            "g": n / 7,
            "i": n,
            "s": [f"text {i}" if i % 5 else None for i in n],
            "c": pd.Categorical(["abc"[i % 3] for i in n]),
            "t": pd.date_range("2020", periods=ROWS),
            "n": pd.array([None if i % 4 == 0 else i for i in n], dtype="Int32"),
            "b": n % 3 == 0,
            "o": pd.Series([i if i % 2 else str(i) for i in n], dtype=object),
        }
    )


def by_column(frame):
    """The same frame, each column in a block of its own."""
    return pd.concat([frame[[name]].copy() for name in frame], axis=1)


def inside_another(frame):
    """The same frame as a view of some rows and columns of a larger one."""
    larger = pd.concat([frame, frame], ignore_index=True)
    larger.insert(0, "more", 1)
    return larger.iloc[: len(frame), 1:]


def backwards_twice(frame):
    return frame.iloc[::-1].iloc[::-1]


@pytest.mark.parametrize("change", [pd.DataFrame.copy, by_column, inside_another, backwards_twice])
def test_the_layout_of_a_frame_makes_no_difference(digest, change):
    frame = sample()

    assert digest(change(frame)) == digest(frame)


def test_the_order_of_an_array_in_memory_makes_no_difference(digest):
    values = np.arange(12.0).reshape(4, 3)

    assert digest(pd.DataFrame(values)) == digest(pd.DataFrame(np.asfortranarray(values)))


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.integers(0, ROWS), st.integers(0, ROWS))
def test_a_slice_counts_as_its_rows_alone(digest, start, stop):
    frame = sample()
    part = frame.iloc[start:stop]

    assert digest(part) == digest(part.copy())
    shifted = frame.reset_index(drop=True).iloc[start:stop]
    assert digest(part) == digest(shifted)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.none() | st.text(max_size=3)), max_size=4),
    st.sampled_from([pa.string(), pa.large_string(), pa.string_view()]),
)
def test_chunks_offsets_and_padding_make_no_difference(digest, chunks, kind):
    chunked = pa.chunked_array([pa.array(chunk, kind) for chunk in chunks], kind)
    whole = pa.array([value for chunk in chunks for value in chunk], kind)
    padded = pa.concat_arrays([pa.array(["padding", None], kind), whole])[2:]

    assert len({digest(pa.table({"a": each})) for each in (chunked, whole, padded)}) == 1


NESTED = [
    (pa.list_(pa.int8()), [[1, None], None, [], [3]]),
    (pa.large_list(pa.string()), [["a"], None, [None], []]),
    (pa.list_(pa.int16(), 2), [[1, 2], None, [3, None], [4, 5]]),
    (pa.struct([("a", pa.int8()), ("b", pa.bool_())]), [{"a": 1, "b": True}, None, {}, {"a": 2}]),
    (pa.map_(pa.string(), pa.int8()), [[("a", 1)], None, [], [("b", None)]]),
    (pa.dictionary(pa.int8(), pa.string()), ["a", None, "b", "a"]),
    (pa.decimal128(9, 2), [1, None, 2, 3]),
    (pa.bool_(), [True, None, False, True]),
    (pa.float64(), [1.5, None, 2.5, float("nan")]),
    (pa.binary(2), [b"ab", None, b"cd", b"ef"]),
    (pa.timestamp("us", "UTC"), [1, None, 2, 3]),
    (pa.null(), [None] * 4),
]


@pytest.mark.parametrize(("kind", "values"), NESTED, ids=lambda each: str(each)[:20])
def test_nested_columns_count_by_their_values(digest, kind, values):
    whole = pa.array(values, kind)
    chunked = pa.chunked_array([pa.array(values[:1], kind), pa.array(values[1:], kind)])
    behind = pa.concat_arrays([whole, whole])[4:]

    assert digest(chunked) == digest(pa.chunked_array([whole]))
    assert digest(behind) == digest(whole)
    assert digest(whole[:3]) != digest(whole)
    if kind != pa.null():
        assert digest(whole[2:]) != digest(whole[:2])


def test_what_lies_under_a_null_makes_no_difference(digest):
    mask = np.array([False, True, False])
    one = pd.arrays.IntegerArray(np.array([1, 2, 3]), mask)
    other = pd.arrays.IntegerArray(np.array([1, 99, 3]), mask)
    texts = pa.array(["a", "hidden", "b"])
    hidden = pa.Array.from_buffers(
        pa.string(), 3, [pa.py_buffer(b"\x05"), *texts.buffers()[1:]], null_count=1
    )

    assert digest(pd.Series(one)) == digest(pd.Series(other))
    assert digest(hidden) == digest(pa.array(["a", None, "b"]))


def test_a_range_counts_as_its_integers(digest):
    frame = sample()
    plain = frame.set_axis(pd.Index(list(range(ROWS)), dtype=np.int64))

    assert digest(plain) == digest(frame)
    assert digest(frame.set_axis(pd.RangeIndex(1, ROWS + 1))) != digest(frame)


def test_unused_and_reordered_levels_make_no_difference(digest):
    index = pd.MultiIndex.from_product([["a", "b", "c"], [1, 2]])
    frame = pd.DataFrame({"x": range(6)}, index=index)
    part = frame.loc[["b", "c"]]
    rebuilt = part.set_axis(part.index.remove_unused_levels())
    reordered = part.set_axis(pd.MultiIndex.from_tuples(part.index[::-1])[::-1])

    assert digest(part) == digest(rebuilt) == digest(reordered)


@pytest.mark.parametrize("zone", [dt.UTC, zoneinfo.ZoneInfo("UTC")])
def test_utc_counts_as_utc_whoever_made_it(digest, zone):
    stamps = pd.date_range("2020", periods=2, tz="UTC")

    assert digest(pd.Series(stamps)) == digest(pd.Series(stamps.tz_convert(zone)))


DIFFERENT = {
    "values": lambda f: f.assign(f=f["f"] + 1),
    "one missing value": lambda f: f.assign(s=f["s"].where(f.index != 3)),
    "the dtype": lambda f: f.astype({"i": "int32"}),
    "nullability": lambda f: f.astype({"i": "Int64"}),
    "a name": lambda f: f.rename(columns={"f": "h"}),
    "order of columns": lambda f: f[f.columns[::-1]],
    "order of rows": lambda f: f[::-1],
    "the index": lambda f: f.set_index("i", drop=False),
    "the index's name": lambda f: f.rename_axis("id"),
    "the columns' name": lambda f: f.rename_axis("id", axis=1),
    "order of categories": lambda f: f.assign(c=f["c"].cat.reorder_categories(["c", "b", "a"])),
    "ordered": lambda f: f.assign(c=f["c"].cat.as_ordered()),
    "unit": lambda f: f.assign(t=f["t"].astype("M8[s]")),
    "zone": lambda f: f.assign(t=f["t"].dt.tz_localize("UTC")),
    "attrs": lambda f: with_attrs(f.copy()),
    "flags": lambda f: f.set_flags(allows_duplicate_labels=False),
    "objects": lambda f: f.assign(o=f["o"].astype(str)),
    "rows": lambda f: f[:-1],
}


def with_attrs(frame):
    frame.attrs["a"] = 1
    return frame


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_differs_makes_another_key(digest, what):
    frame = sample()

    assert digest(DIFFERENT[what](frame)) != digest(frame)


def test_values_do_not_flow_from_one_column_into_the_next(digest):
    one = pd.DataFrame({"a": ["ab", "c"], "b": ["d", "e"]})
    other = pd.DataFrame({"a": ["a", "bc"], "b": ["d", "e"]})
    wide = pd.DataFrame({"a": ["ab", "c", "d"]})

    assert len({digest(each) for each in (one, other, wide)}) == 3


def test_a_frame_makes_a_key_in_a_cache(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        key = cache.put(1, frame=sample())

        assert cache.put(2, frame=by_column(sample())) == key
        assert cache.put(3, frame=sample()[1:]) != key


def test_a_cell_without_a_value_of_its_own_is_refused(tmp_path):
    frame = pd.DataFrame({"a": [object(), 1]})
    with UnifiedCache(tmp_path) as cache, pytest.raises(UnhashableParameterError, match="frame"):
        cache.put(1, frame=frame)
