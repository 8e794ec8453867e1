# SPDX-License-Identifier: MIT
"""What observers are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Event", "EventKind"]

EventKind: TypeAlias = Literal[
    "put", "hit", "miss", "expire", "evict", "invalidate", "corrupt", "error"
]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an entry."""

    kind: EventKind
    """What happened."""
    namespace: str
    """The namespace of the cache that it happened in."""
    cache_key: str
    """The entry's key."""
    handler: str | None = None
    """The name of the handler that wrote the entry, where one is known."""
    stored_bytes: int | None = None
    """The payload's bytes in the store, after compression; None where nobody knows."""
    reason: str = ""
    """Why, in a few words: ``"expired"``, ``"checksum differs"``, an error's text."""
