# SPDX-License-Identifier: MIT
"""Feeds the identity of frames, series, indexes and tables to a hasher.

What counts is what a caller can tell apart: labels, dtypes, values, order, names, freq,
``attrs`` and flags; not how the columns lie in blocks and chunks. A range counts as the
integers that it stands for, and the levels of a multi-index as far as they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from cacheness.keys.encoding import encode
from cacheness_pandas.arrow_fingerprint import feed_column, feed_number, feed_text
from cacheness_pandas.columns import Column, values_of
from cacheness_pandas.objects import encode_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    import numpy.typing as npt

    from cacheness.handlers.protocols import Update

__all__ = ["feed_arrow", "feed_frame", "feed_index", "feed_series"]

_UTC = {"UTC", "tzutc()"}


def feed_frame(frame: pd.DataFrame, update: Update) -> None:
    """Feed a frame; a view of some rows feeds those alone."""
    feed_number(frame.shape[0], update)
    feed_number(frame.shape[1], update)
    _feed_state(frame, update)
    feed_index(frame.columns, update)
    feed_index(frame.index, update)
    for _label, series in frame.items():  # noqa: PERF102 - a frame, not a dict
        _feed_values(values_of(series), update)


def feed_series(series: pd.Series[Any], update: Update) -> None:
    """Feed a series."""
    _feed_state(series, update)
    _feed_label(series.name, update)
    feed_index(series.index, update)
    _feed_values(values_of(series), update)


def feed_index(index: pd.Index[Any], update: Update) -> None:
    """Feed an index."""
    feed_number(len(index), update)
    for name in index.names:
        _feed_label(name, update)
    if isinstance(index, pd.MultiIndex):
        feed_text("levels", update)
        for codes, labels in zip(index.codes, index.levels, strict=True):
            _feed_level(np.asarray(codes), labels, update)
        return
    span = _span(index)
    if span is not None:
        feed_text("range", update)
        update(encode(span))
        return
    freq = getattr(index, "freq", None)
    feed_text("" if freq is None else str(freq.freqstr), update)
    _feed_values(values_of(index), update)


def feed_arrow(obj: Any, update: Update) -> None:
    """Feed a pyarrow Table, RecordBatch, ChunkedArray, Array or Schema."""
    if isinstance(obj, pa.Schema):
        _feed_schema(obj, update)
    elif isinstance(obj, (pa.Table, pa.RecordBatch)):
        _feed_schema(obj.schema, update)
        feed_number(obj.num_rows, update)
        for column in obj.columns:
            feed_column(column, update)
    else:
        feed_column(obj, update)


def _feed_schema(schema: pa.Schema, update: Update) -> None:
    feed_number(len(schema), update)
    for field in schema:
        feed_text(field.name, update)
        feed_text(str(field.type), update)
        update(b"\1" if field.nullable else b"\0")
        update(encode(field.metadata))
    update(encode(schema.metadata))


def _feed_state(obj: pd.DataFrame | pd.Series[Any], update: Update) -> None:
    update(encode(dict(obj.attrs)))
    update(encode(bool(obj.flags.allows_duplicate_labels)))


def _feed_label(label: Hashable, update: Update) -> None:
    update(encode(label))


def _span(index: pd.Index[Any]) -> tuple[int, int, int] | None:
    """First value, step and count of an index that is a range, or 64-bit integers like one."""
    count = len(index)
    if isinstance(index, pd.RangeIndex):
        return (
            (int(index.start), int(index.step) if count > 1 else 1, count) if count else (0, 1, 0)
        )
    if index.dtype != np.int64:
        return None
    if count < 2:
        return (int(index[0]), 1, 1) if count else (0, 1, 0)
    values = index.to_numpy()
    step = int(values[1]) - int(values[0])
    if step == 0 or int(values[-1]) - int(values[0]) != step * (count - 1):
        return None
    return (int(values[0]), step, count) if (np.diff(values) == step).all() else None


def _feed_level(
    codes: npt.NDArray[np.signedinteger[Any]], labels: pd.Index[Any], update: Update
) -> None:
    """Feed a level by the labels that are used, in the order in which they turn up."""
    used = pd.unique(codes)
    used = used[used >= 0]
    places = np.full(len(labels) + 1, -1, np.int64)
    places[used] = np.arange(len(used))
    update(places[codes].data)
    feed_index(labels.take(used).rename(None), update)


def _feed_values(values: Column, update: Update) -> None:
    feed_number(len(values), update)
    if isinstance(values, np.ndarray):
        _feed_numpy(values, update)
        return
    feeder = _FEEDERS.get(type(values.dtype))
    if feeder is None:
        feed_text(str(values.dtype), update)
        update(encode(values))
        return
    feeder(values, update)


def _feed_numpy(values: npt.NDArray[Any], update: Update) -> None:
    feed_text(values.dtype.str, update)
    if values.dtype != object:
        update(np.ascontiguousarray(values).view(np.uint8).data)
        return
    encoded = encode_objects(values)
    if encoded is None:
        update(encode(values.tolist()))
        return
    array, spec = encoded
    update(encode(spec))
    feed_column(array, update)


def _feed_zoned(values: Any, update: Update) -> None:
    zone = str(values.dtype.tz)
    feed_text(f"zoned {values.dtype.unit} {'UTC' if zone in _UTC else zone}", update)
    _feed_numpy(values.asi8, update)


def _feed_masked(values: Any, update: Update) -> None:
    feed_text(values.dtype.name, update)
    feed_column(values.__arrow_array__(), update)


def _feed_string(values: Any, update: Update) -> None:
    dtype = values.dtype
    feed_text(f"string {dtype.storage} {'NA' if dtype.na_value is pd.NA else 'nan'}", update)
    if dtype.storage == "python":
        _feed_numpy(values.to_numpy(dtype=object), update)
        return
    # How wide the offsets are is not part of a string dtype.
    column = values.__arrow_array__()
    feed_column(column.cast(pa.large_string()), update)


def _feed_period(values: Any, update: Update) -> None:
    feed_text(values.dtype.name, update)
    _feed_numpy(values.asi8, update)


def _feed_interval(values: Any, update: Update) -> None:
    feed_text(f"interval {values.closed}", update)
    _feed_values(values_of(values.left), update)
    _feed_values(values_of(values.right), update)


def _feed_sparse(values: Any, update: Update) -> None:
    feed_text("sparse", update)
    update(encode(values.fill_value))
    _feed_numpy(values.sp_index.to_int_index().indices, update)
    _feed_values(values.sp_values, update)


def _feed_category(values: Any, update: Update) -> None:
    feed_text("ordered" if values.ordered else "category", update)
    feed_index(values.categories, update)
    _feed_numpy(values.codes, update)


def _feed_arrow_backed(values: Any, update: Update) -> None:
    feed_text("arrow", update)
    feed_column(values.__arrow_array__(), update)


_FEEDERS: dict[type, Callable[[Any, Update], None]] = {
    pd.DatetimeTZDtype: _feed_zoned,
    pd.StringDtype: _feed_string,
    pd.PeriodDtype: _feed_period,
    pd.IntervalDtype: _feed_interval,
    pd.SparseDtype: _feed_sparse,
    pd.CategoricalDtype: _feed_category,
    pd.ArrowDtype: _feed_arrow_backed,
    **dict.fromkeys(
        (
            *(pd.Int8Dtype, pd.Int16Dtype, pd.Int32Dtype, pd.Int64Dtype),
            *(pd.UInt8Dtype, pd.UInt16Dtype, pd.UInt32Dtype, pd.UInt64Dtype),
            *(pd.Float32Dtype, pd.Float64Dtype, pd.BooleanDtype),
        ),
        _feed_masked,
    ),
}
