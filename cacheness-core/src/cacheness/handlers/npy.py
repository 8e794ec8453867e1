# SPDX-License-Identifier: MIT
"""Writes and reads the headers of ``.npy`` files, without evaluating what they say."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from cacheness.errors import CannotHandleError
from cacheness.handlers.dtypes import plain_dtype

if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from cacheness.handlers.dtypes import AnyDType

    AnyArray: TypeAlias = np.ndarray[Any, AnyDType]

__all__ = ["ALIGNMENT", "header", "read_array"]

ALIGNMENT = 64
"""Headers end, and so arrays start, at a multiple of this many bytes."""

_MAGIC = b"\x93NUMPY"
_LARGEST_HEADER = 1 << 20
# Just what `header` writes. The description of a structured dtype is for other tools: it
# is a Python literal that could be anything, and cannot say all, so we keep our own.
_TEXT = re.compile(
    rb"\{'descr': (?:'([^'\\]{2,40})'|.+), 'fortran_order': (True|False), "
    rb"'shape': \(([0-9, ]*)\), \} *\n",
    re.DOTALL,
)


def header(dtype: AnyDType, shape: tuple[int, ...], *, fortran: bool) -> bytes:
    """Give the header of a ``.npy`` file, whose length is a multiple of `ALIGNMENT`.

    Raises:
        CannotHandleError: The dtype's description is longer than a reader accepts.
    """
    text = f"{{'descr': {_descr(dtype)!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}"
    try:
        encoded, version = text.encode("latin-1"), 1
    except UnicodeEncodeError:
        encoded, version = text.encode("utf-8"), 3
    if version == 1 and len(encoded) > 0xFFFF - ALIGNMENT:
        version = 2
    length_bytes = 2 if version == 1 else 4
    start = len(_MAGIC) + 2 + length_bytes
    padding = -(start + len(encoded) + 1) % ALIGNMENT
    length = len(encoded) + padding + 1
    if length > _LARGEST_HEADER:
        raise CannotHandleError(f"a dtype whose description takes {length} bytes")
    return b"".join(
        (
            _MAGIC,
            bytes((version, 0)),
            length.to_bytes(length_bytes, "little"),
            encoded,
            b" " * padding,
            b"\n",
        )
    )


def _descr(dtype: AnyDType) -> Any:
    if dtype.names is None:
        return dtype.str
    try:
        return np.lib.format.dtype_to_descr(dtype)
    except ValueError:
        # Fields that overlap or are out of order have no description: others see bytes.
        return f"|V{dtype.itemsize}"


def read_array(buffer: memoryview, dtype: AnyDType | None = None) -> tuple[AnyArray, int]:
    """View the ``.npy`` file at the start of a buffer.

    Args:
        buffer: Unsigned bytes; the array looks into them, and is writeable where they are.
        dtype: What the array is of, where the header can't say it exactly.

    Returns:
        The array, and how many bytes of the buffer the file takes.

    Raises:
        ValueError: The header is not one of `header`'s, or says more than there is.
    """
    described, fortran, shape, start = _parse(buffer)
    if dtype is None:
        if described is None:
            raise ValueError("an array of a structured dtype whose spelling is missing")
        dtype = plain_dtype(described)
    end = start + math.prod(shape) * dtype.itemsize
    if end > len(buffer):
        raise ValueError(f"an array of {end - start} bytes in a file of {len(buffer)}")
    try:
        array: AnyArray = np.ndarray(
            shape, dtype, buffer=buffer[start:end], order="F" if fortran else "C"
        )
    except (TypeError, OverflowError) as error:
        raise ValueError(f"not the shape of an array: {error}") from error
    return array, end


def _parse(buffer: memoryview) -> tuple[str | None, bool, tuple[int, ...], int]:
    start = 10 if bytes(buffer[:8]) == _MAGIC + b"\1\0" else 12
    if start == 12 and bytes(buffer[:8]) not in (_MAGIC + b"\2\0", _MAGIC + b"\3\0"):
        raise ValueError("not a .npy file")
    length = int.from_bytes(buffer[8:start], "little")
    if length > _LARGEST_HEADER or start + length > len(buffer):
        raise ValueError(f"a .npy header of {length} bytes in a file of {len(buffer)}")
    text = _TEXT.fullmatch(bytes(buffer[start : start + length]))
    if text is None:
        raise ValueError("a .npy header that cacheness does not write")
    descr, fortran, dimensions = text.groups()
    sizes = dimensions.removesuffix(b",").split(b", ") if dimensions else []
    if len(sizes) > 64 or any(not size.isdigit() or len(size) > 18 for size in sizes):
        raise ValueError("a .npy header whose shape is none")
    shape = tuple(map(int, sizes))
    return (
        None if descr is None else descr.decode("latin-1"),
        fortran == b"True",
        shape,
        start + length,
    )
