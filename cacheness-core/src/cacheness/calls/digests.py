# SPDX-License-Identifier: MIT
"""Remembers the digests of code in a cache's store, so that a new process parses nothing."""

from __future__ import annotations

from cacheness.errors import CachenessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cacheness.core import UnifiedCache

__all__ = ["StoredDigests"]

_KIND = "code digests"


class StoredDigests:
    """The digests of a cache's functions, read at once at first need.

    A store that can't be reached or written costs a parse and nothing else.
    """

    def __init__(self, cache: UnifiedCache) -> None:
        self._cache = cache
        self._known: dict[str, Any] | None = None

    def get(self, name: str) -> str | None:
        """The text that was put last under this name, or None."""
        if self._known is None:
            try:
                self._known = self._cache.engine.backend.read_notes(_KIND)
            except (CachenessError, OSError):
                self._known = {}
        text = self._known.get(name)  # pyright: ignore[reportOptionalMemberAccess]  # a dict by now
        return text if isinstance(text, str) else None

    def put(self, name: str, value: str) -> None:
        """Keep a text, replacing one of the same name."""
        if self._cache.config.read_only:
            return
        try:
            self._cache.engine.backend.write_notes(_KIND, {name: value})
        except (CachenessError, OSError):
            return
        if self._known is not None:
            self._known[name] = value
