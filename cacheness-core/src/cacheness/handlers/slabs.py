# SPDX-License-Identifier: MIT
"""Cuts arrays into contiguous pieces in C order, so that no whole copy is ever made."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cacheness.handlers.npy import AnyArray

__all__ = ["byte_view", "cut", "pieces", "slabs"]

_PIECE_BYTES = 2 << 20


def byte_view(array: AnyArray) -> memoryview:
    """View a C-contiguous array that is not empty as unsigned bytes."""
    return array.reshape(-1).view(np.uint8).data


def cut(shape: tuple[int, ...], itemsize: int, limit: int) -> tuple[int, int]:
    """Find how to cut an array into runs of at most ``limit`` bytes, or of single elements.

    Args:
        shape: Of at least one dimension.
        itemsize: Bytes of an element.
        limit: Bytes of a run.

    Returns:
        The axis to cut along, and how many of its indices a run takes. All axes before
        it are taken one index at a time, all after it whole.
    """
    for axis in range(len(shape)):
        row = math.prod(shape[axis + 1 :]) * itemsize
        if row <= limit:
            return axis, max(1, limit // max(row, 1))
    return len(shape) - 1, 1


def slabs(array: AnyArray, axis: int, step: int) -> Iterator[AnyArray]:
    """Give views which one after the other, each in C order, are the array in C order."""
    for index in np.ndindex(array.shape[:axis]):
        line = array[index]
        for start in range(0, array.shape[axis], step):
            yield line[start : start + step]


def pieces(array: AnyArray, limit: int = _PIECE_BYTES) -> Iterator[AnyArray]:
    """Give the array in C order as C-contiguous arrays: itself, or copies of ``limit`` bytes."""
    if array.flags.c_contiguous:
        yield array
        return
    if array.dtype.names is not None:
        # A copy field by field would leave whatever memory held in the padding.
        array = array.view(f"V{array.itemsize}")
    for slab in slabs(array, *cut(array.shape, array.itemsize, limit)):
        yield np.ascontiguousarray(slab)
