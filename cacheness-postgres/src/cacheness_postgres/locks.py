# SPDX-License-Identifier: MIT
"""Mutual exclusion between all machines that share a database, by advisory locks."""

from __future__ import annotations

import os
from time import monotonic

import psycopg

from cacheness.errors import BackendUnavailableError
from cacheness_postgres import failures
from cacheness_postgres.schema import advisory_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness_postgres.connections import Database
    from cacheness_postgres.session import Session

__all__ = ["AdvisoryLock", "AdvisoryLocks"]

_KEPT = 4
"""Idle connections that wait for the next lock."""
_LONGEST_WAIT = 86_400_000
"""Milliseconds after which a wait without a timeout is begun anew."""


class AdvisoryLocks:
    """Makes locks on the keys of one schema; each that is held takes a connection.

    The lock belongs to a transaction that is open as long as it is held: the server
    releases it when its client dies, and a pooler that hands out connections for each
    transaction does not come between. The transaction reads and writes nothing, so it
    keeps no row from being vacuumed. The connections are not the pool's: whoever computes
    under a lock may well need the pool meanwhile.
    """

    def __init__(self, database: Database, schema: str) -> None:
        self._database = database
        self._schema = schema
        self._idle: list[Session] = []
        self._process = os.getpid()

    def lock(self, namespace: str, cache_key: str, *, timeout: float | None) -> AdvisoryLock:
        """A lock on an entry's key, to be entered; see `AdvisoryLock`."""
        number = advisory_key("entry", self._schema, namespace, cache_key)
        return AdvisoryLock(self, number, f"entry {cache_key!r}", timeout)

    def close(self) -> None:
        """Close the idle connections; locks that are held stay held."""
        idle, self._idle = self._idle, []
        if self._process == os.getpid():
            for session in idle:
                session.close()

    def take(self, number: int, timeout: float | None) -> Session | None:
        """A session whose open transaction holds the lock, or None where time was up."""
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            session = self._session()
            left = _LONGEST_WAIT if deadline is None else int(1000 * (deadline - monotonic()))
            try:
                if _lock(session, number, max(0, min(left, _LONGEST_WAIT))):
                    return session
            except psycopg.Error as error:
                closed = session.connection.closed
                session.close()
                if closed and self._idle:
                    continue  # it had been cut while it was idle
                raise failures.unusable(error, self._database.address) from error
            except BaseException:
                session.close()
                raise
            self.put_back(session)
            if deadline is not None and monotonic() >= deadline:
                return None

    def put_back(self, session: Session) -> None:
        """End the session's transaction, which releases what it holds."""
        try:
            session.connection.rollback()
        except psycopg.Error:
            session.close()  # the server has released it already
            return
        if len(self._idle) < _KEPT:
            self._idle.append(session)
        else:
            session.close()

    def _session(self) -> Session:
        if self._process != os.getpid():
            # The parent's connections are the parent's; `connections` keeps them from closing.
            _abandoned.append(self._idle)
            self._idle, self._process = [], os.getpid()
        while self._idle:
            session = self._idle.pop()
            if session.is_silent():
                return session
            session.close()
        return self._database.extra()


class AdvisoryLock:
    """One key's lock, held at most once at a time; made by `AdvisoryLocks.lock`.

    A context manager, with `acquire` and `release` for those who hold it otherwise.
    """

    __slots__ = ("_label", "_locks", "_number", "_process", "_session", "_timeout")

    def __init__(
        self, locks: AdvisoryLocks, number: int, label: str, timeout: float | None
    ) -> None:
        self._locks = locks
        self._number = number
        self._label = label
        self._timeout = timeout
        self._session: Session | None = None
        self._process = 0

    def acquire(self, timeout: float | None = None) -> bool:
        """Take the lock, waiting up to ``timeout`` seconds (None: for ever); False in vain.

        Raises:
            BackendUnavailableError: The server can't be reached.
        """
        self._session = self._locks.take(self._number, timeout)
        self._process = os.getpid()
        return self._session is not None

    def release(self) -> None:
        """Give the lock up; does nothing in a child that was forked while it was held."""
        session, self._session = self._session, None
        if session is None:
            return
        if self._process == os.getpid():
            self._locks.put_back(session)
        else:
            _abandoned.append(session)

    def __enter__(self) -> None:
        if not self.acquire(self._timeout):
            raise BackendUnavailableError(
                f"waited {self._timeout:g} s for the lock of {self._label}, which another machine "
                "or process holds; try again, or raise lock_timeout"
            )

    def __exit__(self, *_: object) -> None:
        self.release()


_abandoned: list[object] = []


def _lock(session: Session, number: int, milliseconds: int) -> bool:
    """Begin a transaction and lock in it; False where that took too long.

    All settings are the transaction's own. None of the server's timeouts may end it: it
    lasts as long as what is computed under it.
    """
    unlimited = ["statement_timeout", "idle_in_transaction_session_timeout"]
    if session.version >= 170_000:
        unlimited.append("transaction_timeout")
    settings = [f"SET LOCAL {name} = 0" for name in unlimited]
    if milliseconds == 0:
        session.connection.execute("; ".join(("BEGIN", *settings)))
        row = session.cursor.execute(f"SELECT pg_try_advisory_xact_lock({number})").fetchone()
        return bool(row and row[0])
    settings.append(f"SET LOCAL lock_timeout = {milliseconds}")
    wait = f"SELECT pg_advisory_xact_lock({number})"
    try:
        # Without values, many statements are one round trip.
        session.connection.execute("; ".join(("BEGIN", *settings, wait)))
    except psycopg.errors.LockNotAvailable:
        return False
    return True
