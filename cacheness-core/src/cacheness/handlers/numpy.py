# SPDX-License-Identifier: MIT
"""The handler of NumPy's arrays, masked arrays and scalars."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np

from cacheness.errors import CannotHandleError
from cacheness.handlers.array_fingerprint import feed_array
from cacheness.handlers.arrays import (
    array_buffers,
    array_metadata,
    dump_scalar,
    load_array,
    load_scalar,
)
from cacheness.handlers.base import BufferHandler
from cacheness.handlers.compressed_arrays import (
    choose,
    dump_compressed,
    load_compressed,
    open_compressed,
)
from cacheness.handlers.masked import dump_masked, feed_masked, is_masked, load_masked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from cacheness.handlers.base import HandlerContext
    from cacheness.handlers.protocols import Buffer, Update

__all__ = ["NumpyHandler"]

_OF_AN_EXTENSION = 2
"""What `numpy.dtype.isbuiltin` is for the types of other packages."""


class NumpyHandler(BufferHandler):
    """Arrays of every dtype but objects, masked arrays and NumPy's scalars.

    Kept exactly: dtype, shape, values, the order (Fortran where an array is contiguous in
    that order alone, else C), whether it may be written to, and of masked arrays the
    mask, the fill value and the hardness of the mask. Strides are not kept: what was a view
    comes back contiguous. Left to pickle are other subclasses (`numpy.matrix`,
    `numpy.recarray`, and `numpy.memmap`, which stands for a file), dtypes of variable
    width or of other packages, and those with ``metadata``.

    The file is a plain ``.npy`` whose array starts at a multiple of 64 bytes; that of a
    masked array holds two or three of them, the data first. Where ``context.compressor``
    chooses one of Blosc2's, an array is a ``.b2nd`` that `blosc2.open` reads, and the metadata
    have ``"compressed": true`` and ``"extension": ".b2nd"``. Any other compressor is left
    to the core.
    """

    name = "numpy"
    extension = ".npy"
    data_only = True
    buffers_last = True
    compresses = True

    def can_handle(self, obj: object) -> bool:
        kind = type(obj)
        if isinstance(obj, np.generic):
            known = obj.dtype.type is kind
        elif isinstance(obj, np.ndarray):
            known = kind is np.ndarray or is_masked(obj)
        else:
            return False
        return known and not obj.dtype.hasobject and obj.dtype.isbuiltin != _OF_AN_EXTENSION

    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        if isinstance(obj, np.generic):
            return dump_scalar(obj)
        if type(obj) is not np.ndarray:
            return dump_masked(obj)
        compressor = choose(obj, context.compressor)
        if compressor is not None:
            return dump_compressed(obj, compressor)
        metadata = array_metadata(obj)
        return array_buffers(obj)[0], metadata

    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        if metadata.get("storage_format") == "b2nd":
            return load_compressed(buffer, metadata)
        if buffer.readonly:
            # Shared bytes: what is made of them may be written to, so it gets its own.
            buffer = np.frombuffer(buffer, np.uint8).copy().data
        return self.view(buffer, metadata)

    def view(self, buffer: memoryview, metadata: Mapping[str, Any]) -> Any:
        """View a payload that is not compressed, without a copy, read-only where it is.

        Args:
            buffer: Unsigned bytes from a multiple of 64, which stay as they are meanwhile.
            metadata: What `dumps` gave.

        Raises:
            ValueError: The buffer or the metadata are not what `dumps` gave.
        """
        kind = metadata.get("kind")
        if kind == "masked":
            return load_masked(buffer, metadata)
        if kind == "scalar":
            return load_scalar(buffer, metadata)
        if kind is not None:
            raise ValueError(f"neither an array nor a scalar: {str(kind)[:50]!r}")
        return load_array(buffer, metadata)

    def open(self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext) -> Any:
        """View a file: an array over its mapped bytes, or a lazy `blosc2.NDArray`."""
        with open(file_path, "rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        if metadata.get("storage_format") == "b2nd":
            return open_compressed(file_path, mapped, metadata)
        return self.view(mapped, metadata)

    def fingerprint(self, obj: Any, update: Update) -> None:
        """Feed kind, dtype, shape, and the values in C order.

        Values count by their bits, in little-endian order on every machine, so ``-0.0``
        differs from ``0.0``. Not counted are the order in memory, strides, padding, and
        whether the array may be written to.

        Raises:
            CannotHandleError: The dtype has no exact spelling; one of objects has none.
        """
        if isinstance(obj, np.generic):
            feed_array(f"scalar {type(obj).__name__}", np.asarray(obj), update)
        elif type(obj) is np.ndarray:
            feed_array("array", obj, update)
        elif is_masked(obj):
            feed_masked(obj, update)
        else:
            raise CannotHandleError(f"no fingerprint of a {type(obj).__name__}")

    def describe(self, obj: Any) -> str:
        names = obj.dtype.names
        dtype = str(obj.dtype) if names is None else f"structured of {len(names)} fields"
        if isinstance(obj, np.generic):
            return dtype
        return f"{'masked ' if is_masked(obj) else ''}{dtype} {obj.shape}"
