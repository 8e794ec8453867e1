# SPDX-License-Identifier: MIT
"""Feeds the identity of Arrow columns to a hasher, from their own buffers.

Neither chunks nor offsets, nor what lies under a null or in the padding, make a
difference: at each level of a type, first all lengths are fed, then all nulls, then all
values, each across the chunks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cacheness.keys.encoding import encode

if TYPE_CHECKING:
    import numpy.typing as npt

    from cacheness.handlers.protocols import Update

__all__ = ["feed_column", "feed_number", "feed_text"]


def feed_text(text: str, update: Update) -> None:
    """Feed a text with its length."""
    encoded = text.encode("utf-8", "surrogatepass")
    update(len(encoded).to_bytes(8, "little") + encoded)


def feed_number(number: int, update: Update) -> None:
    """Feed a count."""
    update(number.to_bytes(8, "little", signed=True))


def feed_column(column: pa.ChunkedArray | pa.Array, update: Update) -> None:
    """Feed the type, length, nulls and values of a column."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    feed_text(str(column.type), update)
    _feed(column.type, [chunk for chunk in chunks if len(chunk)], update)


def _feed(kind: pa.DataType, chunks: list[pa.Array], update: Update) -> None:
    if isinstance(kind, pa.BaseExtensionType):
        _feed(kind.storage_type, [chunk.storage for chunk in chunks], update)
        return
    if pa.types.is_dictionary(kind):
        plain = [chunk.dictionary_decode() for chunk in chunks]
        _feed(kind.value_type, plain, update)
        return
    if pa.types.is_run_end_encoded(kind):
        _feed(kind.value_type, [pc.run_end_decode(chunk) for chunk in chunks], update)
        return
    feed_number(sum(map(len, chunks)), update)
    if pa.types.is_null(kind):
        return
    if pa.types.is_union(kind):
        update(encode([chunk.to_pylist() for chunk in chunks]))
        return
    _feed_nulls(chunks, update)
    _feed_values(kind, chunks, update)


def _feed_nulls(chunks: list[pa.Array], update: Update) -> None:
    if not any(chunk.null_count for chunk in chunks):
        update(b"\0")
        return
    update(b"\1")
    for chunk in chunks:
        update(_nulls(chunk).data)


def _feed_values(kind: pa.DataType, chunks: list[pa.Array], update: Update) -> None:
    types = pa.types
    if types.is_boolean(kind):
        for chunk in chunks:
            update(_without_nulls(_bits(chunk.buffers()[1], chunk), chunk).data)
    elif types.is_struct(kind):
        for at in range(kind.num_fields):
            # flatten() hands the struct's own nulls down to its fields
            _feed(kind.field(at).type, [chunk.flatten()[at] for chunk in chunks], update)
    elif types.is_fixed_size_list(kind):
        _feed(kind.value_type, [chunk.flatten() for chunk in chunks], update)
    elif _is_list(kind):
        _feed_lists(kind, chunks, update)
    elif types.is_large_string(kind) or types.is_large_binary(kind):
        _feed_texts(chunks, np.dtype("<i8"), update)
    elif types.is_string(kind) or types.is_binary(kind):
        _feed_texts(chunks, np.dtype("<i4"), update)
    elif types.is_string_view(kind):
        _feed_texts([chunk.cast(pa.large_string()) for chunk in chunks], np.dtype("<i8"), update)
    elif types.is_binary_view(kind):
        _feed_texts([chunk.cast(pa.large_binary()) for chunk in chunks], np.dtype("<i8"), update)
    else:
        for chunk in chunks:
            update(_without_nulls(_octets(chunk, kind.bit_width // 8), chunk).data)


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_map(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def _feed_lists(kind: pa.DataType, chunks: list[pa.Array], update: Update) -> None:
    if pa.types.is_map(kind):
        struct = pa.struct([kind.key_field, kind.item_field])
        chunks = [
            chunk.cast(pa.list_(pa.field("entries", struct, nullable=False))) for chunk in chunks
        ]
        value_type: pa.DataType = struct
    else:
        value_type = kind.value_type
    for chunk in chunks:
        lengths = pc.fill_null(pc.list_value_length(chunk), 0).cast(pa.int64())
        update(lengths.to_numpy(zero_copy_only=False).data)
    _feed(value_type, [chunk.flatten() for chunk in chunks], update)


def _feed_texts(chunks: list[pa.Array], width: np.dtype[Any], update: Update) -> None:
    """Feed the length of each text in 64 bits, whatever the type's offsets, then all texts."""
    spans = []
    for chunk in chunks:
        offsets = np.frombuffer(chunk.buffers()[1], width)[chunk.offset :][: len(chunk) + 1]
        lengths = np.diff(offsets).astype(np.int64, copy=False)
        if chunk.null_count:
            nulls = _nulls(chunk)
            if lengths[nulls].any():
                chunk = chunk.drop_null()
                offsets = np.frombuffer(chunk.buffers()[1], width)[chunk.offset :][: len(chunk) + 1]
                lengths[nulls] = 0
        update(lengths.data)
        spans.append((chunk.buffers()[2], int(offsets[0]), int(offsets[-1])))
    for data, start, stop in spans:
        if data is not None and stop > start:
            update(memoryview(data)[start:stop])


def _octets(chunk: pa.Array, width: int) -> npt.NDArray[np.uint8]:
    """The bytes of fixed-width values, of shape ``(values, width)``."""
    octets = np.frombuffer(chunk.buffers()[1], np.uint8)[chunk.offset * width :]
    return octets[: len(chunk) * width].reshape(-1, width)


def _without_nulls(values: npt.NDArray[Any], chunk: pa.Array) -> npt.NDArray[Any]:
    """The values with zeros where nothing is."""
    if not chunk.null_count:
        return values
    values = values.copy()
    values[_nulls(chunk)] = 0
    return values


def _nulls(chunk: pa.Array) -> npt.NDArray[np.bool_]:
    nulls = _bits(chunk.buffers()[0], chunk) if chunk.null_count else None
    return np.zeros(len(chunk), np.bool_) if nulls is None else ~nulls


def _bits(buffer: pa.Buffer, chunk: pa.Array) -> npt.NDArray[np.bool_]:
    first = chunk.offset // 8
    octets = np.frombuffer(buffer, np.uint8)[first:]
    skipped = chunk.offset - first * 8
    bits = np.unpackbits(octets, count=skipped + len(chunk), bitorder="little")
    return bits[skipped:].view(np.bool_)
