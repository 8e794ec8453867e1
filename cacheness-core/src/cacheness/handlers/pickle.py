# SPDX-License-Identifier: MIT
"""The handler of last resort: whatever pickle keeps, its large buffers uncopied."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from cacheness.errors import CannotHandleError, SerializationError
from cacheness.handlers.base import BufferHandler
from cacheness.storing import SecretError, mark_of_this_thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from cacheness.handlers.base import HandlerContext
    from cacheness.handlers.protocols import Buffer

__all__ = ["PickleHandler"]

_PROTOCOL = 5
_ALIGNMENT = 64
_SMALLEST_BUFFER = 16 << 10
_MOST_BUFFERS = 1000


class PickleHandler(BufferHandler):
    """Any object that pickle takes, or else cloudpickle where it is installed.

    The file is a plain pickle that `pickle.load` reads, unless the object has buffers
    of 16 KiB or more (protocol 5): these then follow the pickle, each from a multiple of 64
    bytes, as the metadata say. They are written from and read to where they lie.
    """

    name = "pickle"
    extension = ".pkl"

    def can_handle(self, obj: object) -> bool:
        return True

    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        if not context.allow_pickle:
            raise CannotHandleError("the cache has allow_pickle=False")
        stream, views, metadata = _pickled(obj)
        if not views:
            return (stream,), metadata
        metadata["stream"] = len(stream)
        metadata["buffers"] = [[view.nbytes, view.readonly] for view in views]
        buffers: list[Buffer] = [stream]
        for before, view in zip([stream, *views], views, strict=False):
            buffers += [bytes(-len(before) % _ALIGNMENT), view]
        return buffers, metadata

    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        if not context.allow_pickle:
            raise SerializationError("the cache has allow_pickle=False, and this is a pickle")
        stream, views = _parts(buffer, metadata)
        try:
            return pickle.loads(stream, buffers=views)
        except (ImportError, AttributeError) as error:
            raise SerializationError(
                f"the pickled object needs what can't be imported here: {error}"
            ) from error

    def describe(self, obj: Any) -> str:
        kind = type(obj)
        return f"{kind.__module__}.{kind.__qualname__}"


def _pickled(obj: Any) -> tuple[bytes, list[memoryview], dict[str, Any]]:
    """The pickle, the buffers that it leaves out, and which pickler it was."""
    views: list[memoryview] = []

    def keep_inside(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < _SMALLEST_BUFFER or len(views) == _MOST_BUFFERS:
            return True
        views.append(view)
        return False

    mark = mark_of_this_thread()
    outside = mark.depth
    try:
        mark.depth = outside + 1
        return pickle.dumps(obj, _PROTOCOL, buffer_callback=keep_inside), views, {}
    except SecretError as error:
        raise SerializationError(f"a {_name(obj)} is not stored: {error}") from None
    except Exception as error:  # noqa: BLE001  # an object's own methods raise what they like
        refusal = error
    finally:
        mark.depth = outside
    try:
        import cloudpickle
    except ImportError:
        raise SerializationError(
            f"a {_name(obj)} can't be pickled: {refusal}. Install cloudpickle for functions and "
            "classes that have no importable name, or register a handler for the type"
        ) from refusal
    views.clear()
    try:
        mark.depth = outside + 1
        stream = cloudpickle.dumps(obj, _PROTOCOL, buffer_callback=keep_inside)
    except SecretError as error:
        raise SerializationError(f"a {_name(obj)} is not stored: {error}") from None
    except Exception as error:
        raise SerializationError(
            f"a {_name(obj)} can't be pickled: {refusal}. Register a handler for the type"
        ) from error
    finally:
        mark.depth = outside
    return stream, views, {"pickler": "cloudpickle"}


def _name(obj: object) -> str:
    return f"{type(obj).__module__}.{type(obj).__qualname__}"


def _parts(buffer: memoryview, metadata: Mapping[str, Any]) -> tuple[memoryview, list[memoryview]]:
    """The pickle, and its buffers as writeable or read-only as they were."""
    if "buffers" not in metadata:
        return buffer, []
    try:
        end = int(metadata["stream"])
        sizes = [(int(size), readonly is True) for size, readonly in metadata["buffers"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the metadata of a pickle: {error}") from error
    stream = buffer[:end]
    views = []
    for size, readonly in sizes:
        start = end + -end % _ALIGNMENT
        end = start + size
        if size < 0 or end > len(buffer):
            raise ValueError("a pickle whose buffers lie outside of the payload")
        view = buffer[start:end]
        if readonly:
            view = view.toreadonly()
        elif view.readonly:
            view = memoryview(bytearray(view))
        views.append(view)
    if end != len(buffer):
        raise ValueError(f"{len(buffer) - end} bytes after the end of a pickle")
    return stream, views
