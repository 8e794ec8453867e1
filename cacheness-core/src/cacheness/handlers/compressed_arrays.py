# SPDX-License-Identifier: MIT
"""Keeps one array as a ``.b2nd`` file, compressed by Blosc2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cacheness.compressors.auto import SMALLEST
from cacheness.compressors.blosc2 import Blosc2Compressor
from cacheness.compressors.blosc2_threads import thread_count
from cacheness.handlers.arrays import exact_spelling, is_fortran
from cacheness.handlers.b2nd import Layout, is_ours, read_frame, write_frame
from cacheness.handlers.dtypes import dtype_from_spelling, is_plain
from cacheness.handlers.slabs import byte_view, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from cacheness.compressors.base import Compressor
    from cacheness.handlers.dtypes import AnyDType
    from cacheness.handlers.npy import AnyArray
    from cacheness.handlers.protocols import Buffer

__all__ = ["choose", "dump_compressed", "load_compressed", "open_compressed"]

_MOST_DIMENSIONS = 8
_LARGEST_TYPESIZE = 255


def choose(array: AnyArray, compressor: Compressor) -> Blosc2Compressor | None:
    """The compressor to apply to an array here; None leaves it raw, or to the core."""
    if compressor.name == "none" or not array.nbytes or not array.ndim:
        return None
    if compressor.name == "auto" and array.nbytes < SMALLEST:
        return None  # what it would say, without the microseconds of asking
    stored = _stored_form(array)
    if stored.ndim > _MOST_DIMENSIONS:
        return None
    sample = byte_view(next(pieces(stored)))
    chosen = compressor.choose(sample, size=array.nbytes, typesize=stored.itemsize)
    return chosen if isinstance(chosen, Blosc2Compressor) else None


def _stored_form(array: AnyArray) -> AnyArray:
    """The array in C order, of elements that Blosc2 can shuffle and others can read."""
    ordered = array.T if is_fortran(array) else array
    stored = _stored_dtype(array.dtype)
    if stored.itemsize == array.itemsize:
        return ordered.view(stored)
    return ordered[..., np.newaxis].view(stored)


def _stored_dtype(dtype: AnyDType) -> AnyDType:
    if dtype.kind == "U":
        # Characters, not strings: their bytes shuffle well, and strings may be any length.
        return np.dtype("u4").newbyteorder(dtype.byteorder)
    if dtype.itemsize > _LARGEST_TYPESIZE:
        return np.dtype("u1")
    if is_plain(dtype):
        return dtype
    return np.dtype(f"V{dtype.itemsize}")


def dump_compressed(
    array: AnyArray, compressor: Blosc2Compressor
) -> tuple[Iterable[Buffer], dict[str, Any]]:
    """Give the ``.b2nd`` file of an array of at least one element, compressed as it is read.

    Raises:
        CannotHandleError: The dtype has no exact spelling.
    """
    stored = _stored_form(array)
    layout = Layout.plan(stored.shape, stored.itemsize)
    metadata: dict[str, Any] = {
        "storage_format": "b2nd",
        "compressed": True,
        "extension": ".b2nd",
        "dtype": array.dtype.str if is_plain(array.dtype) else exact_spelling(array.dtype),
        "shape": list(array.shape),
        "order": "F" if is_fortran(array) else "C",
        "chunks": list(layout.chunks),
        "blocks": list(layout.blocks),
    }
    if not array.flags.writeable:
        metadata["writeable"] = False
    return write_frame(stored, layout, compressor), metadata


def load_compressed(buffer: memoryview, metadata: Mapping[str, Any]) -> AnyArray:
    """Decompress what `dump_compressed` gave into a new array.

    Raises:
        ValueError: The buffer or the metadata are not what it gave.
    """
    dtype, _, layout = _described(metadata)
    data = read_frame(buffer, layout)
    array: AnyArray = np.ndarray(
        tuple(metadata["shape"]), dtype, buffer=data, order=metadata["order"]
    )
    if metadata.get("writeable") is False:
        array.flags.writeable = False
    return array


def _described(metadata: Mapping[str, Any]) -> tuple[AnyDType, AnyDType, Layout]:
    """The array's dtype, the stored elements' dtype, and how these lie in chunks."""
    try:
        dtype = dtype_from_spelling(metadata["dtype"])
        stored = _stored_dtype(dtype)
        shape = tuple(metadata["shape"])
        chunks, blocks = tuple(metadata["chunks"]), tuple(metadata["blocks"])
        order = {"C": 1, "F": -1}[metadata["order"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the metadata of a compressed array: {error}") from error
    stored_shape = shape[::order]
    if stored.itemsize != dtype.itemsize:
        stored_shape = (*stored_shape, dtype.itemsize // stored.itemsize)
    return dtype, stored, Layout(stored_shape, stored.itemsize, chunks, blocks)


def open_compressed(file_path: str, mapped: memoryview, metadata: Mapping[str, Any]) -> Any:
    """Open the file lazily as a `blosc2.NDArray`.

    One whose elements or order Blosc2 can't show by itself, or that holds anything but
    the array, is decompressed whole instead, into a read-only array.

    Args:
        file_path: The file.
        mapped: Its bytes.
        metadata: What `dump_compressed` gave.

    Raises:
        ValueError: The file or the metadata are not what it gave.
    """
    dtype, stored, layout = _described(metadata)
    if stored == dtype and metadata["order"] == "C" and is_ours(mapped, stored, layout):
        import blosc2

        threads = {"nthreads": thread_count()}
        return blosc2.open(file_path, mode="r", mmap_mode="r", dparams=threads)
    array = load_compressed(mapped, metadata)
    array.flags.writeable = False
    return array
