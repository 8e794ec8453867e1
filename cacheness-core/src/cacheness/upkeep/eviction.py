# SPDX-License-Identifier: MIT
"""Keeps a cache within ``max_size`` and ``max_entries``."""

from __future__ import annotations

from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cacheness.backends.base import MetadataBackend
    from cacheness.config import CacheConfig
    from cacheness.entry import Entry

__all__ = ["Evictor"]

_SLACK = 0.1
"""Once over a bound, at most this part of it is freed beyond, so that not every put evicts."""
_AT_ONCE = 1000
"""Nor more entries than about so many, so that no put waits for long."""
_RECOUNT = 256
"""After so many puts a store that doesn't know its size is counted."""
_SHARE = 0.05
"""But counting takes at most this part of the time: a scan of a million rows takes a second."""


class Evictor:
    """Removes entries of one namespace by the cache's policy once it is over a bound.

    Every put looks, after its own entry is recorded: once no put is under way, the bounds
    hold, whatever the number of processes. Until then they are exceeded by what the puts
    under way have recorded, at most. A backend that doesn't know its size without a scan
    is counted after `_RECOUNT` puts of this process (later, where counting takes long),
    or when these alone would be too much; such a store is over a bound by what the others
    put since then, at most.

    Pinned entries stay; where they fill the bounds, everything else goes.

    Args:
        backend: Where the entries are recorded.
        config: The cache's options.
        flush: Writes the hits that are still buffered, since the policy looks at them.
    """

    def __init__(
        self, backend: MetadataBackend, config: CacheConfig, flush: Callable[[], None]
    ) -> None:
        self._backend = backend
        self._flush = flush
        self._policy = config.policy
        self._max_size = config.max_size
        self._max_entries = config.max_entries
        self._slack: float | None = None
        self._size = 0
        self._entries = 0
        self._puts = _RECOUNT
        self._count_from = 0.0

    def added(self, stored_bytes: int) -> list[Entry]:
        """Take note of a put of so many bytes; give the entries that were removed for it."""
        if not self._backend.knows_its_size:
            self._size += stored_bytes
            self._entries += 1
            self._puts += 1
            due = self._puts >= _RECOUNT and monotonic() >= self._count_from
            if not due and not self._is_over():
                return []
        self._count()
        return self._evict() if self._is_over() else []

    def free(self, size: int) -> list[Entry]:
        """Remove entries of at least so many bytes, as far as any go; give them.

        Where all of them together would not do, none is removed.
        """
        total = self._backend.total_size()
        if total < size:
            return []
        self._flush()
        return self._backend.evict(self._policy, max_size=total - size, max_entries=None, slack=0.0)

    def _is_over(self) -> bool:
        return (self._max_size is not None and self._size > self._max_size) or (
            self._max_entries is not None and self._entries > self._max_entries
        )

    def _count(self) -> None:
        began = monotonic()
        self._puts = 0
        self._size = self._backend.total_size() if self._max_size is not None else 0
        self._entries = self._backend.count() if self._max_entries is not None else 0
        ended = monotonic()
        self._count_from = ended + (ended - began) / _SHARE

    def _evict(self) -> list[Entry]:
        self._flush()
        if self._slack is None:
            self._slack = min(_SLACK, _AT_ONCE / max(1, self._backend.count()))
        removed = self._backend.evict(
            self._policy,
            max_size=self._max_size,
            max_entries=self._max_entries,
            slack=self._slack,
        )
        self._size -= sum(entry.stored_bytes for entry in removed)
        self._entries -= len(removed)
        return removed
