# SPDX-License-Identifier: MIT
"""How Arrow's buffers become numpy arrays, without a copy where that may be."""

from __future__ import annotations

import itertools
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["Memory", "Ownership"]

Numbers = npt.NDArray[Any]


class Ownership(Enum):
    """What may be done with the bytes that a payload is read from."""

    PRIVATE = "private"
    """They belong to the result alone: arrays over them are writable."""
    SHARED = "shared"
    """Others see them: numbers are copied, so that the result can be written to."""
    VIEW = "view"
    """Others see them, and the result is to be a read-only view."""


class Memory:
    """Turns the buffers of Arrow arrays into numpy arrays.

    Args:
        buffer: The bytes that the arrays were read from; None where they come from a file.
        ownership: What may be done with those bytes.
    """

    def __init__(self, buffer: memoryview | None, ownership: Ownership) -> None:
        self._ownership = ownership
        self._start = self._stop = 0
        if buffer is not None and ownership is Ownership.PRIVATE and buffer.nbytes:
            self._bytes = np.frombuffer(buffer, np.uint8)
            self._start = self._bytes.ctypes.data
            self._stop = self._start + buffer.nbytes

    @property
    def read_only(self) -> bool:
        """Whether the arrays given are read-only views."""
        return self._ownership is Ownership.VIEW

    def numbers(self, column: pa.ChunkedArray | pa.Array, dtype: np.dtype[Any]) -> Numbers:
        """The values of a column of fixed-width numbers, nulls as they lie in memory."""
        pieces = [self._numbers_of(chunk, dtype) for chunk in _chunks(column)]
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty(0, dtype)

    def bools(self, column: pa.ChunkedArray | pa.Array) -> Numbers:
        """The values of a boolean column, one byte each."""
        pieces = [_bits(chunk.buffers()[1], chunk) for chunk in _chunks(column)]
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty(0, np.bool_)

    def nulls(self, column: pa.ChunkedArray | pa.Array) -> Numbers:
        """Which values are null."""
        if not column.null_count:
            return np.zeros(len(column), np.bool_)
        pieces = [_nulls_of(chunk) for chunk in _chunks(column)]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def rows_of_block(self, columns: list[Numbers]) -> Numbers | None:
        """One two-dimensional array over columns that lie at equal distances in the payload.

        The columns of a file lie one after the other, so that columns of one type form
        a block as pandas likes it, without a copy. None where they don't.

        Args:
            columns: Arrays of one dtype and one length, as `numbers` gave them.

        Returns:
            An array of shape ``(len(columns), rows)``.
        """
        first = columns[0]
        addresses = [column.__array_interface__["data"][0] for column in columns]
        step = addresses[1] - addresses[0]
        inside = self._start <= addresses[0] and addresses[-1] + first.nbytes <= self._stop
        if not inside or step < first.nbytes or not first.size:
            return None
        if any(b - a != step for a, b in itertools.pairwise(addresses)):
            return None
        return np.ndarray(
            (len(columns), first.size),
            first.dtype,
            self._bytes.data,
            addresses[0] - self._start,
            (step, first.itemsize),
        )

    def _numbers_of(self, chunk: pa.Array, dtype: np.dtype[Any]) -> Numbers:
        buffer = chunk.buffers()[1]
        count = len(chunk)
        if buffer is None or not count:
            return np.empty(0, dtype)
        skipped = chunk.offset * dtype.itemsize
        size = count * dtype.itemsize
        if skipped + size > buffer.size:
            raise ValueError("a column is shorter than its table")
        at = buffer.address + skipped
        if self._start <= at and at + size <= self._stop:
            at -= self._start
            return self._bytes[at : at + size].view(dtype)
        values = np.frombuffer(buffer, dtype, count, skipped)
        if self._ownership is Ownership.VIEW or values.flags.writeable:
            return values  # what Arrow decompressed is nobody else's
        return values.copy()


def _chunks(column: pa.ChunkedArray | pa.Array) -> list[pa.Array]:
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]


def _nulls_of(chunk: pa.Array) -> Numbers:
    bitmap = chunk.buffers()[0]
    if bitmap is None or not chunk.null_count:
        return np.zeros(len(chunk), np.bool_)
    nulls = _bits(bitmap, chunk)
    return np.logical_not(nulls, out=nulls)


def _bits(buffer: pa.Buffer | None, chunk: pa.Array) -> Numbers:
    if buffer is None or not len(chunk):
        return np.zeros(len(chunk), np.bool_)
    first, last = chunk.offset // 8, -(-(chunk.offset + len(chunk)) // 8)
    if last > buffer.size:
        raise ValueError("a column is shorter than its table")
    octets = np.frombuffer(buffer, np.uint8)[first:last]
    skipped = chunk.offset - first * 8
    bits = np.unpackbits(octets, count=skipped + len(chunk), bitorder="little")
    return bits[skipped:].view(np.bool_)
