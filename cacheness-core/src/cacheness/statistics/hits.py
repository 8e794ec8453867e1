# SPDX-License-Identifier: MIT
"""Buffers what reads of a cache did, so that a read never writes."""

from __future__ import annotations

from time import time

from cacheness.errors import BackendUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.backends.base import MetadataBackend
    from cacheness.statistics.tally import Tally

__all__ = ["SAMPLED", "HitBuffer"]

_FULL = 16384
"""Reads after which they are written; a process that dies loses at most these."""
_LONGEST = 10.0
"""Seconds after which they are written by the next read or put."""
SAMPLED = 16
"""Of so many hits one is timed, as two looks at a clock take 0.1 µs."""


class HitBuffer:
    """Collects what was read, missed and computed, and hands it to the backend in one go.

    Adding appends to a list, which needs no lock.
    """

    __slots__ = ("_backend", "_computed", "_misses", "_tally", "_writes", "reads", "timed")

    def __init__(self, backend: MetadataBackend, *, writes: bool) -> None:
        self._backend = backend
        self._writes = writes
        self._tally: Tally | None = None
        self.forget()

    def add(self, cache_key: str) -> None:
        """[hot] Note a read."""
        now = time()
        reads = self.reads
        reads.append((cache_key, now))
        if len(reads) >= _FULL or now - reads[0][1] > _LONGEST:
            self.flush()

    def missed(self, prefix: str) -> None:
        """Note that a read found nothing, or nothing of this prefix."""
        now = time()
        misses = self._misses
        misses.append((prefix, now))
        if len(misses) >= _FULL or now - misses[0][1] > _LONGEST:
            self.flush()

    def computed(self, function: str, prefix: str) -> None:
        """Note that a function's result was stored, which a read before had missed."""
        self._computed.append((function, prefix))

    def settle(self) -> None:
        """Write what has waited for long."""
        waiting = self.reads or self._misses
        if waiting and time() - waiting[0][1] > _LONGEST:
            self.flush()

    def flush(self) -> None:
        """Write what was collected; it is dropped where the store is out of reach."""
        reads, misses, computed, timed = self.reads, self._misses, self._computed, self.timed
        self.forget()
        if not ((reads or misses or computed) and self._writes):
            return
        if self._tally is None:
            from cacheness.statistics.tally import Tally

            self._tally = Tally(self._backend)
        try:
            hits = _counted(reads)
            if hits:
                self._backend.record_hits(hits)
            self._tally.add(hits, misses, computed, timed)
        except BackendUnavailableError:
            return  # a statistic is not worth failing a read

    def forget(self) -> None:
        """Drop what was collected, as a forked child does with its parent's."""
        self.reads: list[tuple[str, float]] = []
        """Cache key and time of each hit. While `SAMPLED` divides its length, the next hit
        is to be timed."""
        self.timed: list[tuple[str, float]] = []
        """Cache key and duration of each hit that was timed."""
        self._misses: list[tuple[str, float]] = []
        self._computed: list[tuple[str, str]] = []


def _counted(reads: list[tuple[str, float]]) -> dict[str, tuple[int, float]]:
    """Cache key → (reads, time of the last one)."""
    last = dict(reads)
    counts = dict.fromkeys(last, 0)
    for cache_key, _ in reads:
        counts[cache_key] += 1
    return {cache_key: (count, last[cache_key]) for cache_key, count in counts.items()}
