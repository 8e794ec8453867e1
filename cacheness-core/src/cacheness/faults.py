# SPDX-License-Identifier: MIT
"""What becomes of an entry that a read could not give: expired, damaged, or not to be trusted."""

from __future__ import annotations

from time import time

from cacheness.errors import (
    BackendUnavailableError,
    CachenessWarning,
    CorruptionWarning,
    SecurityWarning,
    SignatureError,
    warn,
)
from cacheness.outcomes import KEPT, MISS
from cacheness.payloads.refusals import BadSignatureError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cacheness.backends.shapes import StoredPayload
    from cacheness.engine import Engine
    from cacheness.payloads.refusals import UndecodableError

__all__ = ["Faults"]


class Faults:
    """Deals with the entries of one cache that a read could not give.

    Each method makes sure that the entry is still the one that was read, so that a
    replaced entry is never removed by who read the old one.
    """

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def expire(self, key: str, stored: StoredPayload) -> None:
        """Remove an entry that a read found expired, unless somebody renewed it meanwhile.

        One that may still be served stale stays until that time is over.
        """
        now = time()
        if stored[6] is None or now < stored[6] or self._engine.config.read_only:
            return
        entry = self._engine.backend.get_entry(key)
        if entry is None or (entry.stale_until is not None and now < entry.stale_until):
            return
        removed = self._engine.backend.expire_entry(key, if_generation=stored[0], now=now)
        if removed is not None:
            self._engine.discard(removed)
            self._engine.bury([removed], "expired")
            self._engine.tell("expire", key, removed.handler, removed.stored_bytes)

    def refuse(self, key: str, stored: StoredPayload, error: Exception) -> Any:
        """Deal with an entry whose payload is missing, damaged or not to be trusted.

        Raises:
            SignatureError: It is not to be trusted, and the cache is to raise that.
            BackendUnavailableError: What is missing is something else.
        """
        self._engine.reader.count_miss()
        if isinstance(error, BadSignatureError):
            if error.verdict == "wrong":
                self._quarantine(key, stored, str(error))
            self._engine.tell("error", key, stored[1], reason=str(error))
            if self._engine.config.on_bad_signature == "raise":
                raise SignatureError(str(error)) from None
            warn(str(error), SecurityWarning)
            return MISS if error.verdict == "wrong" else KEPT
        if isinstance(error, FileNotFoundError):
            blob = stored[9]
            if blob is None or self._is_of_another_file(error, blob):
                raise BackendUnavailableError(f"entry {key} can't be read: {error}") from error
            message = f"entry {key}: its blob {blob} is missing"
            if not self._engine.config.read_only:
                removed = self._engine.backend.delete_entry(key, if_generation=stored[0])
                self._engine.bury([removed] if removed else [], "quarantined", message)
        else:
            message = str(error)
            self._quarantine(key, stored, message)
        self._engine.tell("corrupt", key, stored[1], reason=message)
        kept = "is removed" if isinstance(error, FileNotFoundError) else "is moved to quarantine"
        fate = "is left alone in a read-only cache" if self._engine.config.read_only else kept
        warn(f"{message}; it {fate} and counts as a miss", CorruptionWarning)
        return MISS

    def _is_of_another_file(self, error: FileNotFoundError, blob: str) -> bool:
        """Whether what is missing is not the blob, which somebody may be swapping."""
        return blob.rpartition("/")[2] not in str(error) and self._engine.blobs().exists(blob)

    def _quarantine(self, key: str, stored: StoredPayload, reason: str) -> None:
        if not self._engine.config.read_only:
            self.quarantine(key, stored[0], reason)

    def quarantine(self, key: str, generation: int, reason: str) -> bool:
        """Put an entry aside if it still stands; whether it did.

        Its blob goes last: who is killed before leaves the damaged entry to the next.
        """
        from cacheness.payloads.quarantine import put_aside

        removed = self._engine.backend.get_entry(key)
        if removed is None or removed.generation != generation:
            return False
        put_aside(removed, self._engine.blobs, self._engine.config)
        if self._engine.backend.delete_entry(key, if_generation=generation) is None:
            return False
        self._engine.discard(removed)
        self._engine.bury([removed], "quarantined", reason)
        return True

    def leave_undecoded(self, key: str, stored: StoredPayload, error: UndecodableError) -> Any:
        self._engine.reader.count_miss()
        cause = error.__cause__
        message = (
            f"entry {key} is intact, but its handler {stored[1]!r} can't decode it here "
            f"({type(cause).__name__}: {cause}); it is kept and counts as a miss"
        )
        self._engine.tell("error", key, stored[1], reason=message)
        warn(message, CachenessWarning)
        return MISS
