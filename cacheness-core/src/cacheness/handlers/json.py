# SPDX-License-Identifier: MIT
"""The handler of values that JSON keeps exactly."""

from __future__ import annotations

from cacheness.errors import CannotHandleError
from cacheness.handlers.base import BufferHandler
from cacheness.handlers.json_check import JSON_TYPES, check_json
from cacheness.handlers.json_text import DECODER, decode_with_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from cacheness.handlers.base import HandlerContext
    from cacheness.handlers.protocols import Buffer

__all__ = ["JsonHandler"]

_WORTH_FITTING = 16 << 10


class JsonHandler(BufferHandler):
    """str, int, float, bool, None, and lists and str-keyed dicts of them, as JSON.

    Refused is what would not come back as it was: other types, subclasses, NaN and
    infinities, a list or dict that occurs twice (they would be two), and more than 250 levels.
    """

    name = "json"
    extension = ".json"
    data_only = True

    def can_handle(self, obj: object) -> bool:
        return type(obj) in JSON_TYPES

    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        check_json(obj)
        import orjson

        try:
            return (_fitted(orjson.dumps(obj)),), {}
        except TypeError:
            # An integer of more than 64 bits, or half a surrogate pair.
            return (_encode_with_json(obj),), {"decoder": "json"}

    def dumps_plain(self, obj: Any) -> bytes | None:
        """[hot] All of the payload, where `loads` needs no metadata with it; else None.

        The core asks for it before it makes a context for `dumps`.
        """
        check_json(obj)
        import orjson

        try:
            return _fitted(orjson.dumps(obj))
        except TypeError:
            return None

    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        if metadata and metadata.get("decoder") == "json":
            return decode_with_json(buffer)
        return DECODER.decode(buffer)

    def describe(self, obj: Any) -> str:
        kind = type(obj).__name__
        return f"{kind} of {len(obj)}" if isinstance(obj, (dict, list, str)) else kind


def _fitted(payload: bytes) -> bytes:
    """[hot] The same in memory of its own size, for 0.06 µs: orjson takes 4 KiB more for each.

    Whoever keeps it would keep these, such as the memory backend.
    """
    return b"%b" % payload if len(payload) < _WORTH_FITTING else payload


def _encode_with_json(obj: Any) -> bytes:
    import json

    try:
        text = json.dumps(obj, separators=(",", ":"))
        # Two halves of a surrogate pair that stand side by side come back as one character.
        exact = json.loads(text) == obj
    except (ValueError, RecursionError) as error:
        raise CannotHandleError(f"JSON can't keep it: {error}") from error
    if not exact:
        raise CannotHandleError("a string that JSON would change")
    return text.encode("ascii")
