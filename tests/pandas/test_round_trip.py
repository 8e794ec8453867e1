# SPDX-License-Identifier: MIT
"""Whatever a frame, series or index holds comes back exactly, in every format."""

from __future__ import annotations

import datetime as dt
import decimal
import zoneinfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.extra import pandas as hpd
from pandas.testing import assert_frame_equal, assert_index_equal, assert_series_equal

ZONES = [
    dt.UTC,
    dt.timezone(dt.timedelta(hours=5, minutes=30)),
    dt.timezone(dt.timedelta(hours=-3), "BRT"),
    zoneinfo.ZoneInfo("Europe/Berlin"),
    zoneinfo.ZoneInfo("America/St_Johns"),
]
UNITS = ["s", "ms", "us", "ns"]
MASKED = [
    *("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"),
    *("Float32", "Float64", "boolean"),
]
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=5)
FORMATS = st.sampled_from([{}, {"format": "parquet"}])
COMPRESSORS = st.sampled_from(["none", "auto", "zstd", "blosc2-lz4"])


def string_dtypes():
    made = [pd.StringDtype("python"), pd.StringDtype("pyarrow")]
    if pd.__version__ < "3":
        return [*made, pd.StringDtype("pyarrow_numpy")]
    nan = [pd.StringDtype(storage, na_value=np.nan) for storage in ("python", "pyarrow")]
    return [*made, *nan]


def numbers(size):
    kinds = st.one_of(
        hnp.integer_dtypes(endianness="="),
        hnp.unsigned_integer_dtypes(endianness="="),
        hnp.floating_dtypes(endianness="=", sizes=(16, 32, 64)),
        hnp.complex_number_dtypes(endianness="=", sizes=(64, 128)),
        hnp.boolean_dtypes(),
    )
    return kinds.flatmap(lambda dtype: hnp.arrays(dtype, size))


def instants(size, kind="M8"):
    def of(unit):
        span = {"s": 2**31, "ms": 2**42, "us": 2**52, "ns": 2**62}[unit]
        values = st.one_of(st.integers(-span, span), st.just(np.iinfo(np.int64).min))
        return hnp.arrays(np.int64, size, elements=values).map(
            lambda array: array.view(f"{kind}[{unit}]")
        )

    return st.sampled_from(UNITS).flatmap(of)


def zoned(size):
    return st.builds(
        lambda values, zone: pd.DatetimeIndex(values).tz_localize("UTC").tz_convert(zone).array,
        instants(size),
        st.sampled_from(ZONES),
    )


def masked(size):
    def of(name):
        dtype = pd.api.types.pandas_dtype(name)
        data = hnp.arrays(dtype.numpy_dtype, size)
        mask = hnp.arrays(np.bool_, size)
        return st.builds(dtype.construct_array_type(), data, mask)

    return st.sampled_from(MASKED).flatmap(of)


def strings(size):
    values = st.lists(st.none() | texts, min_size=size, max_size=size)
    return st.builds(lambda v, d: pd.array(v, dtype=d), values, st.sampled_from(string_dtypes()))


def categories(max_size=6):
    return st.one_of(
        st.lists(texts, unique=True, max_size=max_size).map(lambda v: pd.Index(v, dtype=object)),
        st.lists(st.integers(-9, 9), unique=True, max_size=max_size).map(
            lambda v: pd.Index(v, dtype=np.int64)
        ),
        st.integers(0, max_size).map(pd.RangeIndex),
        st.integers(0, max_size).map(lambda n: pd.interval_range(0, n)),
        st.integers(0, max_size).map(lambda n: pd.period_range("2020-01", periods=n, freq="Q")),
        st.integers(0, max_size).map(lambda n: pd.date_range("2020", periods=n, tz="Asia/Tokyo")),
        st.integers(0, max_size).map(lambda n: pd.timedelta_range("1s", periods=n)),
        st.integers(0, max_size).map(lambda n: pd.Index(np.linspace(0, 1, n + 1))),
    )


def categorical(size):
    def of(index):
        codes = hnp.arrays(np.int8, size, elements=st.integers(-1, len(index) - 1))
        return st.builds(
            lambda c, ordered: pd.Categorical.from_codes(
                c, dtype=pd.CategoricalDtype(index, ordered=ordered)
            ),
            codes,
            st.booleans(),
        )

    return categories().flatmap(of)


def periods(size):
    ordinals = hnp.arrays(np.int64, size, elements=st.integers(-1000, 1000))
    return st.builds(
        lambda values, freq: pd.arrays.PeriodArray(values, dtype=pd.PeriodDtype(freq)),
        ordinals,
        st.sampled_from(["M", "D", "W-WED", "Q-MAR", "Y-DEC", "h", "3D"]),
    )


def intervals(size):
    lefts = st.one_of(
        hnp.arrays(np.int64, size, elements=st.integers(-99, 99)),
        hnp.arrays(np.float64, size, elements=st.integers(-99, 99) | st.just(np.nan)),
    )
    return st.builds(
        lambda left, closed: pd.arrays.IntervalArray.from_arrays(left, left + 1, closed),
        lefts,
        st.sampled_from(["left", "right", "both", "neither"]),
    )


def sparse(size):
    elements = st.sampled_from([0, 0, 0, 1, 2])
    return st.builds(
        lambda values, kind: pd.arrays.SparseArray(
            values, kind=kind, fill_value=values.dtype.type(0)
        ),
        hnp.arrays(st.sampled_from([np.int64, np.float32]), size, elements=elements),
        st.sampled_from(["block", "integer"]),
    )


ARROW = {
    pa.list_(pa.int32()): st.lists(st.integers(-5, 5) | st.none(), max_size=3),
    pa.struct([("a", pa.int8()), ("b", pa.large_string())]): st.fixed_dictionaries(
        {"a": st.integers(-5, 5) | st.none(), "b": texts | st.none()}
    ),
    pa.map_(pa.string(), pa.int64()): st.dictionaries(texts, st.integers(-9, 9)).map(
        lambda d: list(d.items())
    ),
    pa.decimal128(12, 3): st.decimals(-1000, 1000, places=3),
    pa.timestamp("s", "Europe/Paris"): st.integers(0, 2**31),
    pa.duration("ms"): st.integers(-(2**40), 2**40),
    pa.bool_(): st.booleans(),
    pa.string(): texts,
    pa.large_binary(): st.binary(max_size=4),
    pa.dictionary(pa.int8(), pa.string()): st.sampled_from(["a", "b"]),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.null(): st.none(),
}


def arrow_backed(size):
    def of(kind):
        values = st.lists(st.none() | ARROW[kind], min_size=size, max_size=size)
        return values.map(
            lambda v: pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(v, kind)], kind))
        )

    return st.sampled_from(list(ARROW)).flatmap(of)


def objects(size):
    plain = [
        texts,
        st.binary(max_size=4),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.dates(),
        st.decimals(places=2, allow_nan=False, allow_infinity=False),
        st.decimals().filter(lambda value: not value.is_snan()),  # which pandas itself trips over
        st.uuids(),
        st.tuples(st.integers(), texts),
        st.lists(st.integers(), max_size=2),
        st.text(max_size=3),
    ]
    missing = st.sampled_from([None, np.nan, pd.NA, pd.NaT])
    uniform = st.tuples(st.sampled_from(plain), missing).flatmap(
        lambda pair: st.lists(pair[0] | st.just(pair[1]), min_size=size, max_size=size)
    )
    mixed = st.lists(st.one_of(*plain, missing), min_size=size, max_size=size)
    return (uniform | mixed).map(as_objects)


def as_objects(values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


def columns(size):
    return st.one_of(
        numbers(size),
        instants(size),
        instants(size, "m8"),
        zoned(size),
        masked(size),
        strings(size),
        categorical(size),
        periods(size),
        intervals(size),
        sparse(size),
        arrow_backed(size),
        objects(size),
    )


labels = st.one_of(
    texts,
    st.integers(-9, 9),
    st.none(),
    st.booleans(),
    st.floats(allow_nan=False),
    st.tuples(texts, st.integers(0, 3)),
    st.dates(),
    st.just(pd.Timestamp("2020-01-01", tz="Europe/Berlin")),
    st.just(np.int32(3)),
)


def indexes(size):
    names = labels
    spans = st.builds(
        lambda start, step, name: pd.RangeIndex(start, start + step * size, step, name=name),
        st.integers(-9, 9),
        st.sampled_from([1, 2, -3]),
        names,
    )
    plain = st.one_of(
        hnp.arrays(st.sampled_from([np.int64, np.uint8, np.float64, np.bool_]), size),
        instants(size),
        zoned(size),
        strings(size),
        categorical(size),
        periods(size),
        objects(size).filter(lambda values: all(map(hashable, values))),
    )
    flat = st.builds(
        lambda values, name: pd.Index(values, dtype=values.dtype, name=name, tupleize_cols=False),
        plain,
        names,
    )
    regular = st.builds(
        lambda freq, unit, tz: pd.date_range(
            "2020-01-06", periods=size, freq=freq, tz=tz, unit=unit
        ),
        st.sampled_from(["D", "2h", "B", "MS", "W-MON"]),
        st.sampled_from(UNITS),
        st.sampled_from([None, *ZONES]),
    )
    return st.one_of(spans, flat, regular, multi_indexes(size))


def multi_indexes(size):
    def of(levels):
        codes = st.tuples(
            *(
                hnp.arrays(np.int8, size, elements=st.integers(-1, len(level) - 1))
                for level in levels
            )
        )
        return st.builds(
            lambda c, names: pd.MultiIndex(levels=levels, codes=list(c), names=names),
            codes,
            st.lists(labels, min_size=len(levels), max_size=len(levels)),
        )

    return st.lists(categories(), min_size=1, max_size=3).flatmap(of)


def hashable(value):
    try:
        hash(value)
    except TypeError:
        return False
    return True


def column_labels(size):
    return st.one_of(
        st.just(pd.RangeIndex(size)),
        st.lists(texts, min_size=size, max_size=size).map(pd.Index),
        st.lists(labels, min_size=size, max_size=size).map(
            lambda v: pd.Index(as_objects(v), tupleize_cols=False)
        ),
        indexes(size),
    )


attributes = st.dictionaries(
    st.one_of(texts, st.integers()),
    st.one_of(texts, st.integers(), st.tuples(st.integers())),
    max_size=2,
)


@st.composite
def frames(draw):
    rows, width = draw(st.integers(0, 5)), draw(st.integers(0, 4))
    held = [draw(columns(rows)) for _ in range(width)]
    index = draw(indexes(rows))
    made = [pd.DataFrame({0: pd.Series(values, dtype=values.dtype)}) for values in held]
    frame = pd.concat(made, axis=1) if made else pd.DataFrame(index=range(rows))
    frame.index = index
    frame.columns = draw(column_labels(width))
    frame.attrs = draw(attributes)
    if draw(st.booleans()) and frame.index.is_unique and frame.columns.is_unique:
        frame.flags.allows_duplicate_labels = False
    return frame


@st.composite
def series(draw):
    rows = draw(st.integers(0, 5))
    values = draw(columns(rows))
    made = pd.Series(values, dtype=values.dtype, index=draw(indexes(rows)), name=draw(labels))
    made.attrs = draw(attributes)
    return made


few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
many = settings(few, max_examples=150)


def same_types(found, stored):
    """What pandas' own comparisons let pass."""
    assert type(found) is type(stored)
    assert repr(found.dtype) == repr(stored.dtype)
    if isinstance(stored.dtype, pd.CategoricalDtype):
        same_index(found.dtype.categories, stored.dtype.categories)
        assert found.codes.dtype == stored.codes.dtype
    if isinstance(stored.dtype, pd.SparseDtype):
        assert found.sp_index.equals(stored.sp_index)
    if isinstance(stored.dtype, pd.DatetimeTZDtype):
        assert type(found.dtype.tz) is type(stored.dtype.tz)
        assert found.dtype.tz.tzname(None) == stored.dtype.tz.tzname(None)
    if stored.dtype == object:
        assert [type(value) for value in found] == [type(value) for value in stored]
        assert list(map(repr, found)) == list(map(repr, stored))
    if isinstance(stored.dtype, np.dtype) and stored.dtype.kind in "fciub":
        assert np.asarray(found).tobytes() == np.asarray(stored).tobytes()


def same_index(found, stored):
    assert_index_equal(found, stored, exact=True, check_exact=True)
    assert type(found) is type(stored)
    assert getattr(found, "freq", None) == getattr(stored, "freq", None)
    assert list(map(type, found.names)) == list(map(type, stored.names))
    if isinstance(stored, pd.MultiIndex):
        assert found.sortorder == stored.sortorder
        for one, other in zip(found.levels, stored.levels, strict=True):
            same_index(one.rename(None), other.rename(None))
        for one, other in zip(found.codes, stored.codes, strict=True):
            assert one.dtype == other.dtype
            assert one.tolist() == other.tolist()
    elif isinstance(stored, pd.RangeIndex):
        assert (found.start, found.stop, found.step) == (stored.start, stored.stop, stored.step)
    else:
        same_types(found.array, stored.array)


def same_series(found, stored):
    assert_series_equal(found, stored, check_exact=True, check_freq=True, check_flags=True)
    same_types(found.array, stored.array)
    same_index(found.index, stored.index)
    assert type(found.name) is type(stored.name)
    assert found.attrs == stored.attrs


def same_frame(found, stored):
    assert_frame_equal(found, stored, check_exact=True, check_freq=True, check_flags=True)
    same_index(found.index, stored.index)
    same_index(found.columns, stored.columns)
    assert found.attrs == stored.attrs
    for at in range(stored.shape[1]):
        same_types(found.iloc[:, at].array, stored.iloc[:, at].array)


@pytest.mark.slow
@few
@given(frames(), FORMATS, COMPRESSORS)
def test_every_frame_comes_back_exactly(store, frame, options, compressor):
    stored = store(frame, options, compressor)

    same_frame(stored.load(), frame)
    same_frame(stored.load(inline=True), frame)


@pytest.mark.slow
@many
@given(frames(), FORMATS, COMPRESSORS)
def test_every_frame_comes_back_exactly_tried_at_length(store, frame, options, compressor):
    same_frame(store(frame, options, compressor).load(), frame)


@pytest.mark.slow
@few
@given(series(), FORMATS)
def test_every_series_comes_back_exactly(store, one, options):
    same_series(store(one, options).load(), one)


@pytest.mark.slow
@few
@given(st.integers(0, 5).flatmap(indexes), FORMATS)
def test_every_index_comes_back_exactly(store, index, options):
    same_index(store(index, options).load(), index)


@pytest.mark.slow
@few
@given(
    hpd.data_frames(
        [
            hpd.column("a", dtype=float),
            hpd.column("b", dtype=np.int64),
            hpd.column("c", dtype="M8[ns]"),
        ],
        index=hpd.range_indexes(max_size=8),
    )
)
def test_every_frame_of_hypothesis_comes_back_exactly(store, frame):
    same_frame(store(frame).load(), frame)


@pytest.mark.slow
@few
@given(frames(), FORMATS)
def test_a_read_changes_nothing_that_a_second_read_sees(store, frame, options):
    stored = store(frame, options)
    same_frame(stored.load(), frame)

    same_frame(stored.load(), frame)


@pytest.mark.parametrize("options", [{}, {"format": "parquet"}])
def test_columns_may_bear_one_name_or_names_that_an_index_has(store, options):
    frame = pd.DataFrame(
        np.arange(12).reshape(3, 4), columns=["a", "a", "a.1", "__index_level_0__"]
    )
    frame.index = pd.Index([5, 6, 7])

    same_frame(store(frame, options).load(), frame)


@pytest.mark.parametrize("options", [{}, {"format": "parquet"}])
def test_blocks_may_lie_in_any_order_in_memory(store, options):
    whole = np.arange(60.0).reshape(10, 6)
    for values in (whole, np.asfortranarray(whole), whole[::-2, ::-2], whole.T):
        frame = pd.DataFrame(values)
        same_frame(store(frame, options).load(), frame)
        same_frame(store(frame[::3], options).load(), frame[::3])


@pytest.mark.slow
def test_wide_frames_come_back_in_few_blocks(store):
    frame = pd.DataFrame(np.arange(3000.0).reshape(3, 1000))
    frame.insert(500, "text", ["a", "b", "c"])

    found = store(frame).load()

    same_frame(found, frame)
    assert len(found._mgr.blocks) == 3


def test_scattered_columns_of_one_dtype_are_put_together(store):
    frame = pd.DataFrame(
        {f"{at}": np.arange(3, dtype=np.int64 if at % 2 else np.float64) for at in range(200)}
    )

    found = store(frame).load()

    same_frame(found, frame)
    assert len(found._mgr.blocks) == 2


def test_a_frame_without_columns_keeps_its_rows(store):
    frame = pd.DataFrame(index=pd.RangeIndex(7))

    assert store(frame).load().shape == (7, 0)


def test_text_that_is_no_utf_8_is_kept(store):
    frame = pd.DataFrame(
        {0: pd.Series(["\udfff", "b"], dtype=object)},
    ).set_axis(pd.Index(["\ud800"], dtype=object), axis=1)

    found = store(frame).load()

    assert found.columns[0] == "\ud800"
    assert found.iloc[0, 0] == "\udfff"


@pytest.mark.parametrize("zone", ["pytz", "dateutil"])
def test_zones_of_other_libraries_come_back_as_theirs(store, zone):
    library = pytest.importorskip(zone)
    if zone == "pytz":
        zones = [library.timezone("Europe/Berlin"), library.UTC, library.FixedOffset(90)]
    else:
        from dateutil import tz

        zones = [tz.gettz("Europe/Berlin"), tz.tzutc(), tz.tzoffset("x", 3600)]
    for each in zones:
        one = pd.Series(pd.date_range("2020", periods=3, tz=each))
        stored = store(one)
        assert stored.data_only
        assert type(stored.load().dtype.tz) is type(one.dtype.tz)
        assert_series_equal(stored.load(), one, check_freq=True)


def test_nested_and_chunked_arrow_columns_come_back(store):
    chunks = pa.chunked_array([[{"a": [1, 2]}], [], [None, {"a": None}]])
    frame = pd.DataFrame({"x": pd.arrays.ArrowExtensionArray(chunks), "n": [1, 2, 3]})

    same_frame(store(frame).load(), frame)
    same_frame(store(frame[1:]).load(), frame[1:])


def test_decimals_keep_their_exponent_and_sign(store):
    for values in (["1.0", "1.00"], ["-0.00", "1.00"], ["NaN", "1"], ["1E+3", "2E+3"], ["9" * 60]):
        one = pd.Series(as_objects([decimal.Decimal(each) for each in values]))
        assert list(map(str, store(one).load())) == values


def test_subclasses_of_plain_types_in_cells_come_back_as_such(store):
    values = [np.str_("a"), "b", np.bool_(True), np.float64(1)]
    found = store(pd.Series(values, dtype=object)).load()

    assert list(map(type, found)) == list(map(type, values))
