# SPDX-License-Identifier: MIT
"""Writes SQLite's log back to its file when it is long, so that it can begin anew.

And has a file that has become large read in place.
"""

from __future__ import annotations

import os
import sqlite3

from cacheness.backends.sqlite_compiling import tell
from cacheness.backends.sqlite_opening import mapped_bytes
from cacheness.backends.sqlite_token import log_of
from cacheness.backends.statements import statements_of_this_thread
from cacheness.errors import BackendUnavailableError, CacheClosedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.backends.sqlite_connections import Connections
    from cacheness.backends.sqlite_held import Held

__all__ = ["LEAST", "look_after_log"]

_PAGE = 4096
_PAGES = 2000
"""Pages that wait in the log when they are written back, 8 MB. It takes 7 ms on a disk, most
of them for two waits, and half the pages of a put are written again by the next one."""
_LONG = 2 * _PAGES
"""The pages from which that waits for readers: where there is always one somewhere, they keep
the log from beginning anew, for ever."""
_PATIENCE = 500
"""Milliseconds of that wait: what is read at that moment by one statement each."""
LEAST = 100
"""The least pages between two looks."""


def look_after_log(connections: Connections) -> int:
    """Write the log back if it is long; give the pages to be written before the next look.

    SQLite would try at every commit once the log is long, with two waits for the disk each
    time, where other processes keep it from finishing.
    """
    try:
        waiting = _look(connections)
        _map_if_large(connections)
    except (OSError, sqlite3.Error, BackendUnavailableError, CacheClosedError):
        return LEAST  # the log grows until somebody succeeds; nothing is lost
    return max(LEAST, (_PAGES - waiting) // 2)  # others write, too


def _look(connections: Connections) -> int:
    """How many pages wait in the log, none of them for long."""
    # The file keeps the size that it once had.
    if os.stat(f"{connections.path}-wal").st_size < _PAGES * _PAGE:
        return _PAGES
    descriptor = connections.watched().descriptor
    length, waiting = (_PAGES, _PAGES) if descriptor is None else log_of(descriptor)
    if waiting < _PAGES:
        return waiting
    _write_back(connections.connection(), connections.path, length)
    return 0


def _map_if_large(connections: Connections) -> None:
    """Have this thread's connection, if there is one, read a file in place that became large."""
    held: Held | None = getattr(connections.local, "held", None)
    if held is None or held.is_mapped:
        return
    mapped = mapped_bytes(connections.path, connections.journal)
    if mapped:
        held.is_mapped = True
        connections.tell(f"PRAGMA mmap_size = {mapped}")


def _write_back(connection: sqlite3.Connection, path: str, length: int) -> None:
    inside = statements_of_this_thread()
    outside = inside.depth
    try:
        inside.enter()
        if length < _LONG:
            tell(connection, path, "PRAGMA wal_checkpoint(PASSIVE)")
        else:
            _begin_anew(connection, path)
    finally:
        inside.depth = outside


def _begin_anew(connection: sqlite3.Connection, path: str) -> None:
    """Write the log back once those who read it have come to the end of their statements.

    Writers wait meanwhile; who begins to read does not.
    """
    try:
        tell(connection, path, f"PRAGMA busy_timeout = {_PATIENCE}")
        tell(connection, path, "PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        tell(connection, path, "PRAGMA busy_timeout = 0")
