# SPDX-License-Identifier: MIT
"""Closes, in a forked child, the connections that its parent has.

SQLite keeps one account of the locks that a process has on a file, for all its connections.
A child inherits that account, but none of the locks: a connection that it opened beside one
of its parent's would take for locked what is not, and whoever closes the file elsewhere
would take it for the last, and remove the log that the child goes on writing to. So a child
closes them all, before it opens its own.

To close one drops no lock of the parent's, as they are the process's, and writes nothing
back, as long as the parent has the file open. Where there is a transaction, closing rolls it
back, in the child's memory only, while the parent waits: see `statements`. It would change
what both share if pages of it were in the log already, or if there was a rollback journal.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from struct import Struct

from cacheness.backends import statements
from cacheness.backends.sqlite_functions import is_called_by
from cacheness.backends.statements import statements_of_this_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from cacheness.backends.statements import Statements

__all__ = ["close_inherited", "look_for_rest", "lost"]

lost: set[tuple[int, int]] = set()
"""The files, by device and inode, that this process can't use, as a connection had to stay."""
_kept: list[object] = []
"""The connections that had to."""
_closed: set[tuple[int, int]] = set()

_INDEX = Struct("=12xxxHI12x8s")
"""Of the log's index: flags, the size of a page, how many are in the log, the log's salts."""
_NO_CHECKPOINT = 1006
"""``SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE``, which the type checker's `sqlite3` does not have."""
_LOG_HEADER, _FRAME_HEADER = 32, 24
_SALTS, _SALTS_OF_LOG = slice(8, 16), slice(16, 24)
"""Where the header of a page in the log has them, and that of the log itself."""


def close_inherited(path: str, connections: Iterable[tuple[Any, Statements]]) -> None:
    """Close the connections to a file; in a child, which has but one thread.

    Args:
        path: The file.
        connections: Each with the mark of its thread.
    """
    held = list(connections)
    if not held:
        return
    try:
        status = os.stat(path)
    except OSError:
        _kept.extend(held)  # there is nothing any more that another could open
        return
    identity = status.st_dev, status.st_ino
    if all(_may_be_closed(path, connection, mark) for connection, mark in held):
        for connection, mark in held:
            if mark.depth:
                _close_cursors(connection)
            _close(connection)
        _closed.add(identity)
    else:
        _kept.extend(held)
        lost.add(identity)


def look_for_rest() -> None:
    """Take note of the files that were not let go of, after all connections were closed.

    A cursor that the child still has keeps its connection.
    """
    if _closed:
        from cacheness.backends.sqlite_token import descriptor_of

        for identity in _closed:
            if descriptor_of(*identity) is not None:
                lost.add(identity)
        _closed.clear()


def _may_be_closed(path: str, connection: Any, mark: Statements) -> bool:
    """Whether no mutex of it is locked for ever, and closing leaves alone what is shared."""
    if mark.depth and mark is not statements_of_this_thread():
        return False  # its thread was inside, and is not in this process
    if mark.depth and is_called_by(sys._getframe()):
        return False
    try:
        if not connection.in_transaction:
            return True
    except sqlite3.ProgrammingError:
        return True  # closed already
    return statements.is_waited_for() and not _may_be_in_log(path)


def _close_cursors(connection: Any) -> None:
    """Close what the calls on the stack hold, each of which would keep the connection."""
    import gc

    for cursor in gc.get_referrers(connection):
        if isinstance(cursor, sqlite3.Cursor):
            try:  # noqa: SIM105  # nothing more of Python's in a process that was just forked
                cursor.close()
            except sqlite3.Error:
                pass  # it asks for rows at this moment, see `look_for_rest`


def _close(connection: Any) -> None:
    try:
        if hasattr(connection, "setconfig"):  # Python 3.12
            connection.setconfig(_NO_CHECKPOINT, True)
        connection.close()
    except sqlite3.Error:
        _kept.append(connection)  # `look_for_rest` sees whether it is still open


def _may_be_in_log(path: str) -> bool:
    """Whether the log may hold pages that are not committed, or there is none."""
    try:
        with open(f"{path}-shm", "rb") as file:
            size, length, known = _INDEX.unpack(file.read(_INDEX.size))
        with open(f"{path}-wal", "rb") as file:
            # An index that was never committed to has no salts yet.
            salts = {known, file.read(_LOG_HEADER)[_SALTS_OF_LOG]}
            file.seek(_LOG_HEADER + length * (_FRAME_HEADER + (size if size > 1 else 1 << 16)))
            frame = file.read(_FRAME_HEADER)
            return len(frame) == _FRAME_HEADER and frame[_SALTS] in salts
    except (OSError, ValueError):
        return True
