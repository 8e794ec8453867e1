# SPDX-License-Identifier: MIT
"""A transaction of SQLite's: statements that all succeed, or leave nothing behind."""

from __future__ import annotations

import sqlite3
import sys

from cacheness.backends.sqlite_compiling import ANY, LENGTH, NONE, vouch
from cacheness.backends.sqlite_connections import is_busy
from cacheness.backends.statements import statements_of_this_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from cacheness.backends.sqlite_connections import Connections, Execute
    from cacheness.backends.sqlite_turns import Turns

__all__ = ["Transaction", "end_deserted"]


def end_deserted(connections: Connections) -> int:
    """Roll back a transaction of this thread that nobody will end; give the thread's depth.

    An interrupt may come in place of a context's ``__exit__``, before its first step. The
    transaction is then open, and what the thread changes next would be part of it, and be
    lost with it. Whoever began it is no longer on the stack: that is how one is told that a
    signal handler, say, has only come in between.
    """
    inside = statements_of_this_thread()
    held = connections.mine()
    owner = held.owner
    if owner is None:
        return inside.depth
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame is owner:
            return inside.depth
        frame = frame.f_back
    try:
        try:
            if held.connection.in_transaction:
                held.connection.execute("ROLLBACK")
        finally:
            held.connection.setlimit(LENGTH, NONE)
    except sqlite3.ProgrammingError:
        pass  # closed by another thread, which rolled it back
    finally:
        held.owner = None
        inside.depth -= 1
    return inside.depth


class Transaction:
    """``BEGIN IMMEDIATE`` to ``COMMIT``, rolled back where the body raises."""

    __slots__ = ("_connection", "_held", "_inside", "_of", "_outside", "_pages", "_timeout")

    def __init__(self, of: Connections, pages: int, timeout: float) -> None:
        self._of = of
        self._pages = pages
        self._timeout = timeout

    def __enter__(self) -> Execute:
        self._held = self._of.mine()
        self._connection = self._held.connection
        self._inside = statements_of_this_thread()
        self._outside = self._inside.depth and end_deserted(self._of)
        within = True  # a signal handler may be, and has not begun that one
        try:
            self._inside.enter()
            try:
                within = self._connection.in_transaction
                self._begin(self._connection)
            except sqlite3.Error as error:
                self._of.retried(error, self._connection, self._begin, timeout=self._timeout)
            self._held.owner = sys._getframe(1)
        except BaseException:
            self._undo(within)
            raise
        return self._connection.execute

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Begin, and have the gate open from then to the end if the schema is ours."""
        gate = connection.setlimit(LENGTH, -1)
        try:
            connection.setlimit(LENGTH, ANY)
            connection.execute("BEGIN IMMEDIATE")
            vouch(connection, self._of.path)
            gate = ANY
        finally:
            connection.setlimit(LENGTH, gate)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # What has to be done in the end is done here: where a function of Python's begins,
        # another interrupt could come.
        try:
            try:
                failed = self._end(error)
            finally:
                try:
                    try:
                        if self._connection.in_transaction:
                            self._connection.execute("ROLLBACK")
                    finally:
                        self._connection.setlimit(LENGTH, NONE)
                except sqlite3.ProgrammingError:
                    pass  # closed, in a child that was forked in between
        finally:
            self._held.owner = None
            self._inside.depth = self._outside
        if failed is not None:
            raise self._of.failure(failed) from failed
        if error is None:
            self._of.wrote(self._pages)

    def _undo(self, within: bool) -> None:
        """Leave nothing of a beginning that failed, or that was interrupted."""
        try:
            if not within:
                self._held.owner = None
                self._connection.setlimit(LENGTH, ANY)
                try:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                finally:
                    self._connection.setlimit(LENGTH, NONE)
        except sqlite3.ProgrammingError:
            return  # closed by another thread before it had begun
        finally:
            self._inside.depth = self._outside

    def _end(self, error: BaseException | None) -> sqlite3.Error | None:
        """Commit, unless the body raised; give what SQLite had against it, or raised there."""
        if error is not None:
            return error if isinstance(error, sqlite3.Error) else None
        try:
            self._commit()
        except sqlite3.Error as refused:
            return refused
        return None

    def _commit(self) -> None:
        turns: Turns | None = None
        while True:
            try:
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                # Somebody reads, which is in the way of a rollback journal only.
                if not (is_busy(error) and self._connection.in_transaction):
                    raise
                if turns is None:
                    from cacheness.backends.sqlite_turns import Turns

                    turns = Turns(self._of.timeout)
                if not turns.wait(self._inside):
                    raise
            else:
                return
