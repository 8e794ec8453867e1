# SPDX-License-Identifier: MIT
"""How an index of each class is kept, exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from cacheness.errors import CannotHandleError
from cacheness_pandas.categories import decode_codes, encode_codes
from cacheness_pandas.columns import Spec, decode, encode, values_of
from cacheness_pandas.labels import pack_label, unpack_label

if TYPE_CHECKING:
    import pyarrow as pa

    from cacheness_pandas.reading import Reader
    from cacheness_pandas.writing import Writer

__all__ = ["IndexSpec", "decode_index", "encode_index", "encode_names", "is_kept"]

IndexSpec: TypeAlias = dict[str, Any]
"""How an index is read again (JSON)."""

_CLASSES = {
    pd.Index,
    pd.RangeIndex,
    pd.MultiIndex,
    pd.DatetimeIndex,
    pd.TimedeltaIndex,
    pd.PeriodIndex,
    pd.IntervalIndex,
    pd.CategoricalIndex,
}


def is_kept(index: object) -> bool:
    """Whether it is one of pandas' own index classes, and no subclass of them."""
    return type(index) in _CLASSES


def encode_index(
    index: pd.Index[Any], writer: Writer
) -> tuple[list[pa.Array | pa.ChunkedArray | None], IndexSpec]:
    """Turn an index into Arrow columns: none for a range, one for each level, else one.

    Raises:
        CannotHandleError: It is a subclass of pandas' index classes.
    """
    if not is_kept(index):
        raise CannotHandleError(f"{type(index).__qualname__} is no index class of pandas")
    if isinstance(index, pd.RangeIndex):
        return [], {
            "kind": "range",
            "span": [index.start, index.stop, index.step],
            "name": pack_label(index.name, writer.part),
        }
    if isinstance(index, pd.MultiIndex):
        return _encode_levels(index, writer)
    array, values = encode(values_of(index), writer)
    spec: IndexSpec = {
        "kind": "index",
        "values": values,
        "name": pack_label(index.name, writer.part),
    }
    if isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)) and index.freq is not None:
        spec["freq"] = _pack_freq(index.freq, writer)
    return [array], spec


def encode_names(index: pd.Index[Any], writer: Writer) -> IndexSpec:
    """An index of its own length, in the spec itself: a frame's columns.

    Raises:
        CannotHandleError: It is a subclass of pandas' index classes.
    """
    if isinstance(index, pd.RangeIndex):
        return encode_index(index, writer)[1]
    labels = list(index)
    if type(index) is pd.Index and all(type(label) is str for label in labels):
        dtype = _pack_string_dtype(index.dtype)
        if dtype is not None and _are_utf8(labels):
            name = pack_label(index.name, writer.part)
            return {"kind": "names", "labels": labels, "dtype": dtype, "name": name}
    return {"kind": "packed", "packed": writer.pack(index)}


def decode_index(spec: IndexSpec, columns: list[pa.ChunkedArray], reader: Reader) -> pd.Index[Any]:
    """Turn Arrow columns back into the index that `encode_index` was given.

    Raises:
        ValueError: The spec does not fit the columns.
    """
    kind = spec["kind"]
    if kind == "packed":
        return reader.unpack(spec["packed"])
    if kind == "multi":
        return _decode_levels(spec, columns, reader)
    name = unpack_label(spec["name"], reader.part)
    if kind == "range":
        start, stop, step = spec["span"]
        whole: pd.Index[Any] = pd.RangeIndex(start, stop, step, name=name)
        return whole[reader.rows] if reader.rows else whole
    made: pd.Index[Any]
    if kind == "names":
        made = pd.Index(spec["labels"], dtype=_string_dtype(spec["dtype"]), name=name)
        return made
    values: Any = decode(spec["values"], columns[0], reader)
    index: Any = pd.Index(values, dtype=values.dtype, copy=False, name=name, tupleize_cols=False)
    if "freq" in spec:
        index.freq = _unpack_freq(spec["freq"], reader)
    made = index
    return made


def _encode_levels(
    index: pd.MultiIndex, writer: Writer
) -> tuple[list[pa.Array | pa.ChunkedArray | None], IndexSpec]:
    arrays: list[pa.Array | pa.ChunkedArray | None] = []
    levels = []
    sortorder: Any = index.sortorder  # type: ignore[attr-defined]  # pandas-stubs lack it
    for codes, labels in zip(index.codes, index.levels, strict=True):
        array, spec = encode_codes(np.asarray(codes), labels, writer)
        arrays.append(array)
        levels.append(spec)
    return arrays, {
        "kind": "multi",
        "levels": levels,
        "names": [pack_label(name, writer.part) for name in index.names],
        "sortorder": None if sortorder is None else int(sortorder),
    }


def _decode_levels(
    spec: IndexSpec, columns: list[pa.ChunkedArray], reader: Reader
) -> pd.MultiIndex:
    levels: list[tuple[Any, Any]] = [
        decode_codes(level, column, reader)
        for level, column in zip(spec["levels"], columns, strict=True)
    ]
    return pd.MultiIndex(
        levels=[labels for _, labels in levels],
        codes=[codes for codes, _ in levels],
        names=[unpack_label(name, reader.part) for name in spec["names"]],
        sortorder=spec["sortorder"],
        verify_integrity=False,
    )


def _pack_freq(freq: pd.offsets.BaseOffset, writer: Writer) -> Spec:
    try:
        again = to_offset(freq.freqstr)
    except ValueError:
        again = None
    return freq.freqstr if type(again) is type(freq) and again == freq else writer.part(freq)


def _unpack_freq(packed: Spec, reader: Reader) -> Any:
    return to_offset(packed) if isinstance(packed, str) else reader.part(packed)


def _pack_string_dtype(dtype: Any) -> list[str] | None:
    """The dtype of an index of strings, of the two kinds that frames usually have."""
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        return ["object"]
    if type(dtype) is pd.StringDtype:
        return [dtype.storage, "na" if dtype.na_value is pd.NA else "nan"]
    return None


def _string_dtype(packed: list[str]) -> Any:
    if packed == ["object"]:
        return np.dtype(object)
    storage, na = packed
    if na == "na" or storage == "pyarrow_numpy":
        return pd.StringDtype(storage)  # pyright: ignore[reportArgumentType, reportCallIssue]  # the stubs know None
    return pd.StringDtype(storage, na_value=np.nan)  # pyright: ignore[reportArgumentType, reportCallIssue]  # the stubs know None


def _are_utf8(labels: list[str]) -> bool:
    try:
        "".join(labels).encode()
    except UnicodeEncodeError:
        return False
    return True
