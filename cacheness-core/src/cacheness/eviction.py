# SPDX-License-Identifier: MIT
"""Keeps a cache within ``max_size`` and ``max_entries``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cacheness.backends.base import MetadataBackend
    from cacheness.config import CacheConfig
    from cacheness.entry import Entry

__all__ = ["Evictor"]

_SLACK = 0.1
"""Once over a bound, this part of it is freed beyond, so that not every put has to evict."""
_RECOUNT = 256
"""After so many puts the store is counted anew, since other processes put, too."""


class Evictor:
    """Removes entries by the cache's policy once it is over a bound.

    Between counts of the store it adds up what this process put, so that a put costs an
    addition; a cache of several processes is over its bound by what the others put since
    the last count, at most.

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
        self._size = 0
        self._entries = 0
        self._puts = _RECOUNT

    def added(self, entry: Entry) -> list[Entry]:
        """Take note of a put; give the entries that were removed for it.

        The entry itself may be among them, where it alone is over the bound.
        """
        self._size += entry.stored_bytes
        self._entries += 1
        self._puts += 1
        if self._puts >= _RECOUNT or self._is_over():
            self._recount()
        return self._evict() if self._is_over() else []

    def _is_over(self) -> bool:
        return (self._max_size is not None and self._size > self._max_size) or (
            self._max_entries is not None and self._entries > self._max_entries
        )

    def _recount(self) -> None:
        self._puts = 0
        self._size = self._backend.total_size() if self._max_size is not None else 0
        self._entries = self._backend.count() if self._max_entries is not None else 0

    def _evict(self) -> list[Entry]:
        self._flush()
        size = _excess(self._size, self._max_size)
        count = _excess(self._entries, self._max_entries)
        removed = []
        for victim in self._backend.victims(self._policy, size, count):
            # Another process may have chosen the same ones, or replaced one meanwhile.
            old = self._backend.delete_entry(victim.cache_key, if_generation=victim.generation)
            if old is not None:
                removed.append(old)
            self._size -= victim.stored_bytes
            self._entries -= 1
        return removed


def _excess(now: int, bound: int | None) -> int:
    """How much is to go: nothing within the bound, else down to a slack below it."""
    if bound is None or now <= bound:
        return 0
    return now - bound + int(bound * _SLACK)
