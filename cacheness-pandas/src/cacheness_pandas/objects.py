# SPDX-License-Identifier: MIT
"""How columns of Python objects are kept in Arrow, where all are of one plain type."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

if TYPE_CHECKING:
    from cacheness_pandas.numbers import Memory

__all__ = ["NULLS", "decode_objects", "encode_objects"]

Objects = npt.NDArray[np.object_]

NULLS: dict[str, Any] = {"none": None, "nan": np.nan, "na": pd.NA, "nat": pd.NaT}
"""The objects that stand for a missing value, by the name that is stored."""

_NAN_BITS = np.float64(np.nan).view(np.int64)
_NULL_TYPES = {type(None): "none", float: "nan", type(pd.NA): "na", type(pd.NaT): "nat"}
_MOST_DIGITS = 38
_PLAIN: dict[type, tuple[str, pa.DataType]] = {
    str: ("str", pa.large_string()),
    bytes: ("bytes", pa.large_binary()),
    bool: ("bool", pa.bool_()),
    int: ("int", pa.int64()),
    float: ("float", pa.float64()),
    dt.date: ("date", pa.date32()),
}


def encode_objects(values: Objects) -> tuple[pa.Array, dict[str, Any]] | None:
    """The column in Arrow, and how it is read again; None where Arrow can't keep it exactly.

    Kept are columns of ``str, bytes, bool, int, float, date, Decimal`` (of one exponent) or
    ``UUID``, each with at most one kind of missing value. Looks at the type of every object,
    so that an instance of a subclass is never taken for its base.
    """
    kinds = set(map(type, values))
    nulls = _null_of(values, kinds)
    if nulls is None:
        return None
    kinds -= {type(NULLS[nulls])} if nulls else set()
    if len(kinds) > 1:
        return None
    kind = kinds.pop() if kinds else None
    array = _to_arrow(values, kind, nulls)
    if array is None:
        return None
    name = "null" if kind is None else _PLAIN[kind][0] if kind in _PLAIN else kind.__name__
    spec = {"kind": "object", "of": name}
    return array, ({**spec, "null": nulls} if nulls else spec)


def decode_objects(column: pa.ChunkedArray, spec: dict[str, Any], memory: Memory) -> Objects:
    """The objects that `encode_objects` was given.

    Raises:
        ValueError: The spec names no type of object.
    """
    null = spec.get("null", "none")
    if spec["of"] == "null":
        return np.full(len(column), NULLS[null], object)
    values = _from_arrow(column, spec["of"])
    if null != "none" and column.null_count:
        values[memory.nulls(column)] = NULLS[null]
    return values


def _null_of(values: Objects, kinds: set[type]) -> str | None:
    """The one kind of missing value, empty for none, None if there are several."""
    found = [name for kind, name in _NULL_TYPES.items() if kind in kinds]
    if "nan" in found and not _only_plain_nan(values):
        found.remove("nan")  # a column of floats, in which NaN is a value
    if len(found) > 1:
        return None
    return found[0] if found else ""


def _only_plain_nan(values: Objects) -> bool:
    """Whether every float among the objects is NaN, with the bits of ``numpy.nan``."""
    floats = [value for value in values if type(value) is float]
    bits = np.array(floats, np.float64).view(np.int64)
    return bool((bits == _NAN_BITS).all())


def _to_arrow(values: Objects, kind: type | None, nulls: str) -> pa.Array | None:
    if kind is None:
        return pa.nulls(len(values)) if nulls else pa.array([], pa.null())
    try:
        if kind in _PLAIN:
            return pa.array(values, _PLAIN[kind][1], from_pandas=kind is not float)
        if kind is decimal.Decimal:
            return _decimals(values)
        if kind is uuid.UUID:
            return _uuids(values)
    except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
        return None  # an int beyond 64 bits, a lone surrogate
    return None


def _decimals(values: Objects) -> pa.Array | None:
    present = [value for value in values if type(value) is decimal.Decimal]
    tuples = [value.as_tuple() for value in present]
    exponent = tuples[0].exponent
    if not isinstance(exponent, int) or not -_MOST_DIGITS <= exponent <= 0:
        return None
    if any(each.exponent != exponent for each in tuples):
        return None
    if any(each.sign and not value for each, value in zip(tuples, present, strict=True)):
        return None  # Arrow has no negative zero
    digits = max(len(each.digits) for each in tuples)
    if max(digits, -exponent) > _MOST_DIGITS:
        return None
    return pa.array(values, pa.decimal128(_MOST_DIGITS, -exponent), from_pandas=True)


def _uuids(values: Objects) -> pa.Array | None:
    octets: list[bytes | None] = []
    for value in values:
        if type(value) is not uuid.UUID:
            octets.append(None)
        elif value.is_safe is uuid.SafeUUID.unknown:
            octets.append(value.bytes)
        else:
            return None
    return pa.array(octets, pa.binary(16))


def _from_arrow(column: pa.ChunkedArray, of: str) -> Objects:
    if of == "UUID":
        found = column.to_pylist()
        made = (None if each is None else uuid.UUID(bytes=each) for each in found)
        return np.fromiter(made, object, len(found))
    if of in ("int", "float", "bool", "date", "Decimal"):
        return np.fromiter(column.to_pylist(), object, len(column))
    if of not in ("str", "bytes"):
        raise ValueError(f"{of!r} is no type of object")
    values: Objects = column.to_numpy(zero_copy_only=False)
    return values if values.flags.writeable else values.copy()
