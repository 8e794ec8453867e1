# SPDX-License-Identifier: MIT
"""How a column of each dtype is kept in Arrow, exactly."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionArray

from cacheness_pandas.categories import decode_codes, encode_codes, has_several_dictionaries
from cacheness_pandas.labels import pack_label, unpack_label
from cacheness_pandas.objects import decode_objects, encode_objects
from cacheness_pandas.zones import arrow_zone, pack_zone, unpack_zone

if TYPE_CHECKING:
    from collections.abc import Callable

    from cacheness_pandas.reading import Reader
    from cacheness_pandas.writing import Writer

__all__ = ["Column", "Encoded", "Spec", "decode", "encode", "values_of"]

Column: TypeAlias = npt.NDArray[Any] | ExtensionArray
"""One column's values: one-dimensional."""
Spec: TypeAlias = str | dict[str, Any]
"""How a column is read again (JSON); the bare name of a numpy dtype says it all."""
Encoded: TypeAlias = tuple[pa.Array | pa.ChunkedArray | None, Spec]
"""A column in Arrow and its spec; None where it is kept as a part beside the table."""

_NUMBERS = {
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
}
_TIMES = {
    *("datetime64[s]", "datetime64[ms]", "datetime64[us]", "datetime64[ns]"),
    *("timedelta64[s]", "timedelta64[ms]", "timedelta64[us]", "timedelta64[ns]"),
}
_COMPLEX: dict[str, np.dtype[Any]] = {
    "complex64": np.dtype("float32"),
    "complex128": np.dtype("float64"),
}
_NATIVE: dict[np.dtype[Any], str] = {
    np.dtype(name): name for name in ("bool", *_NUMBERS, *_TIMES, *_COMPLEX)
}
"""numpy's dtypes that Arrow keeps, in the machine's byte order; a name costs numpy 5 µs."""
_MASKED = (
    *(pd.Int8Dtype, pd.Int16Dtype, pd.Int32Dtype, pd.Int64Dtype),
    *(pd.UInt8Dtype, pd.UInt16Dtype, pd.UInt32Dtype, pd.UInt64Dtype),
    *(pd.Float32Dtype, pd.Float64Dtype, pd.BooleanDtype),
)
_MASKED_NAMES: dict[str, Any] = {kind().name: kind() for kind in _MASKED}
_NAT = np.iinfo(np.int64).min


def encode(values: Column, writer: Writer) -> Encoded:
    """Turn a column into Arrow.

    Args:
        values: The column's array, as its series holds it.
        writer: Keeps as a part what Arrow can't keep exactly.
    """
    if isinstance(values, np.ndarray):
        return _encode_numpy(values, writer)
    encoder = _ENCODERS.get(type(values.dtype))
    if encoder is None or type(values) is not values.dtype.construct_array_type():
        return writer.apart(values)
    return encoder(values, writer)


def decode(spec: Spec, column: pa.ChunkedArray, reader: Reader) -> Column:
    """Turn a column back into the array that `encode` was given.

    Raises:
        ValueError: The spec does not fit the column.
    """
    if isinstance(spec, str):
        return _decode_numpy(spec, column, reader)
    values: Column = _DECODERS[spec["kind"]](spec, column, reader)
    return values


def values_of(labelled: pd.Series[Any] | pd.Index[Any]) -> Column:
    """The array that a series or an index holds: numpy's own, or an extension array."""
    if isinstance(labelled.dtype, np.dtype):
        return labelled.to_numpy()
    array: Column = labelled.array
    return array


# --- numpy's own dtypes ------------------------------------------------------------------


def _encode_numpy(values: npt.NDArray[Any], writer: Writer) -> Encoded:
    name = _NATIVE.get(values.dtype)
    if name is None:
        encoded = encode_objects(values) if values.dtype.kind == "O" else None
        return encoded or writer.apart(values)
    if name in _TIMES:
        return _times(values, pa.from_numpy_dtype(values.dtype)), name
    if name in _COMPLEX:
        pairs = np.ascontiguousarray(values).view(_COMPLEX[name])
        return pa.FixedSizeListArray.from_arrays(pa.array(pairs), 2), name
    return pa.array(np.ascontiguousarray(values), from_pandas=False), name


def _times(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Instants or durations, NaT as null: looked for first, since Arrow is slow to do it."""
    numbers = np.ascontiguousarray(values).view(np.int64)
    nulls = numbers == _NAT
    return pa.array(numbers, mask=nulls if nulls.any() else None).view(kind)


def _decode_numpy(name: str, column: pa.ChunkedArray, reader: Reader) -> npt.NDArray[Any]:
    memory = reader.memory
    if name == "bool":
        _expect(column, pa.bool_())
        return memory.bools(column)
    if name in _NUMBERS:
        dtype: np.dtype[Any] = np.dtype(name)
        _expect(column, pa.from_numpy_dtype(dtype))
        return memory.numbers(column, dtype)
    if name in _TIMES:
        dtype = np.dtype(name)
        column = _in_unit(column, pa.from_numpy_dtype(dtype))
        return _with_nat(memory.numbers(column, dtype), column, reader)
    half = _COMPLEX[name]
    _expect(column, pa.list_(pa.from_numpy_dtype(half), 2))
    pairs = [chunk.flatten() for chunk in column.chunks]
    flat = pa.chunked_array(pairs, pa.from_numpy_dtype(half))
    return memory.numbers(flat, half).view(name)


def _expect(column: pa.ChunkedArray, kind: pa.DataType) -> None:
    """Refuse a column of another type, whose bytes would mean something else."""
    if column.type != kind or column.null_count:
        raise ValueError(f"a column of {column.type} where the entry says {kind}")


def _in_unit(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Undo what Parquet, which has no seconds, did to a column of times."""
    if column.type == kind:
        return column
    if not pa.types.is_temporal(column.type):
        raise ValueError(f"a column of {column.type} where the entry says {kind}")
    return column.cast(kind)


def _with_nat(
    values: npt.NDArray[Any], column: pa.ChunkedArray, reader: Reader
) -> npt.NDArray[Any]:
    """The values with NaT where the column is null: some readers leave other bits there."""
    if not column.null_count:
        return values
    values = values if values.flags.writeable else values.copy()
    values.view(np.int64)[reader.memory.nulls(column)] = _NAT
    return values


# --- extension dtypes --------------------------------------------------------------------


def _encode_zoned(values: Any, writer: Writer) -> Encoded:
    zone = pack_zone(values.dtype.tz)
    if zone is None:
        return writer.apart(values)
    unit = values.dtype.unit
    array = _times(values.asi8, pa.timestamp(unit, arrow_zone(zone)))
    return array, {"kind": "zoned", "unit": unit, "zone": zone}


def _decode_zoned(spec: dict[str, Any], column: pa.ChunkedArray, reader: Reader) -> Any:
    dtype = pd.DatetimeTZDtype(spec["unit"], unpack_zone(spec["zone"]))
    column = _in_unit(column, pa.timestamp(dtype.unit, column.type.tz))
    instants = reader.memory.numbers(column, np.dtype(f"M8[{dtype.unit}]"))
    instants = _with_nat(instants, column, reader)
    kind: Any = dtype.construct_array_type()
    return kind._simple_new(instants, dtype=dtype)  # the public ways copy the instants


def _encode_masked(values: Any, _writer: Writer) -> Encoded:
    return values.__arrow_array__(), {"kind": "masked", "dtype": values.dtype.name}


def _decode_masked(spec: dict[str, Any], column: pa.ChunkedArray, reader: Reader) -> Any:
    dtype = _MASKED_NAMES[spec["dtype"]]
    if column.type != pa.from_numpy_dtype(dtype.numpy_dtype):
        raise ValueError(f"a column of {column.type} where the entry says {dtype}")
    memory = reader.memory
    if isinstance(dtype, pd.BooleanDtype):
        values = memory.bools(column)
    else:
        values = memory.numbers(column, dtype.numpy_dtype)
    return dtype.construct_array_type()(values, memory.nulls(column), copy=False)


def _encode_string(values: Any, writer: Writer) -> Encoded:
    dtype = values.dtype
    na = "na" if dtype.na_value is pd.NA else "nan"
    spec = {"kind": "string", "storage": dtype.storage, "na": na}
    if dtype.storage != "python":
        return values.__arrow_array__(), spec
    encoded = encode_objects(values.to_numpy(dtype=object))
    if encoded is None or encoded[1]["of"] not in ("str", "null"):
        return writer.apart(values)
    return encoded[0].cast(pa.large_string()), spec


def _decode_string(spec: dict[str, Any], column: pa.ChunkedArray, _reader: Reader) -> Any:
    dtype: Any = _string_dtype(spec["storage"], spec["na"])
    if not (pa.types.is_large_string(column.type) or pa.types.is_string(column.type)):
        raise ValueError(f"a column of {column.type} where the entry says {dtype}")
    return dtype.__from_arrow__(column)


def _string_dtype(storage: str, na: str) -> Any:
    if na == "na" or storage == "pyarrow_numpy":
        return pd.StringDtype(storage)  # pyright: ignore[reportArgumentType, reportCallIssue]  # the stubs know None
    return pd.StringDtype(storage, na_value=np.nan)  # pyright: ignore[reportArgumentType, reportCallIssue]  # the stubs know None


def _encode_period(values: Any, writer: Writer) -> Encoded:
    freq = values.dtype.name.removeprefix("period[").removesuffix("]")
    if pd.PeriodDtype(freq) != values.dtype:
        return writer.apart(values)
    storage = _times(values.asi8, pa.int64())
    return _as_extension(storage, values), {"kind": "period", "freq": freq}


def _decode_period(spec: dict[str, Any], column: pa.ChunkedArray, reader: Reader) -> Any:
    column = _storage(column)
    if column.type != pa.int64():
        raise ValueError(f"a column of {column.type} where the entry says periods")
    ordinals = _with_nat(reader.memory.numbers(column, np.dtype("int64")), column, reader)
    return pd.arrays.PeriodArray(ordinals, dtype=pd.PeriodDtype(spec["freq"]))


def _encode_interval(values: Any, writer: Writer) -> Encoded:
    left, left_spec = encode(values_of(values.left), writer)
    right, right_spec = encode(values_of(values.right), writer)
    empty = values[:0]
    again = pd.arrays.IntervalArray.from_arrays(empty.left, empty.right, values.closed)
    if left is None or right is None or again.dtype != values.dtype:
        return writer.apart(values)
    storage = pa.StructArray.from_arrays([left, right], ["left", "right"])
    spec = {"kind": "interval", "closed": values.closed, "left": left_spec, "right": right_spec}
    return _as_extension(storage, values), spec


def _decode_interval(spec: dict[str, Any], column: pa.ChunkedArray, reader: Reader) -> Any:
    column = _storage(column)
    left, right = (
        pa.chunked_array([chunk.field(side) for chunk in column.chunks], column.type.field(at).type)
        for at, side in enumerate(("left", "right"))
    )
    return pd.arrays.IntervalArray.from_arrays(
        decode(spec["left"], left, reader), decode(spec["right"], right, reader), spec["closed"]
    )


def _as_extension(storage: pa.Array, values: Any) -> pa.Array:
    """The column as pandas' own Arrow type, so that pandas knows it in the file."""
    try:
        kind = values[:0].__arrow_array__().type
    except TypeError:  # intervals of zoned times, before pandas 3
        return storage
    if kind.storage_type != storage.type:
        return storage
    return pa.ExtensionArray.from_storage(kind, storage)


def _storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column without an Arrow extension type, whether that is registered here or not."""
    if not isinstance(column.type, pa.BaseExtensionType):
        return column
    kind = column.type.storage_type
    return pa.chunked_array([chunk.storage for chunk in column.chunks], kind)


def _encode_sparse(values: Any, writer: Writer) -> Encoded:
    index = values.sp_index.to_int_index()
    exact = values.kind == "integer" or index.to_block_index().equals(values.sp_index)
    if not exact or values.sp_values.dtype == object:
        return writer.apart(values)
    return None, {
        "kind": "sparse",
        "fill": pack_label(values.fill_value, writer.part),
        "index": values.kind,
        "length": len(values),
        "values": writer.part(values.sp_values),
        "at": writer.part(index.indices),
    }


def _decode_sparse(spec: dict[str, Any], _column: pa.ChunkedArray, reader: Reader) -> Any:
    sparse: Any = importlib.import_module("pandas._libs.sparse")  # has no public name
    index: Any = sparse.IntIndex(spec["length"], reader.part(spec["at"]), check_integrity=True)
    if spec["index"] == "block":
        index = index.to_block_index()
    values = reader.part(spec["values"])
    fill = unpack_label(spec["fill"], reader.part)
    dtype = pd.SparseDtype(values.dtype, fill)
    # One public way takes an index only before pandas 3, another only since.
    kind: Any = pd.arrays.SparseArray
    whole = kind._simple_new(values, index, dtype)
    return whole[reader.rows] if reader.rows else whole


def _encode_category(values: Any, writer: Writer) -> Encoded:
    array, spec = encode_codes(values.codes, values.categories, writer, ordered=values.ordered)
    return array, {"kind": "category", "ordered": bool(values.ordered), **spec}


def _decode_category(spec: dict[str, Any], column: pa.ChunkedArray, reader: Reader) -> Any:
    codes, categories = decode_codes(spec, column, reader)
    dtype = pd.CategoricalDtype(categories, ordered=spec["ordered"])
    return pd.Categorical.from_codes(codes, dtype=dtype, validate=False)


def _encode_arrow(values: Any, writer: Writer) -> Encoded:
    column = values.__arrow_array__()
    if has_several_dictionaries(column):
        return writer.apart(values)
    return column, {"kind": "arrow"}


def _decode_arrow(_spec: dict[str, Any], column: pa.ChunkedArray, _reader: Reader) -> Any:
    return pd.arrays.ArrowExtensionArray(column)


def _decode_part(spec: dict[str, Any], _column: pa.ChunkedArray, reader: Reader) -> Any:
    values = reader.part(spec)
    return values[reader.rows] if reader.rows else values


def _decode_plain(spec: dict[str, Any], column: pa.ChunkedArray, reader: Reader) -> Any:
    return _decode_numpy(spec["dtype"], column, reader)


def _decode_object(spec: dict[str, Any], column: pa.ChunkedArray, reader: Reader) -> Any:
    return decode_objects(column, spec, reader.memory)


_ENCODERS: dict[type, Callable[[Any, Writer], Encoded]] = {
    pd.DatetimeTZDtype: _encode_zoned,
    pd.StringDtype: _encode_string,
    pd.PeriodDtype: _encode_period,
    pd.IntervalDtype: _encode_interval,
    pd.SparseDtype: _encode_sparse,
    pd.CategoricalDtype: _encode_category,
    pd.ArrowDtype: _encode_arrow,
    **dict.fromkeys(_MASKED, _encode_masked),
}

_DECODERS: dict[str, Callable[[dict[str, Any], pa.ChunkedArray, Reader], Any]] = {
    "arrow": _decode_arrow,
    "category": _decode_category,
    "interval": _decode_interval,
    "masked": _decode_masked,
    "object": _decode_object,
    "part": _decode_part,
    "period": _decode_period,
    "plain": _decode_plain,
    "sparse": _decode_sparse,
    "string": _decode_string,
    "zoned": _decode_zoned,
}
