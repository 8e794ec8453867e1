# SPDX-License-Identifier: MIT
"""What a put does for its store besides storing: bounds, free space, superseded results."""

from __future__ import annotations

from cacheness.errors import CachenessWarning, warn
from cacheness.upkeep.eviction import Evictor
from cacheness.upkeep.free_space import FreeSpace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cacheness.engine import Engine
    from cacheness.entry import Entry
    from cacheness.upkeep.superseded import Superseded
    from cacheness.upkeep.tombstones import Why

__all__ = ["Upkeep"]


class Upkeep:
    """Looks after the store of one cache at each of its puts."""

    def __init__(self, engine: Engine) -> None:
        config = engine.config
        self._engine = engine
        self._max_size = config.max_size
        self.is_bounded = config.max_size is not None or config.max_entries is not None
        """Whether a put may have to remove other entries."""
        self._evictor = Evictor(engine.backend, config, engine.flush)
        self._superseded_ttl = config.superseded_ttl_seconds
        self._superseded: Superseded | None = None
        self.space = FreeSpace(
            engine.directories,
            config.min_free,
            config.inline_bytes,
            self._free if self.is_bounded else None,
        )
        """While it is quiet, a small payload is stored without `before_writing` and `admits`."""

    def before_writing(self, key: str, obj: object) -> None:
        """See that there is space for the payload, as far as its size is known.

        Raises:
            BackendUnavailableError: There is none.
        """
        self.space.before(key, obj)

    def admits(self, key: str, stored_bytes: int, *, own_file: bool) -> bool:
        """Whether a payload that was written may stay.

        One that is larger than all of ``max_size`` may not: it would drive out all others
        and then itself. The value that stood under its name is no longer true, and goes.

        Raises:
            BackendUnavailableError: It left less than ``min_free`` on the disk.
        """
        if self._max_size is not None and stored_bytes > self._max_size:
            old = self._engine.backend.delete_entry(key)
            self._remove([] if old is None else [old], "evicted", "larger than max_size")
            warn(
                f"entry {key} is not stored: it takes {stored_bytes} bytes, more than all of "
                f"max_size={self._max_size}; raise max_size to keep such values",
                CachenessWarning,
            )
            return False
        self.space.after(key, stored_bytes, own_file=own_file)
        return True

    def make_room(self, stored_bytes: int) -> None:
        """Remove what the bounds ask for after a put of so many bytes."""
        if self.is_bounded:
            policy = f"policy {self._engine.config.policy}"
            self._remove(self._evictor.added(stored_bytes), "evicted", policy)

    def sweep(self, function: str, entry: Entry) -> None:
        """Remove what older code of the entry's function left behind, from time to time."""
        ttl, digest, now = self._superseded_ttl, entry.code_digest, entry.created_at
        if ttl is None or digest is None:
            return
        if self._superseded is None:
            from cacheness.upkeep.superseded import Superseded

            self._superseded = Superseded(self._engine.backend, ttl)
        if self._superseded.is_due(function, digest, now):
            self._engine.flush()
            removed = self._superseded.sweep(function, digest, now)
            self._remove(removed, "superseded", "")

    def _free(self, size: int) -> int:
        evicted = self._evictor.free(size)
        self._remove(evicted, "evicted", "min_free")
        return len(evicted)

    def _remove(self, removed: Sequence[Entry], why: Why, reason: str) -> None:
        """Let go of entries that the backend has removed."""
        if not removed:
            return
        engine = self._engine
        for old in removed:
            engine.discard(old)
        engine.bury(removed, why, reason)
        for old in removed:
            engine.tell("evict", old.cache_key, old.handler, old.stored_bytes, reason or why)
