# SPDX-License-Identifier: MIT
"""How codes that point into an index (categoricals, multi-index levels) are kept in Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from cacheness_pandas.reading import Reader
    from cacheness_pandas.writing import Writer

__all__ = ["decode_codes", "encode_codes", "has_several_dictionaries"]

Codes = npt.NDArray[np.signedinteger[Any]]


def encode_codes(
    codes: Codes, labels: pd.Index[Any], writer: Writer, *, ordered: bool = False
) -> tuple[pa.DictionaryArray | pa.Array, dict[str, Any]]:
    """Make an Arrow dictionary of codes and labels.

    Labels that other tools know in a dictionary (numbers, strings, times) are its values;
    intervals, periods and the like are kept in the spec, and the file has their text.
    Parquet keeps neither the order of a dictionary nor its unused values, so there the
    labels are in the spec too.

    Args:
        codes: Signed integers, -1 where nothing is.
        labels: What the codes point into; unique.
        writer: Says what the format keeps.
        ordered: Whether the labels have an order.
    """
    indices = _indices(codes)
    spec: dict[str, Any] = {"codes": codes.dtype.name}
    values, labels_spec = _dictionary(labels, writer)
    if values is None or writer.parquet:
        spec["packed"] = writer.pack(labels)
    else:
        spec["labels"] = labels_spec
    if values is None:
        if writer.parquet:
            return indices, {**spec, "bare": True}
        values = _texts(labels)
    return pa.DictionaryArray.from_arrays(indices, values, ordered=ordered, safe=False), spec


def decode_codes(
    spec: dict[str, Any], column: pa.ChunkedArray, reader: Reader
) -> tuple[Codes, pd.Index[Any]]:
    """The codes and labels that `encode_codes` was given.

    Raises:
        ValueError: The spec does not fit the column.
    """
    dtype = np.dtype(spec["codes"])
    if dtype.kind != "i":
        raise ValueError(f"{spec['codes']!r} is no type of codes")
    if "packed" not in spec:
        values = column.chunk(0).dictionary if column.num_chunks else _no_values(column.type)
        labels = reader.index_of(spec["labels"], pa.chunked_array([values]))
        return _codes_of(column, dtype, reader), labels
    labels = reader.unpack(spec["packed"])
    if not reader.parquet or spec.get("bare"):
        codes = _codes_of(column, dtype, reader)
        if not reader.verified and codes.size:
            _check_bounds(codes, len(labels))
        return codes, labels
    return _found_in(labels, column, reader).astype(dtype), labels


def _check_bounds(codes: Codes, count: int) -> None:
    """Refuse made-up codes: pandas does not look whether they point outside."""
    if codes.min() < -1 or codes.max() >= count:
        raise ValueError("a code points to no category")


def has_several_dictionaries(column: pa.ChunkedArray) -> bool:
    """Whether chunks of a column have different dictionaries, which an Arrow file can't keep."""
    if column.num_chunks < 2 or not _has_dictionary(column.type):
        return False
    if not pa.types.is_dictionary(column.type):
        return True  # deep in a struct or list: not worth a closer look
    first = column.chunk(0).dictionary
    return any(not chunk.dictionary.equals(first) for chunk in column.chunks[1:])


def _indices(codes: Codes) -> pa.Array:
    """The codes with nulls for what is missing, and zeros under these: polars looks there."""
    missing = codes < 0
    if not missing.any():
        return pa.array(np.ascontiguousarray(codes))
    return pa.array(np.where(missing, codes.dtype.type(0), codes), mask=missing)


def _has_dictionary(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return True
    return any(_has_dictionary(kind.field(at).type) for at in range(kind.num_fields))


def _dictionary(labels: pd.Index[Any], writer: Writer) -> tuple[pa.Array | None, Any]:
    """The labels as values of a dictionary, where other tools can read such a one."""
    if isinstance(labels, pd.MultiIndex):
        return None, None
    values, spec = writer.index_values(labels)
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()  # pyright: ignore[reportOptionalMemberAccess]  # pyarrow has no types
    if not isinstance(values, pa.Array) or values.null_count or not _is_plain(values.type):  # pyright: ignore[reportOptionalMemberAccess]  # pyarrow has no types
        return None, None
    return values, spec


def _is_plain(kind: pa.DataType) -> bool:
    types = pa.types
    return (
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_temporal(kind)
        or types.is_large_string(kind)
        or types.is_string(kind)
        or types.is_large_binary(kind)
        or types.is_decimal(kind)
    ) and not types.is_float16(kind)


def _texts(labels: pd.Index[Any]) -> pa.Array:
    """A text for each label, for people and other tools; never read back."""
    texts: dict[str, None] = {}
    for number, label in enumerate(labels):
        text = str(label).encode(errors="replace").decode()
        texts[f"{text} #{number}" if text in texts else text] = None
    return pa.array(list(texts), pa.large_string())


def _no_values(kind: pa.DictionaryType) -> pa.Array:
    return pa.array([], kind.value_type)


def _codes_of(column: pa.ChunkedArray, dtype: np.dtype[Any], reader: Reader) -> Codes:
    if pa.types.is_dictionary(column.type):
        kind = column.type.index_type
        column = pa.chunked_array([chunk.indices for chunk in column.chunks], kind)
    if column.type != pa.from_numpy_dtype(dtype):
        raise ValueError(f"codes of {column.type} where the entry says {dtype}")
    codes = reader.memory.numbers(column, dtype)
    if column.null_count:
        codes = codes if codes.flags.writeable else codes.copy()
        codes[reader.memory.nulls(column)] = -1
    return codes


def _found_in(labels: pd.Index[Any], column: pa.ChunkedArray, reader: Reader) -> Codes:
    """The code of each value: Parquet gave back the values themselves, or another dictionary."""
    known = reader.arrow_values(labels)
    plain = column.cast(known.type)
    found = pc.index_in(plain, value_set=known)
    if found.null_count != column.null_count:
        raise ValueError("a value of the column is none of its categories")
    codes: Codes = found.fill_null(-1).combine_chunks().to_numpy(zero_copy_only=False)
    return codes
