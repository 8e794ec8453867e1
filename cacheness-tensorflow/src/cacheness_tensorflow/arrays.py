# SPDX-License-Identifier: MIT
"""Takes values out of eager tensors and makes tensors of them, without a copy where it can."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cacheness.errors import SerializationError

if TYPE_CHECKING:
    from typing import Any, TypeAlias

    AnyArray: TypeAlias = np.ndarray[Any, np.dtype[Any]]
    Tensor: TypeAlias = Any
    """A `tf.Tensor`; TensorFlow ships no types."""

__all__ = ["lend", "require_value", "strings_of", "to_numpy", "to_tensor"]

_BITS = {
    "bfloat16": "uint16",
    "float8_e4m3b11fnuz": "uint8",
    "float8_e4m3fn": "uint8",
    "float8_e4m3fnuz": "uint8",
    "float8_e5m2": "uint8",
    "float8_e5m2fnuz": "uint8",
    "float4_e2m1fn": "uint8",
    "int2": "uint8",
    "int4": "uint8",
    "uint2": "uint8",
    "uint4": "uint8",
}
"""The dtypes of ml_dtypes, by what their bits are stored as; those under a byte take one."""

_QUANTISED = {
    "qint8": "int8",
    "qint16": "int16",
    "qint32": "int32",
    "quint8": "uint8",
    "quint16": "uint16",
}

_NUMPY = {
    *("bool", "float16", "float32", "float64", "complex64", "complex128"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
}

_ALIGNMENT = 64
"""What TensorFlow's kernels may expect of a tensor's address."""


def require_value(tensor: Tensor) -> None:
    """Make sure that a tensor has a value to store.

    Raises:
        SerializationError: It is symbolic, or a handle of something that is no tensor.
    """
    import tensorflow as tf

    if tf.is_symbolic_tensor(tensor):
        raise SerializationError(
            f"the tensor {tensor.name!r} is symbolic: it stands for a value that is computed "
            "only when its graph runs, so there is nothing to store; call the function "
            "eagerly, and use the cache outside tf.function"
        )
    if tensor.dtype.name in ("resource", "variant"):
        raise SerializationError(
            f"a tensor of the dtype {tensor.dtype.name} is a handle of an object in this "
            "process, not a value; store the variable, dataset or list that it belongs to"
        )


def lend(tensor: Tensor) -> tuple[AnyArray, str]:
    """View an eager tensor's memory as an array that NumPy can store by itself.

    Args:
        tensor: Eager, of any dtype but string; one on another device is copied from it.

    Returns:
        The array, read-only, and the name of the tensor's dtype. Dtypes that NumPy lacks
        are viewed as unsigned integers of the same bits, quantised ones as their integers.

    Raises:
        SerializationError: The tensor has no value to store.
    """
    import tensorflow as tf

    require_value(tensor)
    name: str = tensor.dtype.name
    if name == "bfloat16":
        # As bfloat16 TensorFlow would hand out a copy; its bits it lends.
        tensor = tf.bitcast(tensor, tf.uint16)
    if tensor.shape.rank:
        array: AnyArray = np.asarray(tensor)
    else:
        # A single value TensorFlow gives as a scalar, of types that NumPy may not know.
        array = np.asarray(tf.reshape(tensor, [1])).reshape(())
    if name in _BITS:
        array = array.view(_BITS[name])
    if array.dtype.name != _stored_dtype(name):
        raise SerializationError(f"TensorFlow gives a {name} tensor as {array.dtype}")
    return array, name


def strings_of(tensor: Tensor) -> list[bytes]:
    """The strings of an eager tensor in C order.

    Raises:
        SerializationError: The tensor is symbolic.
    """
    import tensorflow as tf

    require_value(tensor)
    # Flattened first: of a single string NumPy would make an array that drops final NULs.
    strings: list[bytes] = np.asarray(tf.reshape(tensor, [-1])).tolist()
    return strings


def to_tensor(array: AnyArray, name: str) -> Tensor:
    """Make the eager tensor that `lend` lent such an array of.

    Its memory becomes the tensor's where it is writeable and aligned, so that nothing is
    copied: of 100 MB, `tf.constant` takes 37 ms and this some microseconds.

    Args:
        array: In C order; nobody else may write to it afterwards.
        name: The dtype's name.

    Raises:
        ValueError: The array is not of what that dtype is stored as.
    """
    import tensorflow as tf

    if array.dtype.name != _stored_dtype(name):
        raise ValueError(f"an array of {array.dtype} where the bits of {name} should be")
    with tf.init_scope():
        if name in _BITS and name != "bfloat16":
            return tf.constant(to_numpy(array, name))
        tensor = _adopted(array) if _is_adoptable(array) else tf.constant(array)
        return tensor if tensor.dtype.name == name else tf.bitcast(tensor, name)


def to_numpy(array: AnyArray, name: str) -> AnyArray:
    """View an array that `lend` gave as the array that the tensor's ``numpy()`` gives.

    Raises:
        ValueError: The array is not of what that dtype is stored as.
    """
    if array.dtype.name != _stored_dtype(name):
        raise ValueError(f"an array of {array.dtype} where the bits of {name} should be")
    if name not in _BITS:
        return array
    import ml_dtypes

    return array.view(getattr(ml_dtypes, name))


def _stored_dtype(name: str) -> str:
    stored = _BITS.get(name) or _QUANTISED.get(name)
    if stored is None and name not in _NUMPY:
        raise ValueError(f"not the dtype of a tensor: {name[:50]!r}")
    return stored or name


def _is_adoptable(array: AnyArray) -> bool:
    return (
        array.flags.writeable
        and array.flags.c_contiguous
        and array.size > 0
        and array.ctypes.data % _ALIGNMENT == 0
    )


def _adopted(array: AnyArray) -> Tensor:
    import tensorflow as tf

    tensor = tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    # The memory is the host's; where constants would go to a GPU, so does this.
    return tf.identity(tensor) if tf.config.list_logical_devices("GPU") else tensor
