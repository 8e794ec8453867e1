# SPDX-License-Identifier: MIT
"""Keeps one array as a ``.npy`` file whose bytes are the array's own memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cacheness.errors import CannotHandleError
from cacheness.handlers.dtypes import dtype_from_spelling, is_plain, spell
from cacheness.handlers.npy import header, read_array
from cacheness.handlers.slabs import byte_view, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from cacheness.handlers.dtypes import AnyDType, Spelling
    from cacheness.handlers.npy import AnyArray
    from cacheness.handlers.protocols import Buffer

__all__ = [
    "array_buffers",
    "array_metadata",
    "dump_scalar",
    "exact_spelling",
    "is_fortran",
    "load_array",
    "load_scalar",
]


def is_fortran(array: AnyArray) -> bool:
    """Whether the array's order in memory is Fortran's and not C's."""
    return array.flags.f_contiguous and not array.flags.c_contiguous


def array_metadata(array: AnyArray) -> dict[str, Any]:
    """What a ``.npy`` header can't say of an array; mostly nothing.

    Raises:
        CannotHandleError: The dtype has no exact spelling.
    """
    metadata: dict[str, Any] = {}
    if not is_plain(array.dtype):
        metadata["dtype"] = exact_spelling(array.dtype)
    if not array.flags.writeable:
        metadata["writeable"] = False
    return metadata


def exact_spelling(dtype: AnyDType) -> Spelling:
    """Spell a dtype, and make sure that the same one comes of it.

    Raises:
        CannotHandleError: It does not.
    """
    spelling = spell(dtype)
    try:
        again = dtype_from_spelling(spelling)
    except ValueError as error:
        raise CannotHandleError(f"a dtype that has no exact spelling: {dtype!r}") from error
    if again != dtype or spell(again) != spelling:
        raise CannotHandleError(f"a dtype that has no exact spelling: {dtype!r}")
    return spelling


def array_buffers(array: AnyArray) -> tuple[Iterable[Buffer], int]:
    """Give the ``.npy`` file of an array, of its own memory where that is contiguous.

    Returns:
        The buffers, and how many bytes they are together.
    """
    head = header(array.dtype, array.shape, fortran=is_fortran(array))
    ordered = array.T if is_fortran(array) else array
    length = len(head) + array.nbytes
    if not array.nbytes:
        return [head], length
    if ordered.flags.c_contiguous:
        return [head, byte_view(ordered)], length
    return _stream(head, ordered), length


def _stream(head: bytes, array: AnyArray) -> Iterator[Buffer]:
    yield head
    for piece in pieces(array):
        yield byte_view(piece)


def load_array(buffer: memoryview, metadata: Mapping[str, Any]) -> AnyArray:
    """View the one ``.npy`` file that fills a buffer.

    Raises:
        ValueError: The buffer is no such file.
    """
    spelling = metadata.get("dtype")
    array, end = read_array(buffer, None if spelling is None else dtype_from_spelling(spelling))
    if end != len(buffer):
        raise ValueError(f"{len(buffer) - end} bytes after the end of an array")
    if metadata.get("writeable") is False:
        array.flags.writeable = False
    return array


def dump_scalar(scalar: np.generic) -> tuple[Iterable[Buffer], dict[str, Any]]:
    """Give the ``.npy`` file of a scalar, an array without dimensions.

    Raises:
        CannotHandleError: It is a string that ends in NUL, which arrays drop.
    """
    array = np.asarray(scalar)
    if array.dtype.kind in "SU" and array[()] != scalar:
        raise CannotHandleError("a string scalar that ends in NUL")
    metadata: dict[str, Any] = {"kind": "scalar"}
    if not is_plain(array.dtype):
        metadata["dtype"] = exact_spelling(array.dtype)
    return [header(array.dtype, (), fortran=False), array.tobytes()], metadata


def load_scalar(buffer: memoryview, metadata: Mapping[str, Any]) -> Any:
    """Read what `dump_scalar` gave.

    Raises:
        ValueError: The buffer is no such file.
    """
    array = load_array(buffer, metadata)
    if array.shape:
        raise ValueError(f"an array of the shape {array.shape} where a scalar should be")
    return array[()]
