# SPDX-License-Identifier: MIT
"""What the tier in memory keeps of one key, with the bytes that it takes."""

from __future__ import annotations

from cacheness.backends.shapes import plain_payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cacheness.backends.shapes import StoredPayload
    from cacheness.entry import Entry

__all__ = ["OVERHEAD", "Kept"]

OVERHEAD = 800
"""What a tuple or an entry takes in bytes beside the text and the payload in it."""
_LARGE_FIELDS = ("description", "params", "key_parts", "custom_metadata", "tags")


class Kept:
    """A payload, an entry, what gives a value: each as far as somebody asked for it."""

    __slots__ = (
        "entry",
        "expires_at",
        "give",
        "payload",
        "plain",
        "size",
        "value_size",
        "way",
    )

    def __init__(self, payload: StoredPayload | None, entry: Entry | None) -> None:
        self.payload = payload
        self.plain = None if payload is None else plain_payload(payload)
        self.entry = entry
        self.give: Callable[[], Any] | None = None
        self.way = ""
        self.expires_at: float | None = None
        self.value_size = 0
        self.size = 0 if payload is None else OVERHEAD + sum(map(_weight, payload))
        if entry is not None:
            self.size += OVERHEAD + sum(_weight(getattr(entry, name)) for name in _LARGE_FIELDS)


def _weight(value: object) -> int:
    """Roughly the memory that a JSON value or a payload takes, in bytes."""
    if isinstance(value, (str, bytes)):
        return 50 + len(value)
    if isinstance(value, dict):
        return 100 + sum(100 + len(name) + _weight(of) for name, of in value.items())
    if isinstance(value, (list, tuple)):
        return 60 + sum(map(_weight, value))
    return 32
