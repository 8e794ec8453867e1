# SPDX-License-Identifier: MIT
"""Feeds the identity of an array to a hasher, from its own memory where that is contiguous."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from cacheness.handlers.dtypes import spell
from cacheness.handlers.slabs import byte_view, cut, pieces, slabs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from cacheness.handlers.dtypes import AnyDType
    from cacheness.handlers.npy import AnyArray
    from cacheness.handlers.protocols import Update

__all__ = ["feed_array", "feed_text"]

_PIECE_BYTES = 1 << 20
_EXTENDED_DIGITS = 63
_EXTENDED_BYTES = 10


def feed_text(text: str, update: Update) -> None:
    """Feed a text with its length."""
    encoded = text.encode("utf-8", "surrogatepass")
    update(len(encoded).to_bytes(8, "little") + encoded)


def feed_array(kind: str, array: AnyArray, update: Update) -> None:
    """Feed what sort of array it is, its dtype and shape, and its values in C order.

    Raises:
        CannotHandleError: The dtype has no exact spelling.
    """
    feed_text(repr((kind, spell(array.dtype, _relative_name), array.shape)), update)
    if array.nbytes:
        _feed_values(array, update)


def _relative_name(dtype: AnyDType) -> str:
    """The dtype's name with its byte order as "the machine's" or "the other".

    So that one program makes one key, whichever order its machine has.
    """
    text = dtype.str
    if text[0] == "|":
        return text
    return ("=" if dtype.isnative else "!") + text[1:]


def _feed_values(array: AnyArray, update: Update) -> None:
    if _is_canonical(array.dtype):
        for piece in pieces(array, _PIECE_BYTES):
            update(byte_view(piece))
        return
    if array.dtype.names is not None:
        # Between the fields there may be padding, which holds anything.
        for name in array.dtype.names:
            if array.dtype[name].itemsize:
                _feed_values(array[name], update)
        return
    for piece in _canonical_pieces(np.atleast_1d(array)):
        update(byte_view(piece))


def _is_canonical(dtype: AnyDType) -> bool:
    """Whether the bytes of an array are its values in little-endian order, and nothing else."""
    if dtype.subdtype is not None:
        return _is_canonical(dtype.subdtype[0])
    if dtype.names is None:
        little = dtype.isnative == (sys.byteorder == "little")
        return (dtype.byteorder == "|" or little) and not _is_extended(dtype)
    fields: Mapping[str, Any] = dtype.fields or {}  # pyright: ignore[reportAssignmentType]  # its names are str
    end = 0
    for name in dtype.names:
        field, offset = fields[name][:2]
        if offset != end or not _is_canonical(field):
            return False
        end = offset + field.itemsize
    return end == dtype.itemsize


def _is_extended(dtype: AnyDType) -> bool:
    """Whether it is x86's long double: 10 bytes of value in 12 or 16."""
    return dtype.char in "gG" and int(np.finfo(dtype).nmant) == _EXTENDED_DIGITS


def _canonical_pieces(array: AnyArray) -> Iterator[AnyArray]:
    swapped = array.dtype.isnative != (sys.byteorder == "little")
    for slab in slabs(array, *cut(array.shape, array.itemsize, _PIECE_BYTES)):
        piece = np.ascontiguousarray(slab)
        if swapped and piece.dtype.byteorder != "|":
            piece = piece.byteswap()
        if _is_extended(array.dtype):
            width = np.dtype(np.longdouble).itemsize
            values = piece.reshape(-1).view(np.uint8).reshape(-1, width)
            piece = np.ascontiguousarray(values[:, :_EXTENDED_BYTES])
        yield piece
