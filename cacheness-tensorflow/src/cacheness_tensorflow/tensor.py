# SPDX-License-Identifier: MIT
"""The handler of dense tensors of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cacheness.handlers.base import BufferHandler
from cacheness.handlers.numpy import NumpyHandler
from cacheness_tensorflow.arrays import lend, to_numpy, to_tensor
from cacheness_tensorflow.fingerprint import feed_tensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from cacheness.handlers.base import HandlerContext
    from cacheness.handlers.protocols import Buffer, Update
    from cacheness_tensorflow.arrays import AnyArray

__all__ = ["TensorFlowHandler"]

_ARRAYS = NumpyHandler()


class TensorFlowHandler(BufferHandler):
    """Eager `tf.Tensor` objects of every dtype but string.

    The payload is the core's of the same array: a plain ``.npy``, or a ``.b2nd`` where the
    compressor pays. A dtype that NumPy lacks is stored as an unsigned integer of the same
    bits (``bfloat16`` as ``uint16``, those of a byte or less as ``uint8``), a quantised one
    as its integers, and the metadata say which: ``{"tensor": "bfloat16"}``.

    ``options={"as_numpy": True}`` on get gives the array that ``tensor.numpy()`` would
    give, without TensorFlow. The device is not kept: a tensor comes back to where
    TensorFlow would put a constant.
    """

    name = "tensorflow"
    extension = ".npy"
    data_only = True
    compresses = True
    maps_payload = True  # tensors never change

    def can_handle(self, obj: object) -> bool:
        import tensorflow as tf

        return isinstance(obj, tf.Tensor) and obj.dtype != tf.string

    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        array, dtype = lend(obj)
        buffers, metadata = _ARRAYS.dumps(array, context)
        # The tensor lends its memory read-only; what is read back is the reader's own.
        metadata.pop("writeable", None)
        if dtype != array.dtype.name:
            metadata["tensor"] = dtype
        return buffers, metadata

    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        return _given(_ARRAYS.loads(buffer, metadata, context), metadata, context)

    def open(self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext) -> Any:
        """Give a tensor, or an array, over the file's mapped pages.

        They are mapped copy-on-write, because TensorFlow takes over writeable memory alone;
        nothing writes to them. A compressed payload is read as by ``loads``.
        """
        mapped = np.memmap(file_path, np.uint8, "c").data
        if metadata.get("compressed"):
            return self.loads(mapped, metadata, context)
        array = _ARRAYS.view(mapped, metadata)
        if context.options.get("as_numpy"):
            array.flags.writeable = False
        return _given(array, metadata, context)

    def fingerprint(self, obj: Any, update: Update) -> None:
        """Feed dtype, shape and the values' bits; equal on any device."""
        feed_tensor(obj, update)

    def describe(self, obj: Any) -> str:
        return f"{obj.dtype.name} {tuple(obj.shape)}"


def _given(array: AnyArray, metadata: Mapping[str, Any], context: HandlerContext) -> Any:
    """What the caller asked for: an array or a tensor."""
    dtype = metadata.get("tensor", array.dtype.name)
    if context.options.get("as_numpy"):
        return to_numpy(array, dtype)
    return to_tensor(array, dtype)
