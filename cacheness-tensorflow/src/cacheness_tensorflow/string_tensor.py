# SPDX-License-Identifier: MIT
"""The handler of tensors of strings."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from cacheness.handlers.base import BufferHandler
from cacheness.handlers.npy import header, read_array
from cacheness_tensorflow.arrays import strings_of
from cacheness_tensorflow.fingerprint import feed_tensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from cacheness.handlers.base import HandlerContext
    from cacheness.handlers.protocols import Buffer, Update
    from cacheness_tensorflow.arrays import AnyArray

__all__ = ["StringTensorHandler", "dump_strings", "load_strings"]

_JOINED = 1 << 14
"""How many strings are joined to one buffer."""


class StringTensorHandler(BufferHandler):
    """Eager `tf.Tensor` objects of the dtype string: any bytes, of any length.

    The payload is two ``.npy`` one after the other, so that ``numpy.load`` called twice on
    the open file reads it: the lengths (int64, in the tensor's shape), and the strings'
    bytes without separators (uint8).

    ``options={"as_numpy": True}`` on get gives an array of ``bytes`` objects, without
    TensorFlow.
    """

    name = "tensorflow_string"
    extension = ".npy"
    data_only = True

    def can_handle(self, obj: object) -> bool:
        import tensorflow as tf

        return isinstance(obj, tf.Tensor) and obj.dtype == tf.string

    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        return dump_strings(strings_of(obj), tuple(obj.shape)), {}

    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        strings, end = load_strings(buffer)
        if end != len(buffer):
            raise ValueError(f"{len(buffer) - end} bytes after the end of a tensor of strings")
        if context.options.get("as_numpy"):
            return strings
        import tensorflow as tf

        with tf.init_scope():
            return tf.constant(strings, tf.string)

    def fingerprint(self, obj: Any, update: Update) -> None:
        """Feed shape, lengths and bytes."""
        feed_tensor(obj, update)

    def describe(self, obj: Any) -> str:
        return f"string {tuple(obj.shape)}"


def dump_strings(strings: list[bytes], shape: tuple[int, ...]) -> Iterator[Buffer]:
    """Give the lengths and the bytes of strings as two ``.npy``."""
    lengths = np.fromiter(map(len, strings), "<i8", len(strings))
    yield header(lengths.dtype, shape, fortran=False)
    yield lengths.tobytes()
    yield header(np.dtype(np.uint8), (int(lengths.sum()),), fortran=False)
    for start in range(0, len(strings), _JOINED):
        yield b"".join(strings[start : start + _JOINED])


def load_strings(buffer: memoryview) -> tuple[AnyArray, int]:
    """Read what `dump_strings` gave from the start of a buffer.

    Returns:
        An array of ``bytes`` objects, and how much of the buffer it took.

    Raises:
        ValueError: The buffer holds no such thing.
    """
    lengths, middle = read_array(buffer, np.dtype("<i8"))
    joined, size = read_array(buffer[middle:], np.dtype(np.uint8))
    ends = np.cumsum(lengths.reshape(-1))
    if joined.ndim != 1 or (lengths < 0).any() or (ends[-1] if ends.size else 0) != joined.size:
        raise ValueError("the lengths of a tensor's strings are not those of its bytes")
    data = joined.tobytes()
    strings = np.empty(ends.size, object)
    strings[:] = [data[start:end] for start, end in pairwise([0, *ends.tolist()])]
    return strings.reshape(lengths.shape), middle + size
