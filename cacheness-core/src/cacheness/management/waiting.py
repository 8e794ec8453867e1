# SPDX-License-Identifier: MIT
"""Keeps payloads from being taken for orphans while their entries wait to be recorded."""

from __future__ import annotations

from time import time

from cacheness.backends.plain_entry import PlainEntry
from cacheness.errors import BackendUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.engine import Engine
    from cacheness.management.spool import EntrySpool

__all__ = ["Waiting"]

_EVERY = 600.0
"""Seconds between two renewals: well below what a clean-up allows a writer."""


class Waiting:
    """Renews the payloads of a batch that takes its time, since no entry names them yet.

    Args:
        engine: The cache's.
        entries: Those that wait.
    """

    def __init__(self, engine: Engine, entries: EntrySpool) -> None:
        self._engine = engine
        self._entries = entries
        self._renewed_at = time()

    def renew(self) -> None:
        """Have all of them count as written just now, if it is time to.

        Raises:
            BackendUnavailableError: One is gone, as the last renewal was too long ago.
        """
        # The wall clock, by which a clean-up goes: another one stands still in a laptop's sleep.
        if 0 <= time() - self._renewed_at < _EVERY:
            return
        blobs = self._engine.blobs()
        for entry in self._entries:
            if isinstance(entry, PlainEntry) or entry.blob is None:
                continue
            try:
                is_there = blobs.renew(entry.blob)
            except OSError as error:
                raise BackendUnavailableError(
                    f"the payload of entry {entry.cache_key} can't be kept: {error}"
                ) from error
            if not is_there:
                raise BackendUnavailableError(
                    f"the payload of entry {entry.cache_key} was removed as an orphan, since the "
                    "batch waited too long for one of its values; nothing of it is stored: "
                    "compute the values first, or put them singly"
                )
        self._renewed_at = time()
