# SPDX-License-Identifier: MIT
"""The handler of bytes, bytearray and memoryview."""

from __future__ import annotations

import sys

from cacheness.errors import CannotHandleError
from cacheness.handlers.base import BufferHandler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from cacheness.handlers.base import HandlerContext
    from cacheness.handlers.protocols import Buffer

__all__ = ["BytesHandler"]

_TYPES = frozenset({bytes, bytearray, memoryview})


class BytesHandler(BufferHandler):
    """Raw bytes, as they are.

    Of a memoryview the format, the shape and whether it is read-only are kept. One that is
    not C-contiguous, or of a format that `memoryview.cast` can't give, is refused.
    """

    name = "bytes"
    data_only = True
    buffers_last = True

    def can_handle(self, obj: object) -> bool:
        return type(obj) in _TYPES

    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        if type(obj) is memoryview:
            return _dump_view(obj)
        return (obj,), {} if type(obj) is bytes else {"kind": "bytearray"}

    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        kind = metadata.get("kind", "bytes")
        if kind == "bytes":
            return bytes(buffer)
        if kind == "bytearray":
            return bytearray(buffer)
        if kind == "memoryview":
            return _load_view(buffer, metadata)
        raise ValueError(f"neither bytes, bytearray nor memoryview: {str(kind)[:50]!r}")

    def describe(self, obj: Any) -> str:
        if type(obj) is memoryview:
            return f"memoryview of {obj.format} {obj.shape}"
        return f"{type(obj).__name__} of {len(obj)}"


def _dump_view(view: memoryview) -> tuple[Iterable[Buffer], dict[str, Any]]:
    metadata = {
        "kind": "memoryview",
        "format": view.format,
        "shape": list(view.shape or ()),
        "readonly": view.readonly,
        "itemsize": view.itemsize,
        "byteorder": sys.byteorder,
    }
    if not view.c_contiguous:
        raise CannotHandleError("a memoryview that is not C-contiguous")
    try:
        flat = view.cast("B") if view.nbytes else memoryview(b"")
        _shaped(flat, metadata)
    except (TypeError, ValueError) as error:
        raise CannotHandleError(f"a memoryview that can't be made again: {error}") from error
    return (flat,), metadata


def _load_view(buffer: memoryview, metadata: Mapping[str, Any]) -> memoryview:
    if metadata.get("readonly") is not False:
        buffer = buffer.toreadonly()
    elif buffer.readonly:
        buffer = memoryview(bytearray(buffer))
    try:
        return _shaped(buffer, metadata)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the metadata of a memoryview: {error}") from error


def _shaped(flat: memoryview, metadata: Mapping[str, Any]) -> memoryview:
    layout, shape = metadata["format"], metadata["shape"]
    if layout == "B" and shape == [len(flat)]:
        return flat
    view = flat.cast(layout, shape)
    same_machine = view.itemsize == 1 or metadata["byteorder"] == sys.byteorder
    if view.format != layout or view.itemsize != metadata["itemsize"] or not same_machine:
        raise ValueError(f"the format {layout!r} means something else here")
    return view
