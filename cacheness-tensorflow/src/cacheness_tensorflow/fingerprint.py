# SPDX-License-Identifier: MIT
"""Feeds tensors to hashers by their values, whatever device they are on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cacheness.errors import SerializationError, UnhashableParameterError
from cacheness.handlers.array_fingerprint import feed_text
from cacheness.handlers.slabs import byte_view
from cacheness_tensorflow.arrays import lend, require_value, strings_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cacheness.handlers.protocols import Update
    from cacheness_tensorflow.arrays import Tensor

__all__ = ["feed_tensor", "feed_tensors"]

_JOINED = 1 << 14


def feed_tensor(tensor: Tensor, update: Update) -> None:
    """Feed an eager tensor's dtype, its shape, and its values by their bits.

    Raises:
        UnhashableParameterError: It has no value.
    """
    try:
        require_value(tensor)
    except SerializationError as error:
        raise UnhashableParameterError(str(error)) from error
    feed_text(repr(("tensor", tensor.dtype.name, tuple(tensor.shape))), update)
    if tensor.dtype.name == "string":
        strings = strings_of(tensor)
        update(np.fromiter(map(len, strings), "<i8", len(strings)).tobytes())
        for start in range(0, len(strings), _JOINED):
            update(b"".join(strings[start : start + _JOINED]))
        return
    array, _ = lend(tensor)
    if array.nbytes:
        update(byte_view(array))


def feed_tensors(kind: str, tensors: Iterable[Tensor | None], update: Update) -> None:
    """Feed what is made of several tensors, some of which may be left out."""
    tensors = tuple(tensors)
    feed_text(repr((kind, [tensor is not None for tensor in tensors])), update)
    for tensor in tensors:
        if tensor is not None:
            feed_tensor(tensor, update)
