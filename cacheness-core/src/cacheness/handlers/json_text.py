# SPDX-License-Identifier: MIT
"""Decodes JSON with whichever decoder costs the process least."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["DECODER", "decode_with_json"]

_PATIENCE = 1_000_000
"""Bytes to decode with `json`, a call counting as 200, before importing orjson pays."""


class _Decoder:
    """Gives the JSON value of a buffer by ``decode``, an attribute that changes once.

    orjson decodes a small value in 0.8 µs where `json` takes 2 to 3, but importing it
    costs 15 ms more, since it imports dataclasses, inspect and uuid. So `json` serves until
    something else has imported orjson (a put does), or until what was decoded would have
    paid for it. From then on ``decode`` is `orjson.loads` itself: no count, no branch.
    Threads that meet here at worst count too little or set the attribute twice.
    """

    __slots__ = ("_patience", "_scan", "decode")

    def __init__(self) -> None:
        self._patience = _PATIENCE
        self._scan: Callable[[str, int], tuple[Any, int]] | None = None
        self.decode: Callable[[memoryview], Any] = self._decode_and_count

    def _decode_and_count(self, buffer: memoryview) -> Any:
        self._patience -= 200 + len(buffer)
        if "orjson" in sys.modules or self._patience < 0:
            import orjson

            self.decode = orjson.loads
            return orjson.loads(buffer)
        text = str(buffer, "utf-8")
        try:
            if self._scan is None:
                self._scan = _make_scan()
            value, end = self._scan(text, 0)
        except Exception:  # noqa: BLE001  # whatever it is, `json` tells of it
            return decode_with_json(buffer)
        return value if end == len(text) else decode_with_json(buffer)


def _make_scan() -> Callable[[str, int], tuple[Any, int]]:
    """The scanner in C that `json` itself uses, without the 8 ms that importing `json` takes.

    Those are for regular expressions, which it needs for text that begins with a space, say.
    """
    from _json import make_scanner

    rules: Any = _Rules
    return make_scanner(rules)


class _Rules:
    """How `json.loads` reads."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float  # takes NaN, Infinity and -Infinity
    memo = None


def decode_with_json(buffer: memoryview) -> Any:
    """Decode with the standard library, which keeps integers of any size.

    Raises:
        ValueError: The bytes are no JSON, or nested more deeply than Python can follow.
    """
    import json

    try:
        return json.loads(str(buffer, "utf-8"))
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


DECODER = _Decoder()
