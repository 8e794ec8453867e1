# SPDX-License-Identifier: MIT
"""A transaction of SQLite's: statements that all succeed, or leave nothing behind."""

from __future__ import annotations

import sqlite3

from cacheness.backends.sqlite_connections import is_busy
from cacheness.backends.sqlite_turns import Turns
from cacheness.backends.statements import statements_of_this_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.backends.sqlite_connections import Connections, Execute

__all__ = ["Transaction"]


class Transaction:
    """``BEGIN IMMEDIATE`` to ``COMMIT``, rolled back where the body raises."""

    __slots__ = ("_connection", "_inside", "_of", "_outside", "_pages", "_timeout")

    def __init__(self, of: Connections, pages: int, timeout: float) -> None:
        self._of = of
        self._pages = pages
        self._timeout = timeout

    def __enter__(self) -> Execute:
        self._connection = self._of.connection()
        self._inside = statements_of_this_thread()
        self._outside = self._inside.depth
        try:
            self._inside.enter()
            begin = self._connection.execute
            try:
                begin("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                self._of.retried(error, lambda: begin("BEGIN IMMEDIATE"), self._timeout)
        except BaseException:
            self._undo()
            raise
        return begin

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            failed = self._end(error)
        finally:
            self._inside.depth = self._outside
        if failed is not None:
            raise self._of.failure(failed) from failed
        if error is None:
            self._of.wrote(self._pages)

    def _undo(self) -> None:
        """Leave nothing of a beginning that failed, or that was interrupted."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.ProgrammingError:
            return  # closed by another thread before it had begun
        finally:
            self._inside.depth = self._outside

    def _end(self, error: BaseException | None) -> sqlite3.Error | None:
        """Commit, or roll back; give what SQLite had against it, or raised in the body."""
        failed = error if isinstance(error, sqlite3.Error) else None
        try:
            if error is None:
                self._commit()
                return None
        except sqlite3.Error as refused:
            failed = refused
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        return failed

    def _commit(self) -> None:
        turns: Turns | None = None
        while True:
            try:
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                # Somebody reads, which is in the way of a rollback journal only.
                if not (is_busy(error) and self._connection.in_transaction):
                    raise
                turns = turns or Turns(self._of.timeout)
                if not turns.wait(self._inside):
                    raise
            else:
                return
