# SPDX-License-Identifier: MIT
"""Buffers the hits of a cache, so that a read never writes."""

from __future__ import annotations

from time import time

from cacheness.errors import BackendUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.backends.base import MetadataBackend

__all__ = ["HitBuffer"]

_FULL = 2048
"""Reads after which they are written; a process that dies loses at most these."""


class HitBuffer:
    """Collects cache keys as they are read and hands them to the backend in one write."""

    __slots__ = ("_backend", "_reads", "_writes")

    def __init__(self, backend: MetadataBackend, *, writes: bool) -> None:
        self._backend = backend
        self._writes = writes
        self._reads: list[tuple[str, float]] = []

    def add(self, cache_key: str) -> None:
        """[hot] Note a read; appending to a list needs no lock."""
        self._reads.append((cache_key, time()))
        if len(self._reads) >= _FULL:
            self.flush()

    def flush(self) -> None:
        """Write what was collected; hits are dropped where the store is out of reach."""
        reads, self._reads = self._reads, []
        if not (reads and self._writes):
            return
        hits: dict[str, tuple[int, float]] = {}
        for cache_key, at in reads:
            count, last = hits.get(cache_key, (0, 0.0))
            hits[cache_key] = (count + 1, max(at, last))
        try:
            self._backend.record_hits(hits)
        except BackendUnavailableError:
            return  # a statistic is not worth failing a read

    def forget(self) -> None:
        """Drop what was collected, as a forked child does with its parent's."""
        self._reads = []
