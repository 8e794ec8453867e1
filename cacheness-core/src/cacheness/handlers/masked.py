# SPDX-License-Identifier: MIT
"""Keeps masked arrays as ``.npy`` files one after the other: data, mask, fill value."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from cacheness.errors import CannotHandleError
from cacheness.handlers.array_fingerprint import feed_array, feed_text
from cacheness.handlers.arrays import array_buffers, array_metadata
from cacheness.handlers.dtypes import dtype_from_spelling
from cacheness.handlers.npy import ALIGNMENT, read_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypeAlias

    from cacheness.handlers.npy import AnyArray
    from cacheness.handlers.protocols import Buffer, Update

    MaskedArray: TypeAlias = np.ma.MaskedArray[Any, np.dtype[Any]]

__all__ = ["dump_masked", "feed_masked", "is_masked", "load_masked"]


def is_masked(obj: object) -> bool:
    """Whether it is a masked array exactly, found without importing `numpy.ma` (50 ms)."""
    kind = type(obj)
    return kind.__name__ == "MaskedArray" and kind.__module__.startswith("numpy.ma")


def dump_masked(array: MaskedArray) -> tuple[Iterable[Buffer], dict[str, Any]]:
    """Give the payload of a masked array: ``.npy`` files, each at a multiple of 64 bytes.

    Raises:
        CannotHandleError: It is over a subclass, or bears notes of a subclass, or its dtype
            has no exact spelling.
    """
    data = _plain_data(array)
    buffers, end = array_buffers(data)
    metadata = array_metadata(data) | {"kind": "masked", "hard": bool(array.hardmask)}
    # The header spells plain dtypes, but the mask's and the fill value's follow from it.
    metadata.setdefault("dtype", data.dtype.str)
    parts = [buffers]
    for name, part in (("mask", _mask(array)), ("fill_value", _fill_value(array))):
        if part is not None:
            buffers, length = array_buffers(part)
            padding = -end % ALIGNMENT
            parts += [[bytes(padding)], buffers]
            metadata[name] = end + padding
            end += padding + length
    return itertools.chain.from_iterable(parts), metadata


def _plain_data(array: MaskedArray) -> AnyArray:
    notes = (array._optinfo, array._basedict)  # type: ignore[attr-defined]  # no public way to see them
    if array.baseclass is not np.ndarray or any(notes):
        raise CannotHandleError("a masked array over a subclass, or with notes of one")
    return np.ma.getdata(array)


def _mask(array: MaskedArray) -> AnyArray | None:
    mask = np.ma.getmask(array)
    return None if mask is np.ma.nomask else np.asarray(mask)


def _fill_value(array: MaskedArray) -> AnyArray | None:
    """The fill value where one was set: asking for it otherwise would set it."""
    value: AnyArray | None = array._fill_value  # type: ignore[attr-defined]  # as above
    if value is None:
        return None
    value = np.asarray(value)
    if value.shape or value.dtype != array.dtype:
        raise CannotHandleError("a masked array whose fill value is of another dtype")
    return value


def load_masked(buffer: memoryview, metadata: Mapping[str, Any]) -> MaskedArray:
    """View the payload that `dump_masked` gave.

    Raises:
        ValueError: The buffer or the metadata are not what it gave.
    """
    dtype = dtype_from_spelling(metadata.get("dtype"))
    data, end = read_array(buffer, dtype)
    if metadata.get("writeable") is False:
        data.flags.writeable = False
    parts: dict[str, AnyArray] = {}
    for name, part_dtype in (("mask", np.ma.make_mask_descr(dtype)), ("fill_value", dtype)):
        if name in metadata:
            start = end + -end % ALIGNMENT
            if metadata[name] != start or start > len(buffer):
                raise ValueError(f"the {name} of a masked array is not where it should be")
            parts[name], length = read_array(buffer[start:], part_dtype)
            end = start + length
    mask = parts.get("mask")
    fill_value: Any = parts.get("fill_value")
    if end != len(buffer) or (mask is not None and mask.shape != data.shape):
        raise ValueError("a masked array whose parts do not fit together")
    if fill_value is not None and fill_value.shape:
        raise ValueError("a masked array whose fill value is no scalar")
    return np.ma.MaskedArray(
        data,
        mask=np.ma.nomask if mask is None else mask,
        fill_value=fill_value,
        hard_mask=metadata.get("hard") is True,
    )


def feed_masked(array: MaskedArray, update: Update) -> None:
    """Feed a masked array's identity: all data, the mask, the fill value, the hardness.

    Raises:
        CannotHandleError: As `dump_masked`.
    """
    feed_array("masked array", _plain_data(array), update)
    mask, fill_value = _mask(array), _fill_value(array)
    feed_text(f"hard={bool(array.hardmask)} nomask={mask is None}", update)
    if mask is not None:
        feed_array("mask", mask, update)
    if fill_value is None:
        # What asking for it would set: whether somebody asked does not count.
        default = np.ma.MaskedArray(np.empty(0, array.dtype)).fill_value
        fill_value = np.asarray(default, array.dtype)
    feed_array("fill value", fill_value, update)
