# SPDX-License-Identifier: MIT
"""Buffers what reads of a cache did, so that a read never writes."""

from __future__ import annotations

from _thread import allocate_lock
from time import time

from cacheness.errors import BackendUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.backends.base import MetadataBackend
    from cacheness.statistics.tally import Tally

__all__ = ["SAMPLED", "HitBuffer"]

_FULL = 2048
"""Reads after which they are added up, and keys or misses after which they are written."""
_MOST = 8 * _FULL
"""Reads after which they are written; a process that dies loses at most these."""
_LONGEST = 10.0
"""Seconds after which they are written by the next read, or by a put within a second."""
SAMPLED = 16
"""Of so many hits one is timed, as two looks at a clock take 0.1 µs."""


class HitBuffer:
    """Collects what was read, missed and computed, and hands it to the backend in one go.

    Adding appends to a list, which needs no lock.
    """

    __slots__ = (
        "_backend",
        "_computed",
        "_counted",
        "_counting",
        "_misses",
        "_tally",
        "_writes",
        "reads",
        "timed",
    )

    def __init__(self, backend: MetadataBackend, *, writes: bool) -> None:
        self._backend = backend
        self._writes = writes
        self._tally: Tally | None = None
        self.forget()

    def forget(self) -> None:
        """Drop what was collected, as a forked child does with its parent's."""
        self.reads: list[tuple[str, float]] = []
        """Cache key and time of each hit. While `SAMPLED` divides its length, the next hit
        is to be timed."""
        self.timed: list[tuple[str, float]] = []
        """Cache key and duration of each hit that was timed."""
        self._counted = _Counted()
        self._counting = allocate_lock()
        self._misses: list[tuple[str, float]] = []
        self._computed: list[tuple[str, str]] = []

    def add(self, cache_key: str) -> None:
        """[hot] Note a read."""
        now = time()
        reads = self.reads
        reads.append((cache_key, now))
        if len(reads) >= _FULL or now - reads[0][1] > _LONGEST:
            self._add_up(now)

    def _add_up(self, now: float) -> None:
        """Count the reads by key, which takes less memory, and write them where it is time.

        One thread does, and no other waits for it.
        """
        counting = self._counting  # which a child that is forked meanwhile has another one of
        if not counting.acquire(blocking=False):
            if len(self.reads) >= _MOST:  # an interrupt kept whoever did from its end
                self.flush()
            return
        try:
            reads = self.reads
            self.reads = []
            self._counted.add(reads)
        finally:
            counting.release()
        if self._counted.is_full(now):
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
        if waiting or self._counted.number:
            now = time()
            if (waiting and now - waiting[0][1] > _LONGEST) or self._counted.is_full(now):
                self.flush()

    def flush(self) -> None:
        """Write what was collected; it is dropped where the store is out of reach."""
        reads, counted, misses, computed, timed = (
            self.reads,
            self._counted,
            self._misses,
            self._computed,
            self.timed,
        )
        self.forget()
        counted.add(reads)
        hits = counted.hits()
        if not ((hits or misses or computed) and self._writes):
            return
        if self._tally is None:
            from cacheness.statistics.tally import Tally

            self._tally = Tally(self._backend)
        try:
            if hits:
                self._backend.record_hits(hits)
            self._tally.add(hits, misses, computed, timed)
        except BackendUnavailableError:
            return  # a statistic is not worth failing a read


class _Counted:
    """Reads by key."""

    __slots__ = ("_counts", "_last", "_since", "number")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._last: dict[str, float] = {}
        self.number = 0
        self._since = 0.0

    def add(self, reads: list[tuple[str, float]]) -> None:
        if reads and not self.number:
            self._since = reads[0][1]
        self.number += len(reads)
        counts = self._counts
        for cache_key, at in reads:
            self._last[cache_key] = at
            counts[cache_key] = counts.get(cache_key, 0) + 1

    def is_full(self, now: float) -> bool:
        """Whether they are to be written, as they are many, of many keys, or old."""
        return self.number > 0 and (
            self.number >= _MOST or len(self._counts) >= _FULL or now - self._since > _LONGEST
        )

    def hits(self) -> dict[str, tuple[int, float]]:
        """Cache key → (reads, time of the last one)."""
        counts, last = dict(self._counts), self._last  # a thread may be adding to them still
        return {cache_key: (count, last[cache_key]) for cache_key, count in counts.items()}
