# SPDX-License-Identifier: MIT
"""The handler of containers, whose leaves each go to the handler that keeps them best."""

from __future__ import annotations

from cacheness.handlers.base import BufferHandler
from cacheness.handlers.classes import is_dataclass, is_namedtuple
from cacheness.handlers.json_text import DECODER
from cacheness.handlers.manifest_reader import read_manifest
from cacheness.handlers.manifest_writer import write_manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from cacheness.handlers.base import HandlerContext
    from cacheness.handlers.protocols import Buffer

__all__ = ["ContainerHandler"]

_PLAIN_CONTAINERS = frozenset({dict, list, tuple})


class ContainerHandler(BufferHandler):
    """dict, list, tuple, namedtuple and dataclass instances, nested and mixed.

    It takes a container when some leaf in it has a better handler than pickle, or when
    there is nothing in it but numbers, strings, None and plain containers. What it takes comes
    back with its identities: an object that occurs twice occurs twice. A cycle, a key
    that is no number, string, None or tuple of them, and a class with pickling methods
    of its own are left to pickle, which then keeps the container whole.

    The body is a JSON manifest: ``nodes``, one for each container, inner ones first, and
    ``root``. In it numbers and strings stand as they are, and so do long lists and dicts that
    JSON keeps. Everything else is a pair: of a tag and the number of a node, a part's
    reference, or an exact spelling.
    """

    name = "container"
    extension = ".json"
    data_only = True

    def can_handle(self, obj: object) -> bool:
        kind = type(obj)
        return kind in _PLAIN_CONTAINERS or is_namedtuple(kind) or is_dataclass(kind)

    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        import orjson

        pickled: list[object] = []
        manifest = write_manifest(obj, context, pickled)
        try:
            return (orjson.dumps(manifest),), {}
        except TypeError:
            # An integer of more than 64 bits, or half a surrogate pair: rare, so looked
            # for only now, value by value.
            manifest = write_manifest(obj, context, pickled, spell_all=True)
            return (orjson.dumps(manifest),), {}

    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        return read_manifest(DECODER.decode(buffer), context)

    def describe(self, obj: Any) -> str:
        kind = type(obj)
        size = "" if is_dataclass(kind) else f" of {len(obj)}"
        return f"{kind.__qualname__}{size}"
