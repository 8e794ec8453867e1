# SPDX-License-Identifier: MIT
"""The handler of values that JSON keeps exactly."""

from __future__ import annotations

from cacheness.handlers.base import BufferHandler
from cacheness.handlers.json_text import DECODER, decode_with_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from cacheness.handlers.base import HandlerContext
    from cacheness.handlers.protocols import Buffer

__all__ = ["JsonHandler"]

_TYPES = frozenset({dict, list, str, int, float, bool, type(None)})
_SIZED = (dict, list, str)


class JsonHandler(BufferHandler):
    """str, int, float, bool, None, and lists and str-keyed dicts of them, as JSON.

    Refused is what would not come back as it was: other types, subclasses, NaN and
    infinities, a list or dict that occurs twice (they would be two), and more than 250 levels.
    """

    name = "json"
    extension = ".json"
    data_only = True
    decides_by_type = True

    def can_handle(self, obj: object) -> bool:
        return type(obj) in _TYPES

    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        from cacheness.handlers.json_bytes import json_of

        payload, metadata = json_of(obj)
        return (payload,), metadata

    @property
    def dumps_plain(self) -> Callable[[Any], bytes | None]:
        """Gives all of the payload, where `loads` needs no metadata with it; else None.

        The core asks it in place of `dumps`, before it makes a context for that, and stores what
        it gives at any size. A process that only reads does without it, and without orjson.
        """
        from cacheness.handlers.json_bytes import plain_json

        return plain_json

    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        if metadata and metadata.get("decoder") == "json":
            return decode_with_json(buffer)
        return DECODER.decode(buffer)

    def describe(self, obj: Any) -> str:
        kind = type(obj).__name__
        return f"{kind} of {len(obj)}" if isinstance(obj, _SIZED) else kind
