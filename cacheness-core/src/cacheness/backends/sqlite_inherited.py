# SPDX-License-Identifier: MIT
"""Closes, in a forked child, the connections that its parent has.

SQLite keeps one account of the locks that a process has on a file, for all its connections.
A child inherits that account, but none of the locks: a connection that it opened beside one
of its parent's would take for locked what is not, and whoever closes the file elsewhere
would take it for the last, and remove the log that the child goes on writing to. So a child
closes them all, before it opens its own.

To close one drops no lock of the parent's, as they are the process's, and writes nothing
back, as long as the parent has the file open. Where the fork came within a statement or a
transaction, that is rolled back, in the child's memory only, while the parent waits: see
`statements`. It would change what both share if pages of it were in the log already, or if
there was a rollback journal: then the child does without the file.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import sys
from contextlib import suppress
from time import monotonic, sleep

from cacheness.backends.sqlite_functions import is_called_by
from cacheness.backends.statements import is_waited_for, statements_of_this_thread, was_inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cacheness.backends.sqlite_held import Held

__all__ = ["close_inherited", "close_rest", "lost"]

lost: set[tuple[int, int]] = set()
"""The files, by device and inode, that this process can't use, as a connection had to stay."""
_kept: list[object] = []
"""The connections that had to."""
_closed: list[tuple[tuple[int, int], sqlite3.Connection]] = []
"""The others, with their files."""

_LONGEST_WRITE = 1.0
"""Seconds that others may take to write what they commit."""
_INDEX = struct.Struct("=12xxxHI12x8s")
"""Of the log's index: flags, the size of a page, how many are in the log, the log's salts."""
_NO_CHECKPOINT = 1006
"""``SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE``, which the type checker's `sqlite3` does not have."""
_LOG_HEADER, _FRAME_HEADER = 32, 24
_SALTS, _SALTS_OF_LOG = slice(8, 16), slice(16, 24)
"""Where the header of a page in the log has them, and that of the log itself."""


def close_inherited(path: str, connections: list[Held]) -> None:
    """Close the connections to a file; in a child, which has but one thread."""
    try:
        status = os.stat(path)
    except OSError:
        _kept.extend(connections)  # there is nothing any more that another could open
        return
    file = status.st_dev, status.st_ino
    if all(_may_be_closed(path, held) for held in connections) and all(map(_end, connections)):
        for held in connections:
            _close(held.connection)
            _closed.append((file, held.connection))
    else:
        _kept.extend(connections)
        lost.add(file)


def close_rest() -> None:
    """Let go of the files that are still open, after all connections were closed.

    A cursor that an interrupt came through keeps its statement, and that the connection, as
    long as somebody has the traceback.
    """
    from cacheness.backends.sqlite_token import descriptor_of

    files = {file for file, _ in _closed}
    still_open = {file for file in files if descriptor_of(*file) is not None}
    if still_open:  # it may be somebody else who has it open
        import gc

        elsewhere = sqlite3.connect(":memory:")
        for one in gc.get_referrers(*(connection for file, connection in _closed)):
            if isinstance(one, sqlite3.Cursor):
                # A cursor of a closed connection can't be closed, but made anew.
                sqlite3.Cursor.__init__(one, elsewhere)
        elsewhere.close()
    _closed.clear()


def _may_be_closed(path: str, held: Held) -> bool:
    """Whether no mutex of it is locked for ever, and closing leaves alone what is shared."""
    inside = was_inside(held.inside)
    if inside and held.inside is not statements_of_this_thread():
        return False  # its thread is not in this process
    if inside and is_called_by(sys._getframe()):
        return False
    try:
        if not inside and not held.connection.in_transaction:
            return True
    except sqlite3.ProgrammingError:
        return True  # closed already
    return is_waited_for() and _is_unshared(path)


def _end(held: Held) -> bool:
    """Close its cursors, each of which would keep it; False where one is in its very middle."""
    for cursor in held.cursors:  # the list may be on the stack of a thread that is not here
        with suppress(sqlite3.Error):  # the connection is closed already
            cursor.close()
    return _end_statements(held.connection) if was_inside(held.inside) else True


def _end_statements(connection: sqlite3.Connection) -> bool:
    """End the statements that are on the stack; False where one is in its very middle.

    One that was asked for all its rows but the last would be committed as it is closed: it is
    interrupted, and asked for another one, which rolls it back.
    """
    import gc

    ended = True
    for cursor in gc.get_referrers(connection):
        if isinstance(cursor, sqlite3.Cursor):
            try:
                connection.interrupt()
                with suppress(sqlite3.Error):
                    cursor.fetchone()
                cursor.close()
            except sqlite3.Error:
                ended = False
    return ended


def _close(connection: Any) -> None:
    if hasattr(connection, "setconfig"):  # Python 3.12
        with suppress(sqlite3.Error):
            connection.setconfig(_NO_CHECKPOINT, True)
    connection.close()


def _is_unshared(path: str) -> bool:
    """Whether no log or journal has pages of the parent's that are not committed.

    Others may be writing theirs, so it takes more than one look to tell.
    """
    deadline = monotonic() + _LONGEST_WRITE
    while _has_uncommitted(path):
        if monotonic() > deadline:
            return False
        sleep(0.001)
    return True


def _has_uncommitted(path: str) -> bool:
    if os.path.exists(f"{path}-journal"):
        return True
    try:
        with open(f"{path}-shm", "rb") as file:
            size, length, known = _INDEX.unpack(file.read(_INDEX.size))
        with open(f"{path}-wal", "rb") as file:
            # An index that was never committed to has no salts yet.
            salts = {known, file.read(_LOG_HEADER)[_SALTS_OF_LOG]}
            file.seek(_LOG_HEADER + length * (_FRAME_HEADER + (size if size > 1 else 1 << 16)))
            frame = file.read(_FRAME_HEADER)
            return len(frame) == _FRAME_HEADER and frame[_SALTS] in salts
    except FileNotFoundError:
        return False  # nobody began
    except (OSError, ValueError, struct.error):
        return True
